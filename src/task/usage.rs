//! What a task uses: samples of the engine's while it runs, and what our own process 1 read at the end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use super::container::TaskContainer;
use crate::model::Stats;
use crate::protocol::name::ContainerName;
use crate::protocol::record::Use;

/// A task that ends sooner is not sampled, and costs nothing.
const FIRST_SAMPLE: Duration = Duration::from_secs(2);
/// Between two samples.
const NEXT_SAMPLE: Duration = Duration::from_secs(10);

/// What a task has used; `None` where nobody said so (FR-020A-88, FR-020A-92, NFR-020A-43).
///
/// The first version of cgroups counts the page cache as memory: a task that reads much of its image has a peak close to its limit.
/// Whatever the runtime used to start it counts too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// CPU time, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// The most memory at a time.
    pub memory_peak_bytes: Option<u64>,
    /// The most processes and threads at a time, process 1 among them.
    pub pids_peak: Option<u64>,
    /// Read from block devices, where the kernel counts that.
    pub block_read_bytes: Option<u64>,
    /// Written to block devices, likewise.
    pub block_write_bytes: Option<u64>,
    /// Received over the network; loopback does not count.
    pub network_rx_bytes: Option<u64>,
    /// Sent over the network, likewise.
    pub network_tx_bytes: Option<u64>,
    /// How often the engine was asked while the task ran.
    pub samples: u32,
    /// Who says so.
    pub source: UsageSource,
}

/// Who says what a task has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// Nobody: it ended before the first sample, and process 1 was the engine's or could not tell.
    #[default]
    None,
    /// The engine, now and then: a peak between two samples is missed, and so is what came after the last.
    Samples,
    /// Our own process 1, at the end: the kernel's own counts.
    ProcessOne,
}

impl Usage {
    /// Takes a sample in.
    fn add(&mut self, stats: &Stats) {
        let raise = |kept: &mut Option<u64>, seen: u64| *kept = Some(kept.unwrap_or(0).max(seen));
        let nanos = stats.cpu_stats.cpu_usage.total_usage;
        // Docker answers zeros for what has just ended.
        if nanos == 0 {
            return;
        }
        self.samples += 1;
        self.source = UsageSource::Samples;
        raise(&mut self.cpu_ms, nanos / 1_000_000);
        let memory = &stats.memory_stats;
        raise(
            &mut self.memory_peak_bytes,
            memory.usage.max(memory.max_usage),
        );
        raise(&mut self.pids_peak, stats.pids_stats.current);
        let moved = |kind: &str| {
            stats
                .blkio_stats
                .io_service_bytes_recursive
                .iter()
                .filter(|entry| entry.op.eq_ignore_ascii_case(kind))
                .fold(0_u64, |sum, entry| sum.saturating_add(entry.value))
        };
        // Nothing is listed where the kernel does not count.
        if !stats.blkio_stats.io_service_bytes_recursive.is_empty() {
            raise(&mut self.block_read_bytes, moved("read"));
            raise(&mut self.block_write_bytes, moved("write"));
        }
        let sum = |bytes: fn(&crate::model::NetworkStats) -> u64| {
            stats
                .networks
                .values()
                .fold(0_u64, |sum, one| sum.saturating_add(bytes(one)))
        };
        if !stats.networks.is_empty() {
            raise(&mut self.network_rx_bytes, sum(|one| one.rx_bytes));
            raise(&mut self.network_tx_bytes, sum(|one| one.tx_bytes));
        }
    }

    pub(super) fn log(&self, operation: &str, name: &ContainerName) {
        let Self {
            cpu_ms,
            memory_peak_bytes,
            pids_peak,
            samples,
            source,
            ..
        } = self;
        tracing::info!(operation, %name, cpu_ms, memory_peak_bytes, pids_peak, samples, ?source, "used");
    }

