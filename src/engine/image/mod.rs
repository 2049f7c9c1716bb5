//! Calls about images.

pub(super) mod credentials;
mod import;
mod inspect;
mod list;
mod pull;
pub(super) mod pull_once;
