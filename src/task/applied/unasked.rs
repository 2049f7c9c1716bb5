//! What was not asked for and must not be there: a way to the host, a weaker profile, a namespace of somebody else's.

use super::{Found, Ignored};
use crate::engine::EngineKind;
use crate::model::HostConfig;

/// Paths of the kernel's that every Docker hides, and those that it makes read-only.
pub(super) const MASKED: [&str; 4] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/sys/firmware",
];
pub(super) const READ_ONLY: [&str; 4] =
    ["/proc/bus", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(super) fn compare(found: &mut Found, ask: &HostConfig, got: &HostConfig, kind: EngineKind) {
    seccomp(found, ask, got);
    let nothing = String::new();
    let weaker = |prefix: &str| {
        let weaker = |option: &&String| {
            option
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix(['=', ':']))
                .is_some_and(|value| matches!(value, "unconfined" | "disable"))
        };
        let options = got.security_opt.iter();
        options
            .filter(weaker)
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    found.unless_same("apparmor", &nothing, &weaker("apparmor"));
    found.unless_same("selinux", &nothing, &weaker("label"));

    let foreign = [
        ("pid", &got.pid_mode),
        ("uts", &got.uts_mode),
        ("user", &got.userns_mode),
    ];
    let foreign = foreign.into_iter().filter(|(_, mode)| {
        *mode == "host" || mode.starts_with("container:") || mode.starts_with("ns:")
    });
    found.unless_same("namespaces", &nothing, &pairs(foreign));

    let devices = [
        ("devices", got.devices.len()),
        ("rules for devices", got.device_cgroup_rules.len()),
    ];
    found.unless_same("devices", &nothing, &counts(&devices));
    let ports = [
        ("ports", got.port_bindings.len()),
        ("all ports", usize::from(got.publish_all_ports)),
    ];
    found.unless_same("ports", &nothing, &counts(&ports));

    let restarts = !matches!(got.restart_policy.name.as_str(), "" | "no");
    // Podman writes every volume there, and those are compared as mounts.
    let binds = match kind {
        EngineKind::Docker => got
            .binds
            .iter()
            .filter(|bind| !ask.binds.contains(bind))
            .count(),
        EngineKind::Podman => 0,
    };
    // Podman shows the engine's there.
    let cgroup_parent = kind == EngineKind::Docker && !got.cgroup_parent.is_empty();
    let access = [
        ("another cgroup", usize::from(cgroup_parent)),
        ("binds", binds),
        ("volumes of others", got.volumes_from.len()),
        ("links", got.links.len()),
        ("groups", got.group_add.len()),
        ("restart policy", usize::from(restarts)),
        ("no OOM killer", usize::from(got.oom_kill_disable)),
        ("lower OOM score", usize::from(got.oom_score_adj < 0)),
    ];
    found.unless_same("host-access", &nothing, &counts(&access));

    if kind == EngineKind::Docker {
        let missing = |wanted: &[&'static str], there: &[String]| {
            let missing = |path: &&&str| !there.iter().any(|there| there == **path);
            wanted.iter().filter(missing).copied().collect::<Vec<_>>()
        };
        let mut open = missing(&MASKED, &got.masked_paths);
        open.extend(missing(&READ_ONLY, &got.readonly_paths));
        let open = open.join(" ");
        if !open.is_empty() {
            found.0.push(Ignored {
                name: "kernel-paths",
                asked: "hidden or read-only".into(),
                applied: format!("open: {open}"),
            });
        }
    }
}

/// A profile is long, so it is said whose it is.
fn seccomp(found: &mut Found, ask: &HostConfig, got: &HostConfig) {
    fn option(host: &HostConfig) -> Option<&str> {
        let mut options = host.security_opt.iter().map(String::as_str);
        options.find(|option| option.starts_with("seccomp"))
    }
    let whose = |this: Option<&str>| match this {
        None => "the engine's",
        Some("seccomp=unconfined" | "seccomp:unconfined") => "none",
        Some(text) if option(ask) == Some(text) => "acode-rt's",
        Some(_) => "another",
    };
    found.unless_same("seccomp", &whose(option(ask)), &whose(option(got)));
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a String)>) -> String {
    let shown: Vec<String> = pairs.map(|(what, mode)| format!("{what}={mode}")).collect();
    shown.join(" ")
}

