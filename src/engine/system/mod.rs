//! Calls about the engine itself.

pub(crate) mod events;
pub(crate) mod ping;
mod info;
mod version;
