//! A socket in front of an engine's that does to chosen requests what broken engines, full disks and dying clients do.
//!
//! Heads are parsed, so that a fault is tied to the n-th request of a call; bodies, streams and upgrades pass through as they are. A
//! client that goes away takes its connection to the engine with it, as if nothing stood between them.

#[path = "fault_connection.rs"]
mod connection;

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Nothing that the proxy does by itself takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// The calls that a task is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Ping,
    Image,
    Create,
    Attach,
    Wait,
    Inspect,
    Start,
    Kill,
    Remove,
}

impl Call {
    pub(crate) const ALL: [Self; 9] = [
        Self::Ping,
        Self::Image,
        Self::Create,
        Self::Attach,
        Self::Wait,
        Self::Inspect,
        Self::Start,
        Self::Kill,
        Self::Remove,
    ];

    fn of(line: &str) -> Option<Self> {
        let (method, rest) = line.split_once(' ')?;
        let path = rest.split([' ', '?']).next()?;
        let mut parts: Vec<&str> = path.split('/').skip(1).collect();
        let version = |part: &&str| part.starts_with('v') && part.contains('.');
        if parts.first().is_some_and(version) {
            parts.remove(0);
        }
        match (method, parts.as_slice()) {
            (_, ["_ping"]) => Some(Self::Ping),
            ("GET", ["images", .., "json"]) if parts.len() > 2 => Some(Self::Image),
            ("POST", ["containers", "create"]) => Some(Self::Create),
            ("POST", ["containers", _, "attach"]) => Some(Self::Attach),
            ("POST", ["containers", _, "wait"]) => Some(Self::Wait),
            ("GET", ["containers", _, "json"]) => Some(Self::Inspect),
            ("POST", ["containers", _, "start"]) => Some(Self::Start),
            ("POST", ["containers", _, "kill"]) => Some(Self::Kill),
            ("DELETE", ["containers", _]) => Some(Self::Remove),
            _ => None,
        }
    }
}

/// Where on a request's way its fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// The engine does not know of it.
    Before,
    /// The engine has it and has not answered.
    Forwarded,
    /// The engine has answered, and the client does not know.
    Answered,
    /// The client has the answer, or its head where it goes on.
    Passed,
}

/// Where an answer is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    After(usize),
    /// In the middle of its head.
    Head,
    /// In the middle of its body, or of the first bytes of its stream.
    Body,
}

/// What is done at the point.
#[derive(Clone)]
pub(crate) enum Action {
    Run(Arc<dyn Fn() + Send + Sync>),
    Delay(Duration),
    /// Nothing more happens until the client gives up.
    Hang,
    Close,
    /// These bytes are the answer. At `Before` the engine never hears of the request.
    Answer(Vec<u8>),
    /// `head`, and `count` bytes behind it.
    Flood {
        head: Vec<u8>,
        count: u64,
    },
    Cut(Cut),
    /// The answer, and a stream behind it, byte by byte.
    Trickle,
}

/// What happens to the requests of `call` from the `nth` on, so many `times`.
#[derive(Clone)]
pub(crate) struct Rule {
    pub(crate) call: Call,
    pub(crate) nth: usize,
    pub(crate) times: usize,
    pub(crate) at: Point,
    pub(crate) actions: Vec<Action>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) connection: usize,
    pub(crate) line: String,
    pub(crate) call: Option<Call>,
    pub(crate) at: Instant,
    /// When the engine was given it.
    pub(crate) forwarded: Option<Instant>,
}

/// A process that is not started yet when the rule that ends it is written.
#[derive(Clone, Default)]
pub(crate) struct Victim(Arc<(Mutex<Option<Pid>>, Condvar)>);

impl Victim {
    pub(crate) fn set(&self, pid: u32) {
        *lock(&self.0.0) = i32::try_from(pid).ok().map(Pid::from_raw);
        self.0.1.notify_all();
    }

    /// Waits for it to be known. It may have ended by itself: its parent has not asked for its status yet, so the number is its own.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let known = self
            .0
            .1
            .wait_timeout_while(lock(&self.0.0), LIMIT, |pid: &mut Option<Pid>| {
                pid.is_none()
            });
        *known.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill(pid, signal);
        }
    }
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    hits: usize,
    open: HashMap<usize, [UnixStream; 2]>,
    connections: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stopped: AtomicBool,
}

/// Dropping it closes every connection and removes the socket.
pub(crate) struct Proxy {
    socket: PathBuf,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on `socket` for the engine at `engine`.
    pub(crate) fn start(socket: &Path, engine: &Path, rules: Vec<Rule>) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let shared = Arc::new(Shared::default());
        lock(&shared.state).rules = rules;
        let (all, engine) = (Arc::clone(&shared), engine.to_owned());
        let accepting = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if all.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, engine) = (Arc::clone(&all), engine.clone());
                thread::spawn(move || {
                    // An end of either side is an end of the connection, and nothing to report.
                    let _ = connection::serve(client, &engine, &shared);
                });
            }
        });
        Ok(Self {
            socket: socket.to_owned(),
            shared,
            accepting: Some(accepting),
        })
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.state).seen.clone()
    }

    /// Every request with its time in milliseconds and its connection, for people.
    pub(crate) fn transcript(&self) -> String {
        let seen = self.seen();
        let began = seen.first().map(|first| first.at);
        let line = |seen: &Seen| {
            let time = began.map_or(Duration::ZERO, |began| seen.at - began);
            let lost = if seen.forwarded.is_none() {
                " (not forwarded)"
            } else {
                ""
            };
            format!(
                "{:>6} ms {} {}{lost}\n",
                time.as_millis(),
                seen.connection,
                seen.line
            )
        };
        seen.iter().map(line).collect()
    }

    /// How many requests met a rule.
    pub(crate) fn hits(&self) -> usize {
        lock(&self.shared.state).hits
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for [client, engine] in lock(&self.shared.state).open.values() {
            let _ = client.shutdown(Shutdown::Both);
            let _ = engine.shutdown(Shutdown::Both);
        }
        // Wakes it.
        if UnixStream::connect(&self.socket).is_ok()
            && let Some(accepting) = self.accepting.take()
        {
            let _ = accepting.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
