//! Signals and faults at every call, through a proxy in front of the real engine: nothing is left, nothing is made up.
//!
//! `examples/soak` does the same many times over.

use std::fs;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::behind::{Behind, Does, What};
use crate::fault_proxy::{Action, Call, Cut, Point};
use crate::running::Run;
use crate::support::{Ctx, tests};

tests![
    nfr_020a_17_20_killed_at_any_call_it_leaves_nothing,
    nfr_020a_20_a_container_made_after_its_clients_death_goes_too,
    nfr_020a_16_term_at_any_call_leaves_nothing,
    nfr_020a_16_a_second_int_is_fast_and_leaves_nothing,
    nfr_020a_18_broken_answers_are_errors_and_leave_nothing,
    nfr_020a_18_slow_and_silent_engines,
];

/// A task is stopped so long after its client's death, and its container is gone.
const STOPPED: Duration = Duration::from_secs(1);
const GONE: Duration = Duration::from_secs(2);
/// Other tests keep the machine busy meanwhile. The median has to do without.
const BUSY: Duration = Duration::from_secs(4);
/// An engine that was given a create makes the container by then, or not at all.
const LANDS: Duration = Duration::from_millis(1500);

/// Seldom, on Podman, the client goes on as if it had got no signal; whether the proxy sent it is not known. Its deadline ends the task then, and it
/// is tried again.
const MISSED: [&str; 2] = ["--timeout", "20s"];

/// The deaths of a client and of what it left.
struct Left {
    died: Instant,
    /// The container was there, or its removal was asked for.
    landed: Option<Instant>,
    ran: Option<Instant>,
    last: Option<Instant>,
}

/// Kills the client at its call and looks until nothing is there.
fn kill_at(ctx: &Ctx, task: &str, call: Call, at: Point, late: Option<Duration>) -> Left {
    let death = Arc::new(Mutex::new(None));
    let mut does = vec![What::Send(Signal::SIGKILL), What::Note(Arc::clone(&death))];
    match late {
        Some(time) => does.push(What::Just(Action::Delay(time))),
        None if at == Point::Before => does.push(What::Just(Action::Close)),
        None => {}
    }
    let timeout: &[&str] = match call {
        // Our own init kills the task itself.
        Call::Kill => &["--timeout", "300ms", "--init", "engine"],
        Call::Remove => &["--timeout", "300ms"],
        _ => &MISSED,
    };
    let mut behind = Behind::new(ctx, task, timeout, "exec sleep 1000", call, Does(at, does));
    // What it starts may outlive it, with its streams.
    behind.command.stdout(Stdio::null()).stderr(Stdio::null());
    let running = behind.start();
    let client = behind.victim.pid().unwrap();
    let run = running.wait();
    if run.status == 124 && !task.ends_with("-again-again") {
        return kill_at(ctx, &format!("{task}-again"), call, at, late);
    }
    assert_eq!(
        run.status,
        -9,
        "{call:?} {at:?}: {}",
        behind.proxy.transcript()
    );
    let noted = || *death.lock().unwrap();
    while noted().is_none() {
        thread::sleep(Duration::from_millis(1));
    }
    let died = noted().unwrap();
    let mut left = Left {
        died,
        landed: None,
        ran: None,
        last: None,
    };
    loop {
        let containers = ctx.containers();
        let now = Instant::now();
        let seen = behind.proxy.seen();
        let removed = seen.iter().any(|seen| seen.call == Some(Call::Remove));
        let created = seen
            .iter()
            .find(|seen| seen.call == Some(Call::Create))
            .and_then(|seen| seen.forwarded);
        if let Some(container) = containers.first() {
            left.last = Some(now);
            left.ran = if container.state == "running" {
                Some(now)
            } else {
                left.ran
            };
        }
        if !containers.is_empty() || removed {
            left.landed = left.landed.or(Some(now));
        }
        let may_land = match (created, late) {
            (None, Some(late)) => died.elapsed() < late + LANDS,
            (None, None) => false,
            (Some(created), _) => left.landed.is_none() && created.elapsed() < LANDS,
        };
        let too_long = left
            .landed
            .is_some_and(|landed| landed.max(died).elapsed() > GONE + BUSY);
        if (containers.is_empty() && !may_land) || too_long {
            end_guard(client);
            return left;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// One that waits for what may still turn up does so longer than there is a proxy.
fn end_guard(client: Pid) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = command.split(|&byte| byte == 0).collect();
        if words.get(1..3) == Some(&[b"__guard", client.to_string().as_bytes()]) {
            let guard = entry.file_name().to_str().unwrap().parse().unwrap();
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(guard), Signal::SIGKILL);
        }
    }
}

