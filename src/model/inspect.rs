use std::collections::BTreeMap;

use serde::Deserialize;

use super::{HostConfig, null_default};

/// `GET /containers/{id}/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspect {
    /// 64 hex digits.
    pub id: String,
    /// With a leading slash.
    #[serde(default)]
    pub name: String,
    /// The image's id.
    #[serde(default)]
    pub image: String,
    /// When it was created, RFC 3339.
    #[serde(default)]
    pub created: String,
    /// What it is doing.
    pub state: State,
    /// The container's side of its configuration.
    pub config: ContainerConfig,
    /// The host's side of it, as applied.
    #[serde(default)]
    pub host_config: HostConfig,
    /// What is mounted inside beside tmpfs: binds and volumes.
    #[serde(default, deserialize_with = "null_default")]
    pub mounts: Vec<MountPoint>,
    /// Its `AppArmor` profile, once it has started.
    #[serde(rename = "AppArmorProfile", default, deserialize_with = "null_default")]
    pub apparmor_profile: String,
    /// Its `SELinux` label.
    #[serde(default, deserialize_with = "null_default")]
    pub process_label: String,
}

/// A mount, as inspect shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountPoint {
    /// `bind`, `volume` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Path inside.
    pub destination: String,
}

/// `GET /containers/{id}/json` again: what says that somebody keeps a container on purpose.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ties {
    /// 64 hex digits.
    pub id: String,
    /// With a leading slash.
    pub name: String,
    /// The image's id.
    pub image: String,
    /// For its labels.
    pub config: ContainerConfig,
    /// Restart policy, ports and volumes, as they were asked for.
    pub host_config: HostTies,
    /// What is mounted inside.
    #[serde(deserialize_with = "null_default")]
    pub mounts: Vec<TiedMount>,
}

impl Ties {
    /// The name, without its slash.
    pub fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }
}

/// What ties a container to somebody on the host's side.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostTies {
    /// When the engine starts it again.
    #[serde(deserialize_with = "null_default")]
    pub restart_policy: RestartPolicy,
    /// Port inside to ports on the host. Podman leaves it empty where there is no network to publish on.
    #[serde(deserialize_with = "null_default")]
    pub port_bindings: BTreeMap<String, serde_json::Value>,
    /// Every exposed port, on ports of the engine's choice.
    pub publish_all_ports: bool,
    /// `SOURCE:PATH[:OPTIONS]`. Podman writes every volume here, anonymous ones too.
    #[serde(deserialize_with = "null_default")]
    pub binds: Vec<String>,
    /// Containers whose volumes it has as well.
    #[serde(deserialize_with = "null_default")]
    pub volumes_from: Vec<String>,
}

/// When the engine starts a container again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// `no`, `always`, …; empty is `no`.
    pub name: String,
}

/// A mount and whose it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TiedMount {
    /// `bind`, `volume` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The volume's; 64 hex digits where nobody named it.
    pub name: String,
}

/// What a container is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// `created`, `running`, `paused`, `exited`, `dead`; Podman also `stopped`, `initialized`.
    pub status: String,
    /// The main process's, once it has ended; 0 before.
    #[serde(default)]
    pub exit_code: Option<i64>,
    /// Whether the kernel killed something in it for memory.
    #[serde(rename = "OOMKilled", default)]
    pub oom_killed: bool,
    /// The engine's words on a failed start.
    #[serde(default)]
    pub error: String,
    /// RFC 3339; the year 1 where it never started.
    #[serde(default)]
    pub started_at: String,
    /// RFC 3339; the year 1 where it has not ended.
    #[serde(default)]
    pub finished_at: String,
}

impl State {
    /// Whether the main process has ended and its exit code is known. Podman says `stopped` before `exited`, with the
    /// code already there.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "exited" | "stopped" | "dead")
    }
}

/// The container's side of its configuration, as inspect shows it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// As it was asked for.
    pub image: String,
    /// `uid:gid`.
    pub user: String,
    /// Whether it has a terminal; its output is then not multiplexed.
    pub tty: bool,
    /// Labels, with the image's among them.
    #[serde(deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
    /// Docker up to 26.
    #[serde(deserialize_with = "null_default")]
    pub network_disabled: bool,
    /// The command.
    #[serde(deserialize_with = "null_default")]
    pub cmd: Vec<String>,
}

/// One entry of `GET /containers/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    /// 64 hex digits.
    pub id: String,
    /// With leading slashes.
    #[serde(default, deserialize_with = "null_default")]
    pub names: Vec<String>,
    /// As it was asked for.
    #[serde(default)]
    pub image: String,
    /// The image's id.
    #[serde(rename = "ImageID", default)]
    pub image_id: String,
    /// Seconds since 1970.
    #[serde(default)]
    pub created: i64,
    /// As [`State::status`].
    #[serde(default)]
    pub state: String,
    /// For people: `Up 5 seconds`.
    #[serde(default)]
    pub status: String,
    /// Labels, with the image's among them.
    #[serde(default, deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
}

impl Listed {
    /// The first name, without its slash.
    pub fn name(&self) -> &str {
        self.names
            .first()
            .map_or("", |name| name.trim_start_matches('/'))
    }

    /// Whether something may run in it; a state that is not known is taken for that.
    pub fn is_running(&self) -> bool {
        !matches!(
            self.state.as_str(),
            "created" | "exited" | "dead" | "stopped"
        )
    }
}
