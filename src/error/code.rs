//! The error codes, what they mean and what helps.

use serde::Serialize;

/// The documented error codes. The first ten are those of the error-code table of the container strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "&'static str")]
#[non_exhaustive]
pub enum Code {
    /// `ACODE-CTN-001`
    CreateFailed,
    /// `ACODE-CTN-002`
    StartFailed,
    /// `ACODE-CTN-003`
    StopFailed,
    /// `ACODE-CTN-004`
    RemoveFailed,
    /// `ACODE-CTN-005`
    NameTaken,
    /// `ACODE-CTN-006`
    PullFailed,
    /// `ACODE-CTN-007`
    LimitInvalid,
    /// `ACODE-CTN-008`
    EngineUnavailable,
    /// `ACODE-CTN-009`
    TooManyContainers,
    /// `ACODE-CTN-010`
    CleanupFailed,
    /// `ACODE-CTN-011`
    ImageNotFound,
    /// `ACODE-CTN-012`
    PolicyRefused,
    /// `ACODE-CTN-013`
    Deadline,
    /// `ACODE-CTN-014`
    EngineLost,
    /// `ACODE-CTN-015`
    Configuration,
    /// `ACODE-CTN-016`
    Name,
    /// `ACODE-CTN-017`
    Permission,
    /// `ACODE-CTN-018`
    OutputFile,
    /// `ACODE-CTN-019`
    Artifact,
    /// `ACODE-CTN-020`
    Secret,
}

/// What a [`Code`] means and what helps.
#[derive(Debug, Clone, Copy)]
pub struct Advice {
    /// The code as text.
    pub code: &'static str,
    /// A machine-readable word for it, such as `container_create_failed`.
    pub kind: &'static str,
    /// One sentence.
    pub title: &'static str,
    /// What usually causes it.
    pub causes: &'static [&'static str],
    /// What to do about it.
    pub actions: &'static [&'static str],
}

impl Code {
    /// Every code, in order.
    pub const ALL: [Code; 20] = [
        Code::CreateFailed,
        Code::StartFailed,
        Code::StopFailed,
        Code::RemoveFailed,
        Code::NameTaken,
        Code::PullFailed,
        Code::LimitInvalid,
        Code::EngineUnavailable,
        Code::TooManyContainers,
        Code::CleanupFailed,
        Code::ImageNotFound,
        Code::PolicyRefused,
        Code::Deadline,
        Code::EngineLost,
        Code::Configuration,
        Code::Name,
        Code::Permission,
        Code::OutputFile,
        Code::Artifact,
        Code::Secret,
    ];

    /// The code as text, `ACODE-CTN-nnn`.
    pub fn as_str(self) -> &'static str {
        self.advice().code
    }

    /// Meaning, causes and remedies.
    pub fn advice(self) -> Advice {
        ADVICE[self as usize]
    }
}

impl From<Code> for &'static str {
    fn from(code: Code) -> Self {
        code.as_str()
    }
}

