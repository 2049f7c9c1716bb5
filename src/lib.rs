//! One fresh, locked-down, disposable container for each task, through the Docker Engine API.
//!
//! ```no_run
//! use acode_rt::engine::{Engine, Host};
//! use acode_rt::{Canceller, ImageRef, TaskIo, TaskSpec};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let engine = Engine::connect(&Host::find(None)?).await?;
//! let spec = TaskSpec::new("session", "task-1", ImageRef::parse("busybox")?, ["true"]);
//! let receipt = acode_rt::run(&engine, spec, TaskIo::default(), &Canceller::new()).await?;
//! assert_eq!(receipt.status, 0);
//! assert!(receipt.removed);
//! # Ok(()) }) }
//! ```
//!
//! The layers, each of which knows only those above it in this list:
//!
//! - [`protocol`]: bytes in, values out; pure.
//! - [`model`]: the types of the wire.
//! - [`engine`]: one call a file.
//! - [`task`]: one task from its specification to its receipt; [`Runner::run`] is all of it in one call, [`TaskContainer`] step by step.
//!   A [`Program`] beside the runner is process 1 of every task, and a guard that outlives this process.
//! - [`sweep`]: containers that nobody owns any more.
//!
//! # Cancel safety
//!
//! Dropping the future of an engine call abandons it: its connection closes, and whether the engine acted is unknown unless the call only
//! reads. Functions for which more is to be said say it. To end a task use a [`Canceller`]: dropping the future of [`run`] ends it too,
//! and its container is removed by the guard of the [`Runner`], or by a thread where it has none, but nobody learns how it ended.

pub mod engine;
pub mod error;
mod guard;
mod init;
pub mod model;
mod program;
pub mod protocol;
pub mod sweep;
pub mod task;

pub use error::{Code, Error, Result};
pub use program::{Program, serve_helper};
pub use protocol::image_ref::ImageRef;
pub use protocol::name::{ContainerName, Prefix};
pub use task::{
    Cancel, Canceller, Limits, Outcome, Receipt, Runner, TaskContainer, TaskIo, TaskSpec, run,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
