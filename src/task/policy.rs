//! From what was asked to what is sent: the safe defaults, as one create request. Pure.

use std::collections::BTreeMap;

use super::files::FILES_DIR;
use super::limits::Resolved;
use super::mounts::{CheckedMount, is_within};
use super::secret;
use super::spec::{TaskSpec, WORKSPACE, bare_capability};
use super::tmpfs::clean_inside_path;
use crate::engine::EngineKind;
use crate::error::{Code, Error, Result, shown};
use crate::model::{
    BindOptions, CreateBody, Healthcheck, HostConfig, ImageConfig, LogConfig, Mount, VolumeOptions,
};
use crate::protocol::labels::Labels;
use crate::protocol::order::SECRETS;
use crate::protocol::units::show_size;

/// What of the engine and host decides how a request looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) kind: EngineKind,
    /// Our hosts file, where Docker may skip its network set-up; see `hosts_file`.
    pub(crate) fast_network: Option<&'a str>,
    /// Our own process 1, where it can be placed.
    pub(crate) init: Option<&'a str>,
    /// The caller's mounts.
    pub(crate) mounts: &'a [CheckedMount],
    /// Our filter of system calls, as an option, where the engine takes it.
    pub(crate) our_filter: Option<&'a str>,
}

/// Where our own process 1 is inside.
pub(crate) const INIT_PATH: &str = "/.acode-init";

/// The create request of a task. `image_id` is what the reference named when it was inspected, so that nothing else can be run
/// than what was looked at.
pub(crate) fn create_body(
    spec: &TaskSpec,
    limits: &Resolved,
    image_id: &str,
    image: &ImageConfig,
    labels: Labels,
    around: Surroundings<'_>,
) -> Result<CreateBody> {
    let network_none = spec.network == "none";
    let fast_network = around.fast_network.filter(|_| network_none);
    let process = process(spec, image)?;
    let (entrypoint, cmd, env, open_stdin) = match around.init {
        Some(_) => (
            Some(vec![INIT_PATH.to_owned()]),
            Some(vec![crate::init::INIT.to_owned()]),
            Vec::new(),
            true,
        ),
        None => (
            process.entrypoint,
            process.cmd,
            process.env,
            spec.interactive,
        ),
    };
    let mounts = fast_network
        .map(|source| mount(source, "/etc/hosts"))
        .into_iter()
        .chain(around.init.map(|source| mount(source, INIT_PATH)))
        .chain(spec.has_files().then(files_volume));
    let (relabelled, plain) = if spec.selinux_relabel {
        (around.mounts, &[][..])
    } else {
        (&[][..], around.mounts)
    };
    Ok(CreateBody {
        image: image_id.to_owned(),
        entrypoint,
        cmd,
        env,
        user: format!("{}:{}", spec.user.uid, spec.user.gid),
        working_dir: spec
            .workdir
            .clone()
            .unwrap_or_else(|| spec.directory().into()),
        labels,
        attach_stdin: open_stdin,
        attach_stdout: true,
        attach_stderr: true,
        open_stdin,
        stdin_once: open_stdin,
        tty: false,
        // The image's would run outside of the task's limits, and end it in another way than TERM.
        healthcheck: Some(Healthcheck {
            test: vec!["NONE".into()],
        }),
        stop_signal: Some("SIGTERM".into()),
        network_disabled: fast_network.is_some(),
        host_config: HostConfig {
            network_mode: spec.network.clone(),
            init: around.init.is_none(),
            privileged: false,
            readonly_rootfs: !spec.writable_root,
            cap_drop: vec!["ALL".into()],
            cap_add: spec.cap_add.iter().map(|c| bare_capability(c)).collect(),
            security_opt: security_options(around.our_filter),
            ipc_mode: "private".into(),
            cgroupns_mode: "private".into(),
            memory: signed(limits.memory),
            memory_swap: signed(limits.memory_swap),
            nano_cpus: signed(limits.nano_cpus),
            pids_limit: i64::from(limits.pids),
            shm_size: signed(limits.shm_size),
            tmpfs: tmpfs(spec, limits, image, around)?,
            mounts: mounts.chain(plain.iter().map(callers_mount)).collect(),
            binds: relabelled
                .iter()
                .map(relabelled_bind)
                .collect::<Result<_>>()?,
            storage_opt: limits
                .disk
                .map(|bytes| ("size".to_owned(), bytes.to_string()))
                .into_iter()
                .collect(),
            log_config: spec.log.clone().unwrap_or_else(|| default_log(around.kind)),
            ulimits: spec.limits.ulimits.clone(),
            blkio_weight: spec.limits.blkio_weight.unwrap_or(0),
            blkio_device_read_bps: spec.limits.device_read_bps.clone(),
            blkio_device_write_bps: spec.limits.device_write_bps.clone(),
            blkio_device_read_iops: spec.limits.device_read_iops.clone(),
            blkio_device_write_iops: spec.limits.device_write_iops.clone(),
            ..HostConfig::default()
        },
    })
}

