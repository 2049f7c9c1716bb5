//! Process 1 inside a task's container: it starts the task, feeds it, reaps, tells how it ended, and ends everything when its client is
//! gone. It is a mode of the same static program, bound into the container.
//!
//! - It reads [orders](crate::protocol::order) from its standard input, always: their end is its client's death, and then everything in the
//!   container is killed.
//! - It writes [records](crate::protocol::record) between the task's output.
//! - It cannot be traced or read by the task, has no descriptor that the task gets, and heeds signals only from outside.
//!
//! It is one thread and one loop over `poll`, without a runtime.

mod output;
mod prepare;
mod spawn;
mod supervise;
mod task_input;
mod terminal;
mod used;

use std::process::ExitCode;

/// The hidden word for process 1.
pub(crate) const INIT: &str = "__init";
/// The hidden word for its second stage, which becomes the task's main process.
pub(crate) const SPAWN: &str = "__spawn";

/// What process 1 ends with when it fails itself, which the task can make it do: no end that the client would take for the engine's.
const FAILED: u8 = 255;

/// Stands as process 1 until the task has ended.
pub(crate) fn run() -> ExitCode {
    match supervise::supervise() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("acode-rt: process 1 of the container cannot work: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// The second stage: becomes the command, or tells why not.
pub(crate) fn become_command(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    spawn::become_command(arguments)
}
