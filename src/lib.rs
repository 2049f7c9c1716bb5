//! placeholder
#![allow(clippy::allow_attributes)]
pub mod engine;
pub mod error;
pub mod model;
pub mod protocol;
pub use error::{Code, Error, Result};
pub use protocol::name::{ContainerName, Prefix};