/// What a client could not wait for is its guard's to remove.
#[track_caller]
fn nothing_is_left(ctx: &Ctx, what: &str) {
    let begun = Instant::now();
    while !names(ctx).is_empty() {
        assert!(begun.elapsed() < GONE + BUSY, "{what}: {:?}", names(ctx));
        thread::sleep(Duration::from_millis(20));
    }
}

fn since(then: Option<Instant>, begun: Instant) -> Duration {
    then.map_or(Duration::ZERO, |then| then.saturating_duration_since(begun))
}

fn nfr_020a_17_20_killed_at_any_call_it_leaves_nothing(ctx: &Ctx) {
    let (mut stopped, mut gone, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for call in Call::ALL {
        for at in [Point::Before, Point::Forwarded, Point::Answered] {
            let alone = ctx.alone_with_orphans();
            let task = format!("{call:?}-{at:?}").to_lowercase();
            let left = kill_at(ctx, &task, call, at, None);
            let begun = left
                .landed
                .map_or(left.died, |landed| landed.max(left.died));
            let (ran, stayed) = (since(left.ran, left.died), since(left.last, begun));
            if ran > STOPPED + BUSY || stayed >= GONE + BUSY {
                wrong.push(format!("{task}: ran for {ran:?}, was there for {stayed:?}"));
            }
            if left.landed.is_some() {
                stopped.push(ran);
                gone.push(stayed);
            }
            // The next case begins clean, and no other test finds what is left.
            for name in names(ctx) {
                ctx.run(&["rm", "--force", &name]);
            }
            drop(alone);
            assert!(wrong.len() < 3, "{}", wrong.join("\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // From attach on there is a container for certain.
    assert!(gone.len() >= 18, "only {} had a container", gone.len());
    stopped.sort_unstable();
    gone.sort_unstable();
    let (stopped, gone) = (stopped[stopped.len() / 2], gone[gone.len() / 2]);
    assert!(stopped <= STOPPED && gone <= GONE, "{stopped:?} {gone:?}");
}

fn names(ctx: &Ctx) -> Vec<String> {
    ctx.containers()
        .iter()
        .map(|container| container.name().to_owned())
        .collect()
}

fn nfr_020a_20_a_container_made_after_its_clients_death_goes_too(ctx: &Ctx) {
    let _alone = ctx.alone_with_orphans();
    let late = Duration::from_secs(5);
    let left = kill_at(ctx, "late", Call::Create, Point::Before, Some(late));
    let landed = left.landed.expect("it was never made");
    assert!(landed - left.died >= late);
    let stayed = since(left.last, landed);
    assert!(stayed < GONE + BUSY && names(ctx).is_empty(), "{stayed:?}");
}

/// Where a task is that does not end by itself, up to its start.
const TO_START: [Call; 7] = [
    Call::Ping,
    Call::Image,
    Call::Create,
    Call::Attach,
    Call::Wait,
    Call::Inspect,
    Call::Start,
];

fn nfr_020a_16_term_at_any_call_leaves_nothing(ctx: &Ctx) {
    for call in TO_START {
        for at in [Point::Before, Point::Forwarded, Point::Passed] {
            let mut task = format!("{call:?}-{at:?}").to_lowercase();
            let options = [&["--stop-timeout", "1s"][..], &MISSED].concat();
            let (_behind, run) = loop {
                let does = Does(at, vec![What::Send(Signal::SIGTERM)]);
                let mut behind = Behind::new(ctx, &task, &options, "exec sleep 1000", call, does);
                let run = behind.start().wait();
                if run.status != 124 || task.ends_with("-again-again") {
                    break (behind, run);
                }
                eprintln!(
                    "NOSIGNAL {task} hits={}\n{}\n{}",
                    behind.proxy.hits(),
                    behind.proxy.transcript(),
                    run.err()
                );
                task += "-again";
            };
            assert_eq!(run.status, 143, "{task}: {}", run.err());
            nothing_is_left(ctx, &task);
        }
    }
    // The task has ended by itself, and how is known.
    let does = Does(Point::Forwarded, vec![What::Send(Signal::SIGTERM)]);
    let mut behind = Behind::new(ctx, "remove", &[], "exit 7", Call::Remove, does);
    let run = behind.run();
    assert!(
        [7, 143].contains(&run.status),
        "{}: {}",
        run.status,
        run.err()
    );
    nothing_is_left(ctx, "at last");
}

fn nfr_020a_16_a_second_int_is_fast_and_leaves_nothing(ctx: &Ctx) {
    let stubborn = "trap '' INT TERM; while :; do sleep 1; done";
    for call in TO_START {
        let pause = What::Just(Action::Delay(Duration::from_millis(20)));
        let does = vec![
            What::Send(Signal::SIGINT),
            pause,
            What::Send(Signal::SIGINT),
        ];
        let task = format!("{call:?}").to_lowercase();
        let options = ["--stop-timeout", "1h"];
        let mut behind = Behind::new(
            ctx,
            &task,
            &options,
            stubborn,
            call,
            Does(Point::Passed, does),
        );
        let begun = Instant::now();
        let run = behind.run();
        assert_eq!(run.status, 130, "{task}: {}", run.err());
        assert!(begun.elapsed() < Duration::from_secs(30), "{task}");
        // A create that was given up lands later, and is the guard's, which needs the proxy for that.
        thread::sleep(LANDS);
        nothing_is_left(ctx, &task);
    }
}

fn answer(status: &str, body: &str) -> Action {
    let length = body.len();
    Action::Answer(
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes(),
    )
}

/// The task's own end, or an error with its code.
fn ends_well(run: &Run, what: &str) {
    let known = match run.status {
        7 => run.out() == "out\n" || run.err().contains("not complete"),
        125 => run.err().contains("ACODE-CTN-") || run.err().contains("not complete"),
        _ => false,
    };
    assert!(known, "{what}: {} {} {}", run.status, run.out(), run.err());
}

fn nfr_020a_18_broken_answers_are_errors_and_leave_nothing(ctx: &Ctx) {
    let huge = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 67108864\r\n\r\n";
    let cases = [
        (
            Call::Ping,
            Point::Before,
            vec![answer("503 Service Unavailable", "")],
        ),
        (Call::Image, Point::Answered, vec![Action::Cut(Cut::Body)]),
        (Call::Create, Point::Answered, vec![Action::Close]),
        (
            Call::Create,
            Point::Answered,
            vec![Action::Cut(Cut::After(1))],
        ),
        (Call::Create, Point::Before, vec![answer("201 Created", "")]),
        (Call::Attach, Point::Answered, vec![Action::Cut(Cut::Head)]),
        (Call::Attach, Point::Answered, vec![Action::Cut(Cut::Body)]),
        (
            Call::Wait,
            Point::Before,
            vec![answer("200 OK", "{\"StatusCode\":-1}")],
        ),
        (Call::Wait, Point::Answered, vec![Action::Cut(Cut::Body)]),
        (Call::Inspect, Point::Before, vec![answer("200 OK", "[")]),
        (
            Call::Start,
            Point::Before,
            vec![answer("409 Conflict", "{\"message\":\"made up\"}")],
        ),
        (Call::Start, Point::Answered, vec![Action::Close]),
        (
            Call::Start,
            Point::Before,
            vec![Action::Flood {
                head: huge.to_vec(),
                count: 64 << 20,
            }],
        ),
        (
            Call::Remove,
            Point::Before,
            vec![answer("500 Internal Server Error", "")],
        ),
        (Call::Remove, Point::Answered, vec![Action::Close]),
    ];
    for (number, (call, at, actions)) in cases.into_iter().enumerate() {
        let does = Does(at, actions.into_iter().map(What::Just).collect());
        let (task, script) = (format!("t{number}"), "echo out; exit 7");
        let mut behind = Behind::new(ctx, &task, &["--timeout", "60s"], script, call, does);
        let run = behind.run();
        ends_well(&run, &format!("{number}: {call:?} {at:?}"));
        nothing_is_left(ctx, &format!("{number}: {call:?} {at:?}"));
    }
}

fn nfr_020a_18_slow_and_silent_engines(ctx: &Ctx) {
    let slow: [fn() -> (Point, Action); 2] = [
        || (Point::Before, Action::Delay(Duration::from_millis(300))),
        || (Point::Answered, Action::Trickle),
    ];
    for (number, slow) in slow.iter().enumerate() {
        for call in [
            Call::Create,
            Call::Attach,
            Call::Wait,
            Call::Start,
            Call::Remove,
        ] {
            let (at, action) = slow();
            let does = Does(at, vec![What::Just(action)]);
            let task = format!("{call:?}-{number}").to_lowercase();
            let run = Behind::new(ctx, &task, &[], "echo out; exit 7", call, does).run();
            assert_eq!(
                (run.status, run.out()),
                (7, "out\n"),
                "{task}: {}",
                run.err()
            );
        }
    }
    let does = Does(Point::Forwarded, vec![What::Just(Action::Hang)]);
    let mut behind = Behind::new(ctx, "hang", &[], "true", Call::Image, does);
    let run = behind.run();
    run.expect_error("ACODE-CTN-");
    nothing_is_left(ctx, "at last");
}
