//! The receipt of a task: what ran, how it ended and how that is known, in JSON.

use serde::Serialize;

use super::applied::Ignored;
use super::files::FilesReceipt;
use super::limits::Resolved;
use super::mounts::CheckedMount;
use super::outcome::{Evidence, Outcome};
use super::output::OutputReport;
use super::protections::ProtectionsReceipt;
use super::usage::Usage;

/// The version of the receipt's form; it rises when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// What one task did, as evidence. Serialises to the JSON that `docs/receipt.schema.json` describes.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Receipt {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Session id.
    pub session: String,
    /// Task id.
    pub task: String,
    /// The operation's UUID, which every log line carries.
    pub operation: String,
    /// The container that ran it.
    pub container: ContainerReceipt,
    /// The image that it ran from.
    pub image: ImageReceipt,
    /// How it ended.
    pub outcome: Outcome,
    /// What that was concluded from.
    pub evidence: Evidence,
    /// The exit status for a program that stands for the task.
    pub status: u8,
    /// The kernel killed a process of the task for memory, but the main process ended in another way.
    pub child_out_of_memory: bool,
    /// What became of the output.
    pub output: OutputReport,
    /// Limits as they were sent.
    pub limits: Resolved,
    /// What of the host was mounted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<CheckedMount>,
    /// Why the task could have filled the engine's disk; `None` where all that it could write was bounded.
    pub unbounded_disk: Option<&'static str>,
    /// What it has used.
    pub usage: Usage,
    /// What protected the host from it.
    pub protections: ProtectionsReceipt,
    /// What was asked for, not applied, and accepted.
    pub ignored: Vec<Ignored>,
    /// What came in and out, where files were to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesReceipt>,
    /// What is worth knowing.
    pub warnings: Vec<String>,
    /// Where the time went.
    pub phases_ms: Phases,
    /// The engine that ran it.
    pub engine: EngineReceipt,
    /// What stood beside it.
    pub helpers: HelpersReceipt,
    /// When it began, RFC 3339, by this machine's clock.
    pub started_at: String,
    /// The container is confirmed gone.
    pub removed: bool,
    /// The container was left there on request.
    pub kept: bool,
    /// Why it is not gone, where it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_error: Option<serde_json::Value>,
}

/// A container in a [`Receipt`].
#[derive(Debug, Clone, Serialize)]
pub struct ContainerReceipt {
    /// 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// An image in a [`Receipt`].
#[derive(Debug, Clone, Serialize)]
pub struct ImageReceipt {
    /// As it was asked for.
    pub reference: String,
    /// What ran: `sha256:…`.
    pub id: String,
    /// The digest by which a registry knows it, where that is known (FR-020A-46).
    pub digest: Option<String>,
    /// It was pulled for this task.
    pub pulled: bool,
}

/// An engine in a [`Receipt`].
#[derive(Debug, Clone, Serialize)]
pub struct EngineReceipt {
    /// What it calls itself.
    pub server: String,
    /// The API version that was spoken.
    pub api: String,
}

/// What stood beside a task, in a [`Receipt`].
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct HelpersReceipt {
    /// Process 1: `acode-rt` or `engine`.
    pub init: &'static str,
    /// Why it was not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<&'static str>,
    /// A process stood guard that would have outlived this one.
    pub guard: bool,
}

/// Milliseconds, each phase beginning where the one before it ended.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Phases {
    /// Checks and image inspect.
    pub prepare: f64,
    /// Pulling the image, within the time of `prepare` but not counted there.
    pub pull: f64,
    /// The create call.
    pub create: f64,
    /// Files that were copied in.
    pub copy_in: f64,
    /// Attach, wait and the comparison of what was applied.
    pub subscribe: f64,
    /// The start call.
    pub start: f64,
    /// From there to the exit code and the end of the output.
    pub run: f64,
    /// Artifacts that were brought out.
    pub artifacts: f64,
    /// Remove, and its confirmation.
    pub remove: f64,
    /// All of it.
    pub total: f64,
}
