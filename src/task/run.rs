//! The driver: one task from its create to its confirmed removal. What it decides stands in `state`.

mod clock;
mod finish;

use std::time::Duration;

use clock::Clock;
use finish::finish;

use tokio::io::AsyncRead;
use tokio::sync::{mpsc, watch};

use super::container::{Subscribed, TaskContainer};
use super::fallback;
use super::files::{self, CopiedIn};
use super::image::OnPull;
use super::outcome::{Cancel, Evidence, Outcome, StartFailure};
use super::output::OutputReport;
use super::receipt::Receipt;
use super::recover::recover;
use super::runner::{Requests, Runner};
use super::spec::TaskSpec;
use super::usage::{Samples, Usage};
use super::watch::{Ended, watch_task};
use crate::engine::{Chunk, Engine};
use crate::error::{Code, Error, Kind, Result};
use crate::protocol::order::TerminalSize;

/// A call that is under way when the task is cancelled has so long to end.
const LAST_STEP: Duration = Duration::from_secs(2);

/// Where a task's streams go. The default has no input and drops the output.
#[derive(Default)]
pub struct TaskIo {
    /// Standard input, for an interactive task; without it the task reads end-of-file.
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Output as it comes. A full channel holds the task up; a receiver that is dropped ends it.
    pub output: Option<mpsc::Sender<Chunk>>,
    /// Later sizes of the task's terminal, where it has one.
    pub terminal_size: Option<watch::Receiver<TerminalSize>>,
    /// Hears of the image being pulled.
    pub on_pull: Option<OnPull>,
}

impl std::fmt::Debug for TaskIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskIo")
            .field("stdin", &self.stdin.is_some())
            .field("output", &self.output.is_some())
            .field("terminal_size", &self.terminal_size)
            .field("on_pull", &self.on_pull.is_some())
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

/// Runs one task as [`Runner::run`] does, by a runner without a program: see there for what that loses.
///
/// # Errors
/// Those of [`Runner::run`].
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
    Runner::new(engine.clone()).run(spec, io, canceller).await
}

pub(super) async fn run_planned(
    runner: &Runner,
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
    let admitted = runner.admit(spec, io.on_pull.as_ref());
    let mut plan = unless_cancelled(&requests, "", admitted).await?;
    let collecting = files::open_all(&plan.spec)?;
    let mut pull = plan.pull;
    loop {
        clock.phase(|phases| &mut phases.prepare);
        clock.pulled(pull.take());
        let operation = plan.operation.clone();
        let create = Box::pin(TaskContainer::create_planned(runner, plan));
        let container = unless_cancelled(&requests, &operation, create)
            .await
            .inspect_err(|error| tracing::error!(%error, "create failed"))?;
        clock.phase(|phases| &mut phases.create);
        match begin(&container, &requests, &mut clock).await {
            Ok((subscribed, copied_in)) => {
                // With the engine's own it works.
                fallback::remember(runner.engine(), container.plan());
                let orders = container.plan().first_orders()?;
                let sink = io.output.clone();
                let samples = Samples::default();
                let task = watch_task(&container, subscribed, orders, io, &mut requests);
                let mut ended = samples.beside(&container, task).await;
                let mut usage = samples.usage();
                usage.told(&ended.used);
                if ended.unheard {
                    // Another version of our program, or another program, stands where we said.
                    runner.engine().refuse_our_files();
                }
                if container.plan().init.is_err() {
                    recover(&container, &ended.outcome, &mut ended.output, sink.as_ref()).await;
                }
                drop(sink);
                clock.phase(|phases| &mut phases.run);
                let files = match copied_in {
                    Some(copied_in) => {
                        let outcome = &ended.outcome;
                        let requests = &requests;
                        Some(
                            files::collect(&container, copied_in, collecting, outcome, requests)
                                .await,
                        )
                    }
                    None => None,
                };
                clock.phase(|phases| &mut phases.artifacts);
                return Ok(finish(&container, ended, usage, files, clock).await);
            }
            // What the engine says of a start with our own process 1 is never about the task's command.
            Err(error) if container.plan().can_do_without_our_init() && is_of_starting(&error) => {
                tracing::warn!(%error, "not started with our own process 1, trying the engine's");
                container.trail.failed(&error);
                plan = match container.undo().await {
                    Ok(plan) => plan,
                    Err(failed) => return Err(error.and_cleanup(failed)),
                };
                if !plan.without_our_init(runner.engine()) {
                    return Err(error);
                }
                plan.warnings.push(format!(
                    "the engine did not start our own process 1, and its own was used: {}",
                    error.message()
                ));
            }
            // Podman starts the runtime at attach, so that a start that fails does so here.
            Err(error)
                if error.operation() == "start"
                    || (error.operation() == "attach" && error.status().is_some()) =>
            {
                tracing::error!(%error, "start failed");
                let ended = start_failed(&container, &error).await;
                return Ok(finish(&container, ended, Usage::default(), None, clock).await);
            }
            Err(error) => {
                tracing::error!(%error, "the task did not begin");
                container.trail.failed(&error);
                return Err(container.removed_after(error).await);
            }
        }
    }
}

/// Whether the engine refused to start it. Podman starts the runtime at attach.
fn is_of_starting(error: &Error) -> bool {
    matches!(error.operation(), "start" | "attach")
        && error.status().is_some()
        && !error.is_not_found()
}

async fn begin(
    container: &TaskContainer,
    requests: &Requests,
    clock: &mut Clock,
) -> Result<(Subscribed, Option<CopiedIn>)> {
    let operation = &container.plan().operation;
    // Before attach: Podman starts the runtime there, for which the working directory has to be.
    let copied_in = if container.plan().spec.has_files() {
        Some(unless_cancelled(requests, operation, container.copy_in()).await?)
    } else {
        None
    };
    clock.phase(|phases| &mut phases.copy_in);
    let subscribed = unless_cancelled(requests, operation, container.subscribe())
        .await
        .map_err(|error| container.mine(error))?;
    clock.phase(|phases| &mut phases.subscribe);
    unless_cancelled(requests, operation, container.start()).await?;
    clock.phase(|phases| &mut phases.start);
    Ok((subscribed, copied_in))
}

/// A step, unless the task is cancelled. A step that is under way is given a moment to end in order, and then abandoned: what it may have
/// made is still held by the guard.
async fn unless_cancelled<T>(
    requests: &Requests,
    operation: &str,
    step: impl Future<Output = Result<T>>,
) -> Result<T> {
    if requests.borrow().is_some() {
        return Err(not_begun(operation));
    }
    let mut requests = requests.clone();
    let cancelled = async {
        if requests.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
        let stronger =
            requests.wait_for(|cancel| cancel.is_some_and(|cancel| cancel > Cancel::Stop));
        // Before it is planned nothing can have been made.
        let patience = if operation.is_empty() {
            Duration::ZERO
        } else {
            LAST_STEP
        };
        let _ = tokio::time::timeout(patience, stronger).await;
    };
    tokio::select! {
        biased;
        result = step => result,
        () = cancelled => Err(not_begun(operation)),
    }
}

fn not_begun(operation: &str) -> Error {
    let cancelled =
        |message: &str| Error::new(Code::StopFailed, Kind::Cancelled, "cancel", message);
    // It has none before it is planned.
    match operation {
        "" => cancelled("the task was cancelled before anything was created"),
        id => cancelled("the task was cancelled before it began").with_operation_id(id),
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
        unheard: false,
        used: Vec::new(),
    }
}
