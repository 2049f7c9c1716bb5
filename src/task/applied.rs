//! Asked against applied: an engine that cannot apply a limit or protection often drops it with a warning, or without. What
//! was dropped is an error unless its absence is accepted by name. Pure.

mod unasked;

use super::spec::bare_capability;
use crate::engine::EngineKind;
use crate::model::{CreateBody, HostConfig, Inspect, ThrottleDevice};

/// Something that was asked for and not applied.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ignored {
    /// The name that `accept_ignored` takes, such as `memory-swap`.
    pub name: &'static str,
    /// What was asked for.
    pub asked: String,
    /// What the engine says it applied.
    pub applied: String,
}

/// Every name that can stand in [`Ignored::name`].
pub const NAMES: [&str; 32] = [
    "memory",
    "memory-swap",
    "cpus",
    "pids",
    "shm-size",
    "disk",
    "ulimits",
    "blkio-weight",
    "device-read-bps",
    "device-write-bps",
    "device-read-iops",
    "device-write-iops",
    "read-only",
    "tmpfs",
    "capabilities",
    "no-new-privileges",
    "privileged",
    "network",
    "ipc",
    "cgroupns",
    "user",
    "init",
    "log",
    "mounts",
    "seccomp",
    "apparmor",
    "selinux",
    "namespaces",
    "devices",
    "ports",
    "host-access",
    "kernel-paths",
];

impl Ignored {
    /// No filter of system calls, where not even the engine has one.
    pub(super) fn filter() -> Self {
        Self {
            name: "seccomp",
            asked: "a filter of system calls".into(),
            applied: "none".into(),
        }
    }
}

/// The capabilities of a Podman container that neither drops nor adds any.
const PODMAN_GIVES: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// What of `asked` the engine did not apply.
pub(crate) fn compare(asked: &CreateBody, inspect: &Inspect, kind: EngineKind) -> Vec<Ignored> {
    let (ask, got) = (&asked.host_config, &inspect.host_config);
    let mut found = Found::default();
    found.unless_same("memory", &ask.memory, &got.memory);
    found.unless_same("memory-swap", &ask.memory_swap, &got.memory_swap);
    found.unless_same("cpus", &ask.nano_cpus, &got.nano_cpus);
    found.unless_same("pids", &ask.pids_limit, &got.pids_limit);
    found.unless_same("shm-size", &ask.shm_size, &got.shm_size);
    found.unless_same("disk", &disk(ask), &disk(got));
    found.unless_same("blkio-weight", &ask.blkio_weight, &got.blkio_weight);
    for (name, asked, applied) in [
        (
            "device-read-bps",
            &ask.blkio_device_read_bps,
            &got.blkio_device_read_bps,
        ),
        (
            "device-write-bps",
            &ask.blkio_device_write_bps,
            &got.blkio_device_write_bps,
        ),
        (
            "device-read-iops",
            &ask.blkio_device_read_iops,
            &got.blkio_device_read_iops,
        ),
        (
            "device-write-iops",
            &ask.blkio_device_write_iops,
            &got.blkio_device_write_iops,
        ),
    ] {
        found.unless_same(name, &devices(asked), &devices(applied));
    }
    found.unless_same("ulimits", &ulimits(ask, ask), &ulimits(ask, got));
    found.unless_same("read-only", &ask.readonly_rootfs, &got.readonly_rootfs);
    found.unless_same("privileged", &false, &got.privileged);
    found.unless_same("init", &ask.init, &got.init);
    found.unless_same(
        "no-new-privileges",
        &no_new_privileges(ask),
        &no_new_privileges(got),
    );
    found.unless_same("network", &ask.network_mode, &got.network_mode);
    found.unless_same("ipc", &ask.ipc_mode, &got.ipc_mode);
    // Podman shows its default, which is private, as nothing.
    if kind == EngineKind::Docker || !got.cgroupns_mode.is_empty() {
        found.unless_same("cgroupns", &ask.cgroupns_mode, &got.cgroupns_mode);
    }
    found.unless_same("user", &asked.user, &inspect.config.user);
    found.unless_same("log", &log_driver(ask), &log_driver(got));
    if !capabilities_hold(ask, got, kind) {
        found.0.push(Ignored {
            name: "capabilities",
            asked: capabilities(ask),
            applied: capabilities(got),
        });
    }
    found.unless_same("mounts", &String::new(), &strange_mounts(ask, inspect));
    found.unless_same("mounts", &missing_volumes(ask, inspect), &String::new());
    let (asked, applied) = tmpfs(ask, got);
    found.unless_same("tmpfs", &asked, &applied);
    unasked::compare(&mut found, ask, got, kind);
    found.0
}

