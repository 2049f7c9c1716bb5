//! Where a task's time goes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::task::receipt::Phases;

/// Where the time goes.
pub(super) struct Clock {
    /// Seconds since 1970.
    pub(super) started: u64,
    began: Instant,
    last: Instant,
    phases: Phases,
}

impl Clock {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self {
            started,
            began: now,
            last: now,
            phases: Phases::default(),
        }
    }

    /// Ends a phase, which began where the one before it ended.
    pub(super) fn phase(&mut self, phase: impl FnOnce(&mut Phases) -> &mut f64) {
        let now = Instant::now();
        *phase(&mut self.phases) = milliseconds(now - self.last);
        self.last = now;
    }

    /// Takes a pull out of the phase in which it was.
    pub(super) fn pulled(&mut self, pull: Option<Duration>) {
        if let Some(pull) = pull {
            self.phases.pull = milliseconds(pull);
            let rest = self.phases.prepare - self.phases.pull;
            self.phases.prepare = (rest.max(0.0) * 1e3).round() / 1e3;
        }
    }

    pub(super) fn total(&self) -> Phases {
        Phases {
            total: milliseconds(self.last - self.began),
            ..self.phases.clone()
        }
    }
}

/// To a thousandth.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
