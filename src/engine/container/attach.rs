use hyper::Method;
use hyper::body::Bytes;
use hyperlocal::UnixStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::engine::Engine;
use crate::engine::chunks::{Chunk, Chunks};
use crate::engine::request::Call;
use crate::error::{Code, Kind, Result};

/// What one read takes at most.
const READ: usize = 128 * 1024;

/// What to attach to; standard output and error always are.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttachOptions {
    /// Standard input, of a container that was created with it open.
    pub stdin: bool,
}

/// A container's streams. Dropping either half closes nothing before the other is dropped too.
#[derive(Debug)]
pub struct Attached {
    /// To the container's standard input.
    pub input: Input,
    /// From its standard output and error.
    pub output: Output,
}

/// The way to a container's standard input.
#[derive(Debug)]
pub struct Input {
    call: Call,
    writer: WriteHalf<UnixStream>,
}

/// A container's output as it comes. Attach is the record: the engine's log may be rotated.
#[derive(Debug)]
pub struct Output {
    call: Call,
    /// What arrived together with the head of the answer.
    early: Bytes,
    reader: ReadHalf<UnixStream>,
    buffer: Box<[u8]>,
    chunks: Chunks,
    ended: bool,
}

impl Engine {
    /// `POST /containers/{id}/attach` with an upgrade, API 1.41: returns when the engine has acknowledged it. To be called before
    /// start, so that no output is missed, on a container without a terminal: output is multiplexed then, whatever the
    /// answer's `Content-Type` says.
    ///
    /// # Errors
    /// `ACODE-CTN-014`. Podman finds a bad command here, not at start.
    pub async fn container_attach(
        &self,
        container: &str,
        options: AttachOptions,
    ) -> Result<Attached> {
        let attach = || {
            self.on_container(
                "attach",
                Code::EngineLost,
                Method::POST,
                container,
                "/attach",
                self.timeouts().act,
            )
        };
        let mut call = attach()?;
        call.target = call
            .target
            .query("stream", "1")
            .query("stdin", if options.stdin { "1" } else { "0" })
            .query("stdout", "1")
            .query("stderr", "1");
        let parts = self
            .upgrade(&call)
            .await?
            .downcast::<UnixStream>()
            .map_err(|_| call.error(Kind::Protocol, "the upgraded connection is not the socket"))?;
        let (reader, writer) = tokio::io::split(parts.io);
        let output = Output {
            call: attach()?,
            early: parts.read_buf,
            reader,
            buffer: vec![0; READ].into(),
            chunks: Chunks::default(),
            ended: false,
        };
        Ok(Attached {
            input: Input { call, writer },
            output,
        })
    }
}

impl Input {
    /// Writes all of `data`. Not cancel safe: some of it may have been written.
    ///
    /// # Errors
    /// `ACODE-CTN-014`; ordinary when the task has ended without reading its input.
    pub async fn write_all(&mut self, data: &[u8]) -> Result<()> {
        self.writer.write_all(data).await.map_err(|e| {
            self.call
                .error(Kind::Cut, "standard input was closed")
                .because(e)
        })
    }

    /// Half-closes: the task reads end-of-file, its output goes on.
    ///
    /// # Errors
    /// `ACODE-CTN-014`.
    pub async fn finish(&mut self) -> Result<()> {
        self.writer.shutdown().await.map_err(|e| {
            self.call
                .error(Kind::Cut, "standard input was closed")
                .because(e)
        })
    }
}

impl Output {
    /// The next piece of output; `None` at its proper end. Cancel safe.
    ///
    /// # Errors
    /// `ACODE-CTN-014` when the stream is cut inside a frame or is not what it should be: what came before was handed out.
    pub async fn next(&mut self) -> Result<Option<Chunk>> {
        loop {
            let chunk = self.chunks.pop();
            if let Some(chunk) = chunk.map_err(|e| {
                self.call
                    .error(Kind::Protocol, "the output is not framed")
                    .because(e)
            })? {
                return Ok(Some(chunk));
            }
            if self.ended {
                let end = self.chunks.finish();
                return end
                    .map(|()| None)
                    .map_err(|e| self.call.error(Kind::Cut, "the output was cut").because(e));
            }
            let early = std::mem::take(&mut self.early);
            if !early.is_empty() {
                self.chunks.push(&early);
                continue;
            }
            let count = self
                .reader
                .read(&mut self.buffer)
                .await
                .map_err(|e| self.call.error(Kind::Cut, "the output was cut").because(e))?;
            self.ended = count == 0;
            self.chunks.push(&self.buffer[..count]);
        }
    }
}
