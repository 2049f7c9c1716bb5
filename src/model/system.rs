use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::null_default;

/// `GET /images/{name}/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageInspect {
    /// `sha256:…`; Podman leaves the prefix out.
    pub id: String,
    /// Names with a tag.
    #[serde(default, deserialize_with = "null_default")]
    pub repo_tags: Vec<String>,
    /// Names with a digest.
    #[serde(default, deserialize_with = "null_default")]
    pub repo_digests: Vec<String>,
    /// Bytes.
    #[serde(default)]
    pub size: i64,
    /// What a container gets from it.
    #[serde(default, deserialize_with = "null_default")]
    pub config: ImageConfig,
}

/// What a container gets from its image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// ENTRYPOINT.
    #[serde(deserialize_with = "null_default")]
    pub entrypoint: Vec<String>,
    /// CMD.
    #[serde(deserialize_with = "null_default")]
    pub cmd: Vec<String>,
    /// ENV, `KEY=VALUE`.
    #[serde(deserialize_with = "null_default")]
    pub env: Vec<String>,
    /// VOLUME paths; the values say nothing.
    #[serde(deserialize_with = "null_default")]
    pub volumes: BTreeMap<String, serde_json::Value>,
    /// LABEL.
    #[serde(deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
}

/// One entry of `GET /images/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageListed {
    /// `sha256:…`
    pub id: String,
    /// Names with a tag.
    #[serde(default, deserialize_with = "null_default")]
    pub repo_tags: Vec<String>,
    /// Names with a digest.
    #[serde(default, deserialize_with = "null_default")]
    pub repo_digests: Vec<String>,
    /// Seconds since 1970.
    #[serde(default)]
    pub created: i64,
    /// Bytes.
    #[serde(default)]
    pub size: i64,
}

/// `GET /info`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Info {
    /// The host's CPUs.
    #[serde(rename = "NCPU")]
    pub ncpu: u64,
    /// The host's memory, bytes.
    pub mem_total: u64,
    /// Such as `overlay2`.
    pub driver: String,
    /// The engine's version.
    pub server_version: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Such as `name=seccomp,profile=default`.
    #[serde(deserialize_with = "null_default")]
    pub security_options: Vec<String>,
    /// Whether swap can be limited.
    pub swap_limit: bool,
}

/// `GET /version`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Version {
    /// The engine's version.
    pub version: String,
    /// Its newest API.
    pub api_version: String,
    /// Its oldest API.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64`.
    pub arch: String,
    /// The host's kernel.
    pub kernel_version: String,
}

/// One value of the `GET /events` stream.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Event {
    /// `container`, `image`, …
    #[serde(rename = "Type", default)]
    pub kind: String,
    /// `create`, `start`, `die`, `destroy` (Podman: `remove`), …
    #[serde(rename = "Action", default)]
    pub action: String,
    /// What it happened to.
    #[serde(rename = "Actor", default)]
    pub actor: EventActor,
    /// Seconds since 1970, by the engine's clock.
    #[serde(default)]
    pub time: i64,
}

/// What an [`Event`] happened to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EventActor {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name, labels and the like.
    #[serde(deserialize_with = "null_default")]
    pub attributes: BTreeMap<String, String>,
}
