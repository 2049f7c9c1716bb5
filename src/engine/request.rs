//! One request and its answer: deadline, capped bodies, typed errors, repeats where they are safe.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Engine;
use super::transport::{self, Body, Connection};
use crate::error::{Code, Error, Kind, Result, shown};
use crate::protocol::registry_auth::RegistryAuth;
use crate::protocol::target::Target;

/// The longest answer that is read into memory: a list of very many containers.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// The longest error text that is read, and shown.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// How often a call that is safe to repeat is tried in all.
const TRIES: u32 = 4;

/// A call about to be made.
#[derive(Debug)]
pub(crate) struct Call {
    /// For errors and logs: `create`, `start`, …
    pub(crate) operation: &'static str,
    /// The code of a failure of this call.
    pub(crate) code: Code,
    /// What it acts on, for errors.
    pub(crate) subject: Option<String>,
    pub(crate) method: Method,
    pub(crate) target: Target,
    /// Until the whole answer is there; for streams, until its head is.
    pub(crate) timeout: Duration,
    /// Making it twice is the same as making it once.
    pub(crate) idempotent: bool,
    /// JSON body.
    pub(crate) json: Option<Vec<u8>>,
    /// For the registry that the engine is to ask.
    pub(crate) registry_auth: Option<RegistryAuth>,
}

impl Call {
    pub(crate) fn new(
        operation: &'static str,
        code: Code,
        method: Method,
        target: Target,
        timeout: Duration,
    ) -> Self {
        let idempotent = method == Method::GET || method == Method::HEAD;
        Self {
            operation,
            code,
            subject: None,
            method,
            target,
            timeout,
            idempotent,
            json: None,
            registry_auth: None,
        }
    }

    pub(crate) fn on(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    pub(crate) fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(|error| {
            self.error(Kind::Invalid, "the request cannot be written")
                .because(error)
        })?;
        self.json = Some(body);
        Ok(self)
    }

    pub(crate) fn error(&self, kind: Kind, message: impl Into<String>) -> Error {
        let error = Error::new(self.code, kind, self.operation, message);
        match &self.subject {
            Some(subject) => error.on(subject.as_str()),
            None => error,
        }
    }

    pub(crate) fn timed_out(&self) -> Error {
        self.error(
            Kind::Timeout,
            format!("the engine did not answer within {:?}", self.timeout),
        )
    }

    fn request(&self, upgrade: bool, body: Option<Body>) -> Result<Request<Body>> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.target.as_str())
            .header(header::HOST, "acode-rt")
            .header(
                header::USER_AGENT,
                concat!("acode-rt/", env!("CARGO_PKG_VERSION")),
            );
        if upgrade {
            request = request
                .header(header::CONNECTION, "Upgrade")
                .header(header::UPGRADE, "tcp");
        }
        if let Some(auth) = &self.registry_auth {
            request = request.header("X-Registry-Auth", auth.header());
        }
        let body = match (&self.json, body) {
            (_, Some(stream)) => {
                request = request.header(header::CONTENT_TYPE, "application/x-tar");
                stream
            }
            (Some(json), None) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                full(Bytes::copy_from_slice(json))
            }
            (None, None) => full(Bytes::new()),
        };
        request.body(body).map_err(|error| {
            self.error(Kind::Invalid, "the request cannot be written")
                .because(error)
        })
    }

    fn hyper_error(&self, error: hyper::Error) -> Error {
        let (kind, message) = if error.is_parse() {
            (
                Kind::Protocol,
                "the answer is not HTTP as the engine speaks it",
            )
        } else if error.is_user() || error.is_body_write_aborted() {
            (Kind::Io, "the request's body could not be read")
        } else {
            (Kind::Cut, "the connection ended before the answer")
        };
        self.error(kind, message).because(error)
    }

    fn body_error(&self, error: Box<dyn std::error::Error + Send + Sync>) -> Error {
        let kind = if error.is::<http_body_util::LengthLimitError>() {
            Kind::Protocol
        } else {
            Kind::Cut
        };
        self.error(kind, "the answer's body is cut or too long")
            .because(error)
    }
}

/// What `future` gives, or the call's own timeout: for what follows behind the head of an answer.
pub(crate) async fn within<T>(call: &Call, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(call.timeout, future)
        .await
        .map_err(|_| call.timed_out())
}

pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The body as JSON, when the status is one of `expected`.
    pub(crate) fn json<T: DeserializeOwned>(&self, call: &Call, expected: &[u16]) -> Result<T> {
        self.expect(call, expected)?;
        serde_json::from_slice(&self.body).map_err(|error| {
            call.error(
                Kind::Protocol,
                "the answer is not the JSON that was expected",
            )
            .because(error)
        })
    }

    /// Any other status than one of `expected` is the error that the engine describes.
    pub(crate) fn expect(&self, call: &Call, expected: &[u16]) -> Result<()> {
        if expected.contains(&self.status.as_u16()) {
            return Ok(());
        }
        Err(refusal(call, self.status, &self.body))
    }
}

/// The engine's error: Docker sends `{"message"}`, Podman adds `cause` and `response`, older calls send plain text.
fn refusal(call: &Call, status: StatusCode, body: &[u8]) -> Error {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let text = serde_json::from_slice::<Message>(body).map_or_else(
        |_| String::from_utf8_lossy(body).into_owned(),
        |m| m.message,
    );
    let said = match text.trim() {
        "" => format!("the engine answered {status}"),
        text => format!("the engine answered {status}: {}", shown(text)),
    };
    let kind = if status.is_client_error() || status.is_server_error() {
        Kind::Status(status.as_u16())
    } else {
        // A redirect or an odd success is not followed or believed.
        Kind::Protocol
    };
    call.error(kind, said)
}

