use hyper::Method;
use serde::de::DeserializeOwned;

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
        self.inspect_as(container, |inspect: &Inspect| &inspect.id)
            .await
    }

    /// The same call, for what ties a container to somebody.
    ///
    /// # Errors
    /// As [`Engine::container_inspect`].
    pub async fn container_ties(&self, container: &str) -> Result<Ties> {
        self.inspect_as(container, |ties: &Ties| &ties.id).await
    }

    async fn inspect_as<T: DeserializeOwned>(
        &self,
        container: &str,
        id: impl Fn(&T) -> &str,
    ) -> Result<T> {
        let call = self.on_container(
            "inspect",
            Code::EngineLost,
            Method::GET,
            container,
            "/json",
            self.timeouts().ask,
        )?;
        let answer: T = self.call(&call).await?.json(&call, &[200])?;
        checked_id(&call, id(&answer))?;
        Ok(answer)
    }
}
