//! What the task has used, from the files of its own cgroup, which the kernel keeps and the task cannot write. The first version of cgroups
//! counts the page cache as memory. What cannot be read is not told.

use std::fs::File;
use std::io::Read;

use crate::protocol::record::{Record, Use};

/// Where what is found: the second version of cgroups, then the first. Nothing else in these files is looked at than one number.
const FILES: [(Use, &str, &str, u64); 6] = [
    (Use::CpuMicros, "cpu.stat", "usage_usec ", 1),
    (Use::CpuMicros, "cpuacct/cpuacct.usage", "", 1000),
    (Use::MemoryPeak, "memory.peak", "", 1),
    (Use::MemoryPeak, "memory/memory.max_usage_in_bytes", "", 1),
    (Use::PidsPeak, "pids.peak", "", 1),
    (Use::PidsPeak, "pids/pids.peak", "", 1),
];

/// As records, to be told before the end.
pub(super) fn look() -> impl Iterator<Item = Record> {
    FILES.into_iter().filter_map(|(what, file, before, unit)| {
        let mut text = [0; 64];
        let count = File::open(format!("/sys/fs/cgroup/{file}"))
            .and_then(|mut file| file.read(&mut text))
            .ok()?;
        Some(Record::Used(what, number(&text[..count], before)? / unit))
    })
}

/// The decimal number that stands behind `before` at the very beginning.
fn number(text: &[u8], before: &str) -> Option<u64> {
    let rest = text.strip_prefix(before.as_bytes())?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_read_and_nothing_else_believed() {
        assert_eq!(number(b"4096\n", ""), Some(4096));
        assert_eq!(
            number(b"usage_usec 12\nuser_usec 3\n", "usage_usec "),
            Some(12)
        );
        for text in [
            &b""[..],
            b"max\n",
            b"-1\n",
            b"12",
            b"99999999999999999999999\n",
        ] {
            assert_eq!(number(text, ""), None);
        }
    }
}
