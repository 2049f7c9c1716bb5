use hyper::Method;

use crate::engine::Engine;
use crate::engine::request::Call;
use crate::error::{Code, Result};
use crate::model::ImageListed;

impl Engine {
    /// `GET /images/json`, API 1.41 (FR-020A-48): the images on the engine.
    ///
    /// # Errors
    /// `ACODE-CTN-014`.
    pub async fn image_list(&self) -> Result<Vec<ImageListed>> {
        let call = Call::new(
            "image list",
            Code::EngineLost,
            Method::GET,
            self.target("/images/json"),
            self.timeouts().ask,
        );
        self.call(&call).await?.json(&call, &[200])
    }
}
