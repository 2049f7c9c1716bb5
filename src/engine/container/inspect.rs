use hyper::Method;

use super::checked_id;
use crate::engine::Engine;
use crate::error::{Code, Result};
use crate::model::{Inspect, Ties};

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

    /// The same call, for what ties a container to somebody.
    ///
    /// # Errors
    /// As [`Engine::container_inspect`].
    pub async fn container_ties(&self, container: &str) -> Result<Ties> {
        let call = self.on_container(
            "inspect",
            Code::EngineLost,
            Method::GET,
            container,
            "/json",
            self.timeouts().ask,
        )?;
        let ties: Ties = self.call(&call).await?.json(&call, &[200])?;
        checked_id(&call, &ties.id)?;
        Ok(ties)
    }
}
