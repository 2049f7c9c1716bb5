//! What stands beside a task: our own process 1 inside, and the guard outside.

use std::fs;
use std::time::{Duration, Instant};

use acode_rt::engine::Engine;
use acode_rt::{Canceller, Outcome, Program, Runner, TaskIo};
use serde_json::json;

use crate::support::{Ctx, PROGRAM, block_on, tests};

tests![
    nfr_020a_17_a_dropped_future_leaves_nothing_with_a_guard,
    nfr_020a_17_a_dropped_future_leaves_nothing_without_one,
    a_container_that_is_dropped_is_removed,
    the_receipt_says_what_stood_beside_the_task,
    the_guard_has_nothing_of_our_environment,
    the_task_cannot_reach_process_1,
    a_thousand_orphans_are_reaped,
    a_signal_is_told_apart_from_an_exit_code,
    what_the_task_leaves_running_ends_with_it,
    output_that_looks_like_a_record_is_output,
    a_terminal_is_a_terminal,
    a_program_that_the_engine_does_not_see_is_done_without,
    what_the_engine_refuses_for_another_reason_is_not_held_against_process_1,
    a_command_that_is_too_long_is_refused_before_anything_is_created,
];

/// Runs a task and drops it at that instant, with the runtime.
fn drop_after(ctx: &Ctx, task: &str, instant: Duration, guarded: bool) {
    let spec = ctx.spec(task, "exec sleep 1000");
    block_on(async {
        let runner = if guarded {
            let program = Program::at(PROGRAM).unwrap();
            Runner::connect(&ctx.target.host, &program).await.unwrap()
        } else {
            Runner::new(Engine::connect(&ctx.target.host).await.unwrap())
        };
        let canceller = Canceller::new();
        let run = runner.run(spec, TaskIo::default(), &canceller);
        let ended = tokio::time::timeout(instant, run).await;
        assert!(ended.is_err(), "{task} ended: {ended:?}");
    });
}

