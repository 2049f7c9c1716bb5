//! Calls about containers. `container` is an id or a name; anything else is refused before it is sent.

pub(crate) mod archive;
pub(crate) mod attach;
mod changes;
mod create;
mod inspect;
mod kill;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod remove;
mod start;
mod stats;
mod stop;
pub(crate) mod wait;

use std::fmt;
use std::time::Duration;

use hyper::Method;

use super::Engine;
use super::request::Call;
use crate::error::{Code, Error, Kind, Result};

/// A container's id: 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// Checks an id; `None` for anything but 64 lower-case hex digits.
    pub fn new(text: &str) -> Option<Self> {
        (text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
            .then(|| Self(text.to_owned()))
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The twelve digits that people see.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Engine {
    /// A call on one container: `{path}/{container}{tail}`.
    fn on_container(
        &self,
        operation: &'static str,
        code: Code,
        method: Method,
        container: &str,
        tail: &'static str,
        timeout: Duration,
    ) -> Result<Call> {
        let target = self
            .target("/containers")
            .container(container, tail)
            .map_err(|message| Error::invalid(Code::Name, operation, message))?;
        Ok(Call::new(operation, code, method, target, timeout).on(container))
    }
}

/// The id in an answer; anything but an id is not believed.
fn checked_id(call: &Call, text: &str) -> Result<ContainerId> {
    ContainerId::new(text).ok_or_else(|| {
        call.error(
            Kind::Protocol,
            "the container id in the answer is not 64 hex digits",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::ContainerId;

    #[test]
    fn ids_are_64_hex_digits() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(ContainerId::new(&id).unwrap().short(), "0123456789ab");
        for wrong in [
            "",
            "0123",
            &id.to_uppercase(),
            &id.replace('f', "g"),
            &format!("{id}0"),
            &id.replace('0', "/"),
        ] {
            assert!(ContainerId::new(wrong).is_none(), "{wrong}");
        }
    }
}
