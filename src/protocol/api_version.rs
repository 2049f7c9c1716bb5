//! Engine API versions, `1.41` to `1.51`, and which one to speak.

use std::fmt;

/// An Engine API version, such as `1.41`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// The part before the dot.
    pub major: u16,
    /// The part after the dot.
    pub minor: u16,
}

impl ApiVersion {
    /// The oldest that we speak: Docker 20.10, Podman 4 and 5.
    pub const OLDEST: Self = Self::new(1, 41);
    /// The newest that we speak: Docker 28.5.
    pub const NEWEST: Self = Self::new(1, 51);

    /// Version `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Reads `1.41`; nothing else than two decimal numbers and a dot.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let number = |digits: &str| {
            (digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_digit()))
                .then(|| digits.parse().ok())
                .flatten()
        };
        Some(Self::new(number(major)?, number(minor)?))
    }

    /// The version to speak with an engine whose newest is `theirs`: the newest that both know; `None` when the engine
    /// knows none of ours. An engine whose *oldest* is newer than [`Self::NEWEST`] says so in its answer to the first call (400).
    pub fn negotiate(theirs: Self) -> Option<Self> {
        (theirs >= Self::OLDEST).then(|| theirs.min(Self::NEWEST))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_spoken() {
        let spoken = |text| ApiVersion::negotiate(ApiVersion::parse(text).unwrap());
        assert_eq!(spoken("1.40"), None);
        assert_eq!(spoken("1.41"), Some(ApiVersion::OLDEST));
        assert_eq!(spoken("1.45"), Some(ApiVersion::new(1, 45)));
        assert_eq!(spoken("1.51"), Some(ApiVersion::NEWEST));
        assert_eq!(spoken("1.60"), Some(ApiVersion::NEWEST));
        assert_eq!(spoken("2.0"), Some(ApiVersion::NEWEST));
    }

    #[test]
    fn what_is_no_version_is_not_read() {
        for text in [
            "", "1", "1.", ".41", "1.41.0", "+1.41", "1.-1", "1.99999", "v1.41",
        ] {
            assert_eq!(ApiVersion::parse(text), None, "{text}");
        }
    }
}
