//! The life of a task: what is asked for, what is sent, how it runs, how it ended.

mod alarms;
mod applied;
mod cleanup;
mod container;
mod control;
mod files;
mod hosts_file;
mod limits;
mod outcome;
mod output;
mod plan;
mod policy;
mod receipt;
mod recover;
mod rules;
mod run;
mod runner;
mod spec;
mod state;
mod watch;

pub use applied::{Ignored, NAMES as IGNORABLE};
pub use cleanup::remove_confirmed;
pub use container::{Status, Subscribed, TaskContainer};
pub use files::{
    Artifact, ArtifactRequest, CopiedIn, CopyIn, DEFAULT_LIMIT, FILES_DIR, Files, FilesReceipt,
    Skipped, unpack,
};
pub use limits::{HostCapacity, Limits, Resolved, parse_throttle, parse_ulimit};
pub use outcome::{Cancel, Evidence, InitEvidence, Outcome, StartFailure};
pub use output::OutputReport;
pub use plan::{Plan, generated_id};
pub use receipt::{
    ContainerReceipt, EngineReceipt, HelpersReceipt, ImageReceipt, Phases, Receipt, SCHEMA,
};
pub use rules::{AllowedSource, ImageRules, Most, MountRules, Rules};
pub use run::{Canceller, TaskIo, run};
pub use runner::Runner;
pub use spec::{TaskSpec, Tmpfs, User, WORKSPACE};
