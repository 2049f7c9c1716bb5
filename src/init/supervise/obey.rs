//! What the orders of the client do.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::super::prepare;
use super::super::spawn::{Spawned, Streams, spawn};
use super::super::task_input::TaskInput;
use super::super::terminal::Terminal;
use super::Supervisor;
use crate::protocol::order::{Hello, Order};
use crate::protocol::record::{Cause, How, Record, Unprepared};

/// So much of a command and its environment is taken at most; the kernel takes less.
const MAX_COMMAND: usize = 8 << 20;

impl Supervisor {
    pub(super) fn read_orders(&mut self) {
        let mut buffer = vec![0; 64 * 1024];
        let count = match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return,
            Err(_) => 0,
        };
        if count == 0 {
            self.client_lives = false;
            return;
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            match self.orders.decode(rest) {
                Ok((taken, order)) => {
                    rest = &rest[taken..];
                    if let Some(order) = order {
                        self.obey(order);
                    }
                }
                Err(error) => return self.distrust(&error.to_string()),
            }
        }
    }

    /// A client that does not keep to the protocol is none.
    fn distrust(&mut self, why: &str) {
        self.stderr
            .push(format!("acode-rt: process 1 of the container: {why}\n").as_bytes());
        self.stderr.write_one();
        self.client_lives = false;
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Hello(hello) if self.hello.is_none() => self.hello = Some(hello),
            Order::Argument(argument) if self.main.is_none() => {
                self.command_bytes += argument.len() + 1;
                self.command.push(OsString::from_vec(argument));
            }
            Order::Variable(mut variable) if self.main.is_none() => {
                self.command_bytes += variable.len() + 1;
                let Some(at) = variable.iter().position(|byte| *byte == b'=') else {
                    return self.distrust("a variable has no value");
                };
                let value = variable.split_off(at + 1);
                variable.truncate(at);
                self.variables
                    .push((OsString::from_vec(variable), OsString::from_vec(value)));
            }
            Order::Mount(mount) if self.main.is_none() => {
                if !prepare::is_mounted(&mount) {
                    self.unprepared
                        .get_or_insert(Unprepared::Mount(self.mounts));
                }
                self.mounts = self.mounts.saturating_add(1);
            }
            Order::Secret(secret) if self.main.is_none() => {
                if prepare::write_secret(&secret).is_err() {
                    self.unprepared
                        .get_or_insert(Unprepared::Secret(self.secrets));
                }
                self.secrets = self.secrets.saturating_add(1);
            }
            Order::Start if self.ending_since.is_some() => {}
            Order::Start if self.main.is_none() && self.hello.is_some() => self.start(),
            Order::Input(data) => {
                if self.input.push(&data).is_err() {
                    return self.distrust("the client sent more input than it may");
                }
                self.feed();
            }
            Order::InputEnd => {
                self.input.end();
                self.feed();
            }
            Order::Signal(number) => {
                if let Ok(signal) = Signal::try_from(i32::from(number)) {
                    self.signal(signal);
                }
            }
            Order::Kill => self.end(Cause::Order),
            Order::Resize(size) => {
                if let Some(terminal) = &self.terminal {
                    terminal.resize(size);
                }
            }
            Order::Done => self.done = true,
            Order::Hello(_)
            | Order::Argument(_)
            | Order::Variable(_)
            | Order::Mount(_)
            | Order::Secret(_)
            | Order::Start => {
                return self.distrust("an order came out of turn");
            }
        }
        if self.command_bytes > MAX_COMMAND {
            self.distrust("the command is too long");
        }
    }

    fn start(&mut self) {
        let Some(hello) = self.hello.clone() else {
            return;
        };
        self.tell(Record::Started);
        self.deadline = hello
            .deadline_ms
            .and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
        if let Some(what) = self.unprepared {
            self.how = Some(How::Unprepared(what));
            return self.end(Cause::Itself);
        }
        let spawned = self
            .streams(&hello)
            .and_then(|streams| spawn(&self.command, &self.variables, streams));
        match spawned {
            Ok(Spawned { pid, failure }) => {
                self.main = Some(Pid::from_raw(pid));
                self.failure = Some(failure);
            }
            Err(error) => {
                self.how = Some(How::Failed(error.raw_os_error().unwrap_or(0)));
                self.end(Cause::Itself);
            }
        }
    }

    fn streams(&mut self, hello: &Hello) -> io::Result<Streams> {
        if let Some(size) = hello.terminal {
            let (terminal, theirs) = Terminal::open(size)?;
            self.input = TaskInput::to_terminal(terminal.input()?.into());
            self.terminal = Some(terminal);
            let outputs = (theirs.try_clone()?.into(), theirs.try_clone()?.into());
            return Ok(Streams {
                input: theirs.into(),
                terminal: Some(outputs),
            });
        }
        let input = if hello.interactive {
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&write, true)?;
            self.input = TaskInput::to(write);
            Stdio::from(read)
        } else {
            Stdio::null()
        };
        Ok(Streams {
            input,
            terminal: None,
        })
    }
}
