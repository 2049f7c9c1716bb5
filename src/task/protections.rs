//! What protects a task, and the host from it: each protection, whether it holds, and how to get it. Pure.

use serde::Serialize;

mod host;
mod task;

pub use host::host_protections;

use super::plan::Plan;
use crate::model::Inspect;

/// Whether a protection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// As it should be.
    Held,
    /// There, and less than it could be.
    Weaker,
    /// This engine or host does not have it.
    Missing,
    /// An option of the task took it away.
    SwitchedOff,
}

impl Strength {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Weaker => "weaker",
            Self::Missing => "missing",
            Self::SwitchedOff => "switched off",
        }
    }
}

/// One protection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Protection {
    /// Such as `seccomp`.
    pub name: &'static str,
    /// Whether it holds.
    pub state: Strength,
    /// What it is here, or why it is not there.
    pub why: String,
    /// How to have it, where it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<&'static str>,
}

fn held(name: &'static str, why: impl Into<String>) -> Protection {
    Protection {
        name,
        state: Strength::Held,
        why: why.into(),
        how: None,
    }
}

fn lacking(
    name: &'static str,
    state: Strength,
    why: impl Into<String>,
    how: &'static str,
) -> Protection {
    Protection {
        name,
        state,
        why: why.into(),
        how: Some(how),
    }
}

/// What the engine said of a container that ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Confined {
    apparmor: Option<String>,
    selinux: Option<String>,
}

impl Confined {
    pub(super) fn of(inspect: &Inspect) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| crate::error::shown(text));
        Self {
            apparmor: some(&inspect.apparmor_profile),
            selinux: some(&inspect.process_label),
        }
    }
}

/// The protections that a task ran under, in a [`Receipt`](super::Receipt).
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ProtectionsReceipt {
    /// Whose filter of system calls: `acode-rt`, `engine`, or `none` where that was accepted.
    pub seccomp: &'static str,
    /// Why it was not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp_because: Option<&'static str>,
    /// The `AppArmor` profile that the engine named.
    pub apparmor: Option<String>,
    /// The `SELinux` label that the engine named.
    pub selinux: Option<String>,
    /// User and group.
    pub user: String,
    /// Capabilities that were added to none.
    pub capabilities: Vec<String>,
    /// The network.
    pub network: String,
    /// The root file system was read-only.
    pub read_only: bool,
}

impl ProtectionsReceipt {
    pub(super) fn of(plan: &Plan, confined: Option<&Confined>) -> Self {
        let confined = confined.cloned().unwrap_or_default();
        let host = &plan.body.host_config;
        Self {
            seccomp: plan.filter.name(),
            seccomp_because: plan.filter.because(),
            apparmor: confined.apparmor,
            selinux: confined.selinux,
            user: plan.body.user.clone(),
            capabilities: host.cap_add.clone(),
            network: host.network_mode.clone(),
            read_only: host.readonly_rootfs,
        }
    }
}
