//! Secrets: handed to the task by our own process 1, over the task's control stream, so that they stand in nothing that can be listed.

use std::fmt;

use super::spec::TaskSpec;
use crate::error::{Code, Error, Result, shown};
use crate::protocol::order::{self, MAX_PAYLOAD, Order};

/// The longest secret, bytes: with its name it has to fit one order.
pub const MAX_SECRET: usize = 64 * 1024;
/// So many secrets at most.
const MAX_COUNT: usize = 64;
const MAX_NAME: usize = 64;

/// A secret of a task. Only the task sees its value: it is in no argument, label, log, receipt or `inspect`, and nothing of it is left on
/// a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Secret {
    /// Name of the file below `/run/secrets`, or of the variable.
    pub name: String,
    /// What it is.
    pub value: SecretValue,
    /// How the task finds it.
    pub place: SecretPlace,
}

/// How a task finds a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPlace {
    /// In the file `/run/secrets/NAME`, in memory, readable by the task's user alone.
    File,
    /// In its environment. Every process that the task starts inherits it unless the task takes care.
    Environment,
}

/// Bytes that are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Vec<u8>);

impl SecretValue {
    /// Takes the bytes.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(value.into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Secret {
    /// A secret in the file `/run/secrets/NAME`.
    ///
    /// ```
    /// use acode_rt::task::{Secret, SecretValue};
    /// let token = Secret::file("token", SecretValue::new("hunter2"));
    /// assert!(!format!("{token:?}").contains("hunter2"));
    /// ```
    pub fn file(name: impl Into<String>, value: SecretValue) -> Self {
        Self {
            name: name.into(),
            value,
            place: SecretPlace::File,
        }
    }

    /// A secret in the environment variable `NAME`.
    pub fn variable(name: impl Into<String>, value: SecretValue) -> Self {
        Self {
            place: SecretPlace::Environment,
            ..Self::file(name, value)
        }
    }
}

impl Secret {
    /// What our own process 1 is told.
    pub(super) fn order(&self) -> Order {
        let (name, value) = (self.name.as_bytes(), self.value.as_bytes());
        match self.place {
            SecretPlace::File => Order::Secret(order::Secret {
                name: name.to_vec(),
                value: value.to_vec(),
            }),
            SecretPlace::Environment => Order::Variable([name, b"=", value].concat()),
        }
    }
}

/// Bytes of the tmpfs that holds the secrets; 0 where none is in a file.
pub(super) fn tmpfs_size(secrets: &[Secret]) -> u64 {
    const PAGE: u64 = 4096;
    let pages: u64 = files(secrets)
        .map(|secret| 1 + (secret.value.as_bytes().len() as u64).div_ceil(PAGE))
        .sum();
    if pages == 0 { 0 } else { (pages + 1) * PAGE }
}

/// Those that the task finds in files.
pub(super) fn files(secrets: &[Secret]) -> impl Iterator<Item = &Secret> {
    secrets
        .iter()
        .filter(|secret| secret.place == SecretPlace::File)
}

/// Checks names and lengths; no message has any of a value.
///
/// # Errors
/// `ACODE-CTN-020`.
pub(super) fn check(spec: &TaskSpec) -> Result<()> {
    let wrong = |message: String| Error::invalid(Code::Secret, "secrets", message);
    if spec.secrets.len() > MAX_COUNT {
        return Err(wrong(format!("a task has at most {MAX_COUNT} secrets")));
    }
    for (index, secret) in spec.secrets.iter().enumerate() {
        let name = shown(&secret.name);
        let value = secret.value.as_bytes();
        if value.len() > MAX_SECRET {
            return Err(wrong(format!(
                "the secret '{name}' has {} bytes, and {MAX_SECRET} is the most",
                value.len()
            )));
        }
        let fine = match secret.place {
            SecretPlace::File => is_file_name(&secret.name),
            SecretPlace::Environment => is_variable(&secret.name),
        };
        if !fine {
            return Err(wrong(format!(
                "'{name}' is not a secret's name: 1 to {MAX_NAME} letters, digits, '_', and in a file's name also '-' and '.', which it does not begin with"
            )));
        }
        let is_variable = secret.place == SecretPlace::Environment;
        if is_variable && value.contains(&0) {
            return Err(wrong(format!(
                "the secret '{name}' has a NUL byte, which no environment can hold; hand it over in a file"
            )));
        }
        let twice = spec.secrets[..index]
            .iter()
            .any(|other| other.name == secret.name && other.place == secret.place)
            || (is_variable && spec.env.iter().any(|(key, _)| *key == secret.name));
        if twice {
            return Err(wrong(format!("'{name}' is given twice")));
        }
    }
    Ok(())
}

fn is_file_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.bytes().all(allowed)
}

fn is_variable(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(allowed)
}

const _: () = assert!(1 + MAX_NAME + MAX_SECRET <= MAX_PAYLOAD);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::image_ref::ImageRef;

    fn spec(secrets: Vec<Secret>) -> TaskSpec {
        let mut spec = TaskSpec::new("s", "t", ImageRef::parse("busybox").unwrap(), ["true"]);
        spec.secrets = secrets;
        spec.env = vec![("GIVEN".into(), "x".into())];
        spec
    }

    #[test]
    fn nfr_020a_26_a_secret_is_never_shown() {
        let spec = spec(vec![
            Secret::file("a b", SecretValue::new("canary")),
            Secret::variable("V", SecretValue::new("canary")),
        ]);
        assert!(!format!("{spec:?}").contains("canary"));
        assert!(!check(&spec).unwrap_err().to_string().contains("canary"));
    }

    #[test]
    fn names_that_reach_elsewhere_are_refused() {
        let file = |name: &str| Secret::file(name, SecretValue::new("x"));
        let variable = |name: &str| Secret::variable(name, SecretValue::new("x"));
        for good in [file("token"), file("a.b-C_1"), variable("_TOKEN1")] {
            check(&spec(vec![good])).unwrap();
        }
        let long = "x".repeat(65);
        for name in [
            "", ".", "..", "../x", "a/b", "a\0b", "-a", ".a", "a b", "ä", &long,
        ] {
            assert!(check(&spec(vec![file(name)])).is_err(), "{name:?}");
        }
        for name in ["", "1A", "A-B", "A=B", "GIVEN", &long] {
            assert!(check(&spec(vec![variable(name)])).is_err(), "{name:?}");
        }
        assert!(check(&spec(vec![file("a"), file("a")])).is_err());
        check(&spec(vec![file("a"), variable("a")])).unwrap();
    }

    #[test]
    fn what_cannot_be_handed_over_is_refused() {
        let big = Secret::file("a", SecretValue::new(vec![0; MAX_SECRET + 1]));
        let nul = Secret::variable("A", SecretValue::new("a\0b"));
        let many = (0..=MAX_COUNT).map(|i| Secret::file(format!("s{i}"), SecretValue::new("")));
        for secrets in [vec![big], vec![nul], many.collect()] {
            assert_eq!(check(&spec(secrets)).unwrap_err().code(), Code::Secret);
        }
    }
}
