//! Memory that is mounted inside, and paths inside.

use crate::error::shown;
use crate::protocol::units::parse_size;

/// A tmpfs inside: `PATH[:size=SIZE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Absolute path.
    pub path: String,
    /// Bytes; `None` shares what the others leave of half the memory limit.
    pub size: Option<u64>,
}

impl Tmpfs {
    /// Reads `PATH` or `PATH:size=SIZE`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (path, options) = text
            .split_once(':')
            .map_or((text, None), |(path, options)| (path, Some(options)));
        let path = clean_inside_path(path)?;
        let size = match options {
            None => None,
            Some(options) => {
                let size = options.strip_prefix("size=").ok_or_else(|| {
                    format!(
                        "tmpfs '{}': the only option is size, as in /scratch:size=64m",
                        shown(text)
                    )
                })?;
                Some(parse_size(size).and_then(|s| {
                    if s == 0 {
                        Err("a tmpfs cannot have size 0".into())
                    } else {
                        Ok(s)
                    }
                })?)
            }
        };
        Ok(Self { path, size })
    }
}

/// An absolute path inside the container, without `..`.
pub(super) fn check_inside_path(path: &str) -> Result<(), String> {
    let fine = path.starts_with('/')
        && path.len() <= 4096
        && !path.split('/').any(|part| part == "..")
        && !path.chars().any(char::is_control);
    if fine {
        Ok(())
    } else {
        Err(format!(
            "'{}' is not an absolute path without '..'",
            shown(path)
        ))
    }
}

/// Such a path without what would change the meaning of mount options, in its shortest form: the engine compares it with the image's
/// volumes, whose paths it shortens too, and mounts both where they differ.
pub(super) fn clean_inside_path(path: &str) -> Result<String, String> {
    check_inside_path(path)?;
    if path.contains([',', ':']) {
        return Err(format!(
            "a path for a mount cannot contain ',' or ':' as '{}' does",
            shown(path)
        ));
    }
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.is_empty() {
        return Err("a mount over / would hide the image".into());
    }
    Ok(format!("/{}", parts.join("/")))
}
