//! The driver: one task from its create to its confirmed removal. What it decides stands in `state`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncRead;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::container::TaskContainer;
use super::outcome::{Cancel, Evidence, Outcome, StartFailure};
use super::output::OutputReport;
use super::plan::Plan;
use super::receipt::{ContainerReceipt, EngineReceipt, Phases, Receipt, SCHEMA};
use super::spec::TaskSpec;
use super::watch::{Ended, watch_task};
use crate::engine::{Chunk, Engine};
use crate::error::{Code, Error, Kind, Result};
use crate::protocol::time::rfc3339;

/// Where a task's streams go. The default has no input and drops the output.
#[derive(Default)]
pub struct TaskIo {
    /// Standard input, for an interactive task; without it the task reads end-of-file.
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Output as it comes. A full channel holds the task up; a receiver that is dropped ends it.
    pub output: Option<mpsc::Sender<Chunk>>,
}

impl std::fmt::Debug for TaskIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskIo")
            .field("stdin", &self.stdin.is_some())
            .field("output", &self.output.is_some())
            .finish()
    }
}

/// Ends tasks on request; may be shared by many (FR-020A-17).
#[derive(Debug)]
pub struct Canceller(watch::Sender<Option<Cancel>>);

impl Default for Canceller {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Canceller {
    /// One that has not been asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the tasks that listen. A weaker request after a stronger one changes nothing.
    pub fn cancel(&self, cancel: Cancel) {
        self.0.send_if_modified(|current| {
            let stronger = current.is_none_or(|earlier| earlier < cancel);
            if stronger {
                *current = Some(cancel);
            }
            stronger
        });
    }
}

/// Runs one task: create, subscribe, start, stream, end, remove, confirm. Whatever happens after create, the container is removed
/// before this returns (but for `keep`), and a removal that fails is in the receipt.
///
/// Dropping the future abandons the container, which is then an orphan once this process is gone; use `canceller` to end a task.
///
/// # Errors
/// When the task did not begin: those of [`TaskContainer::create`] and [`TaskContainer::subscribe`], and `ACODE-CTN-003` when it was
/// cancelled before. A container that does not start is an [`Outcome::StartFailed`].
///
/// ```no_run
/// # async fn example(engine: acode_rt::engine::Engine) -> acode_rt::Result<()> {
/// use acode_rt::{Canceller, ImageRef, TaskIo, TaskSpec};
/// # let image = ImageRef::parse("busybox").unwrap();
/// let (sender, mut output) = tokio::sync::mpsc::channel(16);
/// let canceller = Canceller::new();
/// let spec = TaskSpec::new("a1b2c3d4", "build-001", image, ["echo", "hello"]);
/// let io = TaskIo { output: Some(sender), ..TaskIo::default() };
/// let print = async { while let Some(chunk) = output.recv().await { print!("{}", chunk.data.escape_ascii()) } };
/// let (receipt, ()) = tokio::join!(acode_rt::run(&engine, spec, io, &canceller), print);
/// assert_eq!(receipt?.status, 0);
/// # Ok(()) }
/// ```
pub async fn run(
    engine: &Engine,
    spec: TaskSpec,
    io: TaskIo,
    canceller: &Canceller,
) -> Result<Receipt> {
    let mut clock = Clock::new();
    let mut requests = canceller.0.subscribe();
    if io.stdin.is_some() && !spec.interactive {
        return Err(Error::invalid(
            Code::Configuration,
            "options",
            "a standard input was given for a task that is not interactive and would not read it",
        ));
    }
    let plan = Plan::new(engine, spec).await?;
    clock.phase(|phases| &mut phases.prepare);
    check_cancelled(&requests, &plan.operation)?;
    let container = TaskContainer::create_planned(engine, plan)
        .await
        .inspect_err(|error| tracing::error!(%error, "create failed"))?;
    clock.phase(|phases| &mut phases.create);
    match supervise(&container, io, &mut requests, &mut clock).await {
        Ok(ended) => Ok(finish(&container, ended, clock).await),
        Err(error) => {
            tracing::error!(%error, "the task did not begin");
            match container.remove().await {
                Ok(()) => Err(error),
                Err(failed) => Err(error.and_cleanup(failed)),
            }
        }
    }
}

async fn supervise(
    container: &TaskContainer,
    io: TaskIo,
    requests: &mut watch::Receiver<Option<Cancel>>,
    clock: &mut Clock,
) -> Result<Ended> {
    let operation = &container.plan().operation;
    let subscribed = match container.subscribe().await {
        Ok(subscribed) => subscribed,
        // Podman starts the runtime at attach, so that a start that fails does so here.
        Err(error) if error.operation() == "attach" && error.status().is_some() => {
            return Ok(start_failed(container, &error).await);
        }
        Err(error) => return Err(container.mine(error)),
    };
    clock.phase(|phases| &mut phases.subscribe);
    check_cancelled(requests, operation)?;
    if let Err(error) = container.start().await {
        tracing::error!(%error, "start failed");
        return Ok(start_failed(container, &error).await);
    }
    clock.phase(|phases| &mut phases.start);
    let ended = watch_task(container, subscribed, io, requests).await;
    clock.phase(|phases| &mut phases.run);
    Ok(ended)
}

fn check_cancelled(requests: &watch::Receiver<Option<Cancel>>, operation: &str) -> Result<()> {
    match *requests.borrow() {
        None => Ok(()),
        Some(_) => Err(Error::new(
            Code::StopFailed,
            Kind::Cancelled,
            "cancel",
            "the task was cancelled before it began",
        )
        .with_operation_id(operation)),
    }
}

async fn start_failed(container: &TaskContainer, error: &Error) -> Ended {
    // Docker puts the shell's codes into the state; Podman has only a text.
    let state = container
        .engine()
        .container_inspect(container.id().as_str())
        .await
        .map(|inspect| inspect.state);
    let code = state.as_ref().ok().and_then(|state| state.exit_code);
    let reason = match code {
        Some(127) => StartFailure::NotFound,
        Some(126) => StartFailure::NotExecutable,
        _ => StartFailure::Other,
    };
    Ended {
        outcome: Outcome::StartFailed {
            reason,
            message: error.message(),
        },
        evidence: Evidence {
            inspect_code: code,
            engine_error: state
                .map(|state| crate::error::shown(&state.error))
                .unwrap_or_default(),
            ..Evidence::default()
        },
        child_out_of_memory: false,
        // After a refusal nothing ran, so there is nothing that could be missing.
        output: OutputReport {
            complete: !error.is_unclear(),
            ..OutputReport::default()
        },
        input_error: None,
        ignored: Vec::new(),
    }
}

async fn finish(container: &TaskContainer, ended: Ended, mut clock: Clock) -> Receipt {
    let plan = container.plan();
    let mut warnings = plan.warnings.clone();
    if ended.child_out_of_memory {
        warnings.push(
            "a process of the task was killed for memory, though the task ended otherwise".into(),
        );
    }
    if let Some(error) = &ended.input_error {
        warnings.push(format!(
            "standard input could not be read to its end: {error}"
        ));
    }
    if ended.outcome == (Outcome::Exited { code: 137 }) {
        warnings.push("exit code 137 may also mean that something outside sent KILL".into());
    }
    let removed = if plan.spec.keep {
        None
    } else {
        Some(container.remove().await)
    };
    clock.phase(|phases| &mut phases.remove);
    if let Some(Err(error)) = &removed {
        tracing::error!(%error, "not removed");
    }
    let mut status = ended.outcome.status();
    let output_lost = !ended.output.complete && !ended.output.truncated;
    if status == 0 && (output_lost || ended.input_error.is_some()) {
        // What was lost may be what matters.
        status = 125;
    }
    tracing::info!(operation = plan.operation, name = %plan.name, outcome = ?ended.outcome, status, "ended");
    Receipt {
        schema: SCHEMA,
        session: plan.spec.session.clone(),
        task: plan.spec.task.clone(),
        operation: plan.operation.clone(),
        container: ContainerReceipt {
            id: container.id().to_string(),
            name: plan.name.to_string(),
        },
        image: plan.image.clone(),
        outcome: ended.outcome,
        evidence: ended.evidence,
        status,
        child_out_of_memory: ended.child_out_of_memory,
        output: ended.output,
        limits: plan.limits.clone(),
        ignored: ended.ignored,
        warnings,
        phases_ms: clock.total(),
        engine: EngineReceipt {
            server: container.engine().server().to_owned(),
            api: container.engine().api_version().to_string(),
        },
        started_at: rfc3339(clock.started),
        removed: matches!(removed, Some(Ok(()))),
        kept: plan.spec.keep,
        remove_error: removed.and_then(Result::err).map(|error| error.to_json()),
    }
}

/// Where the time goes.
struct Clock {
    started: u64,
    began: Instant,
    last: Instant,
    phases: Phases,
}

impl Clock {
    fn new() -> Self {
        let now = Instant::now();
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self {
            started,
            began: now,
            last: now,
            phases: Phases::default(),
        }
    }

    /// Ends a phase, which began where the one before it ended.
    fn phase(&mut self, phase: impl FnOnce(&mut Phases) -> &mut f64) {
        let now = Instant::now();
        *phase(&mut self.phases) = milliseconds(now - self.last);
        self.last = now;
    }

    fn total(&self) -> Phases {
        Phases {
            total: milliseconds(self.last - self.began),
            ..self.phases.clone()
        }
    }
}

/// To a thousandth.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
