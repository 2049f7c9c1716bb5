use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;

use crate::engine::Engine;
use crate::engine::request::Call;
use crate::error::{Code, Error, Kind, Result, shown};
use crate::protocol::image_ref::ImageRef;
use crate::protocol::json_lines::JsonLines;
use crate::protocol::pull_progress::{PullLayers, PullProgress, PullValue, registry_says_again};
use crate::protocol::registry_auth::RegistryAuth;

/// The longest single value that is read; they have a few hundred bytes.
const MAX_VALUE: usize = 1024 * 1024;

impl Engine {
    /// `POST /images/create?fromImage=…`, API 1.41 (FR-020A-39): the engine pulls an image, once. It is sent with its tag or digest, since
    /// Docker pulls every tag where none is named, and in `fromImage`, since Podman 4 ignores `tag`.
    ///
    /// The answer is 200 once the registry has named the image; then JSON values tell how far it is, and of a failure. An engine that says
    /// nothing for `stall` is given up. Dropping the future abandons the pull, unless the engine makes it for somebody else as well.
    ///
    /// # Errors
    /// `ACODE-CTN-011` when the registry has no such image, else `ACODE-CTN-006`, also for an error within the stream. Those within it are
    /// not worth repeating at once: the engine has tried again itself.
    pub async fn image_pull(
        &self,
        image: &ImageRef,
        auth: Option<&RegistryAuth>,
        stall: Duration,
        mut progress: impl FnMut(PullProgress),
    ) -> Result<()> {
        let canonical = image.canonical();
        let target = self.target("/images/create").query("fromImage", &canonical);
        let mut call = Call::new("pull", Code::PullFailed, Method::POST, target, stall);
        call.registry_auth = auth.cloned();
        let call = call.on(image.as_str());
        if image.is_nameless() {
            return Err(call.error(
                Kind::Invalid,
                "an image's id names no registry; it can be used only where the image is",
            ));
        }
        let (_connection, response) = self.stream(&call, None).await.map_err(understood)?;
        read_progress(&call, response.into_body(), &mut progress).await
    }
}

async fn read_progress(
    call: &Call,
    mut body: Incoming,
    progress: &mut impl FnMut(PullProgress),
) -> Result<()> {
    let mut lines = JsonLines::new(MAX_VALUE);
    let mut layers = PullLayers::default();
    let wrong = |error| {
        call.error(Kind::Protocol, "not a pull's answer")
            .because(error)
    };
    loop {
        let frame = tokio::time::timeout(call.timeout, body.frame())
            .await
            .map_err(|_| stalled(call))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|e| cut(call).because(e))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let pushed = lines.push(&data);
        while let Some(value) = lines.next_value() {
            let value: PullValue = serde_json::from_slice(&value)
                .map_err(|e| call.error(Kind::Protocol, "not a pull's answer").because(e))?;
            if let Some(failure) = value.failure() {
                let kind = failure.status.map_or(Kind::Refused, Kind::Status);
                return Err(understood(call.error(kind, shown(&failure.message))));
            }
            progress(layers.add(&value));
        }
        pushed.map_err(wrong)?;
    }
    lines.finish().map_err(|e| cut(call).because(e))
}

/// Docker up to 26 answers 500 to whatever a registry refuses: there the registry's own code says that trying again is vain.
fn understood(error: Error) -> Error {
    match error.status() {
        Some(404) => error.with_code(Code::ImageNotFound),
        Some(500..) if registry_says_again(error.said()) == Some(false) => {
            error.with_kind(Kind::Refused)
        }
        _ => error,
    }
}

fn cut(call: &Call) -> Error {
    call.error(Kind::Cut, "the engine's answer was cut")
}

fn stalled(call: &Call) -> Error {
    call.error(
        Kind::Timeout,
        format!("nothing has moved for {:?}", call.timeout),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_refuses_is_not_worth_asking_again() {
        let again = |status, said: &str| {
            let message = format!("the engine answered {status}: {said}");
            let error = Error::new(Code::PullFailed, Kind::Status(status), "pull", message);
            understood(error).is_retryable()
        };
        for (status, said, expected) in [
            (500, "unauthorized", false),
            (
                500,
                "denied: requested access to the resource is denied",
                false,
            ),
            (500, "toomanyrequests: slow down", true),
            (
                500,
                "Get \"http://localhost:1/v2/\": dial tcp: connection refused",
                true,
            ),
            (429, "toomanyrequests: slow down", true),
            (401, "unauthorized", false),
            (404, "manifest unknown", false),
        ] {
            assert_eq!(again(status, said), expected, "{status} {said}");
        }
    }
}
