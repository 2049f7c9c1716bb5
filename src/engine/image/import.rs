use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use tokio::io::AsyncRead;

use crate::engine::Engine;
use crate::engine::request::{Call, within};
use crate::engine::stream_body::stream_body;
use crate::error::{Code, Error, Kind, Result};
use crate::protocol::image_ref::ImageRef;
use crate::protocol::json_lines::JsonLines;

/// An import of a large image to a slow disk.
const TIMEOUT: Duration = Duration::from_secs(300);

impl Engine {
    /// `POST /images/create?fromSrc=-`, API 1.41: makes the image `name` of a root file system in a tar stream. `changes` are
    /// Dockerfile instructions such as `CMD ["sh"]`. Memory stays flat.
    ///
    /// # Errors
    /// `ACODE-CTN-006`, also for an error that the engine reports inside a 200 answer.
    pub async fn image_import(
        &self,
        name: &ImageRef,
        tar: impl AsyncRead + Send + 'static,
        changes: &[&str],
    ) -> Result<()> {
        // Podman 4.3 ignores `tag`, so the tag goes into `repo`.
        let mut target = self
            .target("/images/create")
            .query("fromSrc", "-")
            .query("repo", name.as_str());
        for change in changes {
            target = target.query("changes", change);
        }
        let call = Call::new(
            "image import",
            Code::PullFailed,
            Method::POST,
            target,
            TIMEOUT,
        )
        .on(name.as_str());
        let (_connection, response) = self.stream(&call, Some(stream_body(tar))).await?;
        within(&call, read_answer(&call, response.into_body())).await?
    }
}

async fn read_answer(call: &Call, mut body: Incoming) -> Result<()> {
    let mut lines = JsonLines::new(1024 * 1024);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| call.error(Kind::Cut, "the answer was cut").because(e))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        lines.push(&data).map_err(|e| {
            call.error(Kind::Protocol, "not the import's answer")
                .because(e)
        })?;
        while let Some(value) = lines.next_value() {
            reported_error(call, &value)?;
        }
    }
    lines
        .finish()
        .map_err(|e| call.error(Kind::Cut, "the answer was cut").because(e))
}

/// The engine answers 200 before it knows; a failure is then one of the values.
fn reported_error(call: &Call, value: &[u8]) -> Result<(), Error> {
    #[derive(serde::Deserialize)]
    struct Progress {
        error: Option<String>,
    }
    match serde_json::from_slice::<Progress>(value) {
        Ok(Progress { error: Some(error) }) => {
            Err(call.error(Kind::Refused, crate::error::shown(&error)))
        }
        _ => Ok(()),
    }
}
