//! How a task ended, with what is known about it. Nothing that is not known to be success is exit status 0.

use serde::Serialize;

use crate::protocol::record::{How, Unprepared};

/// Why a task was ended from outside. A later one overrides an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancel {
    /// Asked to end: TERM, and KILL after the grace period.
    Stop,
    /// Whoever read the output went away: KILL.
    OutputClosed,
    /// Asked to end at once: KILL.
    Kill,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The main process ended by itself. A bare 137 is one too: from outside, `exit 137` and a KILL look the same.
    Exited {
        /// Its exit code.
        code: u8,
    },
    /// A signal ended the main process, as process 1 saw it; it was none of ours.
    Signaled {
        /// Its number.
        signal: u8,
    },
    /// A KILL ended the main process, and the kernel killed something in the container for memory. Where the engine's init is process 1, it may
    /// also have ended with exit code 137 because that happened to its child.
    OutOfMemory,
    /// It ran longer than it was given, and was killed.
    Deadline {
        /// The time that it had, in milliseconds.
        after_ms: u64,
    },
    /// It was ended on request.
    Cancelled {
        /// Whose.
        by: Cancel,
    },
    /// Somebody outside sent it a signal through the engine, or the engine was shut down.
    Stopped,
    /// The container did not start.
    StartFailed {
        /// Why, as far as that can be told.
        reason: StartFailure,
        /// The engine's words.
        message: String,
    },
    /// The engine went away and did not come back in time: how the task ended is not known.
    EngineLost {
        /// The last error.
        message: String,
    },
    /// The engine does not say how it ended.
    Unknown {
        /// What it says instead.
        message: String,
    },
}

/// Why a container did not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFailure {
    /// The command does not exist in the image.
    NotFound,
    /// It exists and cannot be executed.
    NotExecutable,
    /// Something else.
    Other,
}

impl Outcome {
    /// The exit status of a program that ran this task: the task's own; 124 deadline, 125 the engine failed, 126 not executable, 127 not found,
    /// 143 cancelled or stopped (141 when the output was closed).
    pub fn status(&self) -> u8 {
        match self {
            Self::Exited { code } => *code,
            Self::Signaled { signal } => 128_u8.saturating_add(*signal),
            Self::OutOfMemory => 137,
            Self::Deadline { .. } => 124,
            Self::Cancelled {
                by: Cancel::OutputClosed,
            } => 141,
            Self::Cancelled {
                by: Cancel::Stop | Cancel::Kill,
            }
            | Self::Stopped => 143,
            Self::StartFailed {
                reason: StartFailure::NotExecutable,
                ..
            } => 126,
            Self::StartFailed {
                reason: StartFailure::NotFound,
                ..
            } => 127,
            Self::StartFailed {
                reason: StartFailure::Other,
                ..
            }
            | Self::EngineLost { .. }
            | Self::Unknown { .. } => 125,
        }
    }
}

/// What the engine said, which the outcome was concluded from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The exit code that `wait` answered.
    pub wait_code: Option<u8>,
    /// The state's exit code when it had ended.
    pub inspect_code: Option<i64>,
    /// Whether the engine says that the kernel killed for memory.
    pub oom_killed: Option<bool>,
    /// The engine's words in the state.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub engine_error: String,
    /// What our own process 1 said: the main process's exit code, the signal that ended it, or the error number of a failed start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<InitEvidence>,
    /// Signals that we sent, in order.
    pub signals: Vec<&'static str>,
}

/// What process 1 saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InitEvidence {
    /// The main process ended with this exit code.
    Exited(u8),
    /// This signal ended it.
    Signaled(u8),
    /// It could not be started: the kernel's error number.
    Failed(i32),
    /// It was not started: the mount of this number, from 0, is not what was asked for.
    MountRefused(u16),
    /// It was not started: the secret of this number, from 0, could not be written.
    SecretRefused(u16),
}

impl From<How> for InitEvidence {
    fn from(how: How) -> Self {
        match how {
            How::Exited(code) => Self::Exited(code),
            How::Signaled(signal) => Self::Signaled(signal),
            How::Failed(errno) => Self::Failed(errno),
            How::Unprepared(Unprepared::Mount(number)) => Self::MountRefused(number),
            How::Unprepared(Unprepared::Secret(number)) => Self::SecretRefused(number),
        }
    }
}
