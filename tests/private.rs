//! What the program does when its engine is killed, frozen, restarted or full, and when our own disk is: each test has an engine of its own.
//!
//! Where this machine cannot start one, or no engine is wanted (`ACODE_TEST_ENGINES` is empty), every test is ignored.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "live/running.rs"]
#[expect(dead_code, reason = "nothing here speaks to a task")]
mod running;

mod support {
    pub(crate) mod private_engine;

    /// No run of the program takes so long.
    pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
}

use std::env;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use running::{Run, Running};
use serde_json::{Value, json};
use support::private_engine::{IMAGE, PrivateEngine, fill, wait_until};

/// What a task prints when it runs.
const READY: &[u8] = b"ready\n";
/// A task that an engine's death may hit.
const SEVEN: &str = "echo ready; sleep 3; exit 7";
const LONG: &str = "echo ready; sleep 60; exit 7";
const IGNORES: &str = "trap '' TERM; echo ready; sleep 60 & wait; sleep 60";
const OBEYS: &str = "trap 'exit 0' TERM; echo ready; sleep 60 & wait";
/// The engine answers again; what is under way has to settle.
const SETTLED: Duration = Duration::from_secs(20);
/// One call and a little.
const ASK: Duration = Duration::from_secs(12);
/// A few calls, one after the other, of which none is answered, and the removal, which has 30 s of its own.
const CALLS: Duration = Duration::from_secs(80);
/// After it a lost engine is given up.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// The engine's disk, for tests that fill it.
const DISK: u64 = 48 << 20;
type Test = (&'static str, fn(&mut PrivateEngine));

macro_rules! tests {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), $name as fn(&mut PrivateEngine))),*] };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They mostly wait; many more at once would only measure the machine.
    arguments.test_threads.get_or_insert(4);
    let unwanted = env::var("ACODE_TEST_ENGINES").is_ok_and(|engines| engines.trim().is_empty());
    let unwanted = unwanted.then(|| "no engine is wanted".to_owned());
    let impossible = unwanted.or_else(PrivateEngine::impossible);
    if let Some(reason) = &impossible {
        eprintln!("not tested: {reason}");
    }
    let unlimited = tests![
        a_frozen_engine_is_an_error_before_anything_is_created,
        an_engine_that_freezes_at_create_is_an_error_and_nothing_is_left,
        a_task_survives_an_engine_that_freezes_for_a_moment,
        an_engine_that_stays_frozen_does_not_stop_the_deadline,
        an_engine_that_stays_frozen_is_noticed_without_a_deadline,
        nfr_020a_18_a_killed_engine_that_is_back_late_gives_the_true_code_or_is_lost,
        nfr_020a_18_a_killed_engine_that_is_back_at_once_makes_no_code_up,
        nfr_020a_18_a_killed_engine_that_stays_away_is_lost,
        nfr_020a_20_many_tasks_of_a_killed_engine_leave_nothing,
        nfr_020a_18_a_stopped_engine_is_not_the_end_of_the_task,
        output_that_does_not_fit_is_an_error,
        a_log_file_that_does_not_fit_is_an_error,
        a_receipt_that_does_not_fit_is_an_error,
    ];
    let limited = tests![
        an_engine_whose_disk_is_full_says_so_and_works_once_it_is_not,
        nfr_020a_18_a_disk_that_fills_up_does_not_change_the_outcome,
    ];
    let trial = |(name, test): Test, disk| {
        let impossible = impossible.clone();
        Trial::ignorable_test(name, move || match impossible {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => run(test, disk),
        })
    };
    let unlimited = unlimited.map(|test| trial(test, None));
    let limited = limited.map(|test| trial(test, Some(DISK)));
    libtest_mimic::run(&arguments, unlimited.into_iter().chain(limited).collect()).exit_code()
}

/// A test with its engine, which it leaves running, thawed and empty.
fn run(test: fn(&mut PrivateEngine), disk: Option<u64>) -> Result<Completion, Failed> {
    let mut engine = PrivateEngine::start(disk);
    let ended = catch_unwind(AssertUnwindSafe(|| test(&mut engine)));
    let left = engine.take_apart();
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
    if left.is_empty() {
        Ok(Completion::Completed)
    } else {
        Err(format!("left behind: {}", left.join(", ")).into())
    }
}