fn dropped_futures_leave_nothing(ctx: &Ctx, guarded: bool) {
    for step in 0..25 {
        drop_after(
            ctx,
            &format!("t{step}"),
            Duration::from_millis(step * 9),
            guarded,
        );
    }
    drop_after(ctx, "late", Duration::from_millis(900), guarded);
    let since = Instant::now();
    while !ctx.containers().is_empty() {
        let names: Vec<String> = ctx
            .containers()
            .iter()
            .map(|c| c.name().to_owned())
            .collect();
        assert!(since.elapsed() < Duration::from_secs(20), "left: {names:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    // One whose create was abandoned could still turn up.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(ctx.containers().len(), 0);
}

fn nfr_020a_17_a_dropped_future_leaves_nothing_with_a_guard(ctx: &Ctx) {
    dropped_futures_leave_nothing(ctx, true);
}

fn nfr_020a_17_a_dropped_future_leaves_nothing_without_one(ctx: &Ctx) {
    dropped_futures_leave_nothing(ctx, false);
}

fn a_container_that_is_dropped_is_removed(ctx: &Ctx) {
    for keep in [false, true] {
        let mut spec = ctx.spec(if keep { "kept" } else { "dropped" }, "exec sleep 1000");
        spec.keep = keep;
        ctx.with_engine(async |engine| {
            let container = acode_rt::TaskContainer::create(&engine, spec)
                .await
                .unwrap();
            container.start().await.unwrap();
        });
    }
    let since = Instant::now();
    while ctx.containers().len() > 1 {
        assert!(since.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(ctx.containers()[0].name().ends_with("-kept"));
    ctx.run(&["rm", "--force", &format!("{}/kept", ctx.session)])
        .expect(0);
}

fn the_receipt_says_what_stood_beside_the_task(ctx: &Ctx) {
    let (run, receipt) = ctx.sh_receipt(&[], "exit 0");
    run.expect(0);
    let helpers = &receipt["helpers"];
    assert_eq!(helpers["guard"], true);
    if ctx.has_own_init() {
        assert_eq!(*helpers, json!({"init": "acode-rt", "guard": true}));
        assert_eq!(receipt["evidence"]["init"], json!({"exited": 0}));
    } else {
        assert_eq!(helpers["init"], "engine");
        assert!(
            helpers["because"].as_str().unwrap().contains("engine"),
            "{helpers}"
        );
    }
}

/// Whoever could read its memory could forge its records; whoever could kill it could hide how the task ended.
fn the_guard_has_nothing_of_our_environment(ctx: &Ctx) {
    let mut program = ctx.exec_program(&["-i", "-e", "TOKEN"], &["sh", "-c", "echo ready; cat"]);
    program
        .env("TOKEN", "a secret of the client's")
        .stdin(std::process::Stdio::piped());
    let running = crate::running::Running::start(&mut program);
    running.stdout.until(b"ready\n");
    let guard = running.guard().expect("a guard");
    let environment = fs::read(format!("/proc/{guard}/environ")).unwrap();
    // What there is may be secret, so only how much of it is said.
    assert_eq!(environment.len(), 0);
    let words = fs::read_to_string(format!("/proc/{guard}/cmdline")).unwrap();
    assert!(!words.contains("secret"));
    running.finish().expect(0);
}

fn the_task_cannot_reach_process_1(ctx: &Ctx) {
    if !ctx.has_own_init() {
        return ctx.ignored.set(Some("process 1 is the engine's"));
    }
    let run = ctx.sh(
        &[],
        "for file in environ mem maps fd/0 fd/1 cwd root exe; do
           head -c 1 /proc/1/$file >/dev/null 2>&1 && echo reads $file
           ls -l /proc/1/$file 2>/dev/null | grep -q -- '->' && echo follows $file
         done
         ls /proc/1/fd 2>/dev/null && echo lists
         for signal in KILL STOP TERM INT HUP QUIT SEGV ABRT USR1 CHLD; do kill -$signal 1; done
         sleep 0.3
         echo still here
         exit 9",
    );
    assert_eq!(run.expect(9).out(), "still here\n");
}

/// Row of orphans whose parents ended before them: nobody but process 1 takes note of their end.
fn a_thousand_orphans_are_reaped(ctx: &Ctx) {
    let run = ctx.sh(
        &["--timeout", "100s"],
        "i=0; while [ $i -lt 1000 ]; do (true & true) ; i=$((i+1)); done; sleep 0.2
         grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l; exit 3",
    );
    assert_eq!(run.expect(3).out().trim(), "0");
}

fn a_signal_is_told_apart_from_an_exit_code(ctx: &Ctx) {
    let (run, receipt) = ctx.sh_receipt(&[], "kill -SEGV $$");
    run.expect(139);
    let expected = if ctx.has_own_init() {
        json!({"kind": "signaled", "signal": 11})
    } else {
        json!({"kind": "exited", "code": 139})
    };
    assert_eq!(receipt["outcome"], expected);
    let (run, receipt) = ctx.sh_receipt(&[], "exit 139");
    run.expect(139);
    assert_eq!(receipt["outcome"], json!({"kind": "exited", "code": 139}));
}

fn what_the_task_leaves_running_ends_with_it(ctx: &Ctx) {
    let since = Instant::now();
    let (run, receipt) = ctx.sh_receipt(
        &[],
        "setsid sh -c 'trap \"\" TERM; sleep 1000' & echo started; exit 4",
    );
    assert_eq!(run.expect(4).out(), "started\n");
    assert_eq!(receipt["output"]["complete"], true);
    assert!(since.elapsed() < Duration::from_secs(20));
}

fn output_that_looks_like_a_record_is_output(ctx: &Ctx) {
    let (run, receipt) = ctx.sh_receipt(
        &[],
        r"printf '\036%024dc%016d\036\036' 0 0; printf '\036\036abc\036' >&2",
    );
    let run = run.expect(0);
    let expected = format!("\u{1e}{:024}c{:016}\u{1e}\u{1e}", 0, 0);
    assert_eq!(
        (run.out(), run.err()),
        (expected.as_str(), "\u{1e}\u{1e}abc\u{1e}")
    );
    assert_eq!(receipt["output"]["stderr_bytes"], 6);
}

fn a_terminal_is_a_terminal(ctx: &Ctx) {
    let script = "test -t 0 && test -t 1 && test -t 2 && echo yes $TERM; stty size; exit 6";
    if !ctx.has_own_init() {
        let run = ctx.sh(&["-t"], script).expect_error("ACODE-CTN-015");
        assert!(run.err().contains("terminal"), "{}", run.err());
        return;
    }
    let run = ctx.sh(&["-t"], script).expect(6);
    assert_eq!(run.out(), "yes xterm\r\n24 80\r\n");
}

/// As for a client in another root directory: the engine cannot bind what it does not see.
fn a_program_that_the_engine_does_not_see_is_done_without(ctx: &Ctx) {
    if ctx.target.is_podman() || ctx.target.plain {
        return ctx.ignored.set(Some("nothing of ours is bound here"));
    }
    let copy = ctx.file("program");
    // Written by another process: a child that another test starts meanwhile would hold it open, and it could not be executed.
    let copied = std::process::Command::new("cp")
        .args([PROGRAM, &copy])
        .status();
    assert!(copied.unwrap().success());
    let program = Program::at(&copy).unwrap();
    assert!(program.init().is_ok());
    let spec = |task| ctx.spec(task, "exit 5");
    ctx.with_engine(async |engine| {
        let runner = Runner::with_program(engine, &program).await.unwrap();
        let canceller = Canceller::new();
        let seen = runner
            .run(spec("seen"), TaskIo::default(), &canceller)
            .await
            .unwrap();
        assert_eq!(
            (seen.helpers.init, seen.outcome),
            ("acode-rt", Outcome::Exited { code: 5 })
        );
        fs::remove_file(&copy).unwrap();
        for task in ["unseen", "remembered"] {
            let receipt = runner
                .run(spec(task), TaskIo::default(), &canceller)
                .await
                .unwrap();
            assert_eq!(
                (receipt.helpers.init, receipt.outcome),
                ("engine", Outcome::Exited { code: 5 })
            );
            assert!(receipt.helpers.because.is_some() && receipt.removed);
        }
    });
}

fn what_the_engine_refuses_for_another_reason_is_not_held_against_process_1(ctx: &Ctx) {
    if !ctx.has_own_init() {
        return ctx.ignored.set(Some("process 1 is the engine's"));
    }
    let program = Program::at(PROGRAM).unwrap();
    ctx.with_engine(async |engine| {
        let runner = Runner::with_program(engine, &program).await.unwrap();
        let canceller = Canceller::new();
        let mut refused = ctx.spec("refused", "exit 0");
        refused.log = Some(acode_rt::model::LogConfig {
            driver: "no-such-driver".into(),
            ..Default::default()
        });
        let refused = runner.run(refused, TaskIo::default(), &canceller).await;
        assert!(refused.is_err() || refused.unwrap().status == 125);
        let next = runner
            .run(ctx.spec("next", "exit 5"), TaskIo::default(), &canceller)
            .await
            .unwrap();
        assert_eq!((next.helpers.init, next.status), ("acode-rt", 5));
    });
}

fn a_command_that_is_too_long_is_refused_before_anything_is_created(ctx: &Ctx) {
    let long = "x".repeat(128 * 1024);
    let run = ctx
        .sh(&["-e", &format!("A={}", &long[..100_000])], "echo ${#A}")
        .expect(0);
    assert_eq!(run.out(), "100000\n");
    let mut program = ctx.exec_program(&["--env-file", &ctx.file("env")], &["true"]);
    fs::write(ctx.file("env"), format!("A={long}\n")).unwrap();
    let run = crate::running::Running::start(&mut program)
        .finish()
        .expect_error("ACODE-CTN-015");
    assert!(run.err().contains("131071"), "{}", run.err());
}
