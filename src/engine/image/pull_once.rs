//! One pull of an image for all who want it at the time, repeated where that helps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::credentials::registry_credentials;
use crate::engine::Engine;
use crate::engine::request::jitter;
use crate::error::{Code, Error, Kind, Result};
use crate::protocol::image_ref::ImageRef;
use crate::protocol::pull_progress::PullProgress;

/// Nothing moves for so long: the engine is asked again.
const STALL: Duration = Duration::from_secs(60);
/// How often it is tried in all.
const TRIES: u32 = 4;
/// Before the second try; each later pause is four times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Where a pull is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PullStep {
    /// The engine is at it.
    Pulling(PullProgress),
    /// It failed, and will be tried again.
    Waiting {
        /// What failed.
        error: String,
        /// Until the next try.
        pause: Duration,
    },
}

/// The pulls that are under way, by what they pull.
#[derive(Debug, Default)]
pub(crate) struct Pulls(Mutex<HashMap<String, Weak<Flight>>>);

/// A pull on a task of its own, which ends with the last who waits for it.
#[derive(Debug)]
struct Flight {
    state: watch::Receiver<State>,
    task: AbortHandle,
}

#[derive(Debug, Clone)]
enum State {
    Under(PullStep),
    Ended(std::result::Result<(), Arc<Error>>),
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Engine {
    /// Pulls an image with docker's credentials for its registry. Who wants the same image at the same time, of this engine's clones, gets
    /// it from one pull. What may pass is tried again, three times: a cut connection, an engine or registry that fails (5xx) or is asked too
    /// often (429, after its `Retry-After` where the engine passes that on), and a pull in which nothing moves for a minute.
    ///
    /// There is no limit to the time that it takes in all. Dropping the future abandons the pull once nobody else waits for it.
    ///
    /// # Errors
    /// Those of [`Engine::image_pull`] and [`registry_credentials`].
    pub async fn image_pull_once(
        &self,
        image: &ImageRef,
        mut step: impl FnMut(&PullStep),
    ) -> Result<()> {
        let flight = self.flight(image);
        let mut state = flight.state.clone();
        loop {
            let now = state.borrow_and_update().clone();
            match now {
                State::Ended(result) => return result.map_err(|error| error.copy()),
                State::Under(now) => step(&now),
            }
            state.changed().await.map_err(|_| {
                Error::new(
                    Code::PullFailed,
                    Kind::Cancelled,
                    "pull",
                    "the runtime that made the pull has ended",
                )
                .on(image.as_str())
            })?;
        }
    }

    /// The one that is under way, or a new one.
    fn flight(&self, image: &ImageRef) -> Arc<Flight> {
        let key = image.canonical();
        let mut flights = self.pulls().lock();
        flights.retain(|_, flight| flight.strong_count() > 0);
        let under_way = flights.get(&key).and_then(Weak::upgrade);
        if let Some(flight) =
            under_way.filter(|flight| matches!(*flight.state.borrow(), State::Under(_)))
        {
            return flight;
        }
        let (sender, state) =
            watch::channel(State::Under(PullStep::Pulling(PullProgress::default())));
        let (engine, image) = (self.clone(), image.clone());
        let task = tokio::spawn(async move {
            let result = pull_until_done(&engine, &image, &sender).await;
            sender.send_replace(State::Ended(result.map_err(Arc::new)));
        });
        let flight = Arc::new(Flight {
            state,
            task: task.abort_handle(),
        });
        flights.insert(key, Arc::downgrade(&flight));
        flight
    }
}

impl Pulls {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pull_until_done(
    engine: &Engine,
    image: &ImageRef,
    sender: &watch::Sender<State>,
) -> Result<()> {
    let auth = registry_credentials(&image.registry()).await?;
    let mut pause = FIRST_PAUSE;
    for attempt in 1.. {
        let pulled = engine
            .image_pull(image, auth.as_ref(), STALL, |progress| {
                sender.send_replace(State::Under(PullStep::Pulling(progress)));
            })
            .await;
        let error = match pulled {
            Err(error) if attempt < TRIES && error.is_retryable() => error,
            ended => return ended,
        };
        let wait = error.retry_after().unwrap_or(pause + jitter(pause));
        tracing::warn!(%error, attempt, ?wait, "the pull is tried again");
        sender.send_replace(State::Under(PullStep::Waiting {
            error: error.to_string(),
            pause: wait,
        }));
        tokio::time::sleep(wait).await;
        pause *= 4;
    }
    unreachable!("the loop returns")
}
