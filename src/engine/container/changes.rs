use hyper::Method;

use crate::engine::Engine;
use crate::error::{Code, Result};
use crate::model::Change;

impl Engine {
    /// `GET /containers/{id}/changes`, API 1.41: what in the container's own root file system differs from its image, mount points included. What
    /// lies in a tmpfs or volume is not seen. Docker answers `null` where nothing differs; Podman answers 500 for a container that is not there.
    ///
    /// # Errors
    /// `ACODE-CTN-014`, also for a list of more than 8 MiB.
    pub async fn container_changes(&self, container: &str) -> Result<Vec<Change>> {
        let mut call = self.on_container(
            "changes",
            Code::EngineLost,
            Method::GET,
            container,
            "/changes",
            self.timeouts().ask,
        )?;
        call.idempotent = false;
        let changes: Option<Vec<Change>> = self.call(&call).await?.json(&call, &[200])?;
        Ok(changes.unwrap_or_default())
    }
}
