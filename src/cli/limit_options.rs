//! The options of `exec` about what a task may use.

use acode_rt::model::{ThrottleDevice, Ulimit};
use acode_rt::protocol::units::{parse_cpus, parse_size};
use acode_rt::task::{TaskSpec, Tmpfs, parse_throttle, parse_ulimit};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct LimitOptions {
    /// Memory [default: 4g]
    #[arg(long, env = "ACODE_MEMORY", value_name = "SIZE", value_parser = parse_size, help_heading = "Limits")]
    memory: Option<u64>,
    /// Memory and swap together [default: as --memory, so that there is no swap]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Limits")]
    memory_swap: Option<u64>,
    /// CPUs, such as 1.5 [default: 2.0]
    #[arg(long, env = "ACODE_CPUS", value_name = "NUMBER", value_parser = parse_cpus, help_heading = "Limits")]
    cpus: Option<u64>,
    /// Processes and threads [default: 1000]
    #[arg(
        long,
        env = "ACODE_PIDS",
        value_name = "NUMBER",
        help_heading = "Limits"
    )]
    pids: Option<u32>,
    /// A limit of setrlimit, such as nofile=1024:2048
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]", value_parser = parse_ulimit, help_heading = "Limits")]
    ulimits: Vec<Ulimit>,
    /// /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Limits")]
    shm_size: Option<u64>,
    /// A further tmpfs, or another size for /tmp or /workspace
    #[arg(long, value_name = "PATH[:size=SIZE]", value_parser = Tmpfs::parse, help_heading = "Limits")]
    tmpfs: Vec<Tmpfs>,
    /// Bound of a writable root file system, where the engine's storage has quotas
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Limits")]
    disk: Option<u64>,
    /// Network bandwidth, which no engine can limit: refused
    #[arg(long, value_name = "RATE", value_parser = parse_size, help_heading = "Limits")]
    network_bandwidth: Option<u64>,
    /// Relative block-IO weight, 10 to 1000
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    blkio_weight: Option<u16>,
    /// Bytes per second from a device, such as /dev/sda:10m
    #[arg(long, value_name = "DEVICE:RATE", value_parser = parse_throttle, help_heading = "Limits")]
    device_read_bps: Vec<ThrottleDevice>,
    /// Bytes per second to a device
    #[arg(long, value_name = "DEVICE:RATE", value_parser = parse_throttle, help_heading = "Limits")]
    device_write_bps: Vec<ThrottleDevice>,
    /// Operations per second from a device
    #[arg(long, value_name = "DEVICE:RATE", value_parser = parse_throttle, help_heading = "Limits")]
    device_read_iops: Vec<ThrottleDevice>,
    /// Operations per second to a device
    #[arg(long, value_name = "DEVICE:RATE", value_parser = parse_throttle, help_heading = "Limits")]
    device_write_iops: Vec<ThrottleDevice>,
    /// Go on although the engine ignored this limit or protection
    #[arg(long, value_name = "NAME", help_heading = "Limits")]
    accept_ignored: Vec<String>,
}

impl LimitOptions {
    pub(super) fn apply(&self, spec: &mut TaskSpec) {
        spec.limits.memory = self.memory;
        spec.limits.memory_swap = self.memory_swap;
        spec.limits.disk = self.disk;
        spec.limits.network_bandwidth = self.network_bandwidth;
        spec.limits.nano_cpus = self.cpus;
        spec.limits.pids = self.pids;
        spec.limits.ulimits.clone_from(&self.ulimits);
        spec.limits.shm_size = self.shm_size;
        spec.limits.blkio_weight = self.blkio_weight;
        spec.limits
            .device_read_bps
            .clone_from(&self.device_read_bps);
        spec.limits
            .device_write_bps
            .clone_from(&self.device_write_bps);
        spec.limits
            .device_read_iops
            .clone_from(&self.device_read_iops);
        spec.limits
            .device_write_iops
            .clone_from(&self.device_write_iops);
        spec.tmpfs.clone_from(&self.tmpfs);
        spec.accept_ignored.clone_from(&self.accept_ignored);
    }
}
