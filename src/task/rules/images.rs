//! Which images may be run.

use crate::error::Result;
use crate::task::TaskSpec;

/// Which images may be run. The default admits all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageRules {}

impl ImageRules {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "to come")]
    pub(super) fn check(&self, _spec: &TaskSpec) -> Result<()> {
        Ok(())
    }
}
