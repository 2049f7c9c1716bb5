use std::time::Duration;

use hyper::Method;

use crate::engine::Engine;
use crate::error::{Code, Result};

impl Engine {
    /// `POST /containers/{id}/stop?t=…`, API 1.41 (FR-020A-04): TERM, then KILL after `grace` (rounded up to whole seconds), and
    /// waits until it has stopped. One that is not running is not an error (304).
    ///
    /// # Errors
    /// `ACODE-CTN-003`.
    pub async fn container_stop(&self, container: &str, grace: Duration) -> Result<()> {
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let mut call = self
            .on_container(
                "stop",
                Code::StopFailed,
                Method::POST,
                container,
                "/stop",
                grace.saturating_add(self.timeouts().act),
            )?
            .idempotent();
        call.target = call.target.query("t", &seconds.to_string());
        self.call(&call).await?.expect(&call, &[204, 304])
    }
}
