//! Files in and out of a task: copied in before it starts, brought out when it has stopped.
//!
//! Both go through an anonymous volume at `/workspace`, the one place that every engine copies to and from with a read-only root. It is
//! removed with its container. No engine bounds it on disk.

mod channel;
mod destination;
mod extract;
mod pack;
mod request;
mod tar_reader;
mod transfer;

use std::io::BufRead;

use serde::Serialize;

pub use extract::{Artifact, Skipped};
pub(crate) use request::look_at_sources;
pub use request::{ArtifactRequest, CopyIn, FILES_DIR, Files};
pub(crate) use transfer::{collect, open_all};

use crate::error::{Code, Error, Kind, Result};
use extract::{Collected, extract};

/// Bytes of all artifacts of a task, unless said otherwise: 4 GiB.
pub const DEFAULT_LIMIT: u64 = 4 << 30;

/// What of a task's files came in and out, in a [`Receipt`](super::Receipt).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FilesReceipt {
    /// What was copied in.
    pub copied_in: CopiedIn,
    /// The files that were brought out.
    pub artifacts: Vec<Artifact>,
    /// What was asked for and not taken; the first hundred.
    pub skipped: Vec<Skipped>,
    /// All of that.
    pub skipped_count: u64,
    /// Requests of which nothing was there, or that were not brought out to their end.
    pub missing: Vec<String>,
    /// Why artifacts are not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What was copied in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CopiedIn {
    /// Files, directories and links.
    pub entries: u32,
    /// Bytes of the files.
    pub bytes: u64,
    /// Pipes, sockets and devices, which are not copied; the first twenty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// All of those.
    pub left_out_count: u64,
}

impl FilesReceipt {
    /// The first failure is the reason of those behind it.
    fn fail(&mut self, message: String) {
        self.error.get_or_insert(message);
    }

    /// Whether there was any of `path`, or why it did not come to its end.
    fn note(&mut self, path: String, found: std::result::Result<bool, String>) {
        if found != Ok(true) {
            self.missing.push(path);
        }
        if let Err(message) = found {
            self.fail(message);
        }
    }

    fn take(&mut self, collected: Collected) {
        self.artifacts = collected.artifacts;
        self.skipped = collected.skipped;
        self.skipped_count = collected.skipped_count;
        if let Some(message) = collected.in_the_way {
            self.fail(message);
        }
    }

    /// Something that was asked for is not there.
    pub fn is_incomplete(&self) -> bool {
        self.error.is_some() || !self.missing.is_empty()
    }

    /// What is worth saying of it.
    pub(super) fn warnings(&self, success: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(first) = self.copied_in.left_out.first() {
            warnings.push(format!(
                "{} of the files to copy in were left out, such as {first}",
                self.copied_in.left_out_count
            ));
        }
        if let Some(first) = self.skipped.first() {
            warnings.push(format!(
                "{} entries of the artifacts were not taken, such as '{}': {}",
                self.skipped_count, first.path, first.why
            ));
        }
        if let Some(error) = self.failure(success) {
            warnings.push(format!("{}: {}", error.code().as_str(), error.message()));
        }
        warnings
    }

    /// The error that the artifacts are, of a task that succeeded or did not. A receipt has its code and message among its warnings.
    pub fn failure(&self, success: bool) -> Option<Error> {
        let missing = self.missing.join(", ");
        let message = match &self.error {
            Some(error) => format!("artifacts are not complete ({missing}): {error}"),
            // A task that failed need not have made them.
            None if success && !missing.is_empty() => {
                format!("the task succeeded, and of these artifacts nothing is there: {missing}")
            }
            None => return None,
        };
        Some(Error::new(
            Code::Artifact,
            Kind::Refused,
            "artifacts",
            message,
        ))
    }
}

/// Writes what `request` asks for of an engine's archive of it: what is done with each artifact of a task, for archives that came another
/// way. At most `limit` bytes. What there was none of is in [`FilesReceipt::missing`].
///
/// # Errors
/// `ACODE-CTN-018` when the destination cannot be written.
pub fn unpack(
    archive: impl BufRead,
    request: &ArtifactRequest,
    limit: u64,
) -> Result<FilesReceipt> {
    let mut one = request.open()?;
    let mut collected = Collected::up_to(limit);
    let found = extract(archive, &one.wanted, &mut one.destination, &mut collected);
    let mut receipt = FilesReceipt::default();
    receipt.note(one.path, found.map_err(|stopped| stopped.message));
    receipt.take(collected);
    Ok(receipt)
}
