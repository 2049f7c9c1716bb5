//! Calls about the engine itself.

pub(crate) mod events;
mod info;
pub(crate) mod ping;
mod version;
