use std::time::Duration;

use tokio::task::JoinHandle;

use super::run::{Entry, Sweep, sweep};
use crate::engine::Engine;
use crate::error::Result;

/// Shortest pause between two passes: what an engine could be asked all the time, it is not.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Sweeps in the background (FR-020A-77): at once and then again and again, until it is dropped. A pass that fails is logged, and the next
/// one comes all the same.
///
/// Dropping it abandons a pass that is under way; what that left is found by the next sweep, whoever makes it.
///
/// ```no_run
/// # async fn example(engine: acode_rt::engine::Engine) {
/// use acode_rt::sweep::{Sweep, Sweeper};
/// use std::time::Duration;
/// let options = Sweep { session: None, dry_run: false, timeout: Duration::from_secs(30) };
/// let _sweeper = Sweeper::start(engine, options, Duration::from_secs(60));
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it stops when it is dropped"]
pub struct Sweeper {
    passes: JoinHandle<()>,
}

impl Sweeper {
    /// Starts it, on the tokio runtime that is current; `every` is the pause between two passes.
    pub fn start(engine: Engine, options: Sweep, every: Duration) -> Self {
        Self::start_with(engine, options, every, |_| {})
    }

    /// As [`Sweeper::start`], and hands what each pass came to to `on_pass`, which must not block.
    pub fn start_with(
        engine: Engine,
        options: Sweep,
        every: Duration,
        mut on_pass: impl FnMut(Result<Vec<Entry>>) + Send + 'static,
    ) -> Self {
        let pause = every.max(SHORTEST_PAUSE);
        let passes = tokio::spawn(async move {
            loop {
                let pass = sweep(&engine, &options).await;
                if let Err(error) = &pass {
                    tracing::error!(%error, "a sweep failed; the next one is on its way");
                }
                on_pass(pass);
                tokio::time::sleep(pause).await;
            }
        });
        Self { passes }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.passes.abort();
    }
}
