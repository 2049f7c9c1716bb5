use hyper::Method;

use super::{ContainerId, checked_id};
use crate::engine::Engine;
use crate::engine::request::Call;
use crate::error::{Code, Result};
use crate::model::{CreateBody, Created};
use crate::protocol::name::ContainerName;

impl Engine {
    /// `POST /containers/create?name=…`, API 1.41 (FR-020A-02): the new container's id and the engine's warnings. Never repeated: a
    /// container may exist after any error whose answer did not arrive.
    ///
    /// # Errors
    /// `ACODE-CTN-001`; `ACODE-CTN-005` when the name is taken (409; Podman has only its 500 for it, and who holds the name tells),
    /// `ACODE-CTN-011` when the image is not there.
    pub async fn container_create(
        &self,
        name: &ContainerName,
        body: &CreateBody,
    ) -> Result<(ContainerId, Vec<String>)> {
        let target = self
            .target("/containers/create")
            .query("name", name.as_str());
        let call = Call::new(
            "create",
            Code::CreateFailed,
            Method::POST,
            target,
            self.timeouts().act,
        )
        .on(name.as_str())
        .json(body)?;
        let reply = self.call(&call).await?;
        let created: Created = reply
            .json(&call, &[201])
            .map_err(|error| match error.status() {
                Some(404) => error.with_code(Code::ImageNotFound),
                Some(409) => error.with_code(Code::NameTaken),
                _ => error,
            })?;
        Ok((checked_id(&call, &created.id)?, created.warnings))
    }
}
