//! Resource limits: defaults, what is valid, and what is beyond the host (FR-020A-79 to FR-020A-92).

use serde::Serialize;

use crate::error::{Code, Error, Result};
use crate::model::{ThrottleDevice, Ulimit};
use crate::protocol::units::{parse_size, show_cpus, show_size};

const MIB: u64 = 1 << 20;
/// 4 GiB, where the host has it.
const DEFAULT_MEMORY: u64 = 4096 * MIB;
/// Two CPUs, where the host has them.
const DEFAULT_NANO_CPUS: u64 = 2_000_000_000;
/// Processes and threads.
const DEFAULT_PIDS: u32 = 1000;
/// `/dev/shm`, as the engines have it.
const DEFAULT_SHM: u64 = 64 * MIB;
/// What Docker accepts at least.
const MIN_MEMORY: u64 = 6 * MIB;

const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// What one task may use. What is left open is 4 GiB, 2 CPUs, 64 MiB of shared memory and 1000 processes, or less where the host has
/// less.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory. Default 4 GiB, at least 6 MiB.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together, at least the memory. Default the same as the memory, which is no swap.
    pub memory_swap: Option<u64>,
    /// Billionths of a CPU. Default 2 CPUs, at least 0.01.
    pub nano_cpus: Option<u64>,
    /// `/dev/shm`, bytes; it counts as memory. Default 64 MiB, an eighth of the memory at most.
    pub shm_size: Option<u64>,
    /// Processes and threads. Default 1000.
    pub pids: Option<u32>,
    /// Bytes of a writable root file system; not bounded by default. Needs an engine whose storage has quotas.
    pub disk: Option<u64>,
    /// Bytes per second over the network. Always refused: no engine can do it, and nothing is to be asked for in vain.
    pub network_bandwidth: Option<u64>,
    /// Limits of `setrlimit`, none by default.
    pub ulimits: Vec<Ulimit>,
    /// Relative block-IO weight, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Bytes per second from a device.
    pub device_read_bps: Vec<ThrottleDevice>,
    /// Bytes per second to a device.
    pub device_write_bps: Vec<ThrottleDevice>,
    /// Operations per second from a device.
    pub device_read_iops: Vec<ThrottleDevice>,
    /// Operations per second to a device.
    pub device_write_iops: Vec<ThrottleDevice>,
}

/// What the host has; zero where it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostCapacity {
    /// CPUs that are online.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
}

impl HostCapacity {
    /// What this machine has. The engine is usually on it; where it is not, it refuses what it does not have.
    pub fn of_this_machine() -> Self {
        let cpus = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN)
            .ok()
            .flatten();
        let memory = std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| {
                let kib = text.strip_prefix("MemTotal:")?.split_whitespace().next()?;
                kib.parse::<u64>().ok()?.checked_mul(1024)
            });
        Self {
            cpus: cpus.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            memory: memory.unwrap_or(0),
        }
    }
}

/// Limits with every default filled in, as they are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resolved {
    /// Bytes.
    pub memory: u64,
    /// Bytes, memory and swap together.
    pub memory_swap: u64,
    /// Billionths of a CPU.
    pub nano_cpus: u64,
    /// Bytes.
    pub shm_size: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Bytes of a writable root file system, where that is bounded.
    pub disk: Option<u64>,
}