fn program(engine: &PrivateEngine) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acode-rt"));
    command.env_remove("ACODE_SESSION").env_remove("ACODE_TASK");
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    command.arg("--host").arg(engine.socket());
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A shell script as a task, whose receipt goes to `receipt` in the engine's directory.
fn exec(engine: &PrivateEngine, receipt: &str, options: &[&str], script: &str) -> Command {
    let mut program = program(engine);
    program.args(["exec", "--image", IMAGE, "--receipt"]);
    program.arg(engine.path(receipt)).args(options);
    program.args(["--", "sh", "-c", script]);
    program
}

/// One that runs and has printed `ready`.
fn start(engine: &PrivateEngine, receipt: &str, options: &[&str], script: &str) -> Running {
    let running = Running::start(&mut exec(engine, receipt, options, script));
    running.stdout.until(READY);
    running
}

fn finish(mut command: Command) -> Run {
    Running::start(&mut command).finish()
}

fn receipt(engine: &PrivateEngine, name: &str) -> Value {
    serde_json::from_slice(&fs::read(engine.path(name)).unwrap()).unwrap()
}

/// The task ended with 7, or it is said that nobody knows.
#[track_caller]
fn true_code_or_lost(run: &Run, receipt: &Value) {
    assert_eq!(receipt["status"], run.status, "{receipt}");
    match run.status {
        7 => assert_eq!(receipt["outcome"], json!({ "kind": "exited", "code": 7 })),
        _ => lost(run, receipt),
    }
}

#[track_caller]
fn lost(run: &Run, receipt: &Value) {
    let outcome = (run.status, receipt["outcome"]["kind"].as_str());
    assert_eq!(
        outcome,
        (125, Some("engine_lost")),
        "{receipt}\n{}",
        run.err()
    );
    assert_eq!(receipt["status"], 125, "{receipt}");
    assert!(run.err().contains("ACODE-CTN-014"), "{}", run.err());
    assert!(run.err().contains("engine"), "{}", run.err());
}

#[track_caller]
fn within(most: Duration, begun: Instant) {
    assert!(begun.elapsed() < most, "it took {:?}", begun.elapsed());
}

/// An engine that answers has nothing of ours, without another start or clean-up of ours.
#[track_caller]
fn nothing_left(engine: &PrivateEngine) {
    let empty = wait_until(SETTLED, || engine.contents().is_empty());
    assert!(empty, "left behind: {}", engine.contents().join(", "));
}

/// The same after a clean-up: what an engine kept that we could not reach is an orphan by now.
#[track_caller]
fn nothing_left_after_cleanup(engine: &PrivateEngine) {
    let mut cleanup = program(engine);
    cleanup.arg("cleanup");
    finish(cleanup).expect(0);
    nothing_left(engine);
    works(engine);
}

#[track_caller]
fn works(engine: &PrivateEngine) {
    finish(exec(engine, "works", &[], "exit 6")).expect(6);
}

/// What was asked of a frozen engine is done now: also a create whose client has given it up.
#[track_caller]
fn thawed(engine: &PrivateEngine) {
    engine.thaw();
    sleep(Duration::from_secs(2));
    nothing_left(engine);
    works(engine);
}

fn a_frozen_engine_is_an_error_before_anything_is_created(engine: &mut PrivateEngine) {
    engine.freeze();
    let begun = Instant::now();
    let run = finish(exec(engine, "receipt", &[], "exit 7")).expect_error("ACODE-CTN-008");
    within(ASK, begun);
    let socket = engine.socket();
    assert!(
        run.err().contains(socket.to_str().unwrap()),
        "{}",
        run.err()
    );
    assert!(run.err().contains("engine did not answer"), "{}", run.err());
    assert_eq!(receipt(engine, "receipt")["outcome"]["kind"], "not_run");
    thawed(engine);
}

