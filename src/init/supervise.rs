//! The loop of process 1: orders, signals, children, input and records, in turn, until the task has ended and all of it is told.

mod obey;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::DumpableBehavior;

use super::output::Output;

use super::task_input::TaskInput;
use super::terminal::Terminal;
use super::used;
use crate::program::close_inherited;
use crate::protocol::order::{Hello, Orders};
use crate::protocol::record::{ABANDONED, Cause, End, How, Record, Unprepared};

/// What is killed and does not die for so long (it may belong to another user) dies with us.
const REAP_PATIENCE: Duration = Duration::from_secs(2);
/// So many signals, and so many ended children, are taken at once.
const AT_ONCE: usize = 64;
/// Between two KILLs while something is left.
const KILL_AGAIN: Duration = Duration::from_millis(10);
/// After the deadline nobody is waited for longer than this to take the last output.
const TELL_AFTER_DEADLINE: Duration = Duration::from_secs(10);
/// What the kernel writes into a signal that came from kill(2); what a sender makes up bears another code.
const SI_USER: i32 = 0;
/// Signals that somebody outside may want the task to have.
const FORWARDED: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Runs until everything is over, and returns the exit code.
pub(super) fn supervise() -> io::Result<u8> {
    let mut supervisor = Supervisor::new()?;
    let mut patient = true;
    loop {
        supervisor.wait(patient)?;
        patient = supervisor.reap();
        if let Some(code) = supervisor.conclude(Instant::now()) {
            return Ok(code);
        }
    }
}

/// Adds what there is to wait for, and says where it stands.
fn add<'a>(fds: &mut Vec<PollFd<'a>>, fd: Option<PollFd<'a>>) -> Option<usize> {
    fds.push(fd?);
    Some(fds.len() - 1)
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Supervisor {
    signals: SignalFd,
    orders: Orders,
    /// Our standard input has not ended: somebody listens.
    client_lives: bool,
    hello: Option<Hello>,
    command: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    command_bytes: usize,
    /// Mounts and secrets so far.
    mounts: u16,
    secrets: u16,
    /// What is not as the task was to find it: it is not started.
    unprepared: Option<Unprepared>,
    main: Option<Pid>,
    /// Where the second stage says that it failed.
    failure: Option<File>,
    input: TaskInput,
    terminal: Option<Terminal>,
    stdout: Output,
    stderr: Output,
    deadline: Option<Instant>,
    how: Option<How>,
    cause: Cause,
    /// A signal from outside that is to end it was passed on.
    stopped_from_outside: bool,
    /// The client was gone while the task ran.
    abandoned: bool,
    /// Since when everything is being killed.
    ending_since: Option<Instant>,
    nobody_left: bool,
    told: bool,
    done: bool,
}

