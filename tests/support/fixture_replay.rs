//! A real Unix socket that takes one recorded request, byte for byte, and answers it as the engine did.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use acode_rt::engine::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinHandle};

use crate::cases::Exchange;

/// How an answer is cut into pieces that arrive one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    Whole,
    HeadThenBody,
    Of(usize),
}

/// What happens to the connection behind the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    KeepOpen,
    Close,
}

/// What one server says: `ping` first, and `call` from then on.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) ping: Exchange,
    pub(crate) call: Exchange,
    pub(crate) pieces: Pieces,
    pub(crate) then: Then,
}

#[derive(Debug, Default)]
struct Seen {
    requests: usize,
    wrong: Vec<String>,
    conversations: Vec<JoinHandle<()>>,
}

/// The server; dropping it removes its socket.
#[derive(Debug)]
pub(crate) struct Server {
    socket: PathBuf,
    seen: Arc<Mutex<Seen>>,
    accepting: AbortHandle,
}

impl Server {
    pub(crate) fn start(script: Script) -> io::Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket =
            std::env::temp_dir().join(format!("acode-replay-{}-{number}.sock", std::process::id()));
        let listener = UnixListener::bind(&socket)?;
        let seen = Arc::<Mutex<Seen>>::default();
        let (all, script) = (Arc::clone(&seen), Arc::new(script));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, script) = (Arc::clone(&all), Arc::clone(&script));
                let conversation = tokio::spawn(async move {
                    if let Err(error) = converse(stream, &script, &seen).await {
                        lock(&seen).wrong.push(error);
                    }
                });
                lock(&all).conversations.push(conversation);
            }
        })
        .abort_handle();
        Ok(Self {
            socket,
            seen,
            accepting,
        })
    }

    pub(crate) fn host(&self) -> Host {
        Host::from_socket(&self.socket)
    }

    /// Waits until the client has closed its connections: how many requests came after the ping.
    ///
    /// # Errors
    /// What was not as recorded.
    pub(crate) async fn finish(self) -> Result<usize, String> {
        self.accepting.abort();
        let conversations = std::mem::take(&mut lock(&self.seen).conversations);
        for conversation in conversations {
            conversation.await.map_err(|error| error.to_string())?;
        }
        let seen = lock(&self.seen);
        if seen.wrong.is_empty() {
            Ok(seen.requests - 1)
        } else {
            Err(seen.wrong.join("; "))
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        // A socket that is left behind is in a temporary directory.
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn converse(
    mut stream: UnixStream,
    script: &Script,
    seen: &Mutex<Seen>,
) -> Result<(), String> {
    loop {
        let mut first = [0];
        if stream.read(&mut first).await.unwrap_or(0) == 0 {
            return Ok(());
        }
        let is_ping = {
            let mut seen = lock(seen);
            seen.requests += 1;
            seen.requests == 1
        };
        let exchange = if is_ping { &script.ping } else { &script.call };
        let head_len = head_len(&exchange.req);
        let upgrades = exchange.req[..head_len].ends_with(b"\r\nupgrade: tcp\r\n\r\n");
        let request = if upgrades {
            &exchange.req[..head_len]
        } else {
            &exchange.req[..]
        };
        expect(&mut stream, first[0], request).await?;
        if upgrades {
            return stream_both_ways(stream, script).await;
        }
        // A client that has what it wants may be gone before the last byte.
        let sent = send(&mut stream, &exchange.resp, script.pieces).await;
        if sent.is_err() || (script.then == Then::Close && !is_ping) {
            return Ok(());
        }
    }
}

/// Reads `request` and nothing else.
async fn expect(stream: &mut UnixStream, first: u8, request: &[u8]) -> Result<(), String> {
    let mut heard = vec![first];
    while heard != request {
        let mut buffer = [0; 4096];
        let fits = request.starts_with(&heard);
        let count = if fits {
            stream.read(&mut buffer).await.unwrap_or(0)
        } else {
            0
        };
        if count == 0 {
            return Err(format!(
                "'{}' came instead of '{}'",
                heard.escape_ascii(),
                request.escape_ascii()
            ));
        }
        heard.extend_from_slice(&buffer[..count]);
    }
    Ok(())
}

/// The connection of an attach behind its request's head. What follows the head in the recorded request is standard input,
/// up to a half-close; the recorded task says nothing before it has read that.
async fn stream_both_ways(mut stream: UnixStream, script: &Script) -> Result<(), String> {
    let Exchange { req, resp } = &script.call;
    let (head, output) = resp.split_at(head_len(resp));
    let stdin = &req[head_len(req)..];
    let sent = send(&mut stream, head, script.pieces).await;
    let mut said = Vec::new();
    let upgraded = head.starts_with(b"HTTP/1.1 101 ") && head.ends_with(b"\r\n\r\n");
    if sent.is_ok() && upgraded && !stdin.is_empty() {
        let _ = stream.read_to_end(&mut said).await;
        if said != stdin {
            return Err(format!("the task's input is '{}'", said.escape_ascii()));
        }
    }
    if send(&mut stream, output, script.pieces).await.is_ok() && stream.shutdown().await.is_ok() {
        let already = said.len();
        let _ = stream.read_to_end(&mut said).await;
        if said.len() > already {
            return Err(format!(
                "'{}' came behind the request",
                said[already..].escape_ascii()
            ));
        }
    }
    Ok(())
}

async fn send(stream: &mut UnixStream, bytes: &[u8], pieces: Pieces) -> io::Result<()> {
    let (head, body) = bytes.split_at(head_len(bytes));
    let parts: Vec<&[u8]> = match pieces {
        Pieces::Whole => vec![bytes],
        Pieces::HeadThenBody => vec![head, body],
        Pieces::Of(size) => bytes.chunks(size).collect(),
    };
    for part in parts {
        stream.write_all(part).await?;
        // The client reads this piece before there is another one.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Where the body begins; of what has no whole head, its end.
pub(crate) fn head_len(message: &[u8]) -> usize {
    message
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(message.len(), |at| at + 4)
}
