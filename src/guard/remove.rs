//! Removing what is left of a client that is gone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::book::Held;
use crate::engine::{Engine, Host};
use crate::error::Error;
use crate::protocol::labels::OPERATION;
use crate::task::remove_confirmed;

/// A create that was not answered is waited for so long.
const LATE_CREATE: Duration = Duration::from_secs(60);
/// An engine that is away, or a container that cannot be removed, is given up after so long, and left to the next sweep.
const PATIENCE: Duration = Duration::from_secs(600);
/// For one removal, before it is begun again.
const REMOVAL: Duration = Duration::from_secs(30);
/// Looks and removals under way at once.
const AT_ONCE: usize = 8;
/// Between two looks.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(250)];

/// Removes all of `held`, on this thread, with a runtime of its own. Returns when they are gone or given up.
pub(super) fn remove_all(socket: &Path, held: Vec<Held>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(async {
            let way = Arc::new(Way {
                host: Host::from_socket(socket),
                engine: OnceCell::new(),
                at_once: Semaphore::new(AT_ONCE),
            });
            let mut removals = JoinSet::new();
            for held in held {
                removals.spawn(remove(Arc::clone(&way), held));
            }
            removals.join_all().await;
        }),
        Err(error) => tracing::error!(%error, "left to the next sweep"),
    }
}

/// How all of them reach the engine: a client that dies may leave thousands.
struct Way {
    host: Host,
    engine: OnceCell<Engine>,
    at_once: Semaphore,
}

impl Way {
    async fn look_and_remove(&self, held: &Held) -> Result<bool, Error> {
        // It is never closed.
        let _permit = self.at_once.acquire().await.ok();
        let engine = self
            .engine
            .get_or_try_init(|| Engine::connect(&self.host))
            .await?;
        look_and_remove(engine, held).await
    }
}

async fn remove(way: Arc<Way>, held: Held) {
    let begun = Instant::now();
    let mut pause = PAUSES[0];
    loop {
        let (gone, patience) = match way.look_and_remove(&held).await {
            Ok(gone) => (gone, LATE_CREATE),
            Err(error) => {
                tracing::debug!(operation = held.operation, name = held.name, %error, "not removed yet");
                // An engine that is away may come back; one whose socket is gone as well does so under another name.
                let away = way.host.socket().exists();
                (false, if away { PATIENCE } else { LATE_CREATE })
            }
        };
        if gone {
            tracing::warn!(
                operation = held.operation,
                name = held.name,
                "removed what was given up"
            );
            return;
        }
        if begun.elapsed() > patience {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES[1]);
    }
}

/// `true` when it was there and is gone, or is known to have been there. `false` when it may still turn up.
async fn look_and_remove(engine: &Engine, held: &Held) -> Result<bool, Error> {
    if let Some(id) = &held.id {
        remove_confirmed(engine, id, REMOVAL).await?;
        return Ok(true);
    }
    match engine.container_inspect(&held.name).await {
        Ok(inspect) if inspect.config.labels.get(OPERATION) == Some(&held.operation) => {
            remove_confirmed(engine, &inspect.id, REMOVAL).await?;
            Ok(true)
        }
        // Somebody else's container has the name: ours may still follow it.
        Ok(_) => Ok(false),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
