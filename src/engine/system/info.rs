use hyper::Method;

use crate::engine::Engine;
use crate::engine::request::Call;
use crate::error::{Code, Result};
use crate::model::Info;

impl Engine {
    /// `GET /info`, API 1.41: the host's CPUs, memory and abilities. Costs 5 to 10 ms on Docker.
    ///
    /// # Errors
    /// `ACODE-CTN-008`.
    pub async fn info(&self) -> Result<Info> {
        let call = Call::new(
            "info",
            Code::EngineUnavailable,
            Method::GET,
            self.target("/info"),
            self.timeouts().ask,
        );
        self.call(&call).await?.json(&call, &[200])
    }
}
