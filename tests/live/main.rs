//! The whole of it on real engines: every test once for each engine.
//!
//! `ACODE_TEST_ENGINES` names the engines, `unix:///PATH` separated by spaces; without it the one that `acode-rt` finds is used.
//! Where none answers, every test is ignored.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod behind;
mod bounds;
mod cis;
mod commands;
mod config;
mod ending;
mod exec;
#[path = "../support/fault_proxy.rs"]
mod fault_proxy;
mod faults;
mod files;
mod foreign;
mod helpers;
mod hostile_files;
mod isolation;
mod library;
mod limits;
mod load;
mod mounts;
mod names;
mod orphans;
mod ownership;
mod probe;
mod protections;
mod receipt;
mod running;
mod scenarios;
mod secrets;
mod streams;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use support::{Ctx, Target, Test};

/// Engines serve a few tasks at once well; with many the machine is what is tested.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let targets = Target::find_all();
    let tests = [
        load::TESTS,
        scenarios::TESTS,
        exec::TESTS,
        receipt::TESTS,
        streams::TESTS,
        isolation::TESTS,
        probe::TESTS,
        cis::TESTS,
        protections::TESTS,
        helpers::TESTS,
        limits::TESTS,
        mounts::TESTS,
        secrets::TESTS,
        bounds::TESTS,
        audit::TESTS,
        ending::TESTS,
        faults::TESTS,
        files::TESTS,
        hostile_files::TESTS,
        names::TESTS,
        commands::TESTS,
        config::TESTS,
        foreign::TESTS,
        orphans::TESTS,
        ownership::TESTS,
        library::TESTS,
    ];
    let mut trials = Vec::new();
    for test in tests.into_iter().flatten() {
        for target in &targets {
            let (name, target) = (
                format!("{}::{}", target.name, test.name),
                Arc::clone(target),
            );
            trials.push(Trial::ignorable_test(name, move || run(target, test)));
        }
        if targets.is_empty() {
            let never = || Err(Failed::from("no engine answers"));
            trials.push(
                Trial::test(format!("no-engine::{}", test.name), never).with_ignored_flag(true),
            );
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Runs a test in a session of its own, and looks at what is left of it.
fn run(target: Arc<Target>, test: &Test) -> Result<Completion, Failed> {
    let ctx = Ctx::new(target);
    let ended = catch_unwind(AssertUnwindSafe(|| (test.run)(&ctx)));
    let left = ctx.clean_up();
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
    if !left.is_empty() {
        return Err(format!("left behind: {}", left.join(", ")).into());
    }
    Ok(ctx
        .ignored
        .take()
        .map_or(Completion::Completed, Completion::ignored_with))
}
