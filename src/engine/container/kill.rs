use hyper::Method;

use crate::engine::Engine;
use crate::error::{Code, Result};

impl Engine {
    /// `POST /containers/{id}/kill?signal=…`, API 1.41: sends `signal` (`TERM`, `KILL`, …) to process 1 and does not wait.
    ///
    /// # Errors
    /// `ACODE-CTN-003`; 409 when it is not running ([`crate::Error::is_conflict`]).
    pub async fn container_kill(&self, container: &str, signal: &str) -> Result<()> {
        let mut call = self.on_container(
            "kill",
            Code::StopFailed,
            Method::POST,
            container,
            "/kill",
            self.timeouts().ask,
        )?;
        call.target = call.target.query("signal", signal);
        self.call(&call).await?.expect(&call, &[204])
    }
}
