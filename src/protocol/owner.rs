//! Who a container belongs to: one process of one boot, in its namespaces, written as a label.

use std::fmt;

/// A process, so exactly that a reused pid, another PID or time namespace, or another boot cannot be taken for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The kernel's boot id, 32 hex digits.
    pub boot: String,
    /// Inode of the PID namespace that `pid` counts in.
    pub pid_namespace: u64,
    /// Inode of the time namespace that `start` counts in.
    pub time_namespace: u64,
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub start: u64,
}

impl Owner {
    /// Reads what [`Display`](fmt::Display) wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let boot = parts.next()?;
        if boot.len() != 32 || !boot.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let owner = Self {
            boot: boot.to_owned(),
            pid_namespace: parts.next()?.parse().ok()?,
            time_namespace: parts.next()?.parse().ok()?,
            pid: parts
                .next()?
                .parse()
                .ok()
                .filter(|pid| (1..=i32::MAX as u32).contains(pid))?,
            start: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(owner)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            boot,
            pid_namespace,
            time_namespace,
            pid,
            start,
        } = self;
        write!(f, "{boot}.{pid_namespace}.{time_namespace}.{pid}.{start}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_owners_read_back_and_nothing_else_does() {
        let owner = Owner {
            boot: "0123456789abcdef0123456789abcdef".into(),
            pid_namespace: 4_026_531_836,
            time_namespace: 4_026_531_834,
            pid: 42,
            start: 123_456,
        };
        assert_eq!(Owner::parse(&owner.to_string()), Some(owner.clone()));
        let text = owner.to_string();
        for wrong in [
            "",
            "x",
            &text[1..],
            &format!("{text}.1"),
            &text.replace(".42.", ".0."),
            &text.replace(".42.", ".-1."),
            &text.replace(".42.", ".4294967295."),
        ] {
            assert_eq!(Owner::parse(wrong), None, "{wrong}");
        }
    }
}
