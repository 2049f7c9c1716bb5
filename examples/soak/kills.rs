//! The client is killed: before, during and after every call, with tasks of many kinds, with and without its guard.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::Report;
use crate::cases::{at_once, spread};
use crate::fault_proxy::{Action, Call, Point, Proxy, Rule, Victim};
use crate::kill_table::{Case, Moment, cases};
use crate::outside::{Container, Soak, guards_of, marked, signal};

/// The task is stopped so long after its client's death.
const STOPPED: Duration = Duration::from_secs(1);
/// The container is gone so long after the later of that death and its creation.
const GONE: Duration = Duration::from_secs(2);
/// How much longer is looked, so that a late removal has a figure.
const LOOK: Duration = Duration::from_secs(4);
/// An engine that was given a create whose client then died makes the container within this time, or not at all.
const LANDS: Duration = Duration::from_millis(1500);
/// Timings on a machine with few processors are those of a busy machine soon.
const JOBS: usize = 2;

#[derive(Default)]
struct Ended {
    stopped: Option<f64>,
    gone: Option<f64>,
    guards: usize,
    landed: bool,
    broken: Vec<String>,
}

/// When the client died, and how many guards with it.
#[derive(Clone, Default)]
struct Death(Arc<(Mutex<Died>, Condvar)>);

type Died = Option<(Instant, usize)>;

impl Death {
    fn bring(&self, client: u32, with_guard: bool) {
        // They cannot be told from anybody's once the client is gone.
        let guards = if with_guard {
            guards_of(client)
        } else {
            Vec::new()
        };
        signal(client, Signal::SIGKILL);
        for guard in &guards {
            signal(*guard, Signal::SIGKILL);
        }
        let mut death = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        *death = Some((Instant::now(), guards.len()));
        self.0.1.notify_all();
    }

