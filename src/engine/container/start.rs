use hyper::Method;

use crate::engine::Engine;
use crate::error::{Code, Result};

impl Engine {
    /// `POST /containers/{id}/start`, API 1.41 (FR-020A-03). Starting a running container is not an error (304).
    ///
    /// # Errors
    /// `ACODE-CTN-002` with the engine's words; the container still exists.
    pub async fn container_start(&self, container: &str) -> Result<()> {
        let call = self.on_container(
            "start",
            Code::StartFailed,
            Method::POST,
            container,
            "/start",
            self.timeouts().act,
        )?;
        self.call(&call).await?.expect(&call, &[204, 304])
    }
}
