//! Which of the host's directories may be mounted.

/// Which of the host's directories may be mounted. The default admits all that the program does not refuse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MountRules {
    /// Only these and what is below them; `None` for any.
    pub allow: Option<Vec<AllowedSource>>,
}

/// A directory of the host that tasks may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedSource {
    /// Absolute path.
    pub path: std::path::PathBuf,
    /// Also writable.
    pub writable: bool,
}
