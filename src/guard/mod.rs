//! A small process beside a client, which removes the client's containers when it is gone, however it went.
//!
//! It is told of a container before the create is sent, and forgets it when the removal is confirmed. What it still knows when its client
//! dies (or gives a container up) it removes, also where the create lands only later. Where no program can stand guard, a thread of the
//! client does the same for what is given up, and nobody does for a client that dies: that is left to the next sweep.

mod book;
mod process;
mod remove;

use std::fmt;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

pub(crate) use book::Held;
use book::Line;
pub(crate) use process::run;

/// The hidden word for the guard.
pub(crate) const GUARD: &str = "__guard";
/// A program that has not begun to stand guard after so long is none.
const READY: Duration = Duration::from_secs(30);

/// The guard of one client and one engine. Clones are the same guard; when the last is dropped it ends, after what it still has to do.
#[derive(Clone)]
pub(crate) struct Guard(Arc<Inner>);

struct Inner {
    socket: PathBuf,
    /// Its process, where there is one.
    process: Option<(Mutex<ChildStdin>, Mutex<Child>)>,
}

impl Guard {
    /// Without a process: what is given up is removed by a thread.
    pub(crate) fn thread(socket: &Path) -> Self {
        Self(Arc::new(Inner {
            socket: socket.to_owned(),
            process: None,
        }))
    }

    /// Starts `program` as the guard of this process, for the engine at `socket`. Returns when it stands guard.
    pub(crate) async fn start(program: &Path, socket: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg0("acode-rt")
            .arg(GUARD)
            .arg(std::process::id().to_string())
            .arg(socket)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the guard has no pipes"));
        };
        // A guard that does not read must not hold us up.
        rustix::io::ioctl_fionbio(&input, true)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let guard = Self(Arc::new(Inner {
            socket: socket.to_owned(),
            process: Some((Mutex::new(input), Mutex::new(child))),
        }));
        let mut output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
        let ready = tokio::time::timeout(READY, output.read_u8()).await;
        match ready {
            Ok(Ok(process::READY_BYTE)) => Ok(guard),
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => Err(io::Error::other("the program does not stand guard")),
        }
    }

    /// Whether a process stands guard, which outlives this one.
    pub(crate) fn is_process(&self) -> bool {
        self.0.process.is_some()
    }

    /// Holds the name of a container that is about to be created.
    pub(crate) fn hold(&self, name: &str, operation: &str) -> io::Result<Hold> {
        let held = Held {
            name: name.to_owned(),
            operation: operation.to_owned(),
            id: None,
        };
        self.0.tell(&Line::Hold(&held))?;
        Ok(self.keep(held))
    }

    /// As [`Guard::hold`] of a guard without a process.
    pub(crate) fn hold_here(&self, name: &str, operation: &str) -> Hold {
        self.keep(Held {
            name: name.to_owned(),
            operation: operation.to_owned(),
            id: None,
        })
    }

    fn keep(&self, held: Held) -> Hold {
        Hold {
            guard: self.clone(),
            held: Mutex::new(Some(held)),
        }
    }
}

impl Inner {
    fn tell(&self, line: &Line<'_>) -> io::Result<()> {
        let Some((input, _)) = &self.process else {
            return Ok(());
        };
        let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
        // One write, which a pipe takes whole or not at all.
        input.write_all(line.to_string().as_bytes())
    }
}

impl Drop for Inner {
    /// The guard ends by itself when its pipe is closed; somebody has to take note of that.
    fn drop(&mut self) {
        if let Some((input, child)) = self.process.take() {
            drop(input);
            let mut child = child.into_inner().unwrap_or_else(PoisonError::into_inner);
            if let Ok(None) = child.try_wait() {
                let _ = std::thread::Builder::new().spawn(move || child.wait());
            }
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("process", &self.is_process())
            .finish_non_exhaustive()
    }
}

/// A container that the guard knows of. Dropped without [`Hold::release`] it is given up, and removed.
#[derive(Debug)]
pub(crate) struct Hold {
    guard: Guard,
    held: Mutex<Option<Held>>,
}

impl Hold {
    /// Whether a process holds it, which outlives this one.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guard.is_process()
    }

    /// The create was answered: nothing can turn up later, and the id is known.
    pub(crate) fn created(&self, id: &str) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_mut() {
            held.id = Some(id.to_owned());
            // A guard that has gone is noticed at the next hold.
            let _ = self.guard.0.tell(&Line::Created(&held.operation, id));
        }
    }

    /// There is no such container any more, or it is meant to stay.
    pub(crate) fn release(&self) {
        let held = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(held) = held {
            let _ = self.guard.0.tell(&Line::Release(&held.operation));
        }
    }
}

impl Drop for Hold {
    /// Gives it up, without waiting and without a runtime.
    fn drop(&mut self) {
        let held = self
            .held
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(held) = held else {
            return;
        };
        tracing::debug!(operation = held.operation, name = held.name, "given up");
        if self.guard.is_process() && self.guard.0.tell(&Line::GiveUp(&held.operation)).is_ok() {
            return;
        }
        let (socket, name) = (self.guard.0.socket.clone(), held.name.clone());
        let thread = std::thread::Builder::new().name("acode-rt-remove".into());
        if let Err(error) = thread.spawn(move || remove::remove_all(&socket, vec![held])) {
            tracing::error!(name, %error, "left to the next sweep");
        }
    }
}
