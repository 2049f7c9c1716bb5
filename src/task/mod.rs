//! The life of a task: what is asked for, what is sent, how it runs, how it ended.

mod spec;
mod limits;
mod policy;
mod hosts_file;
mod plan;
mod applied;
mod container;
mod state;
mod output;
mod outcome;
mod run;
mod cleanup;
mod receipt;

pub use applied::{Ignored, NAMES as IGNORABLE};
pub use cleanup::remove_confirmed;
pub use container::{Status, Subscribed, TaskContainer};
pub use limits::{HostCapacity, Limits, Resolved, parse_throttle, parse_ulimit};
pub use outcome::{Cancel, Evidence, Outcome, StartFailure};
pub use output::OutputReport;
pub use plan::{Plan, generated_id};
pub use receipt::{ContainerReceipt, EngineReceipt, ImageReceipt, Phases, Receipt, SCHEMA};
pub use run::{Canceller, TaskIo, run};
pub use spec::{TaskSpec, Tmpfs, User, WORKSPACE};
