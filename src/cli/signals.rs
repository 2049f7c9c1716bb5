//! What asks us to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use acode_rt::error::{Code, Error, Kind, Result};
use acode_rt::{Cancel, Canceller};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// INT, TERM and HUP: the first stops the task, the second kills it.
pub(crate) struct Signals {
    pub(crate) canceller: Arc<Canceller>,
    /// The number of the first one; 0 for none.
    pub(crate) first: Arc<AtomicI32>,
    count: tokio::sync::watch::Receiver<u32>,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self> {
        let ignored = ignored();
        let open = |kind: SignalKind| {
            // What whoever started us has switched off, as nohup does, stays so.
            if ignored & (1 << (kind.as_raw_value() - 1)) != 0 {
                return Ok(None);
            }
            signal(kind).map(Some).map_err(|error| {
                Error::new(
                    Code::Configuration,
                    Kind::Io,
                    "signals",
                    "they cannot be listened to",
                )
                .because(error)
            })
        };
        let mut int = open(SignalKind::interrupt())?;
        let mut term = open(SignalKind::terminate())?;
        let mut hangup = open(SignalKind::hangup())?;
        let (sender, count) = tokio::sync::watch::channel(0);
        let (canceller, first) = (Arc::new(Canceller::new()), Arc::new(AtomicI32::new(0)));
        let (to_cancel, seen_first) = (Arc::clone(&canceller), Arc::clone(&first));
        tokio::spawn(async move {
            loop {
                let number = tokio::select! {
                    () = next(&mut int) => 2,
                    () = next(&mut term) => 15,
                    () = next(&mut hangup) => 1,
                };
                let earlier =
                    seen_first.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
                to_cancel.cancel(if earlier.is_ok() {
                    Cancel::Stop
                } else {
                    Cancel::Kill
                });
                sender.send_modify(|count| *count += 1);
            }
        });
        Ok(Self {
            canceller,
            first,
            count,
        })
    }

    /// A signal from now on.
    pub(crate) async fn again(&self) {
        let mut count = self.count.clone();
        count.mark_unchanged();
        if count.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// The signals that were ignored when we were started, as a bit mask.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