impl Limits {
    /// Fills in defaults within `host` and checks the rest (FR-020A-84, FR-020A-91). The texts are warnings: what is asked for beyond
    /// the host is sent all the same, and refused by the engine where it refuses such.
    ///
    /// # Errors
    /// `ACODE-CTN-007`.
    pub fn resolve(&self, host: HostCapacity) -> Result<(Resolved, Vec<String>)> {
        let known = |amount: u64| if amount == 0 { u64::MAX } else { amount };
        let mut warnings = Vec::new();
        let memory = self
            .memory
            .unwrap_or(DEFAULT_MEMORY.min(known(host.memory)));
        if memory < MIN_MEMORY {
            return Err(invalid(format!(
                "memory is {}; the engine needs at least 6m",
                show_size(memory)
            )));
        }
        if memory > known(host.memory) {
            warnings.push(format!(
                "memory is limited to {}, but this host has only {}",
                show_size(memory),
                show_size(host.memory / MIB * MIB)
            ));
        }
        let memory_swap = self.memory_swap.unwrap_or(memory);
        if memory_swap < memory {
            return Err(invalid(format!(
                "memory and swap together are {}, less than the memory of {}",
                show_size(memory_swap),
                show_size(memory)
            )));
        }
        let nano_cpus = self
            .nano_cpus
            .unwrap_or(DEFAULT_NANO_CPUS.min(known(host.cpus).saturating_mul(1_000_000_000)));
        if nano_cpus < 10_000_000 {
            return Err(invalid(format!(
                "{} CPUs is too little; the least is 0.01",
                show_cpus(nano_cpus)
            )));
        }
        if nano_cpus > known(host.cpus).saturating_mul(1_000_000_000) {
            warnings.push(format!(
                "{} CPUs are asked for, but this host has {}",
                show_cpus(nano_cpus),
                host.cpus
            ));
        }
        let shm_size = self.shm_size.unwrap_or(DEFAULT_SHM.min(memory / 8));
        if shm_size == 0 {
            return Err(invalid("shared memory cannot be 0".into()));
        }
        if shm_size > memory {
            warnings.push(format!(
                "/dev/shm of {} is more than the memory limit of {}; filling it ends in out-of-memory",
                show_size(shm_size),
                show_size(memory)
            ));
        }
        for (what, size) in [
            ("memory", memory),
            ("memory and swap", memory_swap),
            ("disk", self.disk.unwrap_or_default()),
            ("shared memory", shm_size),
            ("CPUs", nano_cpus),
        ] {
            if i64::try_from(size).is_err() {
                return Err(invalid(format!("{what}: {size} is too large")));
            }
        }
        let pids = self.pids.unwrap_or(DEFAULT_PIDS);
        if pids == 0 {
            return Err(invalid("a task needs at least one process".into()));
        }
        self.check_rest()?;
        Ok((
            Resolved {
                memory,
                memory_swap,
                nano_cpus,
                shm_size,
                pids,
                disk: self.disk,
            },
            warnings,
        ))
    }

    fn check_rest(&self) -> Result<()> {
        if let Some(rate) = self.network_bandwidth {
            return Err(invalid(format!(
                "a network bandwidth of {} cannot be had: neither Docker on Linux nor Podman can limit the bandwidth of a container (Docker's API \
                 has such a limit for Windows alone); leave the network off, as it is by default, or make a network whose bridge is shaped with \
                 `tc` on the host and name it with --network",
                show_size(rate)
            )));
        }
        if self.disk == Some(0) {
            return Err(invalid(
                "a disk of 0 would be no bound to the engines".into(),
            ));
        }
        for ulimit in &self.ulimits {
            check_ulimit(ulimit).map_err(invalid)?;
        }
        if let Some(weight) = self.blkio_weight
            && !(10..=1000).contains(&weight)
        {
            return Err(invalid(format!(
                "block-IO weight is {weight}; it must be 10 to 1000"
            )));
        }
        let throttles = [
            &self.device_read_bps,
            &self.device_write_bps,
            &self.device_read_iops,
            &self.device_write_iops,
        ];
        for device in throttles.into_iter().flatten() {
            check_device(&device.path).map_err(invalid)?;
            if device.rate == 0 {
                return Err(invalid(format!(
                    "the rate of {} is 0, which the engines take for unlimited",
                    device.path
                )));
            }
        }
        Ok(())
    }
}

fn invalid(message: String) -> Error {
    Error::invalid(Code::LimitInvalid, "limits", message)
}

/// Reads `NAME=SOFT[:HARD]`, such as `nofile=1024:2048`; -1 is unlimited.
///
/// # Errors
/// A sentence that says what would be right.
pub fn parse_ulimit(text: &str) -> Result<Ulimit, String> {
    let wrong = || {
        format!(
            "ulimit '{}': write it like nofile=1024 or nofile=1024:2048",
            crate::error::shown(text)
        )
    };
    let (name, values) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |t: &str| t.parse::<i64>().ok().filter(|n| *n >= -1).ok_or_else(wrong);
    let ulimit = Ulimit {
        name: name.to_owned(),
        soft: number(soft)?,
        hard: number(hard)?,
    };
    check_ulimit(&ulimit)?;
    Ok(ulimit)
}

fn check_ulimit(ulimit: &Ulimit) -> Result<(), String> {
    let name = crate::error::shown(&ulimit.name);
    if !ULIMITS.contains(&ulimit.name.as_str()) {
        return Err(format!(
            "ulimit '{name}' is not known; those are {}",
            ULIMITS.join(", ")
        ));
    }
    let above = |n: i64| if n < 0 { i64::MAX } else { n };
    if ulimit.soft < -1 || ulimit.hard < -1 || above(ulimit.soft) > above(ulimit.hard) {
        return Err(format!(
            "ulimit {name}: the soft limit {} is above the hard limit {}",
            ulimit.soft, ulimit.hard
        ));
    }
    Ok(())
}

/// Reads `DEVICE:RATE`, such as `/dev/sda:10m`.
///
/// # Errors
/// A sentence that says what would be right.
pub fn parse_throttle(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = text.rsplit_once(':').ok_or_else(|| {
        format!(
            "'{}': write it like /dev/sda:10m",
            crate::error::shown(text)
        )
    })?;
    check_device(path)?;
    Ok(ThrottleDevice {
        path: path.to_owned(),
        rate: parse_size(rate)?,
    })
}