    fn wait(&self, limit: Duration) -> Died {
        let death = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .0
            .1
            .wait_timeout_while(death, limit, |death| death.is_none());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

pub(crate) fn run(soak: &Soak) -> Result<Report, String> {
    let on_host = soak.sees_processes()?;
    let mut report = Report::default();
    report.figure(
        "processes are looked for",
        if on_host {
            "on this host"
        } else {
            "by the engine's word"
        },
    );
    report.figure(
        "sweep",
        if soak.no_sweep {
            "off"
        } else {
            "there is no such option"
        },
    );
    let cases = cases(soak.quick);
    let (alone, guarded): (Vec<Case>, Vec<Case>) =
        cases.into_iter().partition(|case| !case.with_guard);
    for (title, cases, jobs) in [("client", alone, JOBS), ("client and guard", guarded, 1)] {
        // Those whose guard dies end with a sweep, which would find what others have left: one at a time.
        let all = at_once(jobs, &cases, |case| {
            (case.title(), one(soak, case, on_host))
        });
        let (mut stopped, mut gone, mut guards, mut landed) = (Vec::new(), Vec::new(), 0, 0);
        for (case, ended) in all {
            let ended = ended.unwrap_or_else(|error| Ended {
                broken: vec![format!("not set up: {error}")],
                ..Ended::default()
            });
            stopped.extend(ended.stopped);
            gone.extend(ended.gone);
            guards += ended.guards;
            landed += usize::from(ended.landed);
            report.broken.extend(
                ended
                    .broken
                    .into_iter()
                    .map(|broken| format!("{case}: {broken}")),
            );
        }
        report.figure(format!("{title} killed"), format!("{} points", cases.len()));
        report.figure("  there was a container", landed.to_string());
        report.figure(
            "  death to stopped, median / 99 % / most",
            spread(&mut stopped),
        );
        report.figure("  death or creation to gone", spread(&mut gone));
        if title != "client" {
            report.figure("  guards killed", guards.to_string());
            if guards == 0 {
                report
                    .broken
                    .push("no client had a guard to be killed".to_owned());
            }
        }
    }
    Ok(report)
}

fn one(soak: &Soak, case: &Case, on_host: bool) -> Result<Ended, String> {
    let (task, files) = soak.case();
    let name = soak.name(&task);
    let (victim, death) = (Victim::default(), Death::default());
    let rules = rules(case, &victim, &death);
    let socket = files.with_extension("sock");
    let proxy =
        Proxy::start(&socket, soak.engine.socket(), rules).map_err(|error| error.to_string())?;
    let mut client = start(soak, case, &socket, &task, &files)?;
    victim.set(client.id());
    if let Moment::After(time) = case.moment {
        thread::sleep(time);
        death.bring(client.id(), case.with_guard);
    }
    let died = death.wait(Duration::from_secs(30));
    // One that never came to the point is ended all the same.
    victim.signal(Signal::SIGKILL);
    client.wait().map_err(|error| error.to_string())?;
    let mut ended = match died {
        Some((died, guards)) => Ended {
            guards,
            ..look(soak, &proxy, &name, died, case, on_host)?
        },
        None => Ended {
            broken: vec![format!(
                "not set up: it never came to this point; {}{}",
                said(&files),
                proxy.transcript()
            )],
            ..Ended::default()
        },
    };
    if case.with_guard {
        let (other, _) = soak.case();
        let mut next = soak.exec(soak.engine.socket(), &other, true, None);
        let status = next
            .args(["--", "true"])
            .status()
            .map_err(|error| error.to_string())?;
        let left = exactly(soak, &name)?;
        if !status.success() || !left.is_empty() {
            ended.broken.push(format!(
                "the next start ended with {status} and left {} container(s)",
                left.len()
            ));
        }
    }
    soak.hand_over(proxy, &socket)?;
    for container in exactly(soak, &name)? {
        soak.engine.remove(&container)?;
    }
    Ok(ended)
}

fn rules(case: &Case, victim: &Victim, death: &Death) -> Vec<Rule> {
    let Moment::At(call, at) = case.moment else {
        return Vec::new();
    };
    let (victim, death, with_guard) = (victim.clone(), death.clone(), case.with_guard);
    let bring = move || {
        if let Some(pid) = victim.pid() {
            death.bring(pid.as_raw().unsigned_abs(), with_guard);
        }
    };
    let mut actions = vec![Action::Run(Arc::new(bring))];
    if at == Point::Before {
        actions.push(Action::Close);
    }
    vec![Rule {
        call,
        nth: 1,
        times: 1,
        at,
        actions,
    }]
}

fn start(
    soak: &Soak,
    case: &Case,
    socket: &Path,
    task: &str,
    files: &Path,
) -> Result<Child, String> {
    let mut command = soak.exec(socket, task, false, None);
    let open = |path: &Path, create: bool| {
        let file = if create {
            File::create(path)
        } else {
            File::open(path)
        };
        file.map(Stdio::from)
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    command.stderr(open(&files.with_extension("err"), true)?);
    if case.kind.fed {
        command
            .arg("-i")
            .stdin(open(Path::new("/dev/zero"), false)?);
    }
    if matches!(case.moment, Moment::At(Call::Kill | Call::Remove, _)) {
        // Tasks without an end come to these calls by their deadline.
        command.args(["--timeout", "300ms"]);
    }
    if matches!(case.moment, Moment::At(Call::Kill, _)) && soak.own_init {
        // Our own kills them itself.
        command.args(["--init", "engine"]);
    }
    command.args(["--", "sh", "-c", case.kind.script]);
    command.spawn().map_err(|error| error.to_string())
}

fn said(files: &Path) -> String {
    std::fs::read_to_string(files.with_extension("err")).unwrap_or_else(|error| error.to_string())
}

fn exactly(soak: &Soak, name: &str) -> Result<Vec<Container>, String> {
    let mut all = soak.engine.containers(name)?;
    all.retain(|container| container.name == name);
    Ok(all)
}

/// Looks until nothing runs and nothing is there, and at what time that was.
fn look(
    soak: &Soak,
    proxy: &Proxy,
    name: &str,
    died: Instant,
    case: &Case,
    on_host: bool,
) -> Result<Ended, String> {
    let seen = proxy.seen();
    let created = seen
        .iter()
        .find(|seen| seen.call == Some(Call::Create))
        .and_then(|seen| seen.forwarded);
    let there = seen.iter().any(|seen| seen.call == Some(Call::Attach))
        || matches!(case.moment, Moment::At(Call::Create, Point::Answered));
    let (mut first, mut last, mut ran) = (there.then_some(died), None, None);
    loop {
        let containers = exactly(soak, name)?;
        let now = Instant::now();
        let running = if on_host {
            !marked(name).is_empty()
        } else {
            containers
                .iter()
                .any(|container| container.state == "running")
        };
        if running {
            ran = Some(now);
        }
        if !containers.is_empty() {
            first = first.or(Some(now));
            last = Some(now);
        }
        let may_land = first.is_none() && created.is_some() && died.elapsed() < LANDS;
        let over = containers.is_empty() && !running && !may_land;
        // With its guard the removal dies too, and only the stopping is waited for.
        let enough = case.with_guard && !running && died.elapsed() > STOPPED;
        if over || enough || first.map_or(died, |first| first.max(died)).elapsed() > LOOK {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let begun = first.map_or(died, |first| first.max(died));
    let after = |then: Option<Instant>, begun: Instant| {
        then.map_or(Duration::ZERO, |then| then.saturating_duration_since(begun))
    };
    let (stopped, gone) = (after(ran, died), after(last, begun));
    let mut ended = Ended {
        landed: first.is_some(),
        ..Ended::default()
    };
    if ended.landed {
        ended.stopped = Some(stopped.as_secs_f64() * 1e3);
        ended.gone = (!case.with_guard).then_some(gone.as_secs_f64() * 1e3);
    }
    if stopped > STOPPED {
        ended
            .broken
            .push(format!("it ran on for {} ms and more", stopped.as_millis()));
    }
    if gone > GONE && !case.with_guard {
        ended
            .broken
            .push(format!("it was still there after {} ms", gone.as_millis()));
    }
    Ok(ended)
}
