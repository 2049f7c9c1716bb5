//! One of our standard streams, beside the task that owns it: never blocks, and writes whole pieces.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;

/// What a pipe takes at once or not at all.
pub(super) const PIPE_BUF: usize = 4096;

pub(super) struct Output {
    file: File,
    queue: VecDeque<Vec<u8>>,
}

impl Output {
    /// Opens the stream `fd` anew: non-blocking for us only, since the flag belongs to a description, and the task shares the old one.
    /// What cannot be opened anew (a socket) is used as it is, after `poll` said that it takes something.
    pub(super) fn open(fd: BorrowedFd<'_>, number: u32) -> io::Result<Self> {
        let anew = OpenOptions::new()
            .write(true)
            .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
            .open(format!("/proc/self/fd/{number}"));
        let file = match anew {
            Ok(file) => file,
            Err(_) => File::from(fd.try_clone_to_owned()?),
        };
        Ok(Self {
            file,
            queue: VecDeque::new(),
        })
    }

    /// Queues pieces, each of which is written at once.
    pub(super) fn push(&mut self, data: &[u8]) {
        self.queue.extend(data.chunks(PIPE_BUF).map(<[u8]>::to_vec));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Room for the first piece, where there is one.
    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        (!self.is_empty()).then(|| PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::OUT))
    }

    /// Writes one piece. A stream that nobody reads any more takes everything.
    pub(super) fn write_one(&mut self) {
        let Some(piece) = self.queue.front_mut() else {
            return;
        };
        match self.file.write(piece) {
            Ok(count) if count < piece.len() => drop(piece.drain(..count)),
            Ok(_) => drop(self.queue.pop_front()),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.queue.clear(),
        }
    }
}
