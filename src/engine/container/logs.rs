use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;

use crate::engine::Engine;
use crate::engine::chunks::{Chunk, Chunks};
use crate::engine::request::Call;
use crate::engine::transport::Connection;
use crate::error::{Code, Kind, Result};
use crate::protocol::demux::Stream;

/// Which part of the log, and how.
#[derive(Debug, Clone, Default)]
pub struct LogsOptions {
    /// Go on with what is written from now on, until the container ends.
    pub follow: bool,
    /// Only so many of the last lines.
    pub tail: Option<u64>,
    /// Only what was written since: seconds since 1970, by the engine's clock.
    pub since: Option<u64>,
    /// Put the engine's time before each line.
    pub timestamps: bool,
    /// The container has a terminal: its log is not multiplexed, and all of it is standard output.
    pub tty: bool,
}

/// A log as it is read.
#[derive(Debug)]
pub struct LogStream {
    call: Call,
    body: Incoming,
    /// `None` for a container with a terminal.
    chunks: Option<Chunks>,
    _connection: Connection,
}

impl Engine {
    /// `GET /containers/{id}/logs`, API 1.41 (FR-020A-20). The log may have been rotated; attach is the record.
    ///
    /// # Errors
    /// `ACODE-CTN-014`; the log drivers `none` and some remote ones cannot be read back.
    pub async fn container_logs(
        &self,
        container: &str,
        options: &LogsOptions,
    ) -> Result<LogStream> {
        let mut call = self.on_container(
            "logs",
            Code::EngineLost,
            Method::GET,
            container,
            "/logs",
            self.timeouts().ask,
        )?;
        let flag = |on: bool| if on { "1" } else { "0" };
        let mut target = call
            .target
            .query("stdout", "1")
            .query("stderr", "1")
            .query("follow", flag(options.follow))
            .query("timestamps", flag(options.timestamps))
            .query(
                "tail",
                &options
                    .tail
                    .map_or_else(|| "all".to_owned(), |n| n.to_string()),
            );
        if let Some(since) = options.since {
            target = target.query("since", &since.to_string());
        }
        call.target = target;
        let (connection, response) = self.stream(&call, None).await?;
        Ok(LogStream {
            call,
            body: response.into_body(),
            chunks: (!options.tty).then(Chunks::default),
            _connection: connection,
        })
    }
}

impl LogStream {
    /// The next piece; `None` at the log's end. Cancel safe.
    ///
    /// # Errors
    /// `ACODE-CTN-014` when the stream is cut or is not what it should be.
    pub async fn next(&mut self) -> Result<Option<Chunk>> {
        loop {
            if let Some(chunks) = &mut self.chunks
                && let Some(chunk) = chunks.pop().map_err(|e| {
                    self.call
                        .error(Kind::Protocol, "the log is not framed")
                        .because(e)
                })?
            {
                return Ok(Some(chunk));
            }
            let Some(frame) = self.body.frame().await else {
                let end = self.chunks.as_ref().map_or(Ok(()), Chunks::finish);
                return end
                    .map(|()| None)
                    .map_err(|e| self.call.error(Kind::Cut, "the log was cut").because(e));
            };
            let frame =
                frame.map_err(|e| self.call.error(Kind::Cut, "the log was cut").because(e))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            match &mut self.chunks {
                Some(chunks) => chunks.push(&data),
                None => {
                    return Ok(Some(Chunk {
                        stream: Stream::Stdout,
                        data: data.to_vec(),
                    }));
                }
            }
        }
    }
}
