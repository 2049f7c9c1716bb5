//! What the operator of a host admits, whatever a task asks for. A task that asks for more is refused before anything is created.

mod images;
mod mounts;

use std::time::Duration;

pub use images::ImageRules;
pub use mounts::{AllowedSource, MountRules};

use super::limits::Resolved;
use super::spec::{TaskSpec, bare_capability};
use crate::error::{Code, Error, Result, shown};
use crate::protocol::units::{show_cpus, show_size};

/// What may be asked for at all. The default admits everything that the program has; nothing that the program refuses can be admitted here.
#[expect(clippy::struct_excessive_bools, reason = "each is a denial of its own")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// Which images.
    pub images: ImageRules,
    /// Which of the host's directories.
    pub mounts: MountRules,
    /// The most of each limit; a task that asks for nothing gets no more either.
    pub most: Most,
    /// Networks by name; `None` for any.
    pub networks: Option<Vec<String>>,
    /// Capabilities that may be added; `None` for all that the program has.
    pub capabilities: Option<Vec<String>>,
    /// No task runs as root.
    pub deny_root: bool,
    /// No task has a writable root file system.
    pub deny_writable_root: bool,
    /// No container is kept.
    pub deny_keep: bool,
    /// Nothing of the engine's is accepted as ignored.
    pub deny_ignored: bool,
}

/// The most that a task may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Most {
    /// Bytes; of memory and swap together, where a task asks for swap.
    pub memory: Option<u64>,
    /// Billionths of a CPU.
    pub nano_cpus: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// How long a task may run; one that asks for no time-out gets this one.
    pub timeout: Option<Duration>,
}

impl Rules {
    /// Refuses what is not admitted, and fills in what the task left open.
    ///
    /// # Errors
    /// `ACODE-CTN-012`.
    pub(super) fn apply(&self, spec: &mut TaskSpec) -> Result<()> {
        let network_admitted = self
            .networks
            .as_ref()
            .is_none_or(|networks| networks.contains(&spec.network));
        if !network_admitted {
            return Err(refused(&format!("network '{}'", shown(&spec.network))));
        }
        if let Some(admitted) = &self.capabilities {
            let denied = spec.cap_add.iter().find(|name| {
                !admitted
                    .iter()
                    .any(|admitted| bare_capability(admitted) == bare_capability(name))
            });
            if let Some(name) = denied {
                return Err(refused(&format!("capability '{}'", shown(name))));
            }
        }
        for (denied, asked, what) in [
            (
                self.deny_root,
                spec.user.uid == 0 || spec.user.gid == 0,
                "root as user or group",
            ),
            (
                self.deny_writable_root,
                spec.writable_root,
                "a writable root file system",
            ),
            (self.deny_keep, spec.keep, "keeping the container"),
            (
                self.deny_ignored,
                !spec.accept_ignored.is_empty(),
                "going on without a limit or protection",
            ),
        ] {
            if denied && asked {
                return Err(refused(what));
            }
        }
        if let Some(most) = self.most.timeout {
            let timeout = *spec.timeout.get_or_insert(most);
            if timeout > most {
                return Err(too_much(
                    "time-out",
                    &format!("{timeout:?}"),
                    &format!("{most:?}"),
                ));
            }
        }
        self.images.apply(spec)
    }

    /// What was asked for is refused beyond the most, and what was left open is given no more than that.
    ///
    /// # Errors
    /// `ACODE-CTN-012`.
    pub(super) fn limit(&self, spec: &TaskSpec, limits: &mut Resolved) -> Result<()> {
        if let Some(most) = self.most.memory
            && limits.memory > most
        {
            if spec.limits.memory.is_some() {
                return Err(too_much(
                    "memory",
                    &show_size(limits.memory),
                    &show_size(most),
                ));
            }
            limits.memory = most;
            if spec.limits.memory_swap.is_none() {
                limits.memory_swap = most;
            }
            if spec.limits.shm_size.is_none() {
                limits.shm_size = limits.shm_size.min(most / 8);
            }
        }
        if let Some(most) = self.most.memory
            && limits.memory_swap > most
        {
            return Err(too_much(
                "memory and swap",
                &show_size(limits.memory_swap),
                &show_size(most),
            ));
        }
        if let Some(most) = self.most.nano_cpus
            && limits.nano_cpus > most
        {
            if spec.limits.nano_cpus.is_some() {
                return Err(too_much(
                    "CPUs",
                    &show_cpus(limits.nano_cpus),
                    &show_cpus(most),
                ));
            }
            limits.nano_cpus = most;
        }
        if let Some(most) = self.most.pids
            && limits.pids > most
        {
            if spec.limits.pids.is_some() {
                return Err(too_much(
                    "processes",
                    &limits.pids.to_string(),
                    &most.to_string(),
                ));
            }
            limits.pids = most;
        }
        Ok(())
    }
}

fn refused(what: &str) -> Error {
    Error::invalid(
        Code::PolicyRefused,
        "rules",
        format!("{what} is not admitted on this host; its operator says so"),
    )
}

fn too_much(what: &str, asked: &str, most: &str) -> Error {
    refused(&format!("{what} of {asked}, more than {most},"))
}

#[cfg(test)]
mod tests {
    use super::super::limits::{HostCapacity, Limits};
    use super::*;
    use crate::protocol::image_ref::ImageRef;

    fn limited(limits: Limits) -> Result<Resolved> {
        let mut spec = TaskSpec::new("s", "t", ImageRef::parse("busybox").unwrap(), ["true"]);
        spec.limits = limits;
        let rules = Rules {
            most: Most {
                memory: Some(1 << 30),
                nano_cpus: Some(500_000_000),
                pids: Some(50),
                timeout: None,
            },
            ..Rules::default()
        };
        let (mut resolved, _) = spec.limits.resolve(HostCapacity::default())?;
        rules.limit(&spec, &mut resolved).map(|()| resolved)
    }

    #[test]
    fn what_was_left_open_is_lowered_to_the_most() {
        let resolved = limited(Limits::default()).unwrap();
        assert_eq!(
            (
                resolved.memory,
                resolved.memory_swap,
                resolved.nano_cpus,
                resolved.pids
            ),
            (1 << 30, 1 << 30, 500_000_000, 50)
        );
        let less = limited(Limits {
            memory: Some(512 << 20),
            memory_swap: Some(1 << 30),
            pids: Some(10),
            ..Limits::default()
        });
        assert_eq!(less.unwrap().pids, 10);
    }

    #[test]
    fn what_was_asked_for_beyond_the_most_is_refused() {
        for limits in [
            Limits {
                memory: Some(2 << 30),
                ..Limits::default()
            },
            Limits {
                memory: Some(1 << 30),
                memory_swap: Some(2 << 30),
                ..Limits::default()
            },
            Limits {
                memory_swap: Some(8 << 30),
                ..Limits::default()
            },
            Limits {
                nano_cpus: Some(1_000_000_000),
                ..Limits::default()
            },
            Limits {
                pids: Some(51),
                ..Limits::default()
            },
        ] {
            assert_eq!(limited(limits).unwrap_err().code(), Code::PolicyRefused);
        }
    }
}