impl Supervisor {
    fn new() -> io::Result<Self> {
        // The task would get what the engine's runtime may have left open.
        close_inherited();
        // Both need our own /proc/self/fd, which the next step closes to ourselves too.
        let stdout = Output::open(io::stdout().as_fd(), 1)?;
        let stderr = Output::open(io::stderr().as_fd(), 2)?;
        // No process of the task can read or trace us from here on, and nothing has been read yet.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        // Only signals of which one at most is pending at a time: others would be queued, and the task could send them for ever. Process 1
        // gets no signal that it neither handles nor blocks.
        let mut heard = SigSet::from(Signal::SIGCHLD);
        heard.extend(FORWARDED);
        let mut blocked = heard;
        // For these two every Rust program has a handler.
        blocked.extend([Signal::SIGSEGV, Signal::SIGBUS]);
        blocked.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            signals: SignalFd::with_flags(&heard, flags)?,
            orders: Orders::default(),
            client_lives: true,
            hello: None,
            command: Vec::new(),
            variables: Vec::new(),
            command_bytes: 0,
            mounts: 0,
            secrets: 0,
            unprepared: None,
            main: None,
            failure: None,
            input: TaskInput::default(),
            terminal: None,
            stdout,
            stderr,
            deadline: None,
            how: None,
            cause: Cause::Itself,
            stopped_from_outside: false,
            abandoned: false,
            ending_since: None,
            nobody_left: false,
            told: false,
            done: false,
        })
    }

    /// Waits until something happens (or looks only, where there is no patience), and deals with it.
    fn wait(&mut self, patient: bool) -> io::Result<()> {
        let stdin = io::stdin();
        let mut fds = vec![PollFd::from_borrowed_fd(
            self.signals.as_fd(),
            PollFlags::IN,
        )];
        let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let client = add(&mut fds, self.client_lives.then(|| readable(stdin.as_fd())));
        let failure = add(
            &mut fds,
            self.failure.as_ref().map(|file| readable(file.as_fd())),
        );
        let input = add(&mut fds, self.input.poll_fd());
        let stdout = add(&mut fds, self.stdout.poll_fd());
        let stderr = add(&mut fds, self.stderr.poll_fd());
        // One piece at a time: what nobody takes holds the task up, not us.
        let terminal = self.terminal.as_ref().filter(|_| self.stdout.is_empty());
        let terminal = add(&mut fds, terminal.map(Terminal::poll_fd));
        let timeout = if patient {
            self.timeout()
        } else {
            Some(Timespec::default())
        };
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        let is_ready = |index: Option<usize>| index.is_some_and(|index| !ready[index].is_empty());
        if is_ready(failure) {
            self.read_failure();
        }
        if is_ready(Some(0)) {
            self.read_signals();
        }
        if is_ready(client) {
            self.read_orders();
        }
        if is_ready(input) {
            self.feed();
        }
        if input.is_some_and(|index| ready[index].intersects(PollFlags::ERR))
            && self.input.is_idle()
        {
            self.input.close();
            self.tell(Record::InputClosed);
        }
        if is_ready(stdout) {
            self.stdout.write_one();
        }
        if is_ready(stderr) {
            self.stderr.write_one();
        }
        if is_ready(terminal) {
            self.read_terminal();
        }
        Ok(())
    }

    /// How long nothing may happen.
    fn timeout(&self) -> Option<Timespec> {
        let now = Instant::now();
        let wait = if self.ending_since.is_some() && !self.told {
            KILL_AGAIN
        } else {
            let alarm = self.deadline.map(|deadline| match self.ending_since {
                None => deadline,
                Some(_) => deadline + TELL_AFTER_DEADLINE,
            });
            alarm?.saturating_duration_since(now)
        };
        // An alarm that cannot be expressed is one that never rings.
        Timespec::try_from(wait).ok()
    }

    /// The second stage became the command, or says why not.
    fn read_failure(&mut self) {
        let mut errno = [0; 4];
        if let Some(mut failure) = self.failure.take()
            && failure.read_exact(&mut errno).is_ok()
        {
            self.how = Some(How::Failed(i32::from_be_bytes(errno)));
        }
    }

    fn feed(&mut self) {
        if !self.input.pass_on() {
            self.tell(Record::InputClosed);
        }
        if let Some(bytes) = self.input.credit() {
            self.tell(Record::Credit(bytes));
        }
    }

    fn tell(&mut self, record: Record) {
        if let Some(hello) = &self.hello {
            self.stderr.push(&record.to_bytes(&hello.nonce));
            self.stderr.write_one();
        }
    }

    fn read_signals(&mut self) {
        for _ in 0..AT_ONCE {
            let Ok(Some(info)) = self.signals.read_signal() else {
                return;
            };
            // A sender outside has no process id that could be shown here.
            let from_outside = info.ssi_pid == 0 && info.ssi_code == SI_USER;
            let signal = i32::try_from(info.ssi_signo)
                .ok()
                .and_then(|number| Signal::try_from(number).ok())
                .filter(|signal| FORWARDED.contains(signal));
            if let Some(signal) = signal.filter(|_| from_outside || std::process::id() != 1) {
                self.stopped_from_outside |= !matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2);
                self.signal(signal);
            }
        }
    }

    /// Passes a signal on to the main process, which has not been waited for, so that its id is its own.
    fn signal(&mut self, signal: Signal) {
        match self.main {
            Some(main) if self.how.is_none() => drop(kill(main, signal)),
            Some(_) => {}
            None => self.end(Cause::Order),
        }
    }

    fn read_terminal(&mut self) {
        if let Some(output) = self.terminal.as_mut().and_then(Terminal::read) {
            self.stdout.push(&output);
            self.stdout.write_one();
        } else {
            self.terminal = None;
            self.input.close();
        }
    }

    /// Takes note of children that have ended. `false` when there are more: a task that makes them as fast must not keep us from all else.
    fn reap(&mut self) -> bool {
        self.nobody_left = false;
        for _ in 0..AT_ONCE {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => return true,
                Ok(status) => status,
                Err(_) => {
                    self.nobody_left = true;
                    return true;
                }
            };
            let (pid, how) = match status {
                WaitStatus::Exited(pid, code) => (pid, How::Exited(code.to_le_bytes()[0])),
                WaitStatus::Signaled(pid, signal, _) => {
                    (pid, How::Signaled((signal as i32).to_le_bytes()[0]))
                }
                _ => continue,
            };
            if Some(pid) == self.main {
                // It may have ended because it could not become the command; that was written before.
                self.read_failure();
                self.how.get_or_insert(how);
                self.end(if self.stopped_from_outside {
                    Cause::Outside
                } else {
                    Cause::Itself
                });
            }
        }
        false
    }

    /// Kills everything in the container; the first cause stands.
    fn end(&mut self, cause: Cause) {
        if self.ending_since.is_none() {
            self.ending_since = Some(Instant::now());
            self.cause = cause;
            self.input.close();
            if let Some(terminal) = &mut self.terminal {
                terminal.let_go();
            }
            self.kill_everything();
        }
    }

    /// As process 1, all that there is; otherwise, in tests, the task's process group.
    fn kill_everything(&self) {
        let target = match (std::process::id(), self.main) {
            (1, _) => Pid::from_raw(-1),
            (_, Some(main)) => Pid::from_raw(-main.as_raw()),
            (_, None) => return,
        };
        let _ = kill(target, Signal::SIGKILL);
    }

    /// What follows from what is known; the exit code at the very end.
    fn conclude(&mut self, now: Instant) -> Option<u8> {
        if !self.client_lives {
            self.abandoned |= self.how.is_none();
            self.end(Cause::Itself);
        } else if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.end(Cause::Deadline);
        }
        let since = self.ending_since?;
        let over = self.nobody_left || now >= since + REAP_PATIENCE;
        if !over {
            self.kill_everything();
            return None;
        }
        let how = self.how.unwrap_or(How::Signaled(Signal::SIGKILL as u8));
        if !self.client_lives {
            return Some(if self.abandoned {
                ABANDONED
            } else {
                how.exit_code()
            });
        }
        if self.terminal.is_some() {
            // Whoever does not die may hold it for ever.
            if !self.nobody_left && self.stdout.is_empty() && now >= since + 2 * REAP_PATIENCE {
                self.terminal = None;
            }
            return self.is_late(now).then(|| how.exit_code());
        }
        if !self.told {
            self.told = true;
            let cause = self.cause;
            if let Some(hello) = &self.hello {
                let last = Self::used().chain([Record::End(End { how, cause })]);
                let last: Vec<u8> = last
                    .flat_map(|record| record.to_bytes(&hello.nonce))
                    .collect();
                self.stderr.push(&last);
                self.stderr.write_one();
                self.stdout.push(&Record::OutputEnd.to_bytes(&hello.nonce));
                self.stdout.write_one();
            }
        }
        (self.done || self.is_late(now)).then(|| how.exit_code())
    }

    /// What the whole container has used, which is ours to tell as its process 1.
    fn used() -> impl Iterator<Item = Record> {
        let is_process_1 = std::process::id() == 1;
        is_process_1.then(used::look).into_iter().flatten()
    }

    fn is_late(&self, now: Instant) -> bool {
        self.deadline
            .is_some_and(|deadline| now >= deadline + TELL_AFTER_DEADLINE)
    }
}
