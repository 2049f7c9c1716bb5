//! A terminal for the task: the side that we hold.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::output::PIPE_BUF;
use crate::protocol::order::TerminalSize;

/// Our side, which is also where the task's input goes.
pub(super) struct Terminal {
    ours: File,
    /// The task's side, so that a task that closes it for a while does not hang up.
    theirs: Option<File>,
}

impl Terminal {
    /// Opens one; the second file is the task's side.
    pub(super) fn open(size: TerminalSize) -> io::Result<(Self, File)> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let theirs = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(path)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let terminal = Self {
            ours: ours.into(),
            theirs: Some(theirs.try_clone()?),
        };
        terminal.resize(size);
        Ok((terminal, theirs))
    }

    /// From here on the terminal ends with the last process that has it.
    pub(super) fn let_go(&mut self) {
        self.theirs = None;
    }

    /// Another writer, for the task's input.
    pub(super) fn input(&self) -> io::Result<File> {
        self.ours.try_clone()
    }

    /// A size that cannot be set is not worth the task.
    pub(super) fn resize(&self, size: TerminalSize) {
        let _ = tcsetwinsize(
            &self.ours,
            Winsize {
                ws_row: size.rows,
                ws_col: size.columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            },
        );
    }

    pub(super) fn poll_fd(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.ours.as_fd(), PollFlags::IN)
    }

    /// Some of what the task wrote; `None` when nobody has the other side open any more.
    pub(super) fn read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; PIPE_BUF];
        match self.ours.read(&mut buffer) {
            Ok(0) => None,
            Ok(count) => {
                buffer.truncate(count);
                Some(buffer)
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Some(Vec::new())
            }
            // EIO is how the kernel says it.
            Err(_) => None,
        }
    }
}