fn an_engine_that_freezes_at_create_is_an_error_and_nothing_is_left(engine: &mut PrivateEngine) {
    let running = Running::start(&mut exec(engine, "receipt", &["-v"], LONG));
    running.stderr.until(b"creating container");
    engine.freeze();
    let begun = Instant::now();
    let run = running.wait().expect(125);
    within(CALLS, begun);
    assert!(run.err().contains("engine did not answer"), "{}", run.err());
    // Whether the create arrived is not known yet.
    assert_ne!(receipt(engine, "receipt")["removed"], true);
    thawed(engine);
}

fn a_task_survives_an_engine_that_freezes_for_a_moment(engine: &mut PrivateEngine) {
    let running = start(engine, "receipt", &[], SEVEN);
    engine.freeze();
    // The task ends meanwhile, and no call has run out of time yet.
    sleep(Duration::from_secs(6));
    engine.thaw();
    running.wait().expect(7);
    let receipt = receipt(engine, "receipt");
    assert_eq!(receipt["outcome"], json!({ "kind": "exited", "code": 7 }));
    assert_eq!(receipt["output"]["complete"], true, "{receipt}");
    nothing_left(engine);
}

fn an_engine_that_stays_frozen_does_not_stop_the_deadline(engine: &mut PrivateEngine) {
    let running = start(engine, "receipt", &["--timeout", "2s"], LONG);
    stays_frozen(engine, running);
}

fn an_engine_that_stays_frozen_is_noticed_without_a_deadline(engine: &mut PrivateEngine) {
    let running = start(engine, "receipt", &[], SEVEN);
    stays_frozen(engine, running);
}

fn stays_frozen(engine: &PrivateEngine, running: Running) {
    engine.freeze();
    let begun = Instant::now();
    let run = running.wait();
    within(CALLS, begun);
    let receipt = receipt(engine, "receipt");
    lost(&run, &receipt);
    assert_eq!(receipt["removed"], false, "{receipt}");
    thawed(engine);
}

fn nfr_020a_18_a_killed_engine_that_is_back_late_gives_the_true_code_or_is_lost(
    engine: &mut PrivateEngine,
) {
    let running = start(engine, "receipt", &[], SEVEN);
    engine.kill_hard();
    // The task ends meanwhile.
    sleep(Duration::from_secs(5));
    engine.start_again();
    true_code_or_lost(&running.wait(), &receipt(engine, "receipt"));
    nothing_left_after_cleanup(engine);
}

/// An engine that starts ends what it finds running, as one that stops does.
fn nfr_020a_18_a_killed_engine_that_is_back_at_once_makes_no_code_up(engine: &mut PrivateEngine) {
    let tasks = [("obeys", OBEYS), ("dies", SEVEN)];
    let tasks = tasks.map(|(name, script)| (name, start(engine, name, &[], script)));
    engine.kill_hard();
    engine.start_again();
    for (name, task) in tasks {
        true_code_or_lost(&task.wait(), &receipt(engine, name));
    }
    nothing_left_after_cleanup(engine);
}

fn nfr_020a_18_a_killed_engine_that_stays_away_is_lost(engine: &mut PrivateEngine) {
    let running = start(engine, "receipt", &[], SEVEN);
    engine.kill_hard();
    let begun = Instant::now();
    let run = running.wait();
    let receipt = receipt(engine, "receipt");
    lost(&run, &receipt);
    assert_eq!(receipt["removed"], false, "{receipt}");
    let ended = begun.elapsed();
    engine.start_again();
    nothing_left_after_cleanup(engine);
    assert!(ended < GIVEN_UP, "it took {ended:?}");
}

fn nfr_020a_20_many_tasks_of_a_killed_engine_leave_nothing(engine: &mut PrivateEngine) {
    let names: Vec<String> = (0..8).map(|number| format!("receipt-{number}")).collect();
    let tasks: Vec<Running> = names
        .iter()
        .map(|name| start(engine, name, &[], SEVEN))
        .collect();
    engine.kill_hard();
    engine.start_again();
    for (name, task) in names.iter().zip(tasks) {
        true_code_or_lost(&task.wait(), &receipt(engine, name));
    }
    nothing_left_after_cleanup(engine);
}

