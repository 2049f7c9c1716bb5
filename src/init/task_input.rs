//! The task's standard input, as far as it has arrived and the task has not taken it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};

use crate::protocol::order::WINDOW;

/// So much is told at once: half the window, so that input goes on while it is told.
const CREDIT: u32 = 512 * 1024;
const _: () = assert!(CREDIT as usize == WINDOW / 2);

#[derive(Default)]
pub(super) struct TaskInput {
    pipe: Option<File>,
    waiting: VecDeque<u8>,
    /// No more comes from the client.
    ended: bool,
    /// Passed on and not yet told.
    passed: u32,
    /// The last byte that came, where the end is typed rather than closed.
    terminal: Option<u8>,
}

/// The client sent more than it may, or it lied about what it is.
#[derive(Debug)]
pub(super) struct TooMuch;

impl TaskInput {
    /// `pipe` must not block.
    pub(super) fn to(pipe: OwnedFd) -> Self {
        Self {
            pipe: Some(pipe.into()),
            ..Self::default()
        }
    }

    /// To a terminal, which is not closed at the end: what its user would type says it.
    pub(super) fn to_terminal(terminal: OwnedFd) -> Self {
        Self {
            terminal: Some(b'\n'),
            ..Self::to(terminal)
        }
    }

    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), TooMuch> {
        if self.pipe.is_none() {
            return Ok(());
        }
        if self.waiting.len() + self.passed as usize + data.len() > WINDOW {
            return Err(TooMuch);
        }
        self.waiting.extend(data);
        if let (Some(last), Some(byte)) = (&mut self.terminal, data.last()) {
            *last = *byte;
        }
        Ok(())
    }

    pub(super) fn end(&mut self) {
        const END_OF_TRANSMISSION: u8 = 4;
        if let Some(last) = self.terminal {
            // Behind an unfinished line the first one only sends the line.
            let times = if last == b'\n' { 1 } else { 2 };
            self.waiting
                .extend(std::iter::repeat_n(END_OF_TRANSMISSION, times));
        } else {
            self.ended = true;
            self.close_at_end();
        }
    }

    fn close_at_end(&mut self) {
        if self.ended && self.waiting.is_empty() {
            self.pipe = None;
        }
    }

    /// What to wait for: room where something waits to be written, and else only that the task closes its end.
    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        let wanted = if self.waiting.is_empty() {
            PollFlags::empty()
        } else {
            PollFlags::OUT
        };
        let pipe = self.pipe.as_ref()?;
        Some(PollFd::from_borrowed_fd(pipe.as_fd(), wanted))
    }

    /// Nothing waits to be written to an end that may be closed.
    pub(super) fn is_idle(&self) -> bool {
        self.pipe.is_some() && self.waiting.is_empty()
    }

    /// Writes what the task takes. `false` when it has closed its end.
    pub(super) fn pass_on(&mut self) -> bool {
        while let Some(pipe) = self.pipe.as_mut().filter(|_| !self.waiting.is_empty()) {
            match pipe.write(self.waiting.as_slices().0) {
                Ok(count) => {
                    self.waiting.drain(..count);
                    self.passed += u32::try_from(count).unwrap_or(u32::MAX);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => {
                    self.close();
                    return false;
                }
            }
        }
        self.close_at_end();
        true
    }

    /// The task does not read any more: what still comes is dropped.
    pub(super) fn close(&mut self) {
        self.pipe = None;
        self.waiting = VecDeque::new();
    }

    /// How much is to be told as passed on.
    pub(super) fn credit(&mut self) -> Option<u32> {
        (self.passed >= CREDIT && self.pipe.is_some()).then(|| std::mem::take(&mut self.passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn pipe() -> (File, TaskInput) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::ioctl_fionbio(&write, true).unwrap();
        (read.into(), TaskInput::to(write))
    }

    #[test]
    fn everything_arrives_in_order_and_then_the_end() {
        let (mut read, mut input) = pipe();
        let data: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        input.push(&data).unwrap();
        input.end();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            read.read_to_end(&mut all).unwrap();
            all
        });
        while input.poll_fd().is_some() {
            assert!(input.pass_on());
        }
        assert_eq!(reader.join().unwrap(), data);
    }

    #[test]
    fn a_client_that_sends_more_than_its_window_is_refused() {
        let (_read, mut input) = pipe();
        input.push(&vec![0; WINDOW]).unwrap();
        assert!(input.push(&[0]).is_err());
        assert!(input.pass_on());
        // Passed on, but not told yet: the client cannot know.
        assert!(input.push(&[0]).is_err());
    }

    #[test]
    fn what_a_task_does_not_read_any_more_is_dropped() {
        let (read, mut input) = pipe();
        input.push(&[0; 10]).unwrap();
        drop(read);
        assert!(!input.pass_on());
        input.push(&vec![0; 2 * WINDOW]).unwrap();
        assert!(input.waiting.is_empty() && input.credit().is_none());
    }
}