fn security_options(our_filter: Option<&str>) -> Vec<String> {
    std::iter::once("no-new-privileges")
        .chain(our_filter)
        .map(str::to_owned)
        .collect()
}

/// Limits were checked to fit.
fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// The task's process. Our own process 1 is told of it when it runs; the engine's has it in the create request.
pub(crate) struct Process {
    /// As Docker takes it: an empty list would be "the image's", one empty string is "none".
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    /// Entrypoint and command, as they are executed.
    pub(crate) argv: Vec<String>,
    /// `KEY=VALUE`, beside the image's.
    pub(crate) env: Vec<String>,
}

pub(crate) fn process(spec: &TaskSpec, image: &ImageConfig) -> Result<Process> {
    let entrypoint = spec.entrypoint.as_ref().unwrap_or(&image.entrypoint);
    // As with `docker run`, another entrypoint drops the image's CMD.
    let default_cmd = if spec.entrypoint.is_some() {
        &[][..]
    } else {
        &image.cmd
    };
    let cmd = if spec.command.is_empty() {
        default_cmd
    } else {
        &spec.command
    };
    let argv: Vec<String> = entrypoint.iter().chain(cmd).cloned().collect();
    if argv.first().is_none_or(String::is_empty) {
        return Err(Error::invalid(
            Code::Configuration,
            "command",
            "no command was given, and the image has none of its own",
        )
        .on(spec.image.as_str()));
    }
    let home = spec
        .env
        .iter()
        .all(|(key, _)| key != "HOME")
        .then(|| format!("HOME={}", spec.home()));
    let term = (spec.terminal.is_some() && spec.env.iter().all(|(key, _)| key != "TERM"))
        .then(|| "TERM=xterm".to_owned());
    let env = home
        .into_iter()
        .chain(term)
        .chain(spec.env.iter().map(|(key, value)| format!("{key}={value}")));
    Ok(Process {
        entrypoint: spec
            .entrypoint
            .clone()
            .map(|e| if e.is_empty() { vec![String::new()] } else { e }),
        cmd: (!cmd.is_empty()).then(|| cmd.to_vec()),
        argv,
        env: env.collect(),
    })
}

fn mount(source: &str, target: &str) -> Mount {
    Mount {
        kind: "bind".into(),
        source: source.into(),
        target: target.into(),
        read_only: true,
        ..Mount::default()
    }
}

/// An anonymous volume, which is removed with its container. Nothing of the image is copied to it: its tmpfs would hide that too.
fn files_volume() -> Mount {
    Mount {
        kind: "volume".into(),
        target: WORKSPACE.into(),
        volume_options: Some(VolumeOptions { no_copy: true }),
        ..Mount::default()
    }
}

fn callers_mount(checked: &CheckedMount) -> Mount {
    Mount {
        read_only: checked.read_only,
        // What is mounted below may be anything: it was not looked at.
        bind_options: Some(BindOptions {
            non_recursive: true,
        }),
        ..mount(&checked.source, &checked.target)
    }
}

/// `Z`: for this container alone; `z`: for all, as several may read it.
fn relabelled_bind(checked: &CheckedMount) -> Result<String> {
    let (source, target) = (&checked.source, &checked.target);
    if source.contains(':') {
        return Err(Error::invalid(
            Code::Configuration,
            "mounts",
            "a path with ':' cannot be relabelled",
        )
        .on(shown(source)));
    }
    let options = if checked.read_only { "ro,z" } else { "rw,Z" };
    Ok(format!("{source}:{target}:{options}"))
}

