//! Removing a container until it is confirmed gone.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::{Engine, EngineKind, RemoveOptions};
use crate::error::{Code, Error, Kind, Result};

/// How often a removal that fails is tried (FR-020A-70).
const TRIES: u32 = 4;

/// Removes `container` and its anonymous volumes by force, in whatever state it is, and asks whether it is gone. One that is gone
/// already is success, and so is one that somebody else is removing, once it is gone. Dropping the future abandons it.
///
/// # Errors
/// `ACODE-CTN-004` when it is still there after `timeout` (an hour at most where that cannot be reckoned with), or after four refusals.
pub async fn remove_confirmed(engine: &Engine, container: &str, timeout: Duration) -> Result<()> {
    remove_by(engine, container, timeout).await.map(drop)
}

/// As [`remove_confirmed`]; `false` where it was gone, or somebody else was removing it, as far as the engine tells those apart.
pub(crate) async fn remove_by(engine: &Engine, container: &str, timeout: Duration) -> Result<bool> {
    let begun = Instant::now();
    let deadline = begun
        .checked_add(timeout)
        .unwrap_or(begun + Duration::from_secs(3600));
    let mut pause = Duration::from_millis(20);
    let mut failures = 0;
    let (mut by_us, mut tried) = (true, false);
    if engine.kind() == EngineKind::Podman {
        // It removes by force as it stops: TERM, and KILL ten seconds later. What does not run is refused, and removed all the same.
        let kill = engine.container_kill(container, "KILL");
        let _ = tokio::time::timeout_at(deadline, kill).await;
    }
    loop {
        let attempt = async {
            match engine
                .container_remove(container, RemoveOptions { force: true })
                .await
            {
                Ok(true) => {}
                Ok(false) => by_us &= tried,
                Err(error) if error.is_conflict() => by_us &= tried,
                Err(error) => return Err(error),
            }
            match engine.container_inspect(container).await {
                Err(error) if error.is_not_found() => Ok(true),
                Err(error) => Err(error),
                Ok(_) => Ok(false),
            }
        };
        let last = match tokio::time::timeout_at(deadline, attempt).await {
            Ok(Ok(true)) => return Ok(by_us),
            Ok(Ok(false)) => Error::new(
                Code::RemoveFailed,
                Kind::Timeout,
                "remove",
                "it is still there",
            )
            .on(container),
            Ok(Err(error)) => {
                // An engine that is not there may come back; one that says no four times means it.
                failures += u32::from(error.status().is_some());
                error.with_code(Code::RemoveFailed)
            }
            Err(_) => {
                return Err(Error::new(
                    Code::RemoveFailed,
                    Kind::Timeout,
                    "remove",
                    format!("the engine did not confirm the removal within {timeout:?}"),
                )
                .on(container));
            }
        };
        tried = true;
        if failures >= TRIES || Instant::now() + pause >= deadline {
            return Err(last);
        }
        tracing::debug!(container, error = %last, "removing again");
        tokio::time::sleep(pause).await;
        pause = (pause * 3).min(Duration::from_secs(2));
    }
}
