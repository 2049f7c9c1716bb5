use hyper::Method;

use crate::engine::Engine;
use crate::engine::request::Call;
use crate::error::{Code, Result};
use crate::model::Network;
use crate::protocol::target::Filters;

impl Engine {
    /// `GET /networks`, API 1.41: the networks that `filters` let through, such as `label`.
    ///
    /// # Errors
    /// `ACODE-CTN-014`.
    pub async fn network_list(&self, filters: &Filters) -> Result<Vec<Network>> {
        let call = Call::new(
            "network list",
            Code::EngineLost,
            Method::GET,
            self.target("/networks").filtered(filters),
            self.timeouts().ask,
        );
        self.call(&call).await?.json(&call, &[200])
    }
}
