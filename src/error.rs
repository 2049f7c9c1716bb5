//! One error type: what happened, to which container, why, and whether trying again can help.

mod code;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

pub use code::{Advice, Code};

/// What kind of failure an [`Error`] is; read through its predicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The caller asked for something that cannot be right; nothing was sent.
    Invalid,
    /// The socket cannot be reached.
    Unreachable,
    /// The socket may not be opened by this user.
    Permission,
    /// No answer within the deadline.
    Timeout,
    /// The connection ended before the answer did.
    Cut,
    /// The answer is not what the API defines.
    Protocol,
    /// An HTTP status that says no.
    Status(u16),
    /// A local file or stream.
    Io,
    /// The caller did not want it any more.
    Cancelled,
    /// What was found does not allow going on.
    Refused,
}

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, with its code, operation, subject and cause.
///
/// Match with the predicates ([`Error::is_not_found`], [`Error::is_timeout`], …) and [`Error::code`]; texts change between
/// engine versions.
///
/// ```
/// use acode_rt::{ContainerName, Prefix};
/// let error: acode_rt::Error = ContainerName::new(&Prefix::default(), "", "build").unwrap_err().into();
/// assert_eq!(error.code().as_str(), "ACODE-CTN-016");
/// assert!(!error.is_retryable());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    code: Code,
    kind: Kind,
    operation: &'static str,
    subject: Option<String>,
    operation_id: Option<String>,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    cleanup: Vec<Error>,
    retry_after: Option<Duration>,
}

