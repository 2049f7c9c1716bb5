//! How the engine's socket is reached: the only file that knows. Connections of short calls are kept and used again,
//! streams have their own.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, Uri};
use hyperlocal::UnixConnector;
use tokio::net::UnixStream;
use tower_service::Service;

use crate::error::{Code, Error, Kind, Result};

/// What we send: nothing, some bytes, or a stream.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A connection that can take a request.
pub(crate) type Connection = SendRequest<Body>;

/// No more idle connections are kept than this.
const MAX_IDLE: usize = 8;
/// Bounds what hyper buffers of one head, and what it reads at once of a body.
const MAX_BUFFER: usize = 256 * 1024;
/// `sun_path` holds 108 bytes with its final NUL.
const MAX_SOCKET_PATH: usize = 107;

#[derive(Debug)]
pub(crate) struct Transport {
    socket: PathBuf,
    uri: Uri,
    idle: Mutex<Vec<Connection>>,
}

impl Transport {
    /// Checks the path only; nothing is opened.
    pub(crate) fn new(socket: &Path) -> Result<Self> {
        let shown = socket.display().to_string();
        let invalid = |message: String| {
            Error::invalid(Code::EngineUnavailable, "connect", message).on(shown.clone())
        };
        let text = socket
            .to_str()
            .filter(|text| text.starts_with('/') && !text.contains('\0'))
            .ok_or_else(|| invalid("a socket path must be absolute and valid UTF-8".into()))?;
        if text.len() > MAX_SOCKET_PATH {
            return Err(invalid(format!(
                "the socket path has {} bytes, the system allows {MAX_SOCKET_PATH}; use a shorter symbolic link",
                text.len()
            )));
        }
        let uri = Uri::from(hyperlocal::Uri::new(socket, "/"));
        Ok(Self {
            socket: socket.to_owned(),
            uri,
            idle: Mutex::default(),
        })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// An idle connection that is still open, if there is one.
    pub(crate) fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !connection.is_closed() {
            idle.push(connection);
        }
    }

    /// Opens a connection. It is driven by a task of the current runtime, which ends with it.
    pub(crate) async fn open(&self) -> Result<Connection> {
        let stream = UnixConnector
            .call(self.uri.clone())
            .await
            .map_err(|error| self.unreachable(error))?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .max_headers(64)
            .handshake(stream)
            .await
            .map_err(|error| {
                Error::new(
                    Code::EngineUnavailable,
                    Kind::Unreachable,
                    "connect",
                    "no HTTP on the socket",
                )
                .on(self.socket.display().to_string())
                .because(error)
            })?;
        // An error of the connection is also the error of the request on it.
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    /// Whether a Podman, or the systemd that listens for it, has the same root directory. `false` where that cannot be seen, and for whatever
    /// forwards the socket: what is behind it may be anywhere.
    pub(crate) async fn peer_has_our_root(&self) -> bool {
        let listens_itself = |pid: &i32| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            matches!(name.trim_end(), "podman" | "systemd")
        };
        let root = |process: &str| {
            let meta = std::fs::metadata(format!("/proc/{process}/root/")).ok()?;
            Some((meta.dev(), meta.ino()))
        };
        let peer = UnixStream::connect(&self.socket)
            .await
            .and_then(|stream| stream.peer_cred());
        // One in another PID namespace has none that we could see.
        let pid = peer
            .ok()
            .and_then(|peer| peer.pid())
            .filter(|pid| *pid > 0)
            .filter(listens_itself);
        let theirs = pid.and_then(|pid| root(&pid.to_string()));
        theirs.is_some() && theirs == root("self")
    }

    fn unreachable(&self, error: io::Error) -> Error {
        let is_socket = std::fs::metadata(&self.socket).map(|m| m.file_type().is_socket());
        let (code, kind, message) = match (error.kind(), is_socket) {
            (io::ErrorKind::NotFound, _) => (
                Code::EngineUnavailable,
                Kind::Unreachable,
                "there is no such socket; the engine is not running or listens elsewhere",
            ),
            (io::ErrorKind::PermissionDenied, _) => (
                Code::Permission,
                Kind::Permission,
                "this user may not use the engine's socket",
            ),
            (_, Ok(false)) => (
                Code::EngineUnavailable,
                Kind::Unreachable,
                "this is a file or directory, not a socket",
            ),
            (io::ErrorKind::ConnectionRefused, _) => (
                Code::EngineUnavailable,
                Kind::Unreachable,
                "nobody listens on the socket: the engine has stopped and left it behind",
            ),
            _ => (
                Code::EngineUnavailable,
                Kind::Unreachable,
                "the socket cannot be opened",
            ),
        };
        Error::new(code, kind, "connect", message)
            .on(self.socket.display().to_string())
            .because(error)
    }
}

/// Sends on `connection`. Where the request was provably not sent it comes back, to be sent on another connection.
pub(crate) async fn send(
    connection: &mut Connection,
    request: Request<Body>,
) -> Result<Response<Incoming>, (hyper::Error, Option<Request<Body>>)> {
    connection
        .try_send_request(request)
        .await
        .map_err(|mut error| {
            let request = error.take_message();
            (error.into_error(), request)
        })
}
