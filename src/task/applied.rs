//! Asked against applied: an engine that cannot apply a limit or protection often drops it with a warning, or without. What
//! was dropped is an error unless its absence is accepted by name. Pure.

use crate::engine::EngineKind;
use crate::model::{CreateBody, HostConfig, Inspect};
use super::spec::bare_capability;

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
pub const NAMES: [&str; 22] = [
    "memory", "memory-swap", "cpus", "pids", "shm-size", "ulimits", "blkio-weight", "device-read-bps", "device-write-bps",
    "device-read-iops", "device-write-iops", "read-only", "tmpfs", "capabilities", "no-new-privileges", "privileged", "network",
    "ipc", "cgroupns", "user", "init", "log",
];

/// What of `asked` the engine did not apply.
pub(crate) fn compare(asked: &CreateBody, inspect: &Inspect, kind: EngineKind) -> Vec<Ignored> {
    let (ask, got) = (&asked.host_config, &inspect.host_config);
    let mut found = Vec::new();
    let mut check = |name: &'static str, same: bool, asked: String, applied: String| {
        if !same {
            found.push(Ignored { name, asked, applied });
        }
    };
    let mut number = |name, asked: i64, applied: i64| {
        check(name, asked == applied, asked.to_string(), applied.to_string());
    };
    number("memory", ask.memory, got.memory);
    number("memory-swap", ask.memory_swap, got.memory_swap);
    number("cpus", ask.nano_cpus, got.nano_cpus);
    number("pids", ask.pids_limit, got.pids_limit);
    number("shm-size", ask.shm_size, got.shm_size);
    number("blkio-weight", i64::from(ask.blkio_weight), i64::from(got.blkio_weight));

    let mut list = |name, asked: Vec<String>, applied: Vec<String>| {
        check(name, asked == applied, asked.join(" "), applied.join(" "));
    };
    let devices = |list: &[crate::model::ThrottleDevice]| {
        list.iter().map(|device| format!("{}:{}", device.path, device.rate)).collect::<Vec<_>>()
    };
    list("device-read-bps", devices(&ask.blkio_device_read_bps), devices(&got.blkio_device_read_bps));
    list("device-write-bps", devices(&ask.blkio_device_write_bps), devices(&got.blkio_device_write_bps));
    list("device-read-iops", devices(&ask.blkio_device_read_iops), devices(&got.blkio_device_read_iops));
    list("device-write-iops", devices(&ask.blkio_device_write_iops), devices(&got.blkio_device_write_iops));
    let (asked_ulimits, applied_ulimits) = ulimits(ask, got);
    list("ulimits", asked_ulimits, applied_ulimits);

    let shown = |on: bool| on.to_string();
    check("read-only", ask.readonly_rootfs == got.readonly_rootfs, shown(ask.readonly_rootfs), shown(got.readonly_rootfs));
    check("privileged", !got.privileged, "false".into(), shown(got.privileged));
    check("init", ask.init == got.init, shown(ask.init), shown(got.init));
    let no_new = |host: &HostConfig| {
        host.security_opt.iter().any(|o| matches!(o.as_str(), "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true"))
    };
    check("no-new-privileges", no_new(got), "true".into(), got.security_opt.join(" "));
    check("network", ask.network_mode == got.network_mode, ask.network_mode.clone(), got.network_mode.clone());
    check("ipc", ask.ipc_mode == got.ipc_mode, ask.ipc_mode.clone(), got.ipc_mode.clone());
    check(
        "cgroupns",
        // Podman shows its default, which is private, as nothing.
        ask.cgroupns_mode == got.cgroupns_mode || (kind == EngineKind::Podman && got.cgroupns_mode.is_empty()),
        ask.cgroupns_mode.clone(),
        got.cgroupns_mode.clone(),
    );
    check("user", asked.user == inspect.config.user, asked.user.clone(), inspect.config.user.clone());
    let (log_asked, log_applied) = (&ask.log_config.driver, &got.log_config.driver);
    // Podman's one file format has two names.
    let same_log = log_asked == log_applied || (log_asked == "k8s-file" && log_applied == "json-file");
    check("log", same_log, log_asked.clone(), log_applied.clone());
    check("capabilities", capabilities_hold(ask, got, kind), capabilities(ask), capabilities(got));
    let (tmpfs_asked, tmpfs_applied) = tmpfs(ask, got);
    check("tmpfs", tmpfs_asked == tmpfs_applied, tmpfs_asked, tmpfs_applied);
    found
}

/// Podman calls `nofile` `RLIMIT_NOFILE` and adds its defaults; only what was asked for is looked at.
fn ulimits(ask: &HostConfig, got: &HostConfig) -> (Vec<String>, Vec<String>) {
    let bare = |name: &str| {
        let lower = name.to_ascii_lowercase();
        lower.strip_prefix("rlimit_").map_or(lower.clone(), str::to_owned)
    };
    let show = |host: &HostConfig| {
        let mut lines: Vec<String> = host
            .ulimits
            .iter()
            .filter(|u| ask.ulimits.iter().any(|a| a.name == bare(&u.name)))
            .map(|u| format!("{}={}:{}", bare(&u.name), u.soft, u.hard))
            .collect();
        lines.sort();
        lines
    };
    (show(ask), show(got))
}