impl Error {
    /// A failure of `operation`; `message` says what happened, in one line.
    pub fn new(
        code: Code,
        kind: Kind,
        operation: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            code,
            kind,
            operation,
            subject: None,
            operation_id: None,
            message: message.into(),
            source: None,
            cleanup: Vec::new(),
            retry_after: None,
        }))
    }

    /// Bad input, found before anything was sent.
    pub fn invalid(code: Code, operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Kind::Invalid, operation, message)
    }

    /// Names the container, image or file that it failed on.
    #[must_use]
    pub fn on(mut self, subject: impl Into<String>) -> Self {
        self.0.subject = Some(subject.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_code(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    pub(crate) fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn with_operation_id(mut self, id: &str) -> Self {
        self.0.operation_id = Some(id.to_owned());
        self
    }

    /// Keeps a failed clean-up beside the failure that made it necessary.
    pub(crate) fn and_cleanup(mut self, cleanup: Error) -> Self {
        self.0.cleanup.push(cleanup);
        self
    }

    pub(crate) fn with_retry_after(mut self, pause: Option<Duration>) -> Self {
        self.0.retry_after = pause;
        self
    }

    /// How long to wait before the next try, where the engine says that.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What the engine said behind its status.
    pub(crate) fn said(&self) -> &str {
        self.0.message.split_once(": ").map_or("", |(_, said)| said)
    }

    /// The same failure for one more who waited; causes become text.
    pub(crate) fn copy(&self) -> Self {
        let inner = &*self.0;
        let mut copy = Self::new(inner.code, inner.kind, inner.operation, self.message());
        copy.0.subject.clone_from(&inner.subject);
        copy
    }

    /// The stable code, `ACODE-CTN-nnn`.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The engine call or step that failed, such as `create`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The container, image or file that it failed on.
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// The HTTP status, where the engine answered with one.
    pub fn status(&self) -> Option<u16> {
        match self.0.kind {
            Kind::Status(status) => Some(status),
            _ => None,
        }
    }

    /// The failures of the clean-up that followed this one; empty when it went well.
    pub fn cleanup_errors(&self) -> &[Error] {
        &self.0.cleanup
    }

    /// The engine knows no such object (404).
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// The name is taken or the object is in another state (409).
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// The request cannot be right, by our own check or by the engine's (400).
    pub fn is_invalid(&self) -> bool {
        matches!(self.0.kind, Kind::Invalid | Kind::Status(400))
    }

    /// No answer within the deadline.
    pub fn is_timeout(&self) -> bool {
        self.0.kind == Kind::Timeout
    }

    /// The engine could not be reached, or went away during the call.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self.0.kind,
            Kind::Unreachable | Kind::Permission | Kind::Cut
        )
    }

    /// The connection ended during the answer, so whether the engine acted is unknown.
    pub fn is_cut(&self) -> bool {
        self.0.kind == Kind::Cut
    }

    /// The caller cancelled it before the task began.
    pub fn is_cancelled(&self) -> bool {
        self.0.kind == Kind::Cancelled
    }

    /// Whether what was asked may have happened although this is an error.
    pub(crate) fn is_unclear(&self) -> bool {
        match self.0.kind {
            Kind::Timeout | Kind::Cut | Kind::Protocol => true,
            Kind::Status(status) => status >= 500,
            _ => false,
        }
    }

    /// Whether the same request may succeed later without a change by the caller.
    pub fn is_retryable(&self) -> bool {
        match self.0.kind {
            Kind::Timeout | Kind::Cut | Kind::Unreachable => true,
            Kind::Status(status) => matches!(status, 429 | 500 | 502 | 503 | 504),
            _ => self.0.code == Code::TooManyContainers,
        }
    }

    fn advice(&self) -> Advice {
        let advice = self.0.code.advice();
        // Nothing failed, unless the clean-up did.
        if self.is_cancelled() && self.0.cleanup.is_empty() {
            return Advice {
                title: "The task was cancelled before it began.",
                causes: &[],
                actions: &[],
                ..advice
            };
        }
        advice
    }

    /// What happened, in one line, without code and advice.
    pub fn message(&self) -> String {
        let mut text = self.0.message.clone();
        let mut cause = self.0.source.as_deref().map(|e| e as &dyn StdError);
        while let Some(error) = cause {
            let next = error.to_string();
            if !text.contains(&next) {
                text.push_str(": ");
                text.push_str(&next);
            }
            cause = error.source();
        }
        text
    }

    /// The error as JSON: `code`, `error_type`, `message`, `explanation`, `possible_causes`, `suggested_actions`,
    /// `relevant_state`, `recoverable`, `details`.
    pub fn to_json(&self) -> Value {
        let inner = &*self.0;
        let advice = self.advice();
        let mut state = Map::new();
        state.insert("operation".into(), inner.operation.into());
        if let Some(subject) = &inner.subject {
            state.insert("subject".into(), subject.as_str().into());
        }
        if let Some(id) = &inner.operation_id {
            state.insert("operation_id".into(), id.as_str().into());
        }
        if let Some(status) = self.status() {
            state.insert("http_status".into(), status.into());
        }
        let cleanup: Vec<Value> = inner.cleanup.iter().map(Error::to_json).collect();
        if !cleanup.is_empty() {
            state.insert("cleanup_errors".into(), cleanup.into());
        }
        serde_json::json!({
            "code": inner.code.as_str(),
            "error_type": advice.kind,
            "message": self.to_string(),
            "explanation": advice.title,
            "possible_causes": advice.causes,
            "suggested_actions": advice.actions,
            "relevant_state": state,
            "recoverable": self.is_retryable(),
            "details": self.message(),
        })
    }

    /// The error for people: what happened, likely causes, what to do.
    pub fn report(&self) -> String {
        let advice = self.advice();
        let mut text = format!("{}: {self}", self.0.code.as_str());
        for (title, lines) in [
            ("likely causes", advice.causes),
            ("what to do", advice.actions),
        ] {
            if lines.is_empty() {
                continue;
            }
            text.push_str("\n  ");
            text.push_str(title);
            text.push(':');
            for line in lines {
                text.push_str("\n    - ");
                text.push_str(line);
            }
        }
        if self.is_retryable() {
            text.push_str("\n  trying again may help");
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.operation)?;
        if let Some(subject) = &self.0.subject {
            write!(f, " {}", shown(subject))?;
        }
        write!(f, ": {}", self.message())?;
        if let Some(id) = &self.0.operation_id {
            write!(f, " (operation {id})")?;
        }
        for cleanup in &self.0.cleanup {
            write!(f, "; and then {cleanup}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.0.code.as_str())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as &dyn StdError)
    }
}

impl From<crate::protocol::name::NameError> for Error {
    fn from(error: crate::protocol::name::NameError) -> Self {
        Self::invalid(Code::Name, "name", error.to_string())
    }
}

/// Text from outside as we show it: control characters escaped, at most 400 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(400)
        .flat_map(|c| {
            let escaped: Box<dyn Iterator<Item = char>> = if c.is_control() {
                Box::new(c.escape_default())
            } else {
                Box::new(std::iter::once(c))
            };
            escaped
        })
        .collect();
    if text.chars().nth(400).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleanup_failure_is_kept_beside_the_first_one() {
        let error = Error::new(Code::StartFailed, Kind::Status(500), "start", "no runtime")
            .on("acode-s-t")
            .with_operation_id("op-1")
            .and_cleanup(
                Error::new(Code::RemoveFailed, Kind::Timeout, "remove", "no answer")
                    .on("acode-s-t"),
            );
        let text = error.to_string();
        assert_eq!(
            text,
            "start acode-s-t: no runtime (operation op-1); and then remove acode-s-t: no answer"
        );
        assert_eq!(
            error.to_json()["relevant_state"]["cleanup_errors"][0]["code"],
            "ACODE-CTN-004"
        );
        assert!(error.is_retryable());
    }

    #[test]
    fn text_from_outside_is_escaped_and_shortened() {
        assert_eq!(shown("a\u{1b}[31m\nb"), "a\\u{1b}[31m\\nb");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), 401);
    }
}
