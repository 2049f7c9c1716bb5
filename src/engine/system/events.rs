use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;

use crate::engine::Engine;
use crate::engine::request::Call;
use crate::engine::transport::Connection;
use crate::error::{Code, Kind, Result};
use crate::model::Event;
use crate::protocol::json_lines::JsonLines;
use crate::protocol::target::Filters;

/// The longest single event that is read.
const MAX_EVENT: usize = 1024 * 1024;

/// A running `GET /events`.
#[derive(Debug)]
pub struct EventStream {
    call: Call,
    body: Incoming,
    lines: JsonLines,
    _connection: Connection,
}

impl Engine {
    /// `GET /events`, API 1.41: what happens from now on, or from `since` (seconds since 1970 by the engine's clock), until
    /// `until` if that is given. Docker says `destroy` where Podman says `remove`.
    ///
    /// # Errors
    /// `ACODE-CTN-014`.
    pub async fn events(
        &self,
        filters: &Filters,
        since: Option<u64>,
        until: Option<u64>,
    ) -> Result<EventStream> {
        let mut target = self.target("/events");
        if let Some(since) = since {
            target = target.query("since", &since.to_string());
        }
        if let Some(until) = until {
            target = target.query("until", &until.to_string());
        }
        let call = Call::new(
            "events",
            Code::EngineLost,
            Method::GET,
            target.filtered(filters),
            self.timeouts().ask,
        );
        let (connection, response) = self.stream(&call, None).await?;
        Ok(EventStream {
            call,
            body: response.into_body(),
            lines: JsonLines::new(MAX_EVENT),
            _connection: connection,
        })
    }
}

impl EventStream {
    /// The next event; `None` when the engine ended the stream. Cancel safe: no event is lost.
    ///
    /// # Errors
    /// `ACODE-CTN-014` when the stream is cut or is not what it should be.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(value) = self.lines.next_value() {
                return serde_json::from_slice(&value).map(Some).map_err(|error| {
                    self.call
                        .error(Kind::Protocol, "not an event")
                        .because(error)
                });
            }
            let Some(frame) = self.body.frame().await else {
                let end = self.lines.finish();
                return end
                    .map(|()| None)
                    .map_err(|e| self.call.error(Kind::Cut, "cut inside an event").because(e));
            };
            let frame = frame.map_err(|e| {
                self.call
                    .error(Kind::Cut, "the event stream was cut")
                    .because(e)
            })?;
            if let Ok(data) = frame.into_data() {
                self.lines.push(&data).map_err(|e| {
                    self.call
                        .error(Kind::Protocol, "not a stream of events")
                        .because(e)
                })?;
            }
        }
    }
}
