//! The wire's types, with only the fields that we use. All sent structures are typed: the engine reads unknown keys in any
//! letter case, so that a free-form map could smuggle an option past a check.

mod create;
mod inspect;
mod stats;
mod storage;
mod system;

pub use create::{
    BindOptions, CreateBody, Created, Healthcheck, HostConfig, LogConfig, Mount, Opaque,
    ThrottleDevice, Ulimit, VolumeOptions,
};
pub use inspect::{
    ContainerConfig, HostTies, Inspect, Listed, MountPoint, RestartPolicy, State, TiedMount, Ties,
};
pub use stats::{
    BlkioEntry, BlkioStats, Change, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
};
pub use storage::{Network, Volume, VolumeList};
pub use system::{Event, EventActor, ImageConfig, ImageInspect, ImageListed, Info, Version};

/// Reads JSON `null` as the type's default, as the engines send it for empty lists and maps.
fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}
