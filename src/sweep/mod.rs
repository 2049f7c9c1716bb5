//! Containers that nobody owns any more: who owns one, what may be removed, and removing it.

pub mod owner;
pub mod policy;
mod run;

pub use run::{Entry, Sweep, owned_containers, owned_labels, sweep};
