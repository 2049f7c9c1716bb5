//! Whether the process that made a container still lives. Anything that cannot be read is unknown, never gone.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::protocol::owner::Owner;

/// What can be said of a container's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        time_namespace: namespace("time").unwrap_or(0),
        pid,
        start: stat(pid)?.start,
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
    match stat(owner.pid) {
        Some(stat) if stat.start != owner.start || stat.is_dead => OwnerState::Gone,
        Some(_) => OwnerState::Alive,
        None => OwnerState::Unknown,
    }
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

struct Stat {
    start: u64,
    /// It has ended, and nobody has taken note of that yet.
    is_dead: bool,
}

/// Fields 3 (state), 20 (threads) and 22 (start) of `/proc/PID/stat`, counted behind the name, which may contain anything. A main
/// thread that has ended while others live is not the end of a process.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
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
            start: stat(child.id()).unwrap().start,
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
}
