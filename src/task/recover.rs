//! Output that did not arrive, from the engine's log, and only where that is exact: the log was never rotated, it begins with what did arrive,
//! and the engine that wrote it is the one that ended the task.
//!
//! Only where the engine's init is process 1: ours does not end before all output has arrived, and a cut ends the task.

use tokio::sync::mpsc;

use super::container::TaskContainer;
use super::outcome::Outcome;
use super::output::{Last, OutputReport, pass_on};
use crate::engine::{Chunk, LogsOptions};
use crate::error::Result;
use crate::protocol::demux::Stream;

/// Our default log is rotated at 10m, and has something around every line.
const NEVER_ROTATED: u64 = 5 << 20;

/// Completes `report`, and passes on what was missing, if there is reason to doubt it and the log is exact.
pub(super) async fn recover(
    container: &TaskContainer,
    outcome: &Outcome,
    report: &mut OutputReport,
    sink: Option<&mpsc::Sender<Chunk>>,
) {
    let plan = container.plan();
    let ended_by_itself = matches!(outcome, Outcome::Exited { .. } | Outcome::OutOfMemory);
    if !report.doubtful || report.truncated || plan.spec.log.is_some() || !ended_by_itself {
        return;
    }
    let patience = container.engine().timeouts().ask;
    let rest = match tokio::time::timeout(patience, missing(container, report)).await {
        Ok(Ok(Some(rest))) => rest,
        Ok(Err(error)) => {
            tracing::warn!(operation = plan.operation, %error, "the engine's log could not be read");
            return;
        }
        Ok(Ok(None)) | Err(_) => return,
    };
    let passed = report.stdout_bytes + report.stderr_bytes;
    let mut left = plan
        .spec
        .max_output
        .map_or(u64::MAX, |max| max.saturating_sub(passed));
    for chunk in rest {
        if !pass_on(chunk, sink, &mut left, report).await {
            return;
        }
    }
    report.recovered_bytes = report.stdout_bytes + report.stderr_bytes - passed;
    if !report.truncated {
        report.complete = true;
        report.incomplete_because = None;
    }
}

/// What of the log did not arrive; `None` where the log does not prove to be exact.
async fn missing(container: &TaskContainer, report: &OutputReport) -> Result<Option<Vec<Chunk>>> {
    let mut log = container.logs(&LogsOptions::default()).await?;
    let mut total = 0;
    let mut streams = [
        (report.stdout_bytes, Last::default()),
        (report.stderr_bytes, Last::default()),
    ];
    let mut rest = Vec::new();
    while let Some(mut chunk) = log.next().await? {
        total += chunk.data.len() as u64;
        if total > NEVER_ROTATED {
            return Ok(None);
        }
        let (arrived, last) = &mut streams[usize::from(chunk.stream == Stream::Stderr)];
        let known = usize::try_from(*arrived)
            .unwrap_or(usize::MAX)
            .min(chunk.data.len());
        last.note(&chunk.data[..known]);
        *arrived -= known as u64;
        chunk.data.drain(..known);
        rest.push(chunk);
    }
    let [(stdout, last_stdout), (stderr, last_stderr)] = &streams;
    let exact =
        (*stdout, *stderr) == (0, 0) && [last_stdout, last_stderr] == report.last.each_ref();
    Ok(exact.then_some(rest))
}
