//! The Engine API over its Unix socket, hand-written on hyper: one call a file.
//!
//! Every call has a deadline, reads at most a bounded answer, and repeats only what is safe to repeat. Dropping the future
//! of a call closes its connection; whether the engine acted is then unknown, except for calls that only read.

mod chunks;
mod container;
mod host;
mod image;
mod network;
mod request;
mod stream_body;
mod system;
mod transport;
mod volume;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use chunks::Chunk;
pub use container::ContainerId;
pub use container::archive::ArchiveStream;
pub use container::attach::{AttachOptions, Attached, Input, Output};
pub use container::list::ListOptions;
pub use container::logs::{LogStream, LogsOptions};
pub use container::remove::RemoveOptions;
pub use container::wait::Waiting;
pub use host::Host;
pub(crate) use host::usual_sockets;
pub use image::credentials::registry_credentials;
pub use image::pull_once::PullStep;
pub use system::events::EventStream;
pub use system::ping::Ping;

use crate::error::{Code, Error, Kind, Result};
use crate::protocol::api_version::ApiVersion;
use crate::protocol::target::Target;
use image::pull_once::Pulls;
use transport::Transport;

/// What speaks on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// Docker, or something that behaves like it.
    Docker,
    /// Podman's Docker-compatible service.
    Podman,
}

/// How long calls may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Calls that only ask, and kill: 10 s.
    pub ask: Duration,
    /// Create, start and remove: 30 s each.
    pub act: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            ask: Duration::from_secs(10),
            act: Duration::from_secs(30),
        }
    }
}

/// A handle on one engine; clones share its connections.
///
/// It belongs to the tokio runtime that is current when it connects: its connections are driven there.
///
/// ```no_run
/// # async fn example() -> acode_rt::Result<()> {
/// use acode_rt::engine::{Engine, Host, ListOptions};
/// let engine = Engine::connect(&Host::find(None)?).await?;
/// println!("{} speaks {}", engine.server(), engine.api_version());
/// for container in engine.container_list(&ListOptions::managed()).await? {
///     println!("{} {}", container.name(), container.status);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    transport: Transport,
    timeouts: Timeouts,
    version: ApiVersion,
    kind: EngineKind,
    server: String,
    /// The engine's clock when it was asked, and when that was here.
    clock: (u64, Instant),
    network_fast_path: AtomicBool,
    our_files: AtomicBool,
    our_filter: AtomicBool,
    /// Whether a Podman was seen to run in our own root directory.
    in_our_root: bool,
    pulls: Pulls,
}

impl Engine {
    /// Connects, asks who is there and agrees on a version of the API: the newest that both know, from 1.41 to 1.51.
    ///
    /// # Errors
    /// `ACODE-CTN-008` when nobody answers or no version is common, `ACODE-CTN-017` when the socket may not be used.
    pub async fn connect(host: &Host) -> Result<Self> {
        Self::connect_with(host, Timeouts::default()).await
    }

    /// As [`Engine::connect`], with other timeouts.
    ///
    /// # Errors
    /// As [`Engine::connect`].
    pub async fn connect_with(host: &Host, timeouts: Timeouts) -> Result<Self> {
        // The handle that asks has no agreed version yet; ping is the one call that needs none.
        let mut shared = Shared {
            transport: Transport::new(host.socket())?,
            timeouts,
            version: ApiVersion::OLDEST,
            kind: EngineKind::Docker,
            server: String::new(),
            clock: (0, Instant::now()),
            network_fast_path: AtomicBool::new(true),
            our_files: AtomicBool::new(true),
            our_filter: AtomicBool::new(true),
            in_our_root: false,
            pulls: Pulls::default(),
        };
        let asking = Self {
            shared: Arc::new(shared),
        };
        let ping = asking.ping().await?;
        shared = Arc::into_inner(asking.shared).ok_or_else(|| {
            Error::new(
                Code::EngineUnavailable,
                Kind::Protocol,
                "connect",
                "the first question did not end",
            )
        })?;
        shared.version = ApiVersion::negotiate(ping.api_version).ok_or_else(|| {
            Error::new(
                Code::EngineUnavailable,
                Kind::Refused,
                "connect",
                format!(
                    "the engine speaks API {} at most, {} is needed (Docker 20.10 or Podman 4 and newer)",
                    ping.api_version,
                    ApiVersion::OLDEST
                ),
            )
            .on(host.socket().display().to_string())
        })?;
        shared.kind = ping.kind;
        if ping.kind == EngineKind::Podman {
            let look = shared.transport.peer_has_our_root();
            shared.in_our_root = tokio::time::timeout(timeouts.ask, look)
                .await
                .unwrap_or(false);
        }
        shared.server = ping.server;
        shared.clock = (ping.date, Instant::now());
        let engine = Self {
            shared: Arc::new(shared),
        };
        tracing::debug!(server = engine.server(), api = %engine.api_version(), "connected");
        Ok(engine)
    }

