//! The path and query of a request. Whatever comes from outside is checked or encoded here, so that it can never become
//! another request.

use std::fmt::Write;

use super::api_version::ApiVersion;

/// A request target under construction, such as `/v1.41/containers/json?all=true`.
#[derive(Debug, Clone)]
pub struct Target {
    text: String,
    has_query: bool,
}

impl Target {
    /// A versioned path; `path` is one of our own constants.
    pub fn new(version: ApiVersion, path: &'static str) -> Self {
        Self {
            text: format!("/v{version}{path}"),
            has_query: false,
        }
    }

    /// A path without a version, for the first question to an engine.
    pub fn unversioned(path: &'static str) -> Self {
        Self {
            text: path.to_owned(),
            has_query: false,
        }
    }

    /// Appends `/` and a container's id or name, then `tail` (a constant such as `/start`).
    ///
    /// # Errors
    /// A sentence, when it is not `[a-zA-Z0-9][a-zA-Z0-9_.-]*` of at most 255 characters.
    pub fn container(mut self, reference: &str, tail: &'static str) -> Result<Self, String> {
        let mut bytes = reference.bytes();
        let valid = reference.len() <= 255
            && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
            && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if !valid {
            return Err(format!(
                "'{}' is not a container name or id; those have letters, digits, '_', '.' and '-' only",
                crate::error::shown(reference)
            ));
        }
        self.text.push('/');
        self.text.push_str(reference);
        self.text.push_str(tail);
        Ok(self)
    }

    /// Appends text that is known to be safe in a path, such as a validated image reference.
    #[must_use]
    pub fn raw(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Appends `filters`, where there are any.
    #[must_use]
    pub fn filtered(self, filters: &Filters) -> Self {
        if filters.is_empty() {
            return self;
        }
        self.query("filters", &filters.to_json())
    }

    /// Appends a query pair, percent-encoding the value.
    #[must_use]
    pub fn query(mut self, key: &'static str, value: &str) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.text.push_str(key);
        self.text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    self.text.push(char::from(byte));
                }
                _ => {
                    let _ = write!(self.text, "%{byte:02X}");
                }
            }
        }
        self
    }

    /// The finished target.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The `filters` parameter of the list and events calls: a JSON object of string arrays.
#[derive(Debug, Clone, Default)]
pub struct Filters(std::collections::BTreeMap<&'static str, Vec<String>>);

impl Filters {
    /// No filter.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `value` under `key`; values of one key are alternatives, but for `label`, where all must hold.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.entry(key).or_default().push(value.into());
        self
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The JSON text to send.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_another_request() {
        let base = || Target::new(ApiVersion::OLDEST, "/containers");
        for hostile in [
            "",
            "a/../b",
            "..",
            ".",
            "a b",
            "a?force=1",
            "a#b",
            "a%2fb",
            "a\r\nX: y",
            "-rf",
            "é",
            "a\0",
            "_a",
            &"a".repeat(256),
        ] {
            assert!(base().container(hostile, "/start").is_err(), "{hostile:?}");
        }
        let target = base()
            .container("acode-s-t", "/start")
            .unwrap()
            .query("signal", "TERM&x=1 é\r\n");
        assert_eq!(
            target.as_str(),
            "/v1.41/containers/acode-s-t/start?signal=TERM%26x%3D1%20%C3%A9%0D%0A"
        );
    }

    #[test]
    fn filters_are_json() {
        let filters = Filters::new()
            .with("label", "acode.session=a\"b")
            .with("label", "acode.managed=true");
        assert_eq!(
            filters.to_json(),
            r#"{"label":["acode.session=a\"b","acode.managed=true"]}"#
        );
    }
}
