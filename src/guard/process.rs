//! The guard's own process: out of reach of what ends its client, it waits for that, and then removes.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

use super::book::{Book, Held};
use super::remove::remove_all;
use crate::program::close_inherited;

/// Said when the client may rely on us.
pub(super) const READY_BYTE: u8 = b'!';

/// `__guard PID SOCKET`.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let client = arguments
        .next()
        .and_then(|pid| pid.to_str()?.parse().ok())
        .and_then(Pid::from_raw);
    let (Some(client), Some(socket)) = (client, arguments.next()) else {
        return ExitCode::from(125);
    };
    match stand_guard(client, &PathBuf::from(socket)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(125),
    }
}

fn stand_guard(client: Pid, guarded: &Path) -> io::Result<()> {
    // A session of its own: neither the terminal's keys nor its end reach it.
    rustix::process::setsid()?;
    let mut ignored = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        ignored.add(signal);
    }
    ignored.thread_block()?;
    // Whoever reads a pipe that our client had open would wait for us too.
    close_inherited();
    // Where there is no such thing the pipe alone says it. One that is not our parent has died, and its id may be another process's by now.
    let (death, mut client_lives) = match pidfd_open(client, PidfdFlags::empty()) {
        Ok(death) => (Some(death), getppid() == Some(client)),
        Err(error) => (None, error != rustix::io::Errno::SRCH),
    };
    let stdin = io::stdin();
    rustix::io::ioctl_fionbio(&stdin, true)?;
    io::stdout().write_all(&[READY_BYTE])?;
    io::stdout().flush()?;
    let mut removing: Vec<JoinHandle<()>> = Vec::new();
    let mut remove = |held: Vec<Held>| {
        if held.is_empty() {
            return;
        }
        let (socket, here) = (guarded.to_owned(), held.clone());
        match thread::Builder::new().spawn(move || remove_all(&socket, held)) {
            Ok(thread) => removing.push(thread),
            Err(_) => remove_all(guarded, here),
        }
    };
    let mut book = Book::default();
    loop {
        // Looked at before the pipe, so that whatever a dead client wrote has been written.
        let is_last = !client_lives;
        // A pipe that cannot be read says nothing more, as one that has ended.
        let open = read_all(&mut book, &mut remove).unwrap_or(false);
        if is_last || !open {
            break;
        }
        client_lives = wait(death.as_ref()).unwrap_or_else(|_| {
            // Not being able to look is no death.
            thread::sleep(Duration::from_secs(1));
            true
        });
    }
    remove(book.close());
    for thread in removing {
        let _ = thread.join();
    }
    Ok(())
}

/// Waits for news; `false` when the client has died.
fn wait(death: Option<&OwnedFd>) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut fds = vec![PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
    fds.extend(death.map(|death| PollFd::from_borrowed_fd(death.as_fd(), PollFlags::IN)));
    match poll(&mut fds, None) {
        Ok(_) => Ok(fds.get(1).is_none_or(|death| death.revents().is_empty())),
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Reads what there is; `false` at the pipe's end.
fn read_all(book: &mut Book, remove: &mut impl FnMut(Vec<Held>)) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => remove(book.read(&buffer[..count])),
            Err(rustix::io::Errno::AGAIN) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