fn check_device(path: &str) -> Result<(), String> {
    let fine = path.strip_prefix("/dev/").is_some_and(|rest| {
        !rest.is_empty()
            && !path.contains("/../")
            && !path.ends_with("/..")
            && !path.chars().any(char::is_control)
    });
    if fine {
        Ok(())
    } else {
        Err(format!(
            "'{}' is not a device; write it like /dev/sda",
            crate::error::shown(path)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostCapacity = HostCapacity {
        cpus: 4,
        memory: 8 << 30,
    };

    #[test]
    fn fr_020a_84_defaults_are_4g_2_cpus_1000_pids() {
        let (resolved, warnings) = Limits::default().resolve(HOST).unwrap();
        assert_eq!(
            resolved,
            Resolved {
                memory: 4 << 30,
                memory_swap: 4 << 30,
                nano_cpus: 2_000_000_000,
                shm_size: 64 << 20,
                pids: 1000,
                disk: None,
            }
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn defaults_stay_within_a_small_host() {
        let (resolved, warnings) = Limits::default()
            .resolve(HostCapacity {
                cpus: 1,
                memory: 256 << 20,
            })
            .unwrap();
        assert_eq!(
            resolved,
            Resolved {
                memory: 256 << 20,
                memory_swap: 256 << 20,
                nano_cpus: 1_000_000_000,
                shm_size: 32 << 20,
                pids: 1000,
                disk: None,
            }
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn fr_020a_91_beyond_the_host_is_a_warning() {
        let limits = Limits {
            memory: Some(9 << 30),
            nano_cpus: Some(5_000_000_000),
            ..Limits::default()
        };
        let (resolved, warnings) = limits.resolve(HOST).unwrap();
        assert_eq!(
            (resolved.memory, resolved.nano_cpus),
            (9 << 30, 5_000_000_000)
        );
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(
            limits
                .resolve(HostCapacity::default())
                .unwrap()
                .1
                .is_empty(),
            "an unknown host warns of nothing"
        );
    }

    #[test]
    fn fr_020a_91_what_cannot_be_right_is_an_error() {
        let wrong = [
            Limits {
                memory: Some(1000),
                ..Limits::default()
            },
            Limits {
                memory: Some(u64::MAX),
                ..Limits::default()
            },
            Limits {
                nano_cpus: Some(0),
                ..Limits::default()
            },
            Limits {
                pids: Some(0),
                ..Limits::default()
            },
            Limits {
                memory: Some(64 << 20),
                memory_swap: Some(63 << 20),
                ..Limits::default()
            },
            Limits {
                memory_swap: Some(u64::MAX),
                ..Limits::default()
            },
            Limits {
                disk: Some(0),
                ..Limits::default()
            },
            Limits {
                network_bandwidth: Some(1 << 20),
                ..Limits::default()
            },
            Limits {
                shm_size: Some(0),
                ..Limits::default()
            },
            Limits {
                blkio_weight: Some(5),
                ..Limits::default()
            },
            Limits {
                ulimits: vec![Ulimit {
                    name: "nofile".into(),
                    soft: 2,
                    hard: 1,
                }],
                ..Limits::default()
            },
            Limits {
                device_read_bps: vec![ThrottleDevice {
                    path: "/etc/passwd".into(),
                    rate: 1,
                }],
                ..Limits::default()
            },
        ];
        for limits in wrong {
            let error = limits.resolve(HOST).unwrap_err();
            assert_eq!(error.code(), Code::LimitInvalid, "{error}");
        }
    }

    #[test]
    fn ulimits_and_throttles_read() {
        assert_eq!(parse_ulimit("nofile=1024:2048").unwrap().hard, 2048);
        assert_eq!(
            parse_ulimit("core=0").unwrap(),
            Ulimit {
                name: "core".into(),
                soft: 0,
                hard: 0
            }
        );
        assert_eq!(parse_ulimit("memlock=-1").unwrap().soft, -1);
        for wrong in [
            "",
            "nofile",
            "nofile=",
            "nofile=x",
            "nofile=2:1",
            "nofile=-1:5",
            "bogus=1",
            "nofile=-2",
        ] {
            assert!(parse_ulimit(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_throttle("/dev/sda:1m").unwrap().rate, 1 << 20);
        for wrong in [
            "",
            "/dev/sda",
            "/dev/sda:",
            "sda:1m",
            "/dev/:1",
            "/dev/../etc/x:1",
            "/dev/sda:-1",
        ] {
            assert!(parse_throttle(wrong).is_err(), "{wrong}");
        }
    }
}
