use hyper::Method;

use super::checked_id;
use crate::engine::Engine;
use crate::error::{Code, Result};
use crate::model::Inspect;

impl Engine {
    /// `GET /containers/{id}/json`, API 1.41 (FR-020A-06): state and configuration as applied.
    ///
    /// # Errors
    /// `ACODE-CTN-014`; 404 ([`crate::Error::is_not_found`]) when there is no such container.
    pub async fn container_inspect(&self, container: &str) -> Result<Inspect> {
        let call = self.on_container(
            "inspect",
            Code::EngineLost,
            Method::GET,
            container,
            "/json",
            self.timeouts().ask,
        )?;
        let inspect: Inspect = self.call(&call).await?.json(&call, &[200])?;
        checked_id(&call, &inspect.id)?;
        Ok(inspect)
    }
}
