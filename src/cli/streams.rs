//! The task's output to our standard streams and log file, on a thread of its own: a reader that stalls holds up the task, never
//! a deadline or a signal.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::thread;

use acode_rt::engine::Chunk;
use acode_rt::error::{Code, Error, Kind, Result};
use acode_rt::protocol::demux::Stream;
use rustix::event::{PollFd, PollFlags};
use tokio::sync::{mpsc, oneshot};

/// Reads of up to 128 KiB each that may wait for a slow reader.
const QUEUE: usize = 16;

pub(crate) struct Writer {
    pub(crate) sender: mpsc::Sender<Chunk>,
    /// What became of it, once the sender is dropped and all is written.
    pub(crate) done: oneshot::Receiver<Result<(), Broken>>,
}

/// Why writing stopped.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Whoever reads our output has gone, as `head` does.
    ReaderGone,
    /// The disk is full, or the like.
    Failed(&'static str, io::Error),
}

impl Writer {
    pub(crate) fn start(log: Option<File>) -> Result<Self> {
        // Past std's line buffer, which would look for newlines in all of it.
        let open = |fd: io::Result<std::os::fd::OwnedFd>| {
            fd.map(File::from).map_err(|error| {
                Error::new(
                    Code::OutputFile,
                    Kind::Io,
                    "output",
                    "standard output or error is closed",
                )
                .because(error)
            })
        };
        let stdout = open(io::stdout().as_fd().try_clone_to_owned())?;
        let stderr = open(io::stderr().as_fd().try_clone_to_owned())?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (report, done) = oneshot::channel();
        thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                // Nobody may be waiting any more.
                let _ = report.send(write(receiver, stdout, stderr, log));
            })
            .map_err(|error| {
                Error::new(Code::OutputFile, Kind::Io, "output", "no thread for it").because(error)
            })?;
        Ok(Self { sender, done })
    }
}

/// As `write_all`, also where whoever started us has made the descriptor non-blocking.
fn write_all(file: &mut File, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match file.write(data) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => data = &data[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut ready = [PollFd::new(file, PollFlags::OUT)];
                rustix::event::poll(&mut ready, None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write(
    mut chunks: mpsc::Receiver<Chunk>,
    mut stdout: File,
    mut stderr: File,
    mut log: Option<File>,
) -> Result<(), Broken> {
    while let Some(chunk) = chunks.blocking_recv() {
        let (stream, name) = match chunk.stream {
            Stream::Stdout => (&mut stdout, "standard output"),
            Stream::Stderr => (&mut stderr, "standard error"),
        };
        write_all(stream, &chunk.data).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Broken::ReaderGone,
            _ => Broken::Failed(name, error),
        })?;
        if let Some(log) = &mut log {
            log.write_all(&chunk.data)
                .map_err(|error| Broken::Failed("the log file", error))?;
        }
    }
    Ok(())
}