fn default_log(kind: EngineKind) -> LogConfig {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    match kind {
        EngineKind::Docker => LogConfig {
            driver: "local".into(),
            // Compressing what is dropped with the container would take the engine more time than writing it.
            config: pairs(&[
                ("max-size", "10m"),
                ("max-file", "3"),
                ("compress", "false"),
            ]),
        },
        EngineKind::Podman => LogConfig {
            driver: "k8s-file".into(),
            config: pairs(&[("max-size", "10m")]),
        },
    }
}

/// `/tmp`, the workspace, the image's volumes and what was asked for, together at most half the memory limit: a full tmpfs
/// should be an error of the task, not its end by out-of-memory. Podman adds an unbounded `/run` and `/var/tmp` to a read-only root
/// and takes no `uid=`.
fn tmpfs(
    spec: &TaskSpec,
    limits: &Resolved,
    image: &ImageConfig,
    around: Surroundings<'_>,
) -> Result<BTreeMap<String, String>> {
    let kind = around.kind;
    let mut sizes: BTreeMap<String, Option<u64>> =
        [("/tmp".into(), None), (WORKSPACE.into(), None)].into();
    for volume in image.volumes.keys() {
        // A volume's path comes from the image: one that is no plain path would be read as options.
        let path = clean_inside_path(volume).map_err(|message| {
            Error::invalid(Code::PolicyRefused, "image volumes", message).on(spec.image.as_str())
        })?;
        sizes.insert(path, None);
    }
    if spec.has_files() {
        sizes.remove(WORKSPACE);
        if sizes.contains_key(FILES_DIR) {
            return Err(Error::invalid(
                Code::PolicyRefused,
                "image volumes",
                format!("the image has a volume at {FILES_DIR}, which would hide the files that are copied in and out"),
            )
            .on(spec.image.as_str()));
        }
    }
    if kind == EngineKind::Podman && !spec.writable_root {
        sizes.entry("/run".into()).or_insert(None);
        sizes.entry("/var/tmp".into()).or_insert(None);
    }
    sizes.extend(
        spec.tmpfs
            .iter()
            .map(|tmpfs| (tmpfs.path.clone(), tmpfs.size)),
    );
    for mount in around.mounts {
        sizes.remove(&mount.target);
        if let Some(inner) = sizes.keys().find(|path| is_within(path, &mount.target)) {
            return Err(Error::invalid(
                Code::PolicyRefused,
                "mounts",
                format!(
                    "the image wants a volume at {inner}, inside the mount at {}: the engine would make a directory of root's in it",
                    mount.target
                ),
            )
            .on(spec.image.as_str()));
        }
    }
    let secrets = secret::tmpfs_size(&spec.secrets);
    if secrets > 0 {
        sizes.insert(SECRETS.into(), Some(secrets));
    }

    let budget = limits.memory / 2;
    let asked = sizes
        .values()
        .flatten()
        .try_fold(limits.shm_size.min(budget), |sum, size| {
            sum.checked_add(*size)
        });
    let unsized_count = sizes.values().filter(|size| size.is_none()).count() as u64;
    let left = asked
        .and_then(|asked| budget.checked_sub(asked))
        .filter(|left| *left >= unsized_count * 4096);
    let Some(left) = left else {
        return Err(Error::invalid(
            Code::LimitInvalid,
            "tmpfs",
            format!(
                "the tmpfs mounts and /dev/shm together are more than half the memory limit of {}; ask for less, or for more memory",
                show_size(limits.memory)
            ),
        ));
    };
    let share = left.checked_div(unsized_count).unwrap_or(0) / 4096 * 4096;
    Ok(sizes
        .into_iter()
        .map(|(path, size)| {
            let size = size.unwrap_or(share);
            let access = match kind {
                EngineKind::Docker if path == WORKSPACE || path == SECRETS => {
                    format!("uid={},gid={},mode=0700", spec.user.uid, spec.user.gid)
                }
                _ => "mode=1777".into(),
            };
            (path, format!("rw,nosuid,nodev,exec,size={size},{access}"))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::super::seccomp;
    use super::*;
    use crate::protocol::image_ref::ImageRef;
    use crate::task::Tmpfs;

    const LIMITS: Resolved = Resolved {
        memory: 4 << 30,
        memory_swap: 4 << 30,
        nano_cpus: 2_000_000_000,
        shm_size: 64 << 20,
        pids: 1000,
        disk: None,
    };
    const DOCKER: Surroundings<'static> = Surroundings {
        kind: EngineKind::Docker,
        fast_network: Some("/run/acode-rt/hosts"),
        init: None,
        mounts: &[],
        our_filter: Some(seccomp::OPTION),
    };

    fn spec() -> TaskSpec {
        TaskSpec::new("s", "t", ImageRef::parse("busybox").unwrap(), ["true"])
    }

    fn body(spec: &TaskSpec, image: &ImageConfig, around: Surroundings<'_>) -> Result<CreateBody> {
        create_body(spec, &LIMITS, "sha256:1", image, Labels::new(), around)
    }

    #[test]
    fn nfr_020a_21_to_27_the_defaults_are_locked_down() {
        let body = body(&spec(), &ImageConfig::default(), DOCKER).unwrap();
        let host = &body.host_config;
        assert_eq!(body.user, "1000:1000");
        assert!(body.network_disabled && host.network_mode == "none");
        assert!(host.readonly_rootfs && !host.privileged && host.init);
        assert_eq!(
            (host.cap_drop.as_slice(), host.cap_add.len()),
            (&["ALL".to_owned()][..], 0)
        );
        assert_eq!(host.security_opt, ["no-new-privileges", seccomp::OPTION]);
        assert_eq!(
            (host.ipc_mode.as_str(), host.cgroupns_mode.as_str()),
            ("private", "private")
        );
        assert_eq!((host.memory, host.memory_swap), (4 << 30, 4 << 30));
        assert!(!body.open_stdin && !body.attach_stdin);
        assert_eq!(host.mounts.len(), 1);
        assert!(host.mounts[0].read_only);
    }

    #[test]
    fn the_fast_network_is_only_for_none_and_where_there_is_a_hosts_file() {
        let plain = Surroundings {
            fast_network: None,
            ..DOCKER
        };
        let body_of =
            |spec: &TaskSpec, around| body(spec, &ImageConfig::default(), around).unwrap();
        assert!(!body_of(&spec(), plain).network_disabled);
        let bridged = body_of(
            &TaskSpec {
                network: "bridge".into(),
                ..spec()
            },
            DOCKER,
        );
        assert!(!bridged.network_disabled && bridged.host_config.mounts.is_empty());
        assert!(
            !serde_json::to_string(&bridged)
                .unwrap()
                .contains("NetworkDisabled")
        );
    }

    #[test]
    fn tmpfs_together_take_at_most_half_the_memory() {
        let image = ImageConfig {
            volumes: ["/data", "/home/", "//data"]
                .map(|path| (path.to_owned(), serde_json::Value::Null))
                .into(),
            ..ImageConfig::default()
        };
        for kind in [EngineKind::Docker, EngineKind::Podman] {
            let around = Surroundings { kind, ..DOCKER };
            let spec = TaskSpec {
                tmpfs: vec![Tmpfs {
                    path: "/x".into(),
                    size: Some(1 << 20),
                }],
                ..spec()
            };
            let mounts = tmpfs(&spec, &LIMITS, &image, around).unwrap();
            let size = |options: &String| {
                options
                    .split(',')
                    .find_map(|o| o.strip_prefix("size=")?.parse::<u64>().ok())
                    .unwrap()
            };
            let total: u64 = mounts.values().map(size).sum::<u64>() + LIMITS.shm_size;
            assert!(
                total <= LIMITS.memory / 2 && total > LIMITS.memory / 2 - (1 << 20),
                "{total}"
            );
            assert_eq!(size(&mounts["/x"]), 1 << 20);
            assert!(
                mounts.contains_key("/data") && mounts.contains_key("/home"),
                "{mounts:?}"
            );
            assert_eq!(mounts.contains_key("/var/tmp"), kind == EngineKind::Podman);
            assert_eq!(
                mounts[WORKSPACE].contains("uid="),
                kind == EngineKind::Docker
            );
        }
        let greedy = TaskSpec {
            tmpfs: vec![Tmpfs {
                path: "/x".into(),
                size: Some(3 << 30),
            }],
            ..spec()
        };
        assert_eq!(
            tmpfs(&greedy, &LIMITS, &image, DOCKER).unwrap_err().code(),
            Code::LimitInvalid
        );
        let absurd = TaskSpec {
            tmpfs: vec![Tmpfs {
                path: "/x".into(),
                size: Some(u64::MAX),
            }],
            ..spec()
        };
        assert!(tmpfs(&absurd, &LIMITS, &image, DOCKER).is_err());
    }

    #[test]
    fn fr_020a_74_files_go_through_an_anonymous_volume_and_only_where_they_are_asked_for() {
        let mut spec = spec();
        let plain = body(&spec, &ImageConfig::default(), DOCKER).unwrap();
        assert!(plain.host_config.tmpfs.contains_key(WORKSPACE));
        assert_eq!(
            (plain.host_config.mounts.len(), plain.working_dir.as_str()),
            (1, WORKSPACE)
        );
        spec.files.artifacts = vec![crate::task::ArtifactRequest::parse("out").unwrap()];
        let volume = |path: &str| ImageConfig {
            volumes: [(path.to_owned(), serde_json::Value::Null)].into(),
            ..ImageConfig::default()
        };
        let files = body(&spec, &volume(WORKSPACE), DOCKER).unwrap();
        assert!(!files.host_config.tmpfs.contains_key(WORKSPACE));
        assert_eq!(files.working_dir, FILES_DIR);
        assert_eq!(files.env, ["HOME=/workspace/src"]);
        assert_eq!(
            serde_json::to_value(&files.host_config.mounts[1]).unwrap(),
            serde_json::json!({ "Type": "volume", "Target": "/workspace", "ReadOnly": false, "VolumeOptions": { "NoCopy": true } })
        );
        let share = |body: &CreateBody| body.host_config.tmpfs["/tmp"].clone();
        assert_ne!(share(&files), share(&plain), "the volume takes no memory");
        let hiding = body(&spec, &volume(FILES_DIR), DOCKER).unwrap_err();
        assert_eq!(hiding.code(), Code::PolicyRefused);
    }

    #[test]
    fn an_images_volume_cannot_smuggle_mount_options() {
        let image = ImageConfig {
            volumes: [("/data:size=1,exec".to_owned(), serde_json::Value::Null)].into(),
            ..ImageConfig::default()
        };
        assert_eq!(
            body(&spec(), &image, DOCKER).unwrap_err().code(),
            Code::PolicyRefused
        );
    }

    #[test]
    fn entrypoint_and_command_apply_as_in_docker_run() {
        let image = ImageConfig {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["default".into()],
            ..ImageConfig::default()
        };
        let sent = |spec: TaskSpec, image: &ImageConfig| {
            let body = body(&spec, image, DOCKER).unwrap();
            (body.entrypoint, body.cmd.unwrap_or_default())
        };
        assert_eq!(sent(spec(), &image), (None, vec!["true".to_owned()]));
        assert_eq!(
            sent(
                TaskSpec {
                    command: vec![],
                    ..spec()
                },
                &image
            ),
            (None, vec!["default".to_owned()])
        );
        let other = TaskSpec {
            entrypoint: Some(vec!["sh".into()]),
            command: vec![],
            ..spec()
        };
        assert_eq!(sent(other, &image), (Some(vec!["sh".to_owned()]), vec![]));
        let off = TaskSpec {
            entrypoint: Some(vec![]),
            ..spec()
        };
        assert_eq!(
            sent(off, &image),
            (Some(vec![String::new()]), vec!["true".to_owned()])
        );
        let nothing = TaskSpec {
            command: vec![],
            ..spec()
        };
        assert_eq!(
            body(&nothing, &ImageConfig::default(), DOCKER)
                .unwrap_err()
                .code(),
            Code::Configuration
        );
    }

    #[test]
    fn home_is_the_workspace_unless_said() {
        let env = |env: &[(&str, &str)]| {
            let env = env
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            body(&TaskSpec { env, ..spec() }, &ImageConfig::default(), DOCKER)
                .unwrap()
                .env
        };
        assert_eq!(env(&[("A", "b=c")]), ["HOME=/workspace", "A=b=c"]);
        assert_eq!(env(&[("HOME", "/x")]), ["HOME=/x"]);
    }
}
