//! The filter of system calls that tasks get where the engine takes one: data, see `seccomp/README.md`.

use std::borrow::Cow;

use super::hosts_file;
use crate::engine::{Engine, EngineKind};

const PROFILE: &str = include_str!("seccomp/profile.json");

/// The option of Docker's create request.
pub(super) const OPTION: &str = concat!("seccomp=", include_str!("seccomp/profile.json"));

/// The option of the create request, or why there is none. Podman reads a file, which has to be of its own root directory.
pub(super) fn option(engine: &Engine) -> Result<Cow<'static, str>, &'static str> {
    engine.takes_our_filter()?;
    match engine.kind() {
        EngineKind::Docker => Ok(Cow::Borrowed(OPTION)),
        EngineKind::Podman => hosts_file::ensure_file("seccomp.json", PROFILE)
            .map(|path| Cow::Owned(format!("seccomp={path}")))
            .ok_or("there is no place for our file of it"),
    }
}

/// Which filter a task has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    /// Ours.
    Ours,
    /// The engine's own, and why.
    Engines(&'static str),
    /// The engine says that it has none, and ours it did not take.
    Missing,
}

impl Filter {
    /// As the receipt says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "acode-rt",
            Self::Engines(_) => "engine",
            Self::Missing => "none",
        }
    }

    /// Why it is not ours.
    pub(super) fn because(self) -> Option<&'static str> {
        match self {
            Self::Ours => None,
            Self::Engines(why) => Some(why),
            Self::Missing => Some("it was not ours, and the engine says that it has none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn profile() -> Value {
        assert_eq!(OPTION.strip_prefix("seccomp="), Some(PROFILE));
        serde_json::from_str(PROFILE).unwrap()
    }

    fn rules(call: &str) -> Vec<Value> {
        let profile = profile();
        let has = |rule: &&Value| {
            let names = rule["names"].as_array().unwrap();
            names.iter().any(|name| name == call)
        };
        let rules = profile["syscalls"].as_array().unwrap();
        rules.iter().filter(has).cloned().collect()
    }

    /// As the kernel's filter judges it: one of the rules has to hold for the whole register.
    fn may_open(family: u64) -> bool {
        rules("socket").iter().any(|rule| {
            let argument = &rule["args"][0];
            assert_eq!(
                (&argument["index"], &rule["action"]),
                (&0.into(), &"SCMP_ACT_ALLOW".into())
            );
            let value = argument["value"].as_u64().unwrap();
            match argument["op"].as_str().unwrap() {
                "SCMP_CMP_LT" => family < value,
                "SCMP_CMP_EQ" => family == value,
                other => panic!("{other} lets values with an upper half pass"),
            }
        })
    }

    #[test]
    fn nfr_020a_27_no_family_of_sockets_reaches_the_hypervisor_or_the_kernels_crypto() {
        let refused: Vec<u64> = (0..46).filter(|family| !may_open(*family)).collect();
        assert_eq!(refused, [38, 40]);
        for family in 0..46 {
            assert!(!may_open(1 << 32 | family), "{family} with an upper half");
        }
        assert!(!may_open(u64::MAX));
    }

    #[test]
    fn no_architecture_has_a_second_interface() {
        let profile = profile();
        let architectures = profile["archMap"].as_array().unwrap();
        assert!(architectures.len() > 1);
        for architecture in architectures {
            assert_eq!(architecture["subArchitectures"], serde_json::json!([]));
        }
        let [rule] = &rules("socketcall")[..] else {
            panic!("one rule for socketcall");
        };
        assert_eq!(
            (&rule["action"], &rule["errnoRet"]),
            (&"SCMP_ACT_ERRNO".into(), &38.into())
        );
    }

    #[test]
    fn what_is_not_named_is_refused_and_no_way_out_is_named() {
        assert_eq!(profile()["defaultAction"], "SCMP_ACT_ERRNO");
        for call in [
            "mount",
            "umount2",
            "pivot_root",
            "setns",
            "unshare",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "io_uring_setup",
            "keyctl",
            "add_key",
            "open_by_handle_at",
            "init_module",
            "kexec_load",
            "reboot",
            "chroot",
            "settimeofday",
            "syslog",
            "iopl",
        ] {
            assert!(rules(call).is_empty(), "{call}");
        }
        let clone = rules("clone");
        assert!(
            clone
                .iter()
                .all(|rule| rule["args"][0]["value"] == 0x7E02_0000_u64),
            "{clone:?}"
        );
    }
}
