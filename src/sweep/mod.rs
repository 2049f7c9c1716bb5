//! Containers that nobody owns any more: who owns one, what may be removed, and removing it.

mod find;
pub mod ledger;
pub mod owner;
pub mod policy;
mod run;
mod sweeper;

pub(crate) use find::look_at_owner;
pub use find::{owned_containers, owned_labels};
pub use run::{Entry, Sweep, Totals, sweep};
pub use sweeper::Sweeper;
