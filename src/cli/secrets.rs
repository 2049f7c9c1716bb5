//! Where the program takes a task's secrets from: never from its own arguments, which everybody can list.

use std::fs::File;
use std::io::Read;

use acode_rt::error::{Code, Error, Kind, Result};
use acode_rt::task::{MAX_SECRET, SecretValue};

/// `NAME=file:PATH`, `NAME=env:VARIABLE` or `NAME=fd:NUMBER`.
#[derive(Debug, Clone)]
pub(crate) struct SecretSource {
    pub(crate) name: String,
    from: From,
}

#[derive(Debug, Clone)]
enum From {
    File(String),
    Environment(String),
    Descriptor(u32),
}

impl SecretSource {
    /// # Errors
    /// `ACODE-CTN-020`, which repeats nothing: what was meant to be kept secret may stand in it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let invalid = |message| Error::invalid(Code::Secret, "secrets", message);
        let wrong = || {
            invalid(
                "a secret's source is written like token=file:PATH, token=env:VARIABLE or token=fd:3; a value on the command line would be no secret",
            )
        };
        let (name, source) = text.split_once('=').ok_or_else(wrong)?;
        let (kind, rest) = source.split_once(':').ok_or_else(wrong)?;
        let from = match kind {
            "file" if !rest.is_empty() => From::File(rest.to_owned()),
            "env" if !rest.is_empty() => From::Environment(rest.to_owned()),
            "fd" => match rest.parse() {
                Ok(number @ 3..) => From::Descriptor(number),
                _ => {
                    return Err(invalid(
                        "a secret's descriptor is 3 or more, as in token=fd:3 3<FILE",
                    ));
                }
            },
            _ => return Err(wrong()),
        };
        Ok(Self {
            name: name.to_owned(),
            from,
        })
    }

    /// The bytes as they are, a final newline included.
    ///
    /// # Errors
    /// `ACODE-CTN-020` when there is nothing to read, or too much.
    pub(crate) fn read(&self) -> Result<SecretValue> {
        let failed = |kind, message: String| {
            Error::new(Code::Secret, kind, "secrets", message).on(&self.name)
        };
        let path = match &self.from {
            From::Environment(variable) => {
                return std::env::var_os(variable)
                    .map(|value| SecretValue::new(std::os::unix::ffi::OsStringExt::into_vec(value)))
                    .ok_or_else(|| {
                        failed(
                            Kind::Invalid,
                            format!("the variable {} is not set", variable.escape_debug()),
                        )
                    });
            }
            From::File(path) => path.clone(),
            From::Descriptor(number) => format!("/proc/self/fd/{number}"),
        };
        let cannot = |error: std::io::Error| {
            failed(Kind::Io, format!("{} cannot be read", path.escape_debug())).because(error)
        };
        let mut value = Vec::new();
        File::open(&path)
            .map_err(cannot)?
            .take(MAX_SECRET as u64 + 1)
            .read_to_end(&mut value)
            .map_err(cannot)?;
        if value.len() > MAX_SECRET {
            return Err(failed(
                Kind::Invalid,
                format!("{} has more than {MAX_SECRET} bytes", path.escape_debug()),
            ));
        }
        Ok(SecretValue::new(value))
    }
}
