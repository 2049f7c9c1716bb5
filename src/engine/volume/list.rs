use hyper::Method;

use crate::engine::Engine;
use crate::engine::request::Call;
use crate::error::{Code, Result};
use crate::model::{Volume, VolumeList};
use crate::protocol::target::Filters;

impl Engine {
    /// `GET /volumes`, API 1.41: the volumes that `filters` let through, such as `label`.
    ///
    /// # Errors
    /// `ACODE-CTN-014`.
    pub async fn volume_list(&self, filters: &Filters) -> Result<Vec<Volume>> {
        let call = Call::new(
            "volume list",
            Code::EngineLost,
            Method::GET,
            self.target("/volumes").filtered(filters),
            self.timeouts().ask,
        );
        let list: VolumeList = self.call(&call).await?.json(&call, &[200])?;
        Ok(list.volumes)
    }
}
