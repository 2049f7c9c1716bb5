use super::{Protection, Strength, held, lacking};
use crate::engine::EngineKind;
use crate::error::shown;
use crate::model::Info;
use crate::protocol::security::{Host, Seccomp};

/// What protects every task on an engine that says `info` of itself, and that takes our filter of system calls or does not.
pub fn host_protections(
    kind: EngineKind,
    info: &Info,
    our_filter: Result<(), &'static str>,
) -> Vec<Protection> {
    let host = Host::of(&info.security_options);
    let mut found = vec![seccomp(kind, &host, our_filter)];
    found.extend(beside_the_filter(kind, info));
    found
}

pub(super) fn beside_the_filter(kind: EngineKind, info: &Info) -> [Protection; 4] {
    let host = Host::of(&info.security_options);
    [
        security_module(&host),
        user_ids(&host),
        cgroup(kind, &info.cgroup_version),
        swap(info.swap_limit),
    ]
}

fn seccomp(kind: EngineKind, host: &Host<'_>, our_filter: Result<(), &'static str>) -> Protection {
    let name = "seccomp";
    match (our_filter, host.seccomp) {
        (_, Seccomp::None) => lacking(
            name,
            Strength::Missing,
            "the engine does not say that it filters system calls",
            "an engine and a kernel with seccomp",
        ),
        (Ok(()), Seccomp::Builtin) => held(name, "tasks get acode-rt's filter of system calls"),
        (Ok(()), Seccomp::Custom(own)) => ours_for(own),
        (Err(why), Seccomp::Builtin) => engines(why, kind),
        (Err(_), Seccomp::Custom(own)) => operators(own),
    }
}

/// Our filter where the operator has one, which may be stricter.
pub(super) fn ours_for(own: &str) -> Protection {
    lacking(
        "seccomp",
        Strength::Weaker,
        format!(
            "acode-rt's filter takes the place of the operator's {}",
            shown(own)
        ),
        "--seccomp engine, if that one is stricter",
    )
}

pub(super) fn operators(own: &str) -> Protection {
    held("seccomp", format!("the operator's filter, {}", shown(own)))
}

pub(super) fn engines(why: &str, kind: EngineKind) -> Protection {
    lacking(
        "seccomp",
        Strength::Weaker,
        format!(
            "the engine's filter, which may let virtual sockets, user namespaces and 32-bit calls pass: {why}"
        ),
        match kind {
            EngineKind::Docker => "--seccomp own, on an engine that takes it",
            EngineKind::Podman => {
                "seccomp_profile in containers.conf, with acode-rt's profile as a file"
            }
        },
    )
}

fn security_module(host: &Host<'_>) -> Protection {
    let name = "security module";
    match (host.apparmor, host.selinux) {
        (true, true) => held(name, "AppArmor and SELinux"),
        (true, false) => held(name, "AppArmor, with the engine's profile"),
        (false, true) => held(name, "SELinux"),
        (false, false) => lacking(
            name,
            Strength::Missing,
            "neither AppArmor nor SELinux",
            "a kernel with one of them, switched on in the engine",
        ),
    }
}

fn user_ids(host: &Host<'_>) -> Protection {
    let name = "user ids";
    match (host.rootless, host.userns) {
        (true, _) => held(name, "the engine is not root"),
        (_, true) => held(name, "root in a container is somebody else on the host"),
        _ => lacking(
            name,
            Strength::Weaker,
            "ids in a container are the host's; tasks do not run as root",
            "a rootless engine, or userns-remap",
        ),
    }
}

fn cgroup(kind: EngineKind, version: &str) -> Protection {
    let name = "cgroup";
    let how = "a host with cgroup version 2";
    match (kind, version) {
        (_, "") => lacking(name, Strength::Weaker, "unknown version", how),
        (EngineKind::Podman, "1") => lacking(
            name,
            Strength::Weaker,
            "version 1, on which Podman gives no cgroup namespace",
            how,
        ),
        (_, version) => held(name, format!("version {}", shown(version))),
    }
}

fn swap(limited: bool) -> Protection {
    if limited {
        held("swap limit", "a memory limit holds for swap too")
    } else {
        lacking(
            "swap limit",
            Strength::Missing,
            "swap cannot be limited: a memory limit does not hold where there is swap",
            "swapaccount=1 on the kernel's command line, or cgroup version 2",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::EngineKind::{Docker, Podman};
    use super::*;

    fn state(kind: EngineKind, options: &[&str], name: &str) -> Strength {
        let info = Info {
            security_options: options.iter().map(|o| (*o).to_owned()).collect(),
            cgroup_version: "1".into(),
            ..Info::default()
        };
        let ours = match kind {
            Docker => Ok(()),
            Podman => Err("x"),
        };
        let found = host_protections(kind, &info, ours);
        for protection in &found {
            let has_way = protection.how.is_some();
            assert_eq!(
                has_way,
                protection.state != Strength::Held,
                "{protection:?}"
            );
        }
        found.into_iter().find(|p| p.name == name).unwrap().state
    }

    #[test]
    fn what_a_host_lacks_is_said() {
        let builtin = "name=seccomp,profile=builtin";
        for (kind, options, name, expected) in [
            (Docker, &[builtin][..], "seccomp", Strength::Held),
            (Podman, &[builtin], "seccomp", Strength::Weaker),
            (
                Docker,
                &["name=seccomp,profile=/x"],
                "seccomp",
                Strength::Weaker,
            ),
            (
                Podman,
                &["name=seccomp,profile=/x"],
                "seccomp",
                Strength::Held,
            ),
            (Docker, &[], "seccomp", Strength::Missing),
            (
                Docker,
                &["name=seccomp,profile=unconfined"],
                "seccomp",
                Strength::Missing,
            ),
            (Docker, &[], "security module", Strength::Missing),
            (
                Docker,
                &["name=apparmor"],
                "security module",
                Strength::Held,
            ),
            (Podman, &["name=selinux"], "security module", Strength::Held),
            (Docker, &[], "user ids", Strength::Weaker),
            (Docker, &["name=userns"], "user ids", Strength::Held),
            (Podman, &["name=rootless"], "user ids", Strength::Held),
            (Docker, &[], "cgroup", Strength::Held),
            (Podman, &[], "cgroup", Strength::Weaker),
            (Docker, &[], "swap limit", Strength::Missing),
        ] {
            assert_eq!(
                state(kind, options, name),
                expected,
                "{kind:?} {options:?} {name}"
            );
        }
    }
}
