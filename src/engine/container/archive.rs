use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::Method;
use hyper::body::{Bytes, Incoming};
use tokio::io::AsyncRead;

use crate::engine::Engine;
use crate::engine::request::{Call, within};
use crate::engine::stream_body::stream_body;
use crate::engine::transport::Connection;
use crate::error::{Code, Kind, Result};

/// A large upload to a slow disk.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A tar stream on its way out of a container.
#[derive(Debug)]
pub struct ArchiveStream {
    call: Call,
    body: Incoming,
    _connection: Connection,
}

impl Engine {
    /// `GET /containers/{id}/archive?path=…`, API 1.41: a file or directory inside, as a tar stream. It never sees a tmpfs. What
    /// it holds is the task's: trust none of it.
    ///
    /// # Errors
    /// `ACODE-CTN-019`; 404 when the path is not there.
    pub async fn archive_get(&self, container: &str, path: &str) -> Result<ArchiveStream> {
        let mut call = self.on_container(
            "archive out",
            Code::Artifact,
            Method::GET,
            container,
            "/archive",
            self.timeouts().act,
        )?;
        call.target = call.target.query("path", path);
        let (connection, response) = self.stream(&call, None).await?;
        Ok(ArchiveStream {
            call,
            body: response.into_body(),
            _connection: connection,
        })
    }

    /// `PUT /containers/{id}/archive?path=…`, API 1.41: unpacks an uncompressed tar stream into a directory inside. Memory stays
    /// flat. Docker refuses it on a read-only root (Podman says 200 and writes under it); in a tmpfs it is lost.
    ///
    /// # Errors
    /// `ACODE-CTN-019`.
    pub async fn archive_put(
        &self,
        container: &str,
        path: &str,
        tar: impl AsyncRead + Send + 'static,
    ) -> Result<()> {
        let mut call = self.on_container(
            "archive in",
            Code::Artifact,
            Method::PUT,
            container,
            "/archive",
            TIMEOUT,
        )?;
        call.target = call.target.query("path", path);
        let (_connection, response) = self.stream(&call, Some(stream_body(tar))).await?;
        let rest = Limited::new(response.into_body(), 64 * 1024).collect();
        within(&call, rest)
            .await?
            .map(drop)
            .map_err(|error| call.error(Kind::Cut, "the answer was cut").because(error))
    }
}

impl ArchiveStream {
    /// The next bytes; `None` at the proper end. Cancel safe.
    ///
    /// # Errors
    /// `ACODE-CTN-019` when the stream is cut.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(self
                        .call
                        .error(Kind::Cut, "the archive was cut")
                        .because(error));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}
