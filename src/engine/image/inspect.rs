use hyper::Method;

use crate::engine::Engine;
use crate::engine::request::Call;
use crate::error::{Code, Kind, Result};
use crate::model::ImageInspect;
use crate::protocol::image_ref::{ImageRef, is_digest};

impl Engine {
    /// `GET /images/{name}/json`, API 1.41 (FR-020A-43, FR-020A-46): an image that is on the engine. Its id comes back with the
    /// `sha256:` that Podman leaves out.
    ///
    /// # Errors
    /// `ACODE-CTN-011` when it is not there.
    pub async fn image_inspect(&self, image: &ImageRef) -> Result<ImageInspect> {
        let target = self.target("/images/").raw(image.as_str()).raw("/json");
        let call = Call::new(
            "image inspect",
            Code::EngineLost,
            Method::GET,
            target,
            self.timeouts().ask,
        )
        .on(image.as_str());
        let reply = self.call(&call).await?;
        let mut image: ImageInspect = reply.json(&call, &[200]).map_err(|error| {
            if error.is_not_found() {
                error.with_code(Code::ImageNotFound)
            } else {
                error
            }
        })?;
        if !image.id.starts_with("sha256:") {
            image.id.insert_str(0, "sha256:");
        }
        if !is_digest(&image.id) {
            return Err(call.error(
                Kind::Protocol,
                "the engine's image id is not sha256 and 64 hex digits",
            ));
        }
        Ok(image)
    }
}
