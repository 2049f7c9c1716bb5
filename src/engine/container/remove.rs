use hyper::Method;

use crate::engine::Engine;
use crate::error::{Code, Result};

/// How to remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Also when it runs: it is killed first (FR-020A-12).
    pub force: bool,
}

impl Engine {
    /// `DELETE /containers/{id}?v=1`, API 1.41 (FR-020A-05): removes the container and its anonymous volumes. `false` when there was none
    /// (404). It is not repeated here: `task::remove_confirmed` does that, and asks whether it is gone.
    ///
    /// # Errors
    /// `ACODE-CTN-004`; 409 while another removal is under way, or without `force` while it runs (Podman: 500).
    pub async fn container_remove(&self, container: &str, options: RemoveOptions) -> Result<bool> {
        let mut call = self.on_container(
            "remove",
            Code::RemoveFailed,
            Method::DELETE,
            container,
            "",
            self.timeouts().act,
        )?;
        call.target = call
            .target
            .query("v", "1")
            .query("force", if options.force { "1" } else { "0" });
        let reply = self.call(&call).await?;
        reply.expect(&call, &[200, 204, 404])?;
        Ok(reply.status != 404)
    }
}
