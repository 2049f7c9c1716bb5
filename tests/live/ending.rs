//! How a task is ended from outside: deadline, signals, somebody else.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::running::Running;
use crate::support::{Ctx, tests};

tests![
    a_deadline_kills_the_task,
    a_deadline_far_away_changes_nothing,
    fr_020a_17_term_and_int_end_the_task_gracefully,
    fr_020a_62_a_task_that_ignores_term_is_killed_after_the_grace_period,
    a_second_signal_kills_at_once,
    a_signal_before_the_task_begins_leaves_nothing,
    a_task_that_handles_term_gets_to_say_its_last_words,
    a_container_removed_by_somebody_else_is_no_success,
    background_processes_do_not_outlive_the_task,
];

const FOREVER: &str = "echo ready; while :; do sleep 1; done";
const STUBBORN: &str = "trap '' TERM; echo ready; while :; do sleep 1; done";

/// As `start`, with a receipt.
fn start(ctx: &Ctx, options: &[&str], script: &str) -> Running {
    ctx.start(
        &[&["--receipt", &ctx.file("receipt")], options].concat(),
        script,
    )
}

fn receipt(ctx: &Ctx) -> Value {
    serde_json::from_slice(&std::fs::read(ctx.file("receipt")).unwrap()).unwrap()
}

fn a_deadline_kills_the_task(ctx: &Ctx) {
    for script in [FOREVER, STUBBORN] {
        let run = start(ctx, &["--timeout", "1s"], script).wait().expect(124);
        assert!(
            run.err().contains("ACODE-CTN-013") && run.err().contains("1000 ms"),
            "{}",
            run.err()
        );
        let receipt = receipt(ctx);
        assert_eq!(
            receipt["outcome"],
            json!({ "kind": "deadline", "after_ms": 1000 })
        );
        assert_eq!(
            (&receipt["evidence"]["signals"], &receipt["removed"]),
            (&json!(["KILL"]), &true.into())
        );
        let ran = receipt["phases_ms"]["run"].as_f64().unwrap();
        assert!((1000.0..30_000.0).contains(&ran), "{ran} ms");
        assert_eq!(ctx.containers().len(), 0);
    }
}

fn a_deadline_far_away_changes_nothing(ctx: &Ctx) {
    ctx.exec(&["--timeout", "1h"], &["true"]).expect(0);
}

fn fr_020a_17_term_and_int_end_the_task_gracefully(ctx: &Ctx) {
    for (signal, status) in [
        (Signal::SIGTERM, 143),
        (Signal::SIGINT, 130),
        (Signal::SIGHUP, 129),
    ] {
        let running = start(ctx, &[], FOREVER);
        running.signal(signal);
        running.wait().expect(status);
        let receipt = receipt(ctx);
        assert_eq!(
            receipt["outcome"],
            json!({ "kind": "cancelled", "by": "stop" })
        );
        assert_eq!(
            (&receipt["evidence"]["signals"], &receipt["status"]),
            (&json!(["TERM"]), &status.into())
        );
        assert_eq!(ctx.containers().len(), 0);
    }
}

fn fr_020a_62_a_task_that_ignores_term_is_killed_after_the_grace_period(ctx: &Ctx) {
    let running = start(ctx, &["--stop-timeout", "1s"], STUBBORN);
    running.signal(Signal::SIGTERM);
    running.wait().expect(143);
    let receipt = receipt(ctx);
    assert_eq!(
        (&receipt["evidence"]["signals"], &receipt["removed"]),
        (&json!(["TERM", "KILL"]), &true.into())
    );
    assert!(
        receipt["phases_ms"]["run"].as_f64().unwrap() >= 1000.0,
        "{receipt}"
    );
}

fn a_second_signal_kills_at_once(ctx: &Ctx) {
    // The grace period is longer than a test may take.
    let running = start(ctx, &["--stop-timeout", "1h", "-v"], STUBBORN);
    running.signal(Signal::SIGTERM);
    running.stderr.until(b"signal=\"TERM\"");
    running.signal(Signal::SIGINT);
    running.wait().expect(143);
    assert_eq!(receipt(ctx)["evidence"]["signals"], json!(["TERM", "KILL"]));
}

fn a_signal_before_the_task_begins_leaves_nothing(ctx: &Ctx) {
    for moment in ["connected", "creating container"] {
        let running = Running::start(&mut ctx.exec_program(&["-v"], &["sleep", "60"]));
        running.stderr.until(moment.as_bytes());
        running.signal(Signal::SIGTERM);
        running.wait().expect(143);
        assert_eq!(ctx.containers().len(), 0, "{moment}");
    }
}

fn a_task_that_handles_term_gets_to_say_its_last_words(ctx: &Ctx) {
    let script = "trap 'echo last words; exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    let running = ctx.start(&[], script);
    running.signal(Signal::SIGTERM);
    let run = running.wait().expect(143);
    assert_eq!(run.out(), "ready\nlast words\n");
}

fn a_container_removed_by_somebody_else_is_no_success(ctx: &Ctx) {
    let running = start(ctx, &["--task", "t"], FOREVER);
    ctx.run(&["rm", "--force", &format!("{}/t", ctx.session)])
        .expect(0);
    let run = running.wait();
    // It depends on the moment whether its end or its absence is seen first; Podman's force begins with TERM.
    assert!([137, 125, 143].contains(&run.status), "{}", run.status);
    let receipt = receipt(ctx);
    assert!(
        ["exited", "unknown"].contains(&receipt["outcome"]["kind"].as_str().unwrap()),
        "{receipt}"
    );
    assert_eq!(receipt["removed"], true);
}

fn background_processes_do_not_outlive_the_task(ctx: &Ctx) {
    let (run, receipt) = ctx.sh_receipt(&[], "sleep 1000 & sleep 1000 >/dev/null 2>&1 & exit 6");
    run.expect(6);
    assert_eq!(receipt["output"]["complete"], true);
}
