use http_body_util::{BodyExt, Limited};
use hyper::Method;
use hyper::body::Incoming;
use serde::Deserialize;

use crate::engine::Engine;
use crate::engine::request::Call;
use crate::engine::transport::Connection;
use crate::error::{Code, Kind, Result, shown};

/// A wait that the engine has acknowledged: an exit from now on cannot be missed.
#[derive(Debug)]
pub struct Waiting {
    call: Call,
    body: Incoming,
    _connection: Connection,
}

impl Engine {
    /// `POST /containers/{id}/wait?condition=next-exit`, API 1.41: returns when the engine has acknowledged it, which it does at once.
    /// To be called before start. It does not end when start fails.
    ///
    /// # Errors
    /// `ACODE-CTN-014`.
    pub async fn container_wait(&self, container: &str) -> Result<Waiting> {
        let mut call = self.on_container(
            "wait",
            Code::EngineLost,
            Method::POST,
            container,
            "/wait",
            self.timeouts().ask,
        )?;
        call.target = call.target.query("condition", "next-exit");
        let (connection, response) = self.stream(&call, None).await?;
        Ok(Waiting {
            call,
            body: response.into_body(),
            _connection: connection,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    status_code: i64,
    #[serde(default)]
    error: Option<WaitError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WaitError {
    message: String,
}

impl Waiting {
    /// The main process's exit code, when it ends; there is no deadline.
    ///
    /// # Errors
    /// `ACODE-CTN-014` when the connection is cut or the answer is no exit code (0 to 255).
    pub async fn exit_code(self) -> Result<u8> {
        let Self {
            call,
            body,
            _connection,
        } = self;
        let body = Limited::new(body, 64 * 1024)
            .collect()
            .await
            .map_err(|error| {
                call.error(Kind::Cut, "the connection ended before the exit code")
                    .because(error)
            })?
            .to_bytes();
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| {
            call.error(Kind::Protocol, "the answer is no exit code")
                .because(error)
        })?;
        if let Some(error) = answer.error.filter(|error| !error.message.is_empty()) {
            return Err(call.error(Kind::Refused, shown(&error.message)));
        }
        u8::try_from(answer.status_code).map_err(|_| {
            call.error(
                Kind::Protocol,
                format!("{} is not an exit code", answer.status_code),
            )
        })
    }
}