    /// The version of the API that is spoken.
    pub fn api_version(&self) -> ApiVersion {
        self.shared.version
    }

    /// Docker or Podman.
    pub fn kind(&self) -> EngineKind {
        self.shared.kind
    }

    /// What the engine calls itself, such as `Docker/20.10.24 (linux)`.
    pub fn server(&self) -> &str {
        &self.shared.server
    }

    /// The engine's socket.
    pub fn socket(&self) -> &Path {
        self.shared.transport.socket()
    }

    /// How long calls may take.
    pub fn timeouts(&self) -> Timeouts {
        self.shared.timeouts
    }

    /// Seconds since 1970 by the engine's clock, from its `Date` header and the time since; up to two seconds behind.
    pub fn now(&self) -> u64 {
        let (then, asked) = self.shared.clock;
        then + asked.elapsed().as_secs()
    }

    /// Whether `NetworkDisabled` saves the engine's network set-up: Docker up to 26 (API 1.45), until an engine refused
    /// what it needs.
    pub(crate) fn network_fast_path(&self) -> bool {
        self.kind() == EngineKind::Docker
            && self.api_version() <= ApiVersion::new(1, 45)
            && self.shared.network_fast_path.load(Ordering::Relaxed)
    }

    pub(crate) fn refuse_network_fast_path(&self) {
        self.shared
            .network_fast_path
            .store(false, Ordering::Relaxed);
    }

    /// Whether this engine may be asked to bind a file of ours, and why not. Docker refuses a source that it does not have; Podman makes a
    /// directory of it, so it has to be seen to run in our own root.
    pub(crate) fn takes_our_files(&self) -> std::result::Result<(), &'static str> {
        if !self.shared.our_files.load(Ordering::Relaxed) {
            return Err("the engine does not see our files");
        }
        if self.kind() == EngineKind::Podman && !self.shared.in_our_root {
            return Err("the engine does not run in our root directory");
        }
        Ok(())
    }

    /// Whether this engine may be given our filter of system calls, and why not. Podman reads it from a file, for which it has to run in our
    /// own root directory.
    ///
    /// # Errors
    /// The reason.
    pub fn takes_our_filter(&self) -> std::result::Result<(), &'static str> {
        if self.kind() == EngineKind::Podman {
            self.takes_our_files()?;
        }
        if self.shared.our_filter.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("the engine did not take ours")
        }
    }

    /// It was sent, and did not start with it.
    pub(crate) fn refuse_our_filter(&self) {
        self.shared.our_filter.store(false, Ordering::Relaxed);
    }

    /// Whether somebody takes new connections; one that is being shut down may still answer on old ones.
    pub(crate) async fn listens(&self) -> bool {
        self.shared.transport.open().await.is_ok()
    }

    /// It was asked, and could not.
    pub(crate) fn refuse_our_files(&self) {
        self.shared.our_files.store(false, Ordering::Relaxed);
    }

    fn pulls(&self) -> &Pulls {
        &self.shared.pulls
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    fn target(&self, path: &'static str) -> Target {
        Target::new(self.api_version(), path)
    }
}
