//! What happens to a task by itself, and when.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A task of which nothing is heard is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The instants at which something happens by itself.
pub(super) struct Alarms {
    pub(super) deadline: Option<Instant>,
    pub(super) grace: Option<Instant>,
    pub(super) drain: Option<Instant>,
    /// An engine that is stopped cuts no connection, and would never be asked.
    pub(super) look: Option<Instant>,
    /// Process 1 has to have answered.
    pub(super) answer: Option<Instant>,
}

pub(super) enum Alarm {
    Deadline,
    Grace,
    Drain,
    Look,
    Answer,
}

impl Alarms {
    pub(super) fn new(timeout: Option<Duration>, answer: Option<Instant>) -> Self {
        Self {
            deadline: timeout.map(|timeout| Instant::now() + timeout),
            grace: None,
            drain: None,
            look: Some(Instant::now() + LOOK_EVERY),
            answer,
        }
    }

    /// Rings once more for [`Alarm::Look`].
    pub(super) fn look_again(&mut self) {
        self.look = Some(Instant::now() + LOOK_EVERY);
    }

    /// The next one; each rings once.
    pub(super) async fn next(&mut self) -> Alarm {
        tokio::select! {
            () = ring(&mut self.deadline) => Alarm::Deadline,
            () = ring(&mut self.grace) => Alarm::Grace,
            () = ring(&mut self.drain) => Alarm::Drain,
            () = ring(&mut self.look) => Alarm::Look,
            () = ring(&mut self.answer) => Alarm::Answer,
        }
    }
}

async fn ring(alarm: &mut Option<Instant>) {
    match alarm {
        Some(instant) => sleep_until(*instant).await,
        None => std::future::pending().await,
    }
    *alarm = None;
}