/// What is mounted and was not asked for. An image's volume below a tmpfs of ours is hidden by it.
fn strange_mounts(ask: &HostConfig, inspect: &Inspect) -> String {
    let asked = |path: &String| {
        ask.tmpfs.contains_key(path)
            || ask.mounts.iter().any(|mount| mount.target == *path)
            || ask
                .binds
                .iter()
                .any(|bind| bind.split(':').nth(1) == Some(path))
    };
    let strange = inspect
        .mounts
        .iter()
        .filter(|mount| mount.kind != "tmpfs" && !asked(&mount.destination));
    strange
        .map(|mount| format!("{} at {}", mount.kind, mount.destination))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Volumes that are not there: what the task writes there would be lost.
fn missing_volumes(ask: &HostConfig, inspect: &Inspect) -> String {
    let there = |path: &String| {
        let mut mounts = inspect.mounts.iter();
        mounts.any(|mount| mount.kind == "volume" && mount.destination == *path)
    };
    let missing = ask
        .mounts
        .iter()
        .filter(|mount| mount.kind == "volume" && !there(&mount.target));
    missing
        .map(|mount| format!("volume at {}", mount.target))
        .collect::<Vec<_>>()
        .join(", ")
}

#[derive(Default)]
struct Found(Vec<Ignored>);

impl Found {
    fn unless_same<T: PartialEq + std::fmt::Display>(
        &mut self,
        name: &'static str,
        asked: &T,
        applied: &T,
    ) {
        if asked != applied {
            self.0.push(Ignored {
                name,
                asked: asked.to_string(),
                applied: applied.to_string(),
            });
        }
    }
}

fn devices(list: &[ThrottleDevice]) -> String {
    let shown: Vec<String> = list
        .iter()
        .map(|device| format!("{}:{}", device.path, device.rate))
        .collect();
    shown.join(" ")
}

/// Podman does not show it: where its storage has quotas too, that it holds is not known, and has to be accepted by name.
fn disk(host: &HostConfig) -> &str {
    host.storage_opt.get("size").map_or("", String::as_str)
}

fn no_new_privileges(host: &HostConfig) -> bool {
    host.security_opt.iter().any(|option| {
        matches!(
            option.as_str(),
            "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true"
        )
    })
}

/// Podman's one file format has two names.
fn log_driver(host: &HostConfig) -> &str {
    match host.log_config.driver.as_str() {
        "k8s-file" => "json-file",
        driver => driver,
    }
}

/// Podman calls `nofile` `RLIMIT_NOFILE` and adds its defaults; only what was asked for is looked at.
fn ulimits(ask: &HostConfig, host: &HostConfig) -> String {
    let bare = |name: &str| {
        let lower = name.to_ascii_lowercase();
        lower
            .strip_prefix("rlimit_")
            .map_or(lower.clone(), str::to_owned)
    };
    let mut lines: Vec<String> = host
        .ulimits
        .iter()
        .filter(|ulimit| {
            ask.ulimits
                .iter()
                .any(|asked| asked.name == bare(&ulimit.name))
        })
        .map(|ulimit| format!("{}={}:{}", bare(&ulimit.name), ulimit.soft, ulimit.hard))
        .collect();
    lines.sort();
    lines.join(" ")
}

fn capabilities(host: &HostConfig) -> String {
    let all = |list: &[String]| {
        list.iter()
            .map(|c| bare_capability(c))
            .collect::<Vec<_>>()
            .join(" ")
    };
    format!("drop {}; add {}", all(&host.cap_drop), all(&host.cap_add))
}

/// Docker echoes; Podman shows how it differs from what it would otherwise have given, which is all that may be added.
fn capabilities_hold(ask: &HostConfig, got: &HostConfig, kind: EngineKind) -> bool {
    let sorted = |list: &[String]| {
        let mut bare: Vec<String> = list.iter().map(|c| bare_capability(c)).collect();
        bare.sort();
        bare
    };
    let (asked, added, dropped) = (
        sorted(&ask.cap_add),
        sorted(&got.cap_add),
        sorted(&got.cap_drop),
    );
    if kind == EngineKind::Docker || dropped == ["ALL"] {
        return dropped == ["ALL"] && asked == added;
    }
    let given = |capability: &String| !dropped.contains(capability);
    let rest = PODMAN_GIVES.map(str::to_owned);
    asked.iter().all(given)
        && added.iter().all(|capability| asked.contains(capability))
        && rest
            .iter()
            .all(|capability| asked.contains(capability) || !given(capability))
}

/// Podman appends options of its own; each of ours must be there.
fn tmpfs(ask: &HostConfig, got: &HostConfig) -> (String, String) {
    let show = |path: &str, options: &str| format!("{path}:{options}");
    let (mut asked, mut applied) = (Vec::new(), Vec::new());
    for (path, options) in &ask.tmpfs {
        let there = got.tmpfs.get(path).map_or("", String::as_str);
        let holds = options
            .split(',')
            .all(|option| there.split(',').any(|o| o == option));
        if !holds {
            asked.push(show(path, options));
            applied.push(show(path, there));
        }
    }
    (asked.join(" "), applied.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContainerConfig, Mount, MountPoint, Ulimit};

    fn asked() -> CreateBody {
        CreateBody {
            user: "1000:1000".into(),
            host_config: HostConfig {
                memory: 1 << 30,
                memory_swap: 1 << 30,
                cap_drop: vec!["ALL".into()],
                security_opt: vec!["no-new-privileges".into()],
                tmpfs: [("/tmp".to_owned(), "rw,size=1".to_owned())].into(),
                storage_opt: [("size".to_owned(), "1000".to_owned())].into(),
                ulimits: vec![Ulimit {
                    name: "nofile".into(),
                    soft: 1,
                    hard: 2,
                }],
                ..HostConfig::default()
            },
            ..CreateBody::default()
        }
    }

    fn inspect(change: impl FnOnce(&mut HostConfig)) -> Inspect {
        let mut host_config = asked().host_config;
        host_config.masked_paths = unasked::MASKED.map(str::to_owned).into();
        host_config.readonly_paths = unasked::READ_ONLY.map(str::to_owned).into();
        change(&mut host_config);
        Inspect {
            host_config,
            config: ContainerConfig {
                user: "1000:1000".into(),
                ..ContainerConfig::default()
            },
            ..Inspect::default()
        }
    }

    fn names(inspect: &Inspect, kind: EngineKind) -> Vec<&'static str> {
        let found = compare(&asked(), inspect, kind);
        assert!(found.iter().all(|ignored| NAMES.contains(&ignored.name)));
        found.iter().map(|ignored| ignored.name).collect()
    }

    #[test]
    fn fr_020a_85_what_an_engine_dropped_is_found() {
        let docker = EngineKind::Docker;
        assert!(names(&inspect(|_| {}), docker).is_empty());
        assert_eq!(
            names(&inspect(|host| host.memory_swap = -1), docker),
            ["memory-swap"]
        );
        assert_eq!(
            names(&inspect(|host| host.privileged = true), docker),
            ["privileged"]
        );
        assert_eq!(
            names(&inspect(|host| host.security_opt.clear()), docker),
            ["no-new-privileges"]
        );
        assert_eq!(
            names(&inspect(|host| host.cap_drop.clear()), docker),
            ["capabilities"]
        );
        assert_eq!(
            names(
                &inspect(|host| host.cap_add.push("SYS_ADMIN".into())),
                docker
            ),
            ["capabilities"]
        );
        assert_eq!(
            names(&inspect(|host| host.tmpfs.clear()), docker),
            ["tmpfs"]
        );
        assert_eq!(
            names(&inspect(|host| host.storage_opt.clear()), docker),
            ["disk"]
        );
        assert_eq!(
            names(&inspect(|host| host.ulimits.clear()), docker),
            ["ulimits"]
        );
        assert_eq!(
            names(
                &Inspect {
                    config: ContainerConfig::default(),
                    ..inspect(|_| {})
                },
                docker
            ),
            ["user"]
        );
    }

    #[test]
    fn a_volume_that_is_not_there_is_found() {
        let mut asked = asked();
        asked.host_config.mounts = vec![Mount {
            kind: "volume".into(),
            target: "/workspace".into(),
            ..Mount::default()
        }];
        let mut inspect = inspect(|_| {});
        assert_eq!(
            compare(&asked, &inspect, EngineKind::Podman)[0].name,
            "mounts"
        );
        inspect.mounts = vec![MountPoint {
            kind: "volume".into(),
            destination: "/workspace".into(),
        }];
        assert!(compare(&asked, &inspect, EngineKind::Docker).is_empty());
    }

    #[test]
    fn podmans_ways_of_saying_the_same_are_the_same() {
        let same = inspect(|host| {
            host.cap_drop = PODMAN_GIVES.map(|name| format!("CAP_{name}")).into();
            host.tmpfs
                .insert("/tmp".into(), "rw,size=1,rprivate,nosuid".into());
            host.ulimits = vec![
                Ulimit {
                    name: "RLIMIT_NOFILE".into(),
                    soft: 1,
                    hard: 2,
                },
                Ulimit {
                    name: "RLIMIT_NPROC".into(),
                    soft: 5,
                    hard: 5,
                },
            ];
        });
        assert!(names(&same, EngineKind::Podman).is_empty());
        let mut added = asked();
        added.host_config.cap_add = vec!["CHOWN".into()];
        assert_eq!(
            compare(&added, &same, EngineKind::Podman)[0].name,
            "capabilities",
            "it was not added"
        );
        let mut given = same.clone();
        given
            .host_config
            .cap_drop
            .retain(|capability| capability != "CAP_CHOWN");
        assert!(compare(&added, &given, EngineKind::Podman).is_empty());
        assert_eq!(
            names(&given, EngineKind::Podman),
            ["capabilities"],
            "nobody asked for it"
        );
        assert_eq!(names(&same, EngineKind::Docker), ["capabilities"]);
    }
}
