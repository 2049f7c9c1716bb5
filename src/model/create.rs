use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RestartPolicy, null_default};

/// The body of `POST /containers/create`.
#[expect(clippy::struct_excessive_bools, reason = "they are the wire's")]
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateBody {
    /// Image reference or id.
    pub image: String,
    /// Replaces the image's ENTRYPOINT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's CMD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// `KEY=VALUE` pairs.
    pub env: Vec<String>,
    /// `uid:gid`.
    pub user: String,
    /// Absolute path inside.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether to attach to standard input.
    pub attach_stdin: bool,
    /// Whether to attach to standard output.
    pub attach_stdout: bool,
    /// Whether to attach to standard error.
    pub attach_stderr: bool,
    /// Whether standard input is open at all.
    pub open_stdin: bool,
    /// Whether it ends with the first client that was attached to it.
    pub stdin_once: bool,
    /// Whether the container has a terminal; its output is then not multiplexed.
    pub tty: bool,
    /// What the engine runs inside from time to time; replaces the image's HEALTHCHECK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// What `stop` sends; replaces the image's STOPSIGNAL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Docker up to 26: no network, without the engine's network set-up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub network_disabled: bool,
    /// Everything about the host's side.
    pub host_config: HostConfig,
}

/// A health check of the engine's; `["NONE"]` switches the image's off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// The command.
    pub test: Vec<String>,
}

/// The host's side of a container, sent in create and shown by inspect.
#[expect(clippy::struct_excessive_bools, reason = "they are the wire's")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// `none`, `bridge` or a network's name.
    pub network_mode: String,
    /// Run the engine's small init as process 1.
    #[serde(deserialize_with = "null_default")]
    pub init: bool,
    /// Never sent as true.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// Mount the root file system read-only.
    pub readonly_rootfs: bool,
    /// Capabilities to drop.
    #[serde(deserialize_with = "null_default")]
    pub cap_drop: Vec<String>,
    /// Capabilities to add.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cap_add: Vec<String>,
    /// `no-new-privileges` and the like.
    #[serde(deserialize_with = "null_default")]
    pub security_opt: Vec<String>,
    /// `private`.
    pub ipc_mode: String,
    /// `private`.
    pub cgroupns_mode: String,
    /// Bytes.
    pub memory: i64,
    /// Memory and swap together, bytes.
    pub memory_swap: i64,
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    /// Processes and threads; Docker shows unlimited as null.
    #[serde(deserialize_with = "null_default")]
    pub pids_limit: i64,
    /// `/dev/shm`, bytes.
    pub shm_size: i64,
    /// Path inside to mount options.
    #[serde(deserialize_with = "null_default")]
    pub tmpfs: BTreeMap<String, String>,
    /// Binds in the old form `SOURCE:TARGET:OPTIONS`, which alone can ask for another SELinux label.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub binds: Vec<String>,
    /// How the root file system is stored; `size` in bytes bounds it.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub storage_opt: BTreeMap<String, String>,
    /// Binds.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub mounts: Vec<Mount>,
    /// Where the engine keeps the task's output.
    pub log_config: LogConfig,
    /// Resource limits of `setrlimit`.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ulimits: Vec<Ulimit>,
    /// Relative block-IO weight, 10 to 1000; 0 is unset.
    #[serde(skip_serializing_if = "is_zero")]
    pub blkio_weight: u16,
    /// Bytes per second.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub blkio_device_read_bps: Vec<ThrottleDevice>,
    /// Bytes per second.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub blkio_device_write_bps: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(
        rename = "BlkioDeviceReadIOps",
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub blkio_device_read_iops: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(
        rename = "BlkioDeviceWriteIOps",
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub blkio_device_write_iops: Vec<ThrottleDevice>,
    /// `private`, or empty. Shown by inspect and never sent, as all that follows.
    #[serde(skip_serializing)]
    pub pid_mode: String,
    /// `private`, or empty.
    #[serde(rename = "UTSMode", skip_serializing)]
    pub uts_mode: String,
    /// Empty where the engine's way holds.
    #[serde(skip_serializing)]
    pub userns_mode: String,
    /// The cgroup above it, where it is not the engine's.
    #[serde(skip_serializing)]
    pub cgroup_parent: String,
    /// The host's devices.
    #[serde(deserialize_with = "null_default", skip_serializing)]
    pub devices: Vec<Opaque>,
    /// Devices that may be used beyond those.
    #[serde(deserialize_with = "null_default", skip_serializing)]
    pub device_cgroup_rules: Vec<String>,
    /// Containers whose volumes it has as well.
    #[serde(deserialize_with = "null_default", skip_serializing)]
    pub volumes_from: Vec<String>,
    /// Containers that it knows by name.
    #[serde(deserialize_with = "null_default", skip_serializing)]
    pub links: Vec<String>,
    /// Further groups.
    #[serde(deserialize_with = "null_default", skip_serializing)]
    pub group_add: Vec<String>,
    /// Ports inside to ports on the host.
    #[serde(deserialize_with = "null_default", skip_serializing)]
    pub port_bindings: BTreeMap<String, serde_json::Value>,
    /// Every exposed port is published.
    #[serde(skip_serializing)]
    pub publish_all_ports: bool,
    /// When the engine starts it again.
    #[serde(deserialize_with = "null_default", skip_serializing)]
    pub restart_policy: RestartPolicy,
    /// A memory limit kills nothing.
    #[serde(deserialize_with = "null_default", skip_serializing)]
    pub oom_kill_disable: bool,
    /// How soon the kernel kills it for memory; less is later.
    #[serde(skip_serializing)]
    pub oom_score_adj: i64,
    /// Paths of the kernel's that are hidden. Podman does not show them.
    #[serde(deserialize_with = "null_default", skip_serializing)]
    pub masked_paths: Vec<String>,
    /// Paths of the kernel's that are read-only. Podman does not show them.
    #[serde(deserialize_with = "null_default", skip_serializing)]
    pub readonly_paths: Vec<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(weight: &u16) -> bool {
    *weight == 0
}

/// Something of which only the presence matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Opaque;

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// One bind mount, or a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    /// `bind` or `volume`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Path on the host; empty for a volume without a name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Path inside.
    pub target: String,
    /// Not writable inside.
    pub read_only: bool,
    /// What only binds have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    /// What only volumes have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
}

/// How a bind is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BindOptions {
    /// Without what is mounted below the source. API 1.40.
    pub non_recursive: bool,
}

/// How a volume is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeOptions {
    /// What the image has at its place is not copied to it.
    pub no_copy: bool,
}

/// The engine's log of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// `local`, `json-file`, `none`, …
    #[serde(rename = "Type")]
    pub driver: String,
    /// The driver's options.
    #[serde(deserialize_with = "null_default")]
    pub config: BTreeMap<String, String>,
}

/// One `setrlimit` limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ulimit {
    /// Such as `nofile`.
    pub name: String,
    /// Soft limit; -1 is unlimited.
    pub soft: i64,
    /// Hard limit; -1 is unlimited.
    pub hard: i64,
}

/// A rate on a block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ThrottleDevice {
    /// Such as `/dev/sda`.
    pub path: String,
    /// Bytes or operations per second.
    pub rate: u64,
}

/// The answer to create.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Created {
    /// 64 hex digits.
    pub id: String,
    /// What the engine did not apply, in its words.
    #[serde(default, deserialize_with = "null_default")]
    pub warnings: Vec<String>,
}
