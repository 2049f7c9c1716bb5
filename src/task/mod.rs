//! The life of a task: what is asked for, what is sent, how it runs, how it ended.

mod alarms;
mod applied;
mod audit;
mod cleanup;
mod container;
mod control;
mod disk;
mod fallback;
mod files;
mod hosts_file;
mod ids;
mod image;
mod limits;
mod mounts;
mod outcome;
mod output;
mod plan;
mod policy;
mod protections;
mod receipt;
mod recover;
mod rules;
mod run;
mod runner;
mod seccomp;
mod secret;
mod spec;
mod state;
mod stopping;
mod tmpfs;
mod usage;
mod user;
mod watch;

pub use applied::{Ignored, NAMES as IGNORABLE};
pub use audit::Audit;
pub(crate) use cleanup::remove_by;
pub use cleanup::remove_confirmed;
pub use container::{Status, Subscribed, TaskContainer};
pub use files::{
    Artifact, ArtifactRequest, CopiedIn, CopyIn, DEFAULT_LIMIT, FILES_DIR, Files, FilesReceipt,
    Skipped, unpack,
};
pub use hosts_file::runtime_dir;
pub use ids::generated_id;
pub use image::{OnPull, PullEvent, PullPolicy};
pub use limits::{HostCapacity, Limits, Resolved, parse_throttle, parse_ulimit};
pub use mounts::{BindMount, CheckedMount, Workspace};
pub use outcome::{Cancel, Evidence, InitEvidence, Outcome, StartFailure};
pub use output::OutputReport;
pub use plan::Plan;
pub use protections::{Protection, ProtectionsReceipt, Strength, host_protections};
pub use receipt::{
    ContainerReceipt, EngineReceipt, HelpersReceipt, ImageReceipt, Phases, Receipt, SCHEMA,
};
pub use rules::{AllowedSource, ImageRules, Most, MountRules, Rules};
pub use run::{Canceller, TaskIo, run};
pub use runner::Runner;
pub use secret::{MAX_SECRET, Secret, SecretPlace, SecretValue};
pub use spec::{TaskSpec, WORKSPACE, check_capability};
pub use tmpfs::Tmpfs;
pub use usage::{Usage, UsageSource};
pub use user::User;
