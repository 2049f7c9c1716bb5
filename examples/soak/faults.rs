//! Every fault at every call, with a task whose end is known: its true end or an error, in time, in little memory, and nothing left.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Report;
use crate::cases::{at_once, spread};
use crate::fault_proxy::{Call, Proxy, Rule};
use crate::fault_table::{EVER, Fault, faults};
use crate::outside::{Soak, signal_group, until};

/// They sleep most of the time.
const JOBS: usize = 8;
/// Every deadline that a case can meet, one after the other, with time for a busy machine.
const IN_TIME: Duration = Duration::from_secs(100);
/// What the client could not remove somebody else has removed by then.
const GONE: Duration = Duration::from_secs(10);
/// KiB.
const MEMORY: u64 = 32 * 1024;
struct Case {
    fault: Fault,
    call: Call,
    /// How the task ends.
    code: i32,
}

#[derive(Default)]
struct Ended {
    took: f64,
    peak: u64,
    gone: f64,
    broken: Vec<String>,
}

pub(crate) fn run(soak: &Soak) -> Report {
    let cases = cases(soak.quick);
    let all = at_once(JOBS, &cases, |case| (case, one(soak, case)));
    let (mut took, mut gone, mut peak, mut late) = (Vec::new(), Vec::new(), 0, 0);
    let mut report = Report::default();
    for (case, ended) in all {
        let ended = ended.unwrap_or_else(|error| Ended {
            broken: vec![format!("not set up: {error}")],
            ..Ended::default()
        });
        took.push(ended.took);
        gone.push(ended.gone);
        peak = peak.max(ended.peak);
        late += usize::from(ended.gone > 2000.0);
        let title = format!(
            "{} at {:?}, task ends with {}",
            case.fault.name, case.call, case.code
        );
        report.broken.extend(
            ended
                .broken
                .into_iter()
                .map(|broken| format!("{title}: {broken}")),
        );
    }
    report.broken.sort();
    report.figure("cases", cases.len().to_string());
    report.figure("time, median / 99 % / most", spread(&mut took));
    report.figure("end of the client to gone", spread(&mut gone));
    report.figure("  later than 2 s", late.to_string());
    report.figure(
        "peak memory of a client",
        format!(
            "{:.1} MiB",
            f64::from(u32::try_from(peak).unwrap_or(u32::MAX)) / 1024.0
        ),
    );
    report
}

fn cases(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for fault in faults() {
        for call in Call::ALL {
            if fault.only.is_some_and(|only| only != call) {
                continue;
            }
            // What is refused for ever cannot be removed by anybody.
            if fault.times == EVER && call == Call::Remove {
                continue;
            }
            cases.push(Case {
                fault: fault.clone(),
                call,
                code: 7,
            });
            if [Call::Attach, Call::Wait, Call::Inspect, Call::Start].contains(&call) {
                cases.push(Case {
                    fault: fault.clone(),
                    call,
                    code: 0,
                });
            }
        }
    }
    if quick {
        let sample = |(index, case)| (index % 7 == 0).then_some(case);
        cases = cases.into_iter().enumerate().filter_map(sample).collect();
    }
    cases
}