impl Engine {
    /// Makes a short call on a kept connection. Dropping the future closes the connection; whether the engine acted is
    /// then unknown.
    pub(crate) async fn call(&self, call: &Call) -> Result<Reply> {
        let mut pause = Duration::from_millis(20);
        for attempt in 1.. {
            // Boxed, as the futures below: what calls this would otherwise carry hyper's state in its own.
            let once = Box::pin(self.call_once(call));
            let Ok(result) = tokio::time::timeout(call.timeout, once).await else {
                return Err(call.timed_out());
            };
            let again = match &result {
                Ok(reply) => matches!(reply.status.as_u16(), 500 | 502 | 503 | 504),
                Err(error) => error.is_cut(),
            };
            if !again || !call.idempotent || attempt >= TRIES {
                return result;
            }
            tracing::debug!(operation = call.operation, attempt, "trying again");
            tokio::time::sleep(pause + jitter(pause)).await;
            pause *= 4;
        }
        unreachable!("the loop returns")
    }

    async fn call_once(&self, call: &Call) -> Result<Reply> {
        let (mut connection, response) = self.send(call, call.request(false, None)?, true).await?;
        let (head, body) = response.into_parts();
        check_framing(call, &head.headers)?;
        let cap = if head.status.is_success() {
            MAX_BODY
        } else {
            MAX_ERROR_BODY
        };
        let body = Limited::new(body, cap)
            .collect()
            .await
            .map_err(|e| call.body_error(e))?
            .to_bytes();
        if connection.ready().await.is_ok() {
            self.transport().keep(connection);
        }
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// Makes a call whose answer is a stream, on a connection of its own that ends with it.
    pub(crate) async fn stream(
        &self,
        call: &Call,
        body: Option<Body>,
    ) -> Result<(Connection, Response<Incoming>)> {
        let answered = Box::pin(async {
            let (connection, response) = self.send(call, call.request(false, body)?, false).await?;
            check_framing(call, response.headers())?;
            self.or_refusal(call, response)
                .await
                .map(|response| (connection, response))
        });
        tokio::time::timeout(call.timeout, answered)
            .await
            .map_err(|_| call.timed_out())?
    }

    /// Makes a call that turns its connection into a plain stream.
    pub(crate) async fn upgrade(&self, call: &Call) -> Result<hyper::upgrade::Upgraded> {
        let answered = Box::pin(async {
            let (_connection, mut response) =
                self.send(call, call.request(true, None)?, false).await?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                let status = response.status();
                self.or_refusal(call, response).await?;
                return Err(call.error(
                    Kind::Protocol,
                    format!("the engine answered {status} and did not upgrade"),
                ));
            }
            hyper::upgrade::on(&mut response)
                .await
                .map_err(|error| call.hyper_error(error))
        });
        tokio::time::timeout(call.timeout, answered)
            .await
            .map_err(|_| call.timed_out())?
    }

    async fn or_refusal(
        &self,
        call: &Call,
        response: Response<Incoming>,
    ) -> Result<Response<Incoming>> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let text = error_text(response.into_body()).await;
        Err(refusal(call, status, &text).with_retry_after(retry_after))
    }

    async fn send(
        &self,
        call: &Call,
        mut request: Request<Body>,
        keep_alive: bool,
    ) -> Result<(Connection, Response<Incoming>)> {
        if keep_alive {
            while let Some(mut connection) = self.transport().take_idle() {
                match transport::send(&mut connection, request).await {
                    Ok(response) => return Ok((connection, response)),
                    // The engine had closed this idle connection and saw nothing of the request.
                    Err((_, Some(unsent))) => request = unsent,
                    Err((error, None)) => return Err(call.hyper_error(error)),
                }
            }
        }
        let mut connection = self.transport().open().await?;
        match transport::send(&mut connection, request).await {
            Ok(response) => Ok((connection, response)),
            Err((error, _)) => Err(call.hyper_error(error)),
        }
    }
}

/// What can be had of an error's text: Podman neither frames some of them nor closes the connection behind them.
async fn error_text(mut body: Incoming) -> Vec<u8> {
    let mut text = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                text.extend_from_slice(&data);
            }
            if text.len() >= MAX_ERROR_BODY {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), read).await;
    text
}

/// `Retry-After` in seconds, where it is in reason.
fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    (seconds <= 3600).then(|| Duration::from_secs(seconds))
}

/// An answer that frames its body in two ways can be read in two ways.
fn check_framing(call: &Call, headers: &header::HeaderMap) -> Result<()> {
    if headers.contains_key(header::TRANSFER_ENCODING)
        && headers.contains_key(header::CONTENT_LENGTH)
    {
        return Err(call.error(Kind::Protocol, "the answer has both a length and chunks"));
    }
    Ok(())
}

/// Up to `most` at random, so that many clients do not repeat in step.
pub(crate) fn jitter(most: Duration) -> Duration {
    let mut byte = [0_u8];
    // Without randomness there is just no jitter.
    let _ = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::empty());
    most * u32::from(byte[0]) / 255
}
