use hyper::Method;

use crate::engine::request::Call;
use crate::engine::{Engine, EngineKind};
use crate::error::{Code, Kind, Result};
use crate::protocol::api_version::ApiVersion;
use crate::protocol::target::Target;
use crate::protocol::time::parse_http_date;

/// What an engine says of itself in the headers of `GET /_ping`.
#[derive(Debug, Clone)]
pub struct Ping {
    /// Its newest API.
    pub api_version: ApiVersion,
    /// Docker or Podman.
    pub kind: EngineKind,
    /// Such as `Docker/20.10.24 (linux)`.
    pub server: String,
    /// Its clock, seconds since 1970.
    pub date: u64,
}

impl Engine {
    /// `GET /_ping`, all versions: whether the engine answers, and who it is.
    ///
    /// # Errors
    /// `ACODE-CTN-008`, also when what answers is no container engine.
    pub async fn ping(&self) -> Result<Ping> {
        let call = Call::new(
            "ping",
            Code::EngineUnavailable,
            Method::GET,
            Target::unversioned("/_ping"),
            self.timeouts().ask,
        )
        .on(&self.socket().display().to_string());
        let reply = self.call(&call).await?;
        reply.expect(&call, &[200])?;
        let header = |name: &str| {
            reply
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let api_version = header("api-version")
            .and_then(ApiVersion::parse)
            .ok_or_else(|| {
                call.error(
                    Kind::Protocol,
                    "what answers is no container engine: it names no API version",
                )
            })?;
        let kind = match header("libpod-api-version") {
            Some(_) => EngineKind::Podman,
            None => EngineKind::Docker,
        };
        // A proxy may drop Date; labels then carry this machine's time.
        let date = header("date").and_then(parse_http_date).unwrap_or_else(|| {
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |d| d.as_secs())
        });
        let server = crate::error::shown(header("server").unwrap_or("unknown"));
        Ok(Ping {
            api_version,
            kind,
            server,
            date,
        })
    }
}
