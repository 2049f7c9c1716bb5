//! A socket in front of an engine's that keeps what both sides say.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;

use crate::cases::Exchange;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToEngine,
    FromEngine,
}

type Heard = Arc<Mutex<Vec<(Way, Vec<u8>)>>>;

/// A proxy for one call at a time; dropping it removes its socket.
#[derive(Debug)]
pub(crate) struct Proxy {
    socket: PathBuf,
    heard: Heard,
    accepting: AbortHandle,
}

impl Proxy {
    /// Listens on `socket` for the engine at `engine`.
    pub(crate) fn start(socket: &Path, engine: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let heard = Heard::default();
        let (all, engine) = (Arc::clone(&heard), engine.to_owned());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (heard, engine) = (Arc::clone(&all), engine.clone());
                tokio::spawn(async move {
                    let engine = UnixStream::connect(&engine).await?;
                    let (from_client, to_client) = client.into_split();
                    let (from_engine, to_engine) = engine.into_split();
                    tokio::try_join!(
                        pass(from_client, to_engine, Way::ToEngine, &heard),
                        pass(from_engine, to_client, Way::FromEngine, &heard),
                    )
                });
            }
        })
        .abort_handle();
        Ok(Self {
            socket: socket.to_owned(),
            heard,
            accepting,
        })
    }

    /// What was said since the last time. A call that was repeated counts once.
    pub(crate) fn take(&self) -> Exchange {
        let heard = std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        let mut exchange = Exchange::default();
        for (way, bytes) in heard {
            match way {
                Way::ToEngine if !exchange.resp.is_empty() && bytes == exchange.req => break,
                Way::ToEngine => exchange.req.extend(bytes),
                Way::FromEngine => exchange.resp.extend(bytes),
            }
        }
        exchange
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        // A socket that is left behind is in a temporary directory.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Passes everything on, and the end too, as a half-close.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    heard: &Heard,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((way, buffer[..count].to_vec()));
        to.write_all(&buffer[..count]).await?;
    }
}
