//! No two live tasks have the same writable directory. A lock on the directory itself settles it between those who ask at the same time; a
//! label on the container speaks for directories within each other, and for containers whose client has died.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::is_within;
use super::source::Source;
use crate::engine::{ContainerId, Engine, ListOptions};
use crate::error::{Code, Error, Kind, Result, shown};
use crate::protocol::labels::WRITABLE;
use crate::protocol::target::Filters;

/// A writable directory that is ours until this is dropped, or our process ends.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    pub(crate) path: String,
    _lock: Arc<File>,
}

impl Share {
    /// # Errors
    /// `ACODE-CTN-012` when another task has it; trying again later can help.
    pub(in crate::task) fn take(source: &Source) -> Result<Self> {
        // Through /proc, so that it is what was looked at.
        let file = File::open(format!("/proc/self/fd/{}", source.fd.as_raw_fd()))
            .map_err(|error| source.refused("we cannot read it ourselves").because(error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(in_use(&source.path, "another task")),
            // Some network file systems lock only what is open for writing: the label is left.
            Err(error) => tracing::debug!(source = source.path, %error, "not locked"),
        }
        Ok(Self {
            path: source.path.clone(),
            _lock: Arc::new(file),
        })
    }
}

fn in_use(path: &str, by: &str) -> Error {
    Error::new(
        Code::PolicyRefused,
        Kind::Refused,
        "mounts",
        format!("{by} can write there, and two tasks never share what they can write; try again when it has ended"),
    )
    .on(shown(path))
}

/// Refuses to go on when a live container can write to what `id` can write to. To be asked when `id` exists, so that of two who ask at
/// least one sees the other.
///
/// # Errors
/// `ACODE-CTN-012`.
pub(crate) async fn refuse_shared(
    engine: &Engine,
    id: &ContainerId,
    shares: &[Share],
) -> Result<()> {
    if shares.is_empty() {
        return Ok(());
    }
    let options = ListOptions {
        all: true,
        filters: Filters::new().with("label", WRITABLE),
    };
    for other in engine.container_list(&options).await? {
        let is_over = matches!(
            other.state.as_str(),
            "exited" | "dead" | "removing" | "stopped"
        );
        if other.id == id.as_str() || is_over {
            continue;
        }
        let Some(paths) = other.labels.get(WRITABLE).and_then(|text| read(text)) else {
            continue;
        };
        for path in paths {
            let overlapping = shares
                .iter()
                .find(|share| is_within(&share.path, &path) || is_within(&path, &share.path));
            if let Some(share) = overlapping {
                let by = format!("the task of container {}", shown(other.name()));
                return Err(in_use(&share.path, &by));
            }
        }
    }
    Ok(())
}

/// The label's value.
pub(in crate::task) fn label(writable: &[Source]) -> Option<String> {
    let paths: Vec<&str> = writable.iter().map(|source| source.path.as_str()).collect();
    (!paths.is_empty()).then(|| serde_json::json!(paths).to_string())
}

fn read(label: &str) -> Option<Vec<String>> {
    serde_json::from_str(label).ok()
}
