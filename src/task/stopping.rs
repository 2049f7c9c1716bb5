//! A task that is being stopped, as it is logged and audited.

use super::container::TaskContainer;

/// What is to be stopped, if anything, and why.
#[derive(Clone, Copy)]
pub(super) struct Stopping<'a> {
    pub(super) container: &'a TaskContainer,
    why: &'static str,
}

impl<'a> Stopping<'a> {
    pub(super) fn of(container: &'a TaskContainer, why: &'static str) -> Self {
        Self { container, why }
    }

    /// Tells that `signal` is about to be sent.
    pub(super) fn log(self, signal: &str) {
        let plan = self.container.plan();
        tracing::info!(operation = plan.operation, name = %plan.name, signal, why = self.why, "stopping");
        self.container.trail.stopping(signal, self.why);
    }
}