/// One row per [`Code`], in its order.
const ADVICE: [Advice; 20] = [
    Advice {
        code: "ACODE-CTN-001",
        kind: "container_create_failed",
        title: "The engine did not create the container.",
        causes: &[
            "the engine refused an option",
            "disk space is short",
            "a limit is more than the engine allows",
        ],
        actions: &[
            "read the engine's reason above",
            "see the request with `acode-rt exec --dry-run`",
            "check space: `docker system df`",
        ],
    },
    Advice {
        code: "ACODE-CTN-002",
        kind: "container_start_failed",
        title: "The container was created but did not start; it has been removed.",
        causes: &[
            "the command does not exist in the image or is not executable",
            "the working directory cannot be entered",
            "the engine's runtime failed",
        ],
        actions: &[
            "check the command's path inside the image",
            "try `acode-rt exec -v`",
            "read the engine's log",
        ],
    },
    Advice {
        code: "ACODE-CTN-003",
        kind: "container_stop_failed",
        title: "The container could not be stopped.",
        causes: &["the engine is overloaded", "a process hangs in the kernel"],
        actions: &["try again", "force it: `acode-rt rm --force NAME`"],
    },
    Advice {
        code: "ACODE-CTN-004",
        kind: "container_remove_failed",
        title: "The container could not be removed and is still there.",
        causes: &[
            "the engine is overloaded or out of disk space",
            "a mount is busy",
        ],
        actions: &[
            "force it: `acode-rt rm --force NAME`",
            "or later: `acode-rt cleanup`",
        ],
    },
    Advice {
        code: "ACODE-CTN-005",
        kind: "name_taken",
        title: "A container with this name exists already.",
        causes: &[
            "the same session and task run right now",
            "an earlier run was kept with --keep",
        ],
        actions: &[
            "give another --task or --session, or --random-name",
            "see it: `acode-rt list`",
            "remove it: `acode-rt rm NAME`",
        ],
    },
    Advice {
        code: "ACODE-CTN-006",
        kind: "image_pull_failed",
        title: "The image could not be pulled.",
        causes: &[
            "the registry is unreachable, or asked too often",
            "it wants other credentials",
        ],
        actions: &[
            "check the engine's network and proxy settings",
            "log in: `docker login REGISTRY`",
            "where it is only slow, raise --pull-timeout",
        ],
    },
    Advice {
        code: "ACODE-CTN-007",
        kind: "resource_limit_invalid",
        title: "A resource limit is not valid, or was not applied.",
        causes: &[
            "a number or unit is wrong",
            "the engine or this host cannot apply the limit",
        ],
        actions: &[
            "correct the value; sizes are like 512m or 4g, CPUs like 1.5",
            "where the host cannot do it, accept that by name: `--accept-ignored LIMIT`",
        ],
    },
    Advice {
        code: "ACODE-CTN-008",
        kind: "engine_unavailable",
        title: "No container engine answers.",
        causes: &[
            "the engine is not running",
            "the socket is somewhere else",
            "the engine is too old or too new",
        ],
        actions: &[
            "start it: `systemctl start docker`, or `./scripts/quickstart`",
            "name its socket: `--host unix:///path/to.sock` or DOCKER_HOST",
        ],
    },
    Advice {
        code: "ACODE-CTN-009",
        kind: "too_many_containers",
        title: "As many containers run as are allowed.",
        causes: &["other tasks are still running"],
        actions: &["wait for one to end", "raise the limit"],
    },
    Advice {
        code: "ACODE-CTN-010",
        kind: "cleanup_failed",
        title: "Not every orphaned container could be removed.",
        causes: &["the engine is overloaded", "a mount is busy"],
        actions: &[
            "run `acode-rt cleanup` again",
            "see what is left: `acode-rt list`",
        ],
    },
    Advice {
        code: "ACODE-CTN-011",
        kind: "image_not_found",
        title: "The image is not on this engine, and could not be found.",
        causes: &[
            "the name or tag is misspelt",
            "it was never pulled or built here, and is not to be pulled",
            "the registry shows it to whoever is logged in only",
        ],
        actions: &[
            "pull it: `acode-rt pull IMAGE`",
            "see what is there: `acode-rt images`",
            "for a private one: `docker login REGISTRY`",
        ],
    },
    Advice {
        code: "ACODE-CTN-012",
        kind: "policy_refused",
        title: "What was asked for is not allowed.",
        causes: &["the option would weaken the isolation of the task"],
        actions: &[
            "leave the option out",
            "where the message names an option that allows it, add that deliberately",
        ],
    },
    Advice {
        code: "ACODE-CTN-013",
        kind: "deadline",
        title: "The task did not end in its time and was killed.",
        causes: &["the task hangs", "--timeout is too short"],
        actions: &["raise --timeout", "look at the output so far"],
    },
    Advice {
        code: "ACODE-CTN-014",
        kind: "engine_lost",
        title: "The engine went away, or answered what it should not, during the task.",
        causes: &[
            "the engine was stopped or restarted",
            "it is overloaded",
            "the socket belongs to something else",
        ],
        actions: &[
            "check the engine: `docker info`",
            "what may be left is found by `acode-rt cleanup`",
        ],
    },
    Advice {
        code: "ACODE-CTN-015",
        kind: "configuration_invalid",
        title: "An option or setting is not valid.",
        causes: &["a value is misspelt or out of range"],
        actions: &[
            "see `acode-rt help exec`",
            "check configuration files: `acode-rt config check`",
        ],
    },
    Advice {
        code: "ACODE-CTN-016",
        kind: "name_invalid",
        title: "A session, task or container name is not valid or not one of ours.",
        causes: &[
            "it is empty, too long or has control characters",
            "the container is gone already, or was not made by acode-rt",
        ],
        actions: &["see the names: `acode-rt list`"],
    },
    Advice {
        code: "ACODE-CTN-017",
        kind: "permission_denied",
        title: "This user may not use the engine's socket.",
        causes: &["the user is not in the engine's group"],
        actions: &[
            "add the user: `usermod -aG docker USER`, then log in again",
            "or use a rootless engine: `--host unix://$XDG_RUNTIME_DIR/docker.sock`",
        ],
    },
    Advice {
        code: "ACODE-CTN-018",
        kind: "output_file_failed",
        title: "A file or stream of ours could not be written or read.",
        causes: &[
            "the directory does not exist or is not writable",
            "the disk is full",
        ],
        actions: &["give a path that can be written"],
    },
    Advice {
        code: "ACODE-CTN-019",
        kind: "artifact_failed",
        title: "A file could not be copied in, or a wanted artifact could not be had.",
        causes: &[
            "the task did not write it, or elsewhere: paths are relative to /workspace/src",
            "what is to be copied in is not there, or cannot be read",
        ],
        actions: &[
            "check the path",
            "see what came out: `files` in the receipt of --receipt",
        ],
    },
    Advice {
        code: "ACODE-CTN-020",
        kind: "secret_failed",
        title: "A secret could not be read or handed over.",
        causes: &["its source does not exist"],
        actions: &["check the source"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_in_order_and_advice_is_complete() {
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code.as_str(), format!("ACODE-CTN-{:03}", index + 1));
            let advice = code.advice();
            assert!(!advice.causes.is_empty() && !advice.actions.is_empty());
        }
    }
}