fn capabilities(host: &HostConfig) -> String {
    let all = |list: &[String]| list.iter().map(|c| bare_capability(c)).collect::<Vec<_>>().join(" ");
    format!("drop {}; add {}", all(&host.cap_drop), all(&host.cap_add))
}

/// Docker echoes; Podman shows how it differs from what it would otherwise have given, which is all that may be added.
fn capabilities_hold(ask: &HostConfig, got: &HostConfig, kind: EngineKind) -> bool {
    let sorted = |list: &[String]| {
        let mut bare: Vec<String> = list.iter().map(|c| bare_capability(c)).collect();
        bare.sort();
        bare
    };
    let (asked, added, dropped) = (sorted(&ask.cap_add), sorted(&got.cap_add), sorted(&got.cap_drop));
    if kind == EngineKind::Docker || dropped == ["ALL"] {
        return dropped == ["ALL"] && asked == added;
    }
    let given = |capability: &String| !dropped.contains(capability);
    let rest = ["CHOWN", "SETUID", "SETGID", "DAC_OVERRIDE", "KILL"].map(str::to_owned);
    asked.iter().all(given)
        && added.iter().all(|capability| asked.contains(capability))
        && rest.iter().all(|capability| asked.contains(capability) || !given(capability))
}

/// Podman appends options of its own; each of ours must be there.
fn tmpfs(ask: &HostConfig, got: &HostConfig) -> (String, String) {
    let show = |path: &str, options: &str| format!("{path}:{options}");
    let (mut asked, mut applied) = (Vec::new(), Vec::new());
    for (path, options) in &ask.tmpfs {
        let there = got.tmpfs.get(path).map_or("", String::as_str);
        let holds = options.split(',').all(|option| there.split(',').any(|o| o == option));
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
    use crate::model::{ContainerConfig, Ulimit};

    fn asked() -> CreateBody {
        CreateBody {
            user: "1000:1000".into(),
            host_config: HostConfig {
                memory: 1 << 30,
                memory_swap: 1 << 30,
                cap_drop: vec!["ALL".into()],
                security_opt: vec!["no-new-privileges".into()],
                tmpfs: [("/tmp".to_owned(), "rw,size=1".to_owned())].into(),
                ulimits: vec![Ulimit { name: "nofile".into(), soft: 1, hard: 2 }],
                ..HostConfig::default()
            },
            ..CreateBody::default()
        }
    }

    fn inspect(change: impl FnOnce(&mut HostConfig)) -> Inspect {
        let mut host_config = asked().host_config;
        change(&mut host_config);
        Inspect {
            host_config,
            config: ContainerConfig { user: "1000:1000".into(), ..ContainerConfig::default() },
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
        assert_eq!(names(&inspect(|host| host.memory_swap = -1), docker), ["memory-swap"]);
        assert_eq!(names(&inspect(|host| host.privileged = true), docker), ["privileged"]);
        assert_eq!(names(&inspect(|host| host.security_opt.clear()), docker), ["no-new-privileges"]);
        assert_eq!(names(&inspect(|host| host.cap_drop.clear()), docker), ["capabilities"]);
        assert_eq!(names(&inspect(|host| host.cap_add.push("SYS_ADMIN".into())), docker), ["capabilities"]);
        assert_eq!(names(&inspect(|host| host.tmpfs.clear()), docker), ["tmpfs"]);
        assert_eq!(names(&inspect(|host| host.ulimits.clear()), docker), ["ulimits"]);
        assert_eq!(names(&Inspect { config: ContainerConfig::default(), ..inspect(|_| {}) }, docker), ["user"]);
    }

    #[test]
    fn podmans_ways_of_saying_the_same_are_the_same() {
        let same = inspect(|host| {
            host.cap_drop =
                ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"].map(str::to_owned).into();
            host.tmpfs.insert("/tmp".into(), "rw,size=1,rprivate,nosuid".into());
            host.ulimits = vec![
                Ulimit { name: "RLIMIT_NOFILE".into(), soft: 1, hard: 2 },
                Ulimit { name: "RLIMIT_NPROC".into(), soft: 5, hard: 5 },
            ];
        });
        assert!(names(&same, EngineKind::Podman).is_empty());
        let mut added = asked();
        added.host_config.cap_add = vec!["CHOWN".into()];
        assert_eq!(compare(&added, &same, EngineKind::Podman)[0].name, "capabilities", "it was not added");
        let mut given = same.clone();
        given.host_config.cap_drop.retain(|capability| capability != "CAP_CHOWN");
        assert!(compare(&added, &given, EngineKind::Podman).is_empty());
        assert_eq!(names(&given, EngineKind::Podman), ["capabilities"], "nobody asked for it");
        assert_eq!(names(&same, EngineKind::Docker), ["capabilities"]);
    }
}
