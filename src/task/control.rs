//! Our side of process 1: the orders that it is sent, and the records that it sends among the output.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

use crate::engine::{Chunk, Input};
use crate::protocol::order::{Order, TerminalSize, WINDOW};
use crate::protocol::record::{End, Nonce, Record, Strips, Use};

/// So much is read from standard input at once.
const READ: usize = 64 * 1024;
/// SIGTERM.
const TERM: u8 = 15;

/// What process 1 is to be told, and what it has told. Shared by whoever watches the task, its output and its input.
#[derive(Debug, Clone)]
pub(super) struct Control(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    wishes: watch::Sender<Wishes>,
    end: OnceLock<End>,
    /// Process 1 has our orders.
    started: OnceLock<()>,
    used: Mutex<Vec<(Use, u64)>>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own")]
#[derive(Debug, Default, Clone, Copy)]
struct Wishes {
    /// Bytes of input that were passed on to the task.
    passed: u64,
    input_closed: bool,
    terminate: bool,
    kill: bool,
    size: Option<TerminalSize>,
    done: bool,
}

impl Control {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            wishes: watch::Sender::new(Wishes::default()),
            end: OnceLock::new(),
            started: OnceLock::new(),
            used: Mutex::default(),
        }))
    }

    /// Wishes TERM for the main process.
    pub(super) fn terminate(&self) {
        self.0.wishes.send_modify(|wishes| wishes.terminate = true);
    }

    /// Wishes everything killed; `false` when that was wished before.
    pub(super) fn kill(&self) -> bool {
        self.0
            .wishes
            .send_if_modified(|wishes| !std::mem::replace(&mut wishes.kill, true))
    }

    pub(super) fn resize(&self, size: TerminalSize) {
        self.0.wishes.send_modify(|wishes| wishes.size = Some(size));
    }

    /// How the task ended, once process 1 has said it.
    pub(super) fn end(&self) -> Option<End> {
        self.0.end.get().copied()
    }

    /// What the task has used, once process 1 has said it.
    pub(super) fn used(&self) -> Vec<(Use, u64)> {
        self.0
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether process 1 has answered at all.
    pub(super) fn has_started(&self) -> bool {
        self.0.started.get().is_some()
    }

    fn take_note(&self, record: Record) {
        match record {
            Record::Credit(bytes) => self
                .0
                .wishes
                .send_modify(|wishes| wishes.passed = wishes.passed.saturating_add(bytes.into())),
            Record::InputClosed => self
                .0
                .wishes
                .send_modify(|wishes| wishes.input_closed = true),
            Record::End(end) => drop(self.0.end.set(end)),
            Record::Started => drop(self.0.started.set(())),
            Record::OutputEnd => {}
            Record::Used(what, value) => {
                let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
                // The last is process 1's own: it tells when every process that could have forged one is dead.
                used.retain(|(told, _)| *told != what);
                used.push((what, value));
            }
        }
    }
}

/// Takes the records out of a task's output.
#[derive(Debug)]
pub(super) struct Records {
    control: Control,
    strips: Strips,
    found: Vec<Record>,
    stdout_ended: bool,
}

impl Records {
    pub(super) fn new(nonce: Nonce, control: Control) -> Self {
        Self {
            control,
            strips: Strips::new(nonce),
            found: Vec::new(),
            stdout_ended: false,
        }
    }

    /// Leaves in `chunk` what the task wrote.
    pub(super) fn strip(&mut self, chunk: &mut Chunk) {
        self.strips
            .take(chunk.stream, &mut chunk.data, &mut self.found);
        for record in self.found.drain(..) {
            self.stdout_ended |= record == Record::OutputEnd;
            self.control.take_note(record);
        }
    }

    /// Both streams are known to have arrived whole; process 1 is told so.
    pub(super) fn are_complete(&self) -> bool {
        let complete = self.stdout_ended && self.control.end().is_some();
        if complete {
            self.control
                .0
                .wishes
                .send_modify(|wishes| wishes.done = true);
        }
        complete
    }

    /// What only looked like the beginning of a record.
    pub(super) fn rest(&mut self) -> [Chunk; 2] {
        self.strips
            .finish()
            .map(|(stream, data)| Chunk { stream, data })
    }
}

/// Where the error that ended standard input before its end is left.
pub(super) type InputError = Mutex<Option<String>>;

pub(super) fn note(failure: &InputError, error: &io::Error) {
    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
}

/// Sends `first`, then whatever is wished and what `stdin` gives, as far as the task takes it, until all is done or the connection is gone. Dropping
/// the future, and the output's, is our death to process 1.
pub(super) async fn steer(
    mut input: Input,
    first: Vec<u8>,
    mut stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    control: Control,
    failure: &InputError,
) {
    let mut wishes = control.0.wishes.subscribe();
    let mut told = Wishes::default();
    let mut sent: u64 = 0;
    let mut orders = first;
    let mut buffer = vec![0; if stdin.is_some() { READ } else { 0 }];
    loop {
        if !orders.is_empty() && input.write_all(&orders).await.is_err() {
            return;
        }
        orders.clear();
        if told.done {
            return;
        }
        if told.input_closed {
            stdin = None;
        }
        let window = (WINDOW as u64).saturating_sub(sent.saturating_sub(told.passed));
        let room = usize::try_from(window).unwrap_or(READ).min(buffer.len());
        tokio::select! {
            biased;
            changed = wishes.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = *wishes.borrow_and_update();
                put(&mut orders, now, told);
                told = now;
            }
            read = read(stdin.as_mut(), &mut buffer[..room]), if room > 0 => match read {
                Ok(0) => {
                    stdin = None;
                    Order::InputEnd.write(&mut orders);
                }
                Ok(count) => {
                    sent += count as u64;
                    Order::write_input(&buffer[..count], &mut orders);
                }
                Err(error) => {
                    note(failure, &error);
                    stdin = None;
                    Order::InputEnd.write(&mut orders);
                }
            }
        }
    }
}

/// What is wished and was not told yet, as orders.
fn put(orders: &mut Vec<u8>, now: Wishes, told: Wishes) {
    if now.size != told.size
        && let Some(size) = now.size
    {
        Order::Resize(size).write(orders);
    }
    if now.terminate && !told.terminate {
        Order::Signal(TERM).write(orders);
    }
    if now.kill && !told.kill {
        Order::Kill.write(orders);
    }
    if now.done && !told.done {
        Order::Done.write(orders);
    }
}

/// Some of standard input; never returns where there is none.
pub(super) async fn read(
    stdin: Option<&mut Box<dyn AsyncRead + Send + Unpin>>,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let Some(stdin) = stdin else {
        return std::future::pending().await;
    };
    loop {
        match stdin.read(buffer).await {
            // A descriptor that whoever started us has made non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            result => return result,
        }
    }
}
