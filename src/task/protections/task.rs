use super::host::{beside_the_filter, engines, operators, ours_for};
use super::{Protection, Strength, held, lacking};
use crate::engine::EngineKind;
use crate::error::shown;
use crate::model::Info;
use crate::protocol::security::{Host, Seccomp};
use crate::protocol::units::{show_cpus, show_size};
use crate::task::disk::unbounded_disk;
use crate::task::mounts::CheckedMount;
use crate::task::plan::Plan;
use crate::task::seccomp::Filter;

impl Plan {
    /// What will protect the host from this task, on an engine that says `info` of itself.
    pub fn protections(&self, kind: EngineKind, info: &Info) -> Vec<Protection> {
        let mut found = vec![filter(self.filter, kind, info)];
        found.extend([
            held("no new privileges", "set-user-id programs change nothing"),
            self.capabilities(),
            self.user(),
            self.root(),
            self.network(),
            held("namespaces", "PID, IPC, UTS, mount and network of its own"),
            held("host's devices", "none"),
            self.hosts_files(),
            self.disk(),
        ]);
        found.extend(self.bounds());
        found.extend([self.process_1(), self.removal(), self.applied()]);
        found.extend(beside_the_filter(kind, info));
        found
    }

    fn capabilities(&self) -> Protection {
        match &self.body.host_config.cap_add[..] {
            [] => held("capabilities", "none"),
            some => lacking(
                "capabilities",
                Strength::Weaker,
                some.join(" "),
                "leave --cap-add out",
            ),
        }
    }

    fn user(&self) -> Protection {
        match self.spec.user.uid {
            0 => lacking(
                "user",
                Strength::SwitchedOff,
                "the task is root inside",
                "leave --user and --allow-root out",
            ),
            _ => held("user", self.body.user.as_str()),
        }
    }

    fn root(&self) -> Protection {
        let name = "root file system";
        if self.body.host_config.readonly_rootfs {
            return held(name, "read-only");
        }
        lacking(
            name,
            Strength::SwitchedOff,
            "writable",
            "leave --writable-root out",
        )
    }

    fn hosts_files(&self) -> Protection {
        let name = "host's files";
        let shown = |mount: &CheckedMount| {
            let how = if mount.read_only { "" } else { " (writable)" };
            format!("{}{how}", shown(&mount.source))
        };
        let mounted: Vec<String> = self.mounts.iter().map(shown).collect();
        if mounted.is_empty() {
            return held(name, "none");
        }
        lacking(
            name,
            Strength::Weaker,
            mounted.join(", "),
            "copies, by --copy-in and --artifact",
        )
    }

    fn disk(&self) -> Protection {
        match unbounded_disk(&self.spec) {
            None => held("disk", "all that the task can write is bounded"),
            Some(why) => lacking(
                "disk",
                Strength::Weaker,
                why,
                "--require-disk-bound refuses it",
            ),
        }
    }

    fn network(&self) -> Protection {
        match self.body.host_config.network_mode.as_str() {
            "none" => held("network", "a loopback interface only"),
            other => lacking(
                "network",
                Strength::SwitchedOff,
                format!("{}, and what can be reached by it", shown(other)),
                "--network none",
            ),
        }
    }

    fn bounds(&self) -> [Protection; 4] {
        let limits = &self.limits;
        let swap = match limits.memory_swap.saturating_sub(limits.memory) {
            0 => "without swap".to_owned(),
            swap => format!("and {} of swap", show_size(swap)),
        };
        let memory = format!(
            "{} {swap}, /dev/shm {}",
            show_size(limits.memory),
            show_size(limits.shm_size)
        );
        [
            held("memory", memory),
            held("processors", show_cpus(limits.nano_cpus)),
            held("processes", limits.pids.to_string()),
            match self.spec.timeout {
                Some(timeout) => held("time", format!("{timeout:?}")),
                None => lacking(
                    "time",
                    Strength::Weaker,
                    "the task may run as long as its client lives",
                    "--timeout",
                ),
            },
        ]
    }

    fn process_1(&self) -> Protection {
        match self.engine_init() {
            None => held(
                "process 1",
                "acode-rt, which ends the task when its client dies",
            ),
            Some(why) => lacking(
                "process 1",
                Strength::Weaker,
                format!("the engine's: {why}"),
                "a static acode-rt that the engine sees",
            ),
        }
    }

    fn removal(&self) -> Protection {
        if self.spec.keep {
            return lacking(
                "removal",
                Strength::SwitchedOff,
                "the container stays",
                "leave --keep out",
            );
        }
        held("removal", "with its volumes, and confirmed")
    }

    fn applied(&self) -> Protection {
        let name = "asked and applied";
        if self.spec.accept_ignored.is_empty() {
            return held(
                name,
                "what the engine does not apply is an error before the task starts",
            );
        }
        lacking(
            name,
            Strength::Weaker,
            format!(
                "the engine may ignore {}",
                self.spec.accept_ignored.join(", ")
            ),
            "leave --accept-ignored out",
        )
    }
}

fn filter(filter: Filter, kind: EngineKind, info: &Info) -> Protection {
    let host = Host::of(&info.security_options);
    match (filter, host.seccomp) {
        // Ours is sent whatever the engine's own is, unless the kernel has no filters at all.
        (Filter::Ours, Seccomp::Custom(own)) => ours_for(own),
        (Filter::Ours, Seccomp::Builtin | Seccomp::None) => held(
            "seccomp",
            "acode-rt's filter: no virtual sockets, no crypto sockets, no 32-bit calls",
        ),
        (Filter::Engines(_), Seccomp::Custom(own)) => operators(own),
        (Filter::Engines(why), Seccomp::Builtin) => engines(why, kind),
        (Filter::Missing, _) | (Filter::Engines(_), Seccomp::None) => lacking(
            "seccomp",
            Strength::Missing,
            "the engine says that it filters nothing",
            "an engine and a kernel with seccomp",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_filter_a_task_has_is_said() {
        use EngineKind::{Docker, Podman};
        let asked = Filter::Engines("the engine's was asked for");
        let builtin = "name=seccomp,profile=builtin";
        let custom = "name=seccomp,profile=/etc/own.json";
        for (which, kind, option, expected) in [
            (Filter::Ours, Docker, builtin, Strength::Held),
            (Filter::Ours, Docker, "", Strength::Held),
            (Filter::Ours, Docker, custom, Strength::Weaker),
            (asked, Docker, builtin, Strength::Weaker),
            (asked, Docker, custom, Strength::Held),
            (asked, Podman, builtin, Strength::Weaker),
            (asked, Podman, "", Strength::Missing),
            (Filter::Missing, Docker, "", Strength::Missing),
        ] {
            let info = Info {
                security_options: vec![option.into()],
                ..Info::default()
            };
            let found = filter(which, kind, &info);
            assert_eq!(found.state, expected, "{which:?} {kind:?} {option}");
            assert_eq!(found.how.is_none(), expected == Strength::Held);
        }
    }
}
