//! How the task's main process is made, in two stages: a child of process 1 would inherit its blocked signals, so the child is this
//! program again, which unblocks them, makes a session of its own, and becomes the command.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::SigSet;

use super::SPAWN;

/// The task's side of its standard streams; output that is `None` is ours.
pub(super) struct Streams {
    pub(super) input: Stdio,
    /// Both output streams.
    pub(super) terminal: Option<(Stdio, Stdio)>,
}

/// What was started: its process id, and where an error number arrives if it does not become the command. Nothing arrives if it does.
pub(super) struct Spawned {
    pub(super) pid: i32,
    pub(super) failure: File,
}

/// Starts the second stage for `command`.
pub(super) fn spawn(
    command: &[OsString],
    variables: &[(OsString, OsString)],
    streams: Streams,
) -> io::Result<Spawned> {
    // Inherited by the second stage, which closes it when it has another that its command does not inherit.
    let (failure, report) = rustix::pipe::pipe()?;
    rustix::io::fcntl_setfd(&failure, rustix::io::FdFlags::CLOEXEC)?;
    let mut stage = Command::new("/proc/self/exe");
    stage
        .arg0("acode-rt")
        .arg(SPAWN)
        .arg(report.as_raw_fd().to_string())
        .arg(if streams.terminal.is_some() {
            "terminal"
        } else {
            "pipes"
        })
        .args(command)
        .envs(variables.iter().map(|(key, value)| (key, value)))
        .stdin(streams.input);
    if let Some((stdout, stderr)) = streams.terminal {
        stage.stdout(stdout).stderr(stderr);
    }
    // The first process is waited for together with all others.
    let child = stage.spawn()?;
    Ok(Spawned {
        pid: child.id().cast_signed(),
        failure: failure.into(),
    })
}

pub(super) fn become_command(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let report = arguments
        .next()
        .and_then(|number| number.to_str()?.parse::<i32>().ok());
    let terminal = arguments.next().is_some_and(|kind| kind == "terminal");
    let (Some(report), Some(program)) = (report, arguments.next()) else {
        return ExitCode::from(125);
    };
    // Opened anew it is closed by exec; the old one is ours alone to close, since nothing else has been opened yet.
    let failure = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{report}"));
    let _ = nix::unistd::close(report);
    let error = match prepare(terminal) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    };
    let errno = error.raw_os_error().unwrap_or(0);
    if let Ok(mut failure) = failure {
        let _ = failure.write_all(&errno.to_be_bytes());
    }
    ExitCode::from(125)
}

fn prepare(terminal: bool) -> io::Result<()> {
    rustix::process::setsid()?;
    if terminal {
        rustix::process::ioctl_tiocsctty(io::stdin().as_fd())?;
    }
    SigSet::empty().thread_set_mask()?;
    Ok(())
}
