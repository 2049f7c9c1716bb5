use std::collections::BTreeMap;

use serde::Deserialize;

use super::null_default;

/// `GET /containers/{id}/stats`. What an engine or kernel does not count is absent or zero.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// CPU time.
    #[serde(deserialize_with = "null_default")]
    pub cpu_stats: CpuStats,
    /// Memory.
    #[serde(deserialize_with = "null_default")]
    pub memory_stats: MemoryStats,
    /// Processes and threads.
    #[serde(deserialize_with = "null_default")]
    pub pids_stats: PidsStats,
    /// Block devices.
    #[serde(deserialize_with = "null_default")]
    pub blkio_stats: BlkioStats,
    /// Network interfaces by name; absent for a container without a network.
    #[serde(deserialize_with = "null_default")]
    pub networks: BTreeMap<String, NetworkStats>,
}

/// CPU time in [`Stats`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CpuStats {
    /// Used since the container started.
    #[serde(deserialize_with = "null_default")]
    pub cpu_usage: CpuUsage,
}

/// CPU time that was used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CpuUsage {
    /// Nanoseconds.
    pub total_usage: u64,
}

/// Memory in [`Stats`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct MemoryStats {
    /// Bytes now; Docker counts the page cache, Podman leaves out what is not in use.
    pub usage: u64,
    /// Bytes at most; 0 where the engine or the second version of cgroups does not say.
    pub max_usage: u64,
}

/// Processes and threads in [`Stats`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
}

/// Block devices in [`Stats`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BlkioStats {
    /// Bytes, one entry for each device and kind.
    #[serde(deserialize_with = "null_default")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
}

/// Bytes of one device and kind.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BlkioEntry {
    /// `Read`, `Write` and others; lower case with the second version of cgroups.
    pub op: String,
    /// Bytes.
    pub value: u64,
}

/// One network interface in [`Stats`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NetworkStats {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

/// One entry of `GET /containers/{id}/changes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Change {
    /// Absolute path inside.
    pub path: String,
    /// 0 modified, 1 added, 2 deleted.
    pub kind: u8,
}
