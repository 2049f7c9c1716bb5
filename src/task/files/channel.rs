//! Bytes between a thread that works with files and the runtime, with a bound on what is under way.

use std::io::{self, BufRead, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

/// So much is collected before it is passed on.
const CHUNK: usize = 256 * 1024;

/// What a thread writes, for an [`Outlet`] to read.
pub(super) struct Inlet {
    sender: mpsc::Sender<Vec<u8>>,
    buffer: Vec<u8>,
}

/// An empty chunk is the proper end: a thread that dies sends none.
pub(super) struct Outlet {
    receiver: Arc<Mutex<mpsc::Receiver<Vec<u8>>>>,
    current: io::Cursor<Vec<u8>>,
    ended: bool,
}

/// Ends the thread's writing when it is dropped: a connection may hold its outlet for longer than anybody waits.
pub(super) struct Tap(Arc<Mutex<mpsc::Receiver<Vec<u8>>>>);

impl Drop for Tap {
    fn drop(&mut self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .close();
    }
}

/// From a thread to the runtime.
pub(super) fn out_of_a_thread() -> (Inlet, Outlet, Tap) {
    let (sender, receiver) = mpsc::channel(2);
    let receiver = Arc::new(Mutex::new(receiver));
    let tap = Tap(Arc::clone(&receiver));
    let inlet = Inlet {
        sender,
        buffer: Vec::with_capacity(CHUNK),
    };
    let outlet = Outlet {
        receiver,
        current: io::Cursor::default(),
        ended: false,
    };
    (inlet, outlet, tap)
}

impl Inlet {
    /// All has been written.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Vec::new())
    }

    fn send(&self, chunk: Vec<u8>) -> io::Result<()> {
        self.sender
            .blocking_send(chunk)
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for Inlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.send(chunk)
    }
}

impl AsyncRead for Outlet {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.ended && this.current.position() == this.current.get_ref().len() as u64 {
            let received = this
                .receiver
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .poll_recv(cx);
            match ready!(received) {
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Some(chunk) if chunk.is_empty() => this.ended = true,
                Some(chunk) => this.current = io::Cursor::new(chunk),
            }
        }
        if !this.ended {
            let count = this.current.read(buffer.initialize_unfilled())?;
            buffer.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

/// What the runtime sends, as a thread reads it. The end of the channel is the end of the stream.
pub(super) struct Received {
    receiver: mpsc::Receiver<Vec<Bytes>>,
    waiting: std::vec::IntoIter<Bytes>,
    current: Bytes,
}

/// From the runtime to a thread, which is woken once for many of the small pieces that an engine sends.
pub(super) struct Sent {
    sender: mpsc::Sender<Vec<Bytes>>,
    batch: Vec<Bytes>,
    bytes: usize,
}

/// From the runtime to a thread.
pub(super) fn into_a_thread() -> (Sent, Received) {
    let (sender, receiver) = mpsc::channel(8);
    let sent = Sent {
        sender,
        batch: Vec::new(),
        bytes: 0,
    };
    let reader = Received {
        receiver,
        waiting: Vec::new().into_iter(),
        current: Bytes::new(),
    };
    (sent, reader)
}

impl Sent {
    /// `false` when the thread reads no more.
    pub(super) async fn send(&mut self, bytes: Bytes) -> bool {
        self.bytes += bytes.len();
        self.batch.push(bytes);
        self.bytes < CHUNK || self.flush().await
    }

    /// As [`Sent::send`], of what has been held back.
    pub(super) async fn flush(&mut self) -> bool {
        self.bytes = 0;
        self.sender
            .send(std::mem::take(&mut self.batch))
            .await
            .is_ok()
    }
}

impl BufRead for Received {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            if let Some(bytes) = self.waiting.next() {
                self.current = bytes;
            } else if let Some(batch) = self.receiver.blocking_recv() {
                self.waiting = batch.into_iter();
            } else {
                break;
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        let _ = self.current.split_to(count);
    }
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_thread_that_dies_is_no_end() {
        for dies in [false, true] {
            let (mut inlet, mut outlet, _tap) = out_of_a_thread();
            let thread = tokio::task::spawn_blocking(move || {
                inlet.write_all(&vec![7; 3 * CHUNK + 1]).unwrap();
                if !dies {
                    inlet.end().unwrap();
                }
            });
            let mut all = Vec::new();
            let read = outlet.read_to_end(&mut all).await;
            thread.await.unwrap();
            match read {
                Ok(count) => assert!(!dies && count == 3 * CHUNK + 1),
                Err(error) => assert!(dies && error.kind() == io::ErrorKind::UnexpectedEof),
            }
        }
    }

    #[tokio::test]
    async fn a_thread_does_not_outlive_the_interest_in_it() {
        let (mut inlet, _outlet, tap) = out_of_a_thread();
        let thread = tokio::task::spawn_blocking(move || inlet.write_all(&vec![7; 10 * CHUNK]));
        drop(tap);
        assert_eq!(
            thread.await.unwrap().unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