    /// What process 1 said replaces what was sampled.
    pub(super) fn told(&mut self, told: &[(Use, u64)]) {
        for (what, value) in told {
            let (kept, value) = match what {
                Use::CpuMicros => (&mut self.cpu_ms, value / 1000),
                Use::MemoryPeak => (&mut self.memory_peak_bytes, *value),
                Use::PidsPeak => (&mut self.pids_peak, *value),
                Use::BlockRead => (&mut self.block_read_bytes, *value),
                Use::BlockWrite => (&mut self.block_write_bytes, *value),
                Use::NetworkReceived => (&mut self.network_rx_bytes, *value),
                Use::NetworkSent => (&mut self.network_tx_bytes, *value),
            };
            *kept = Some(value);
            self.source = UsageSource::ProcessOne;
        }
    }
}

/// Samples taken beside a task.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<Usage>);

impl Samples {
    /// Takes samples for as long as `task` runs. They never hold it up: a sample that is under way when it ends is dropped.
    pub(super) async fn beside<T>(
        &self,
        container: &TaskContainer,
        task: impl Future<Output = T>,
    ) -> T {
        tokio::select! {
            biased;
            ended = task => ended,
            never = self.take(container) => match never {},
        }
    }

    /// What came of them.
    pub(super) fn usage(&self) -> Usage {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn take(&self, container: &TaskContainer) -> std::convert::Infallible {
        let plan = container.plan();
        let mut pause = FIRST_SAMPLE;
        loop {
            sleep(pause).await;
            pause = NEXT_SAMPLE;
            // Boxed, so that a short task does not carry its state.
            let stats = Box::pin(container.engine().container_stats(container.id().as_str()));
            match stats.await {
                Ok(stats) => {
                    self.0
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .add(&stats);
                    tracing::debug!(
                        operation = plan.operation, name = %plan.name,
                        cpu_ms = stats.cpu_stats.cpu_usage.total_usage / 1_000_000,
                        memory_bytes = stats.memory_stats.usage,
                        pids = stats.pids_stats.current,
                        "usage"
                    );
                }
                Err(error) => tracing::debug!(operation = plan.operation, %error, "no sample"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fr_020a_88_peaks_are_kept_and_process_1_knows_better() {
        let stats = |cpu: u64, memory: u64, pids: u64| -> Stats {
            serde_json::from_value(serde_json::json!({
                "cpu_stats": { "cpu_usage": { "total_usage": cpu * 1_000_000 } },
                "memory_stats": { "usage": memory },
                "pids_stats": { "current": pids },
                "blkio_stats": { "io_service_bytes_recursive": [
                    { "op": "Read", "value": 5 }, { "op": "read", "value": 6 }, { "op": "Write", "value": 7 }, { "op": "Total", "value": 99 },
                ] },
                "networks": { "a": { "rx_bytes": 1, "tx_bytes": 2 }, "b": { "rx_bytes": 10, "tx_bytes": 20 } },
            }))
            .unwrap()
        };
        let mut usage = Usage::default();
        usage.add(&stats(0, 0, 0));
        assert_eq!(usage, Usage::default(), "zeros are no sample");
        usage.add(&stats(10, 500, 9));
        usage.add(&stats(20, 100, 3));
        let expected = Usage {
            cpu_ms: Some(20),
            memory_peak_bytes: Some(500),
            pids_peak: Some(9),
            block_read_bytes: Some(11),
            block_write_bytes: Some(7),
            network_rx_bytes: Some(11),
            network_tx_bytes: Some(22),
            samples: 2,
            source: UsageSource::Samples,
        };
        assert_eq!(usage, expected);
        usage.told(&[]);
        assert_eq!(usage, expected);
        usage.told(&[(Use::CpuMicros, 31_999), (Use::MemoryPeak, 600)]);
        assert_eq!(
            usage,
            Usage {
                cpu_ms: Some(31),
                memory_peak_bytes: Some(600),
                source: UsageSource::ProcessOne,
                ..expected
            }
        );
    }
}
