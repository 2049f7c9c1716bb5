//! What the task has used, from the kernel's counts of the container, which the task cannot write. The first version of cgroups counts the page
//! cache as memory. What cannot be read is not told.

use std::fs::File;
use std::io::Read;

use crate::protocol::record::{Record, Use};

/// How a number is found in the text of a file.
type Find = fn(&str) -> Option<u64>;

/// Where what is found: for each both versions of cgroups, of which one is there.
const FILES: [(Use, &str, Find); 12] = [
    (Use::CpuMicros, "/sys/fs/cgroup/cpu.stat", cpu_micros),
    (
        Use::CpuMicros,
        "/sys/fs/cgroup/cpuacct/cpuacct.usage",
        |text| Some(number(text)? / 1000),
    ),
    (Use::MemoryPeak, "/sys/fs/cgroup/memory.peak", number),
    (
        Use::MemoryPeak,
        "/sys/fs/cgroup/memory/memory.max_usage_in_bytes",
        number,
    ),
    (Use::PidsPeak, "/sys/fs/cgroup/pids.peak", number),
    (Use::PidsPeak, "/sys/fs/cgroup/pids/pids.peak", number),
    (Use::BlockRead, IO, |text| words(text, "rbytes=", "")),
    (Use::BlockWrite, IO, |text| words(text, "wbytes=", "")),
    (Use::BlockRead, OLD_IO, |text| words(text, "", "Read")),
    (Use::BlockWrite, OLD_IO, |text| words(text, "", "Write")),
    (Use::NetworkReceived, NETWORK, |text| interfaces(text, 0)),
    (Use::NetworkSent, NETWORK, |text| interfaces(text, 8)),
];
const IO: &str = "/sys/fs/cgroup/io.stat";
const OLD_IO: &str = "/sys/fs/cgroup/blkio/blkio.throttle.io_service_bytes_recursive";
const NETWORK: &str = "/proc/self/net/dev";

/// A longer file is not believed.
const MAX_FILE: usize = 8192;

/// As records, to be told before the end.
pub(super) fn look() -> impl Iterator<Item = Record> {
    FILES.into_iter().filter_map(|(what, path, find)| {
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE as u64).read_to_end(&mut text))
            .ok()?;
        let text = std::str::from_utf8(&text)
            .ok()
            .filter(|text| text.len() < MAX_FILE)?;
        Some(Record::Used(what, find(text)?))
    })
}

/// The file's only word.
fn number(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

fn cpu_micros(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    number(lines.find_map(|line| line.strip_prefix("usage_usec "))?)
}

/// The sum of what is counted for each device: of the words that begin with `prefix`, on lines that have `word` where one is said. Nothing where
/// no device is listed: some kernels do not count.
fn words(text: &str, prefix: &str, word: &str) -> Option<u64> {
    let mut sum = None;
    for line in text.lines() {
        let mut parts = line.split_ascii_whitespace();
        let device = parts.next()?;
        if !device.contains(':') || !(word.is_empty() || parts.next() == Some(word)) {
            continue;
        }
        if let Some(bytes) = parts.find_map(|part| number(part.strip_prefix(prefix)?)) {
            sum = Some(sum.unwrap_or(0_u64).saturating_add(bytes));
        }
    }
    sum
}

/// The sum of one column over all interfaces but the loopback.
fn interfaces(text: &str, column: usize) -> Option<u64> {
    let mut sum = 0_u64;
    for line in text.lines().skip(2) {
        let (name, columns) = line.split_once(':')?;
        if name.trim() != "lo" {
            let bytes = columns.split_ascii_whitespace().nth(column)?;
            sum = sum.saturating_add(bytes.parse().ok()?);
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_counts_are_read_and_nothing_else_believed() {
        assert_eq!(number("4096\n"), Some(4096));
        for text in ["", "max\n", "-1\n", "1 2", "99999999999999999999999\n"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(cpu_micros("usage_usec 12\nuser_usec 3\n"), Some(12));
        assert_eq!(cpu_micros("user_usec 3\n"), None);
    }

    #[test]
    fn devices_and_interfaces_are_summed() {
        let io = "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2 rios=9\n";
        assert_eq!(words(io, "rbytes=", ""), Some(11));
        assert_eq!(words(io, "wbytes=", ""), Some(22));
        let old = "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\n8:16 Read 1\nTotal 31\n";
        assert_eq!(words(old, "", "Read"), Some(11));
        assert_eq!(words(old, "", "Write"), Some(20));
        for nothing in ["", "Total 0\n"] {
            assert_eq!(words(nothing, "", "Read"), None);
            assert_eq!(words(nothing, "rbytes=", ""), None);
        }
        let head = "Inter-|   Receive     |  Transmit\n face |bytes    packets|bytes\n";
        let lo =
            "    lo:     500       5    0    0    0     0          0         0      500       5\n";
        let eth =
            "  eth0:    1006      11    0    0    0     0          0         0       70       1\n";
        let both = format!("{head}{lo}{eth}{eth}");
        assert_eq!(interfaces(&both, 0), Some(2012));
        assert_eq!(interfaces(&both, 8), Some(140));
        assert_eq!(interfaces(&format!("{head}{lo}"), 0), Some(0));
        assert_eq!(interfaces(&format!("{head}nonsense\n"), 0), None);
    }
}
