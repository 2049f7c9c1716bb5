use hyper::Method;

use crate::engine::Engine;
use crate::engine::request::Call;
use crate::error::{Code, Result};
use crate::model::Listed;
use crate::protocol::labels::MANAGED;
use crate::protocol::target::Filters;

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// `label`, `name`, `status`, … Podman 4.3 fails `name` patterns with a slash.
    pub filters: Filters,
}

impl ListOptions {
    /// Everything labelled as ours, running or not.
    pub fn managed() -> Self {
        Self {
            all: true,
            filters: Filters::new().with("label", format!("{MANAGED}=true")),
        }
    }
}

impl Engine {
    /// `GET /containers/json`, API 1.41.
    ///
    /// # Errors
    /// `ACODE-CTN-014`.
    pub async fn container_list(&self, options: &ListOptions) -> Result<Vec<Listed>> {
        let target = self
            .target("/containers/json")
            .query("all", if options.all { "true" } else { "false" })
            .filtered(&options.filters);
        let call = Call::new(
            "list",
            Code::EngineLost,
            Method::GET,
            target,
            self.timeouts().ask,
        );
        self.call(&call).await?.json(&call, &[200])
    }
}
