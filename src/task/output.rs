//! From the engine's stream to whoever reads: every byte, in order, or it is said what is missing.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::control::Records;
use crate::engine::{Chunk, Output};
use crate::protocol::demux::Stream;

/// After the task's end its last output is there at once; an engine that neither sends nor ends it is not waited for longer.
const SILENCE_AFTER_END: Duration = Duration::from_secs(5);

/// What became of the output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OutputReport {
    /// Bytes of standard output that the task wrote, as far as they arrived.
    pub stdout_bytes: u64,
    /// Bytes of standard error, likewise.
    pub stderr_bytes: u64,
    /// Every byte that the task wrote was passed on.
    pub complete: bool,
    /// It was cut at the limit that was asked for.
    pub truncated: bool,
    /// Why it is not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete_because: Option<String>,
    /// So many of the bytes did not arrive, and were read from the engine's log, which was exact.
    pub recovered_bytes: u64,
    /// There is reason to compare it with the engine's log.
    #[serde(skip)]
    pub(super) doubtful: bool,
    /// The end of what arrived on each stream.
    #[serde(skip)]
    pub(super) last: [Last; 2],
}

/// The last bytes of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Last(Vec<u8>);

impl Last {
    const LEN: usize = 64;

    pub(super) fn note(&mut self, data: &[u8]) {
        let data = &data[data.len().saturating_sub(Self::LEN)..];
        let excess = (self.0.len() + data.len()).saturating_sub(Self::LEN);
        self.0.drain(..excess);
        self.0.extend_from_slice(data);
    }
}

impl OutputReport {
    /// Notes that output was not passed on; the first reason stands.
    pub fn lost(&mut self, why: &str) {
        self.complete = false;
        self.incomplete_because
            .get_or_insert_with(|| why.to_owned());
    }
}

/// Why passing on stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The stream ended, in order or not; the report says which.
    Stream,
    /// The receiver was dropped.
    ReceiverGone,
}

/// Passes output on to `sink` (or drops it, where there is none), at most `max` bytes. What came so far stands in `report`, also when the
/// future is dropped.
pub(crate) async fn pump(
    mut output: Output,
    mut records: Option<Records>,
    sink: Option<mpsc::Sender<Chunk>>,
    max: Option<u64>,
    mut ended: watch::Receiver<bool>,
    report: &mut OutputReport,
) -> End {
    let mut left = max.unwrap_or(u64::MAX);
    loop {
        let next = tokio::select! {
            biased;
            next = output.next() => next,
            () = gone(sink.as_ref()) => {
                report.lost("the reader of the output went away");
                return End::ReceiverGone;
            }
            () = silence(&mut ended) => {
                report.incomplete_because = Some("the engine did not end the output after the task's end".into());
                return End::Stream;
            }
        };
        let complete = match next {
            Ok(Some(mut chunk)) => {
                if let Some(records) = &mut records {
                    records.strip(&mut chunk);
                }
                if !pass_on(chunk, sink.as_ref(), &mut left, report).await {
                    return End::ReceiverGone;
                }
                // Process 1 says so when every other process is dead, and then waits for us.
                if !records.as_ref().is_some_and(Records::are_complete) {
                    continue;
                }
                true
            }
            Ok(None) => {
                if records.is_some() {
                    report.incomplete_because =
                        Some("it was cut, or the task was killed from outside".into());
                }
                records.is_none()
            }
            Err(error) => {
                report.doubtful = true;
                report.incomplete_because = Some(error.message());
                false
            }
        };
        for chunk in records.iter_mut().flat_map(Records::rest) {
            if !pass_on(chunk, sink.as_ref(), &mut left, report).await {
                return End::ReceiverGone;
            }
        }
        report.complete = complete && !report.truncated;
        return End::Stream;
    }
}

/// Passes one piece on, as far as there is room for it; `false` when nobody takes it.
pub(super) async fn pass_on(
    mut chunk: Chunk,
    sink: Option<&mpsc::Sender<Chunk>>,
    left: &mut u64,
    report: &mut OutputReport,
) -> bool {
    let (bytes, last) = match chunk.stream {
        Stream::Stdout => (&mut report.stdout_bytes, &mut report.last[0]),
        Stream::Stderr => (&mut report.stderr_bytes, &mut report.last[1]),
    };
    *bytes += chunk.data.len() as u64;
    last.note(&chunk.data);
    let room = usize::try_from(*left).unwrap_or(usize::MAX);
    if chunk.data.len() > room {
        chunk.data.truncate(room);
        report.truncated = true;
        report.incomplete_because = Some("it is longer than the limit that was asked for".into());
    }
    *left -= chunk.data.len() as u64;
    if let Some(sink) = sink
        && !chunk.data.is_empty()
    {
        let begun = Instant::now();
        if sink.send(chunk).await.is_err() {
            report.incomplete_because = Some("the reader of the output went away".into());
            return false;
        }
        // An engine waits two seconds for whoever reads a stream of a task that has ended, and then drops the rest.
        report.doubtful |= begun.elapsed() > Duration::from_secs(1);
    }
    true
}

/// Returns when nobody takes output any more, also while there is none.
async fn gone(sink: Option<&mpsc::Sender<Chunk>>) {
    match sink {
        Some(sink) => sink.closed().await,
        None => std::future::pending().await,
    }
}

async fn silence(ended: &mut watch::Receiver<bool>) {
    if ended.wait_for(|ended| *ended).await.is_err() {
        // The driver is gone, and this future with it.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(SILENCE_AFTER_END).await;
}
