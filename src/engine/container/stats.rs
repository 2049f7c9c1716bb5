use hyper::Method;

use crate::engine::Engine;
use crate::error::{Code, Result};
use crate::model::Stats;

impl Engine {
    /// `GET /containers/{id}/stats?stream=false&one-shot=true`, API 1.41 (FR-020A-88): what a running container uses at this moment, without the
    /// second look a second later that Docker would otherwise take. Of one that does not run the engines answer zeros, Podman at times 500.
    ///
    /// # Errors
    /// `ACODE-CTN-014`; 404 ([`crate::Error::is_not_found`]) when there is no such container.
    pub async fn container_stats(&self, container: &str) -> Result<Stats> {
        let mut call = self.on_container(
            "stats",
            Code::EngineLost,
            Method::GET,
            container,
            "/stats",
            self.timeouts().ask,
        )?;
        // A sample that is not had is the next one's matter.
        call.idempotent = false;
        call.target = call
            .target
            .query("stream", "false")
            .query("one-shot", "true");
        self.call(&call).await?.json(&call, &[200])
    }
}