/// An engine that is told to end tells its containers first: what they make of it is not the task's own end.
fn nfr_020a_18_a_stopped_engine_is_not_the_end_of_the_task(engine: &mut PrivateEngine) {
    let tasks = [("obeys", OBEYS), ("ignores", IGNORES), ("dies", LONG)];
    let tasks = tasks.map(|(name, script)| (name, start(engine, name, &[], script)));
    engine.stop_gracefully();
    engine.start_again();
    for (name, task) in tasks {
        lost(&task.wait(), &receipt(engine, name));
    }
    nothing_left_after_cleanup(engine);
}

fn an_engine_whose_disk_is_full_says_so_and_works_once_it_is_not(engine: &mut PrivateEngine) {
    works(engine);
    engine.fill_disk();
    let run = finish(exec(engine, "receipt", &[], "exit 7")).expect(125);
    assert!(
        run.err().contains("no space left on device"),
        "{}",
        run.err()
    );
    assert_eq!(receipt(engine, "receipt")["status"], 125);
    engine.free_disk();
    nothing_left(engine);
    works(engine);
}

fn nfr_020a_18_a_disk_that_fills_up_does_not_change_the_outcome(engine: &mut PrivateEngine) {
    let script = "echo ready; sleep 2; head -c 4000000 /dev/zero; exit 7";
    let running = start(engine, "receipt", &[], script);
    engine.fill_disk();
    let run = running.wait();
    true_code_or_lost(&run, &receipt(engine, "receipt"));
    let receipt = receipt(engine, "receipt");
    // What the engine's log has no room for went to us all the same.
    if receipt["output"]["complete"] == true {
        assert_eq!(run.stdout.len(), READY.len() + 4_000_000);
    }
    engine.free_disk();
    nothing_left_after_cleanup(engine);
}

/// What prints more than fits, ends with 0, and what would go on for ever.
const PRINTERS: [&str; 2] = ["yes | head -c 1000000", "yes"];
/// A disk of our own, without a free byte.
fn full_disk(engine: &PrivateEngine) {
    engine.mount_tmpfs("tiny", 64 << 10);
    fill(&engine.path("tiny/filler"));
}

/// It failed, said why, and the container is gone.
#[track_caller]
fn not_written(engine: &PrivateEngine, command: Command, what: &str) {
    let run = finish(command).expect_error("ACODE-CTN-018");
    assert!(
        run.err().contains("No space left on device"),
        "{}",
        run.err()
    );
    assert!(run.err().contains(what), "{}", run.err());
    assert!(engine.contents().is_empty(), "{:?}", engine.contents());
}

/// That, and the receipt says so too.
#[track_caller]
fn output_lost(engine: &PrivateEngine, command: Command, what: &str) {
    not_written(engine, command, what);
    let receipt = receipt(engine, "receipt");
    assert_eq!(receipt["status"], 125, "{receipt}");
    assert_eq!(receipt["removed"], true, "{receipt}");
    assert_eq!(receipt["output"]["complete"], false, "{receipt}");
}

fn output_that_does_not_fit_is_an_error(engine: &mut PrivateEngine) {
    full_disk(engine);
    for stdout in [Path::new("/dev/full"), &engine.path("tiny/stdout")] {
        for script in PRINTERS {
            let mut program = exec(engine, "receipt", &[], script);
            program.stdout(File::create(stdout).unwrap());
            output_lost(engine, program, "standard output");
        }
    }
}

fn a_log_file_that_does_not_fit_is_an_error(engine: &mut PrivateEngine) {
    full_disk(engine);
    let log = engine.path("tiny/log").to_str().unwrap().to_owned();
    for script in PRINTERS {
        let program = exec(engine, "receipt", &["--log-file", &log], script);
        output_lost(engine, program, "log file");
    }
}

fn a_receipt_that_does_not_fit_is_an_error(engine: &mut PrivateEngine) {
    full_disk(engine);
    let program = exec(engine, "tiny/receipt", &[], "true");
    not_written(engine, program, "tiny/receipt");
    // Half a receipt would be taken for one.
    assert!(!engine.path("tiny/receipt").exists());
}