fn one(soak: &Soak, case: &Case) -> Result<Ended, String> {
    let (task, files) = soak.case();
    let name = soak.name(&task);
    let (call, at, times) = (case.call, case.fault.at, case.fault.times);
    let rule = Rule {
        call,
        nth: 1,
        times,
        at,
        actions: case.fault.actions.clone(),
    };
    let socket = files.with_extension("sock");
    let proxy = Proxy::start(&socket, soak.engine.socket(), vec![rule])
        .map_err(|error| error.to_string())?;
    let begun = Instant::now();
    let mut client = start(soak, case, &socket, &task, &files)?;
    let mut ended = Ended::default();
    let status = end_of(&mut client)?;
    ended.took = begun.elapsed().as_secs_f64() * 1e3;
    let read = |extension: &str| read(&files.with_extension(extension));
    match status {
        Some(status) => {
            let told = Told {
                status,
                out: read("out")?,
                err: read("err")?,
            };
            ended.broken.extend(judge(case, &told));
            let peak = read("peak")?;
            ended.peak = peak
                .parse()
                .map_err(|_| format!("no peak memory: {peak}"))?;
        }
        None => ended.broken.push(format!("no end after {IN_TIME:?}")),
    }
    if proxy.hits() == 0 {
        ended.broken.push(format!(
            "not set up: the call was not made; {}",
            read("err")?
        ));
    }
    if ended.peak >= MEMORY {
        ended.broken.push(format!("{} KiB of memory", ended.peak));
    }
    let begun = Instant::now();
    let there = || -> Result<Vec<_>, String> {
        let mut all = soak.engine.containers(&name)?;
        all.retain(|container| container.name == name);
        Ok(all)
    };
    // A create that the engine is still busy with is not in its list yet.
    if case.call == Call::Create {
        thread::sleep(Duration::from_millis(700));
    }
    if !until(GONE, || Ok(there()?.is_empty()))? {
        ended.broken.push("the container is left".to_owned());
        for container in there()? {
            soak.engine.remove(&container)?;
        }
    }
    soak.hand_over(proxy, &socket)?;
    ended.gone = begun.elapsed().as_secs_f64() * 1e3;
    Ok(ended)
}

fn start(
    soak: &Soak,
    case: &Case,
    socket: &Path,
    task: &str,
    files: &Path,
) -> Result<Child, String> {
    let mut command = soak.exec(socket, task, false, Some(&files.with_extension("peak")));
    for extension in ["out", "err"] {
        let path = files.with_extension(extension);
        let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if extension == "out" {
            command.stdout(Stdio::from(file));
        } else {
            command.stderr(Stdio::from(file));
        }
    }
    if case.call == Call::Kill && soak.own_init {
        // Our own kills the task itself.
        command.args(["--init", "engine"]);
    }
    // Where nothing ever comes, the deadline does.
    let (timeout, script) = match case.call {
        Call::Kill => ("500ms", "exec sleep 1000".to_owned()),
        _ => ("15s", format!("echo out; echo err >&2; exit {}", case.code)),
    };
    command.args([
        "--timeout",
        timeout,
        "--cleanup-timeout",
        "10s",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    command.spawn().map_err(|error| error.to_string())
}

/// Its status, minus the signal that ended it; none when it does not end.
fn end_of(client: &mut Child) -> Result<Option<i32>, String> {
    let begun = Instant::now();
    loop {
        if let Some(status) = client.try_wait().map_err(|error| error.to_string())? {
            return Ok(Some(status.code().unwrap_or(-1)));
        }
        if begun.elapsed() > IN_TIME {
            signal_group(client.id());
            client.wait().map_err(|error| error.to_string())?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The beginning of a file, which is more than a client says.
fn read(path: &Path) -> Result<String, String> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(1 << 20).read_to_end(&mut text))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

struct Told {
    status: i32,
    out: String,
    err: String,
}

/// What is wrong with how it ended.
fn judge(case: &Case, told: &Told) -> Option<String> {
    let whole = told.out == "out\n" && told.err.contains("err\n");
    let short: String = told.err.chars().take(300).collect();
    let wrong = |why: &str| {
        Some(format!(
            "{why}: status {}, said: {}",
            told.status,
            short.escape_debug()
        ))
    };
    if case.call == Call::Kill {
        return if [124, 125].contains(&told.status) {
            None
        } else {
            wrong("neither the deadline nor an error")
        };
    }
    match told.status {
        status if status == case.code && whole => None,
        status if status == case.code && status != 0 && told.err.contains("not complete") => None,
        status if status == case.code => wrong("output was lost in silence"),
        125 if case.fault.harmless => wrong("it would have been well with patience"),
        125 if told.err.contains("ACODE-CTN-") || told.err.contains("not complete") => None,
        125 => wrong("an error without a word"),
        // It never began, and a deadline says so.
        124 if case.call == Call::Start => None,
        _ => wrong("made up"),
    }
}