fn counts(counts: &[(&str, usize)]) -> String {
    let some = counts.iter().filter(|(_, count)| *count > 0);
    let shown: Vec<String> = some
        .map(|(what, count)| format!("{what}: {count}"))
        .collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::super::seccomp::OPTION;
    use super::*;
    use crate::model::{Opaque, RestartPolicy};

    fn asked() -> HostConfig {
        HostConfig {
            security_opt: vec!["no-new-privileges".into(), OPTION.into()],
            ..HostConfig::default()
        }
    }

    fn echoed() -> HostConfig {
        HostConfig {
            masked_paths: MASKED.map(str::to_owned).into(),
            readonly_paths: READ_ONLY.map(str::to_owned).into(),
            ..asked()
        }
    }

    fn found(
        kind: EngineKind,
        change: impl FnOnce(&mut HostConfig),
    ) -> Vec<(&'static str, String)> {
        let mut got = echoed();
        change(&mut got);
        let mut found = Found::default();
        compare(&mut found, &asked(), &got, kind);
        assert!(
            found
                .0
                .iter()
                .all(|ignored| super::super::NAMES.contains(&ignored.name))
        );
        found
            .0
            .into_iter()
            .map(|ignored| (ignored.name, ignored.applied))
            .collect()
    }

    #[test]
    fn nfr_020a_27_another_filter_than_what_was_asked_for_is_found() {
        let docker = EngineKind::Docker;
        assert_eq!(found(docker, |_| {}), []);
        for (option, whose) in [
            (None, "the engine's"),
            (Some("seccomp=unconfined"), "none"),
            (Some("seccomp:unconfined"), "none"),
            (Some("seccomp={}"), "another"),
        ] {
            let applied = found(docker, |host| {
                host.security_opt.truncate(1);
                host.security_opt.extend(option.map(str::to_owned));
            });
            assert_eq!(applied, [("seccomp", whose.to_owned())]);
        }
    }

    #[test]
    fn nothing_that_was_not_asked_for_may_be_there() {
        type Change = fn(&mut HostConfig);
        let changes: [(&str, Change); 21] = [
            ("apparmor", |host| {
                host.security_opt.push("apparmor=unconfined".into());
            }),
            ("apparmor", |host| {
                host.security_opt.push("apparmor:unconfined".into());
            }),
            ("selinux", |host| {
                host.security_opt.push("label=disable".into());
            }),
            ("namespaces", |host| host.pid_mode = "host".into()),
            ("namespaces", |host| host.uts_mode = "host".into()),
            ("namespaces", |host| host.userns_mode = "host".into()),
            ("namespaces", |host| host.pid_mode = "container:x".into()),
            ("devices", |host| host.devices.push(Opaque)),
            ("devices", |host| {
                host.device_cgroup_rules.push("c 1:1 r".into());
            }),
            ("ports", |host| host.publish_all_ports = true),
            ("ports", |host| {
                drop(host.port_bindings.insert("80/tcp".into(), true.into()));
            }),
            ("host-access", |host| host.volumes_from.push("x".into())),
            ("host-access", |host| host.links.push("x".into())),
            ("host-access", |host| host.group_add.push("0".into())),
            ("host-access", |host| {
                host.restart_policy = RestartPolicy {
                    name: "always".into(),
                }
            }),
            ("host-access", |host| host.oom_kill_disable = true),
            ("host-access", |host| host.oom_score_adj = -1000),
            ("host-access", |host| host.binds.push("/:/host".into())),
            ("host-access", |host| host.cgroup_parent = "/".into()),
            ("kernel-paths", |host| host.masked_paths.clear()),
            ("kernel-paths", |host| drop(host.readonly_paths.pop())),
        ];
        for (index, (name, change)) in changes.into_iter().enumerate() {
            let names: Vec<&str> = found(EngineKind::Docker, change)
                .iter()
                .map(|f| f.0)
                .collect();
            assert_eq!(names, [name], "{index}");
        }
        let podmans = |host: &mut HostConfig| {
            (host.pid_mode, host.uts_mode) = ("private".into(), "private".into());
            host.restart_policy = RestartPolicy { name: "no".into() };
            host.masked_paths.clear();
            host.readonly_paths.clear();
            host.binds.push("volume:/data".into());
        };
        assert_eq!(found(EngineKind::Podman, podmans), []);
    }
}
