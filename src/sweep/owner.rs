//! Whether the process that made a container still lives. Anything that cannot be read is unknown, never gone.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use serde::Serialize;

use crate::protocol::owner::Owner;

/// Clock ticks a second in `/proc`, the same on every architecture that engines run on.
const TICKS: u64 = 100;

/// What can be said of a container's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerState {
    /// It lives.
    Alive,
    /// It does not: no process has its pid, or another one that started at another time.
    Gone,
    /// It belongs to another boot of this machine, or to another machine.
    OtherBoot,
    /// It cannot be told: another PID or time namespace, something unreadable, or no owner written down.
    Unknown,
}

/// This process as an owner; `None` where `/proc` does not say.
pub fn current() -> Option<Owner> {
    let pid = std::process::id();
    Some(Owner {
        boot: boot_id()?,
        pid_namespace: namespace("pid")?,
        time_namespace: time_namespace()?,
        pid,
        // Not by number: where `/proc` is another namespace's, that is somebody else.
        start: stat("self")?.start,
    })
}

/// Looks whether `owner` lives, as `observer` (from [`current`]) sees it.
pub fn look(owner: Option<&Owner>, observer: Option<&Owner>) -> OwnerState {
    let (Some(owner), Some(observer)) = (owner, observer) else {
        return OwnerState::Unknown;
    };
    if owner.boot != observer.boot {
        return OwnerState::OtherBoot;
    }
    if (owner.pid_namespace, owner.time_namespace)
        != (observer.pid_namespace, observer.time_namespace)
    {
        return OwnerState::Unknown;
    }
    let Ok(pid) = i32::try_from(owner.pid) else {
        return OwnerState::Unknown;
    };
    if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
        return OwnerState::Gone;
    }
    // The process is there, or one that got its pid; only its start tells. A `/proc` of another PID namespace, as after `unshare --pid`
    // without a mount, shows other processes under these numbers.
    if !proc_is_of_our_namespace() {
        return OwnerState::Unknown;
    }
    match stat(&owner.pid.to_string()) {
        Some(stat) if stat.start != owner.start || stat.is_dead => OwnerState::Gone,
        Some(_) => OwnerState::Alive,
        None => OwnerState::Unknown,
    }
}

/// Seconds since `owner` started, by the kernel's count since boot, which no step of a clock changes; `None` where it is not of our boot or
/// counts in another time namespace. That it still lives is not said.
pub fn age(owner: Option<&Owner>, observer: Option<&Owner>) -> Option<u64> {
    let (owner, observer) = (owner?, observer?);
    let comparable = owner.boot == observer.boot && owner.time_namespace == observer.time_namespace;
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: u64 = text.split('.').next()?.parse().ok()?;
    comparable.then(|| uptime.saturating_sub(owner.start / TICKS))
}

fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    (digits.len() == 32).then_some(digits)
}

fn namespace(kind: &str) -> Option<u64> {
    fs::metadata(format!("/proc/self/ns/{kind}"))
        .ok()
        .map(|meta| meta.ino())
}

/// 0 on a kernel without time namespaces, where all share one; `None` where it cannot be read, since that may be any.
fn time_namespace() -> Option<u64> {
    match fs::metadata("/proc/self/ns/time") {
        Ok(meta) => Some(meta.ino()),
        Err(error) if error.kind() == ErrorKind::NotFound => namespace("pid").map(|_| 0),
        Err(_) => None,
    }
}

/// Whether the numbers under `/proc` count in our PID namespace.
fn proc_is_of_our_namespace() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| is_ours(&status, std::process::id()))
}

/// `NSpid` has a number for each namespace from that of `/proc` down to the process's own. A kernel that does not write it is not believed.
fn is_ours(status: &str, pid: u32) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| {
        let mut numbers = numbers.split_whitespace();
        numbers.next() == Some(&pid.to_string()) && numbers.next().is_none()
    })
}

struct Stat {
    start: u64,
    /// It has ended, and nobody has taken note of that yet.
    is_dead: bool,
}

