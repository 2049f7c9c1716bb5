use hyper::Method;

use crate::engine::Engine;
use crate::engine::request::Call;
use crate::error::{Code, Result};
use crate::model::Version;

impl Engine {
    /// `GET /version`, API 1.41: versions of the engine and its API.
    ///
    /// # Errors
    /// `ACODE-CTN-008`.
    pub async fn version(&self) -> Result<Version> {
        let call = Call::new(
            "version",
            Code::EngineUnavailable,
            Method::GET,
            self.target("/version"),
            self.timeouts().ask,
        );
        self.call(&call).await?.json(&call, &[200])
    }
}