/// Fields 3 (state), 20 (threads) and 22 (start) of `/proc/PID/stat`, counted behind the name, which may contain anything. A main
/// thread that has ended while others live is not the end of a process.
fn stat(pid: &str) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let threads: u64 = fields.get(17)?.parse().ok()?;
    Some(Stat {
        start: fields.get(19)?.parse().ok()?,
        is_dead: matches!(*fields.first()?, "Z" | "X") && threads <= 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_a_reused_pid_is_not_it() {
        let me = current().unwrap();
        assert_eq!(look(Some(&me), Some(&me)), OwnerState::Alive);
        let earlier = Owner {
            start: me.start - 1,
            ..me.clone()
        };
        assert_eq!(look(Some(&earlier), Some(&me)), OwnerState::Gone);
    }

    #[test]
    fn a_process_that_ended_is_gone() {
        let me = current().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let gone = Owner {
            pid: child.id(),
            ..me.clone()
        };
        assert_eq!(look(Some(&gone), Some(&me)), OwnerState::Gone);
    }

    #[test]
    fn a_process_that_nobody_waited_for_is_gone() {
        let me = current().unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let owner = Owner {
            pid: child.id(),
            start: stat(&child.id().to_string()).unwrap().start,
            ..me.clone()
        };
        assert_eq!(look(Some(&owner), Some(&me)), OwnerState::Alive);
        child.kill().unwrap();
        while look(Some(&owner), Some(&me)) == OwnerState::Alive {
            std::thread::yield_now();
        }
        assert_eq!(look(Some(&owner), Some(&me)), OwnerState::Gone);
        child.wait().unwrap();
    }

    #[test]
    fn what_cannot_be_compared_is_unknown() {
        let me = current().unwrap();
        let elsewhere = Owner {
            pid_namespace: 1,
            ..me.clone()
        };
        assert_eq!(look(Some(&elsewhere), Some(&me)), OwnerState::Unknown);
        let shifted = Owner {
            time_namespace: 1,
            ..me.clone()
        };
        assert_eq!(look(Some(&shifted), Some(&me)), OwnerState::Unknown);
        let rebooted = Owner {
            boot: "0".repeat(32),
            ..me.clone()
        };
        assert_eq!(look(Some(&rebooted), Some(&me)), OwnerState::OtherBoot);
        assert_eq!(look(None, Some(&me)), OwnerState::Unknown);
        assert_eq!(look(Some(&me), None), OwnerState::Unknown);
    }

    #[test]
    fn the_fields_are_counted_behind_the_name_whatever_that_is() {
        let line = |state: &str, threads: u32| {
            format!(
                "7 (a) Z 1 (b)) {state} 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 {threads} 0 4711 0 0"
            )
        };
        let read = |text: &str| parse_stat(text).map(|stat| (stat.start, stat.is_dead));
        assert_eq!(read(&line("S", 1)), Some((4711, false)));
        assert_eq!(read(&line("Z", 1)), Some((4711, true)));
        assert_eq!(
            read(&line("Z", 2)),
            Some((4711, false)),
            "its other threads live"
        );
        assert_eq!(read(&line("X", 1)), Some((4711, true)));
        for cut in [
            "",
            "7 (x",
            "7 (x)",
            "7 (x) S 1 2",
            &line("S", 1).replace("4711", "soon"),
        ] {
            assert_eq!(read(cut), None, "{cut}");
        }
    }

    #[test]
    fn a_proc_of_another_namespace_is_not_believed() {
        assert!(proc_is_of_our_namespace());
        assert!(is_ours("Name:\tx\nNSpid:\t42\n", 42));
        for other in [
            "NSpid:\t42\t1\n",
            "NSpid:\t41\n",
            "NSpid:\n",
            "Pid:\t42\n",
            "",
        ] {
            assert!(!is_ours(other, 42), "{other:?}");
        }
    }

    /// Start ticks count from boot, so that no step of the wall clock makes another process of one.
    #[test]
    fn a_start_is_ticks_since_boot() {
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let seconds: u64 = uptime.split('.').next().unwrap().parse().unwrap();
        let me = current().unwrap();
        assert!(
            me.start <= (seconds + 1) * TICKS,
            "no wall time: {}",
            me.start
        );
        let earlier = Owner {
            start: me.start.saturating_sub(30 * TICKS),
            pid_namespace: 1,
            ..me.clone()
        };
        let (young, old) = (age(Some(&me), Some(&me)), age(Some(&earlier), Some(&me)));
        assert!(young < Some(600) && old >= Some(29).min(young.map(|young| young + 29)));
        let shifted = Owner {
            time_namespace: 1,
            ..me.clone()
        };
        let rebooted = Owner {
            boot: "0".repeat(32),
            ..me.clone()
        };
        for other in [Some(&shifted), Some(&rebooted), None] {
            assert_eq!(age(other, Some(&me)), None);
        }
        assert_eq!(current().unwrap(), me, "the same whenever it is asked");
    }
}
