//! The driver: one task from its create to its confirmed removal. What it decides stands in `state`.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::container::{Subscribed, TaskContainer};
use super::outcome::{Cancel, Evidence, Outcome, StartFailure};
use super::output::{self, OutputReport, pump};
use super::plan::Plan;
use super::receipt::{ContainerReceipt, EngineReceipt, Phases, Receipt, SCHEMA};
use super::spec::TaskSpec;
use super::state::{Action, Event, Machine};
use crate::engine::{Chunk, Engine, Input};
use crate::error::{Code, Error, Kind, Result};
use crate::protocol::time::rfc3339;

/// An engine that does not answer for so long during a task is given up.
const ENGINE_PATIENCE: Duration = Duration::from_secs(15);
/// A task that was ended on request has so long to get its last output read.
const DRAIN_AFTER_ENDING: Duration = Duration::from_secs(2);

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
pub async fn run(engine: &Engine, spec: TaskSpec, io: TaskIo, canceller: &Canceller) -> Result<Receipt> {
    let mut clock = Clock::new();
    let mut requests = canceller.0.subscribe();
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

/// How a task ended, before its container is removed.
struct Ended {
    outcome: Outcome,
    evidence: Evidence,
    child_out_of_memory: bool,
    output: OutputReport,
    /// Why standard input ended before its end.
    input_error: Option<String>,
    ignored: Vec<super::applied::Ignored>,
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
        Some(_) => Err(Error::new(Code::StopFailed, Kind::Cancelled, "cancel", "the task was cancelled before it began")
            .with_operation_id(operation)),
    }
}

async fn start_failed(container: &TaskContainer, error: &Error) -> Ended {
    // Docker puts the shell's codes into the state; Podman has only a text.
    let state = container.engine().container_inspect(container.id().as_str()).await.map(|inspect| inspect.state);
    let reason = match state.as_ref().map(|state| state.exit_code) {
        Ok(127) => StartFailure::NotFound,
        Ok(126) => StartFailure::NotExecutable,
        _ => StartFailure::Other,
    };
    Ended {
        outcome: Outcome::StartFailed { reason, message: error.message() },
        evidence: Evidence {
            inspect_code: state.as_ref().ok().map(|state| state.exit_code),
            engine_error: state.map(|state| crate::error::shown(&state.error)).unwrap_or_default(),
            ..Evidence::default()
        },
        child_out_of_memory: false,
        // Nothing ran, so there is nothing that could be missing.
        output: OutputReport { complete: true, ..OutputReport::default() },
        input_error: None,
        ignored: Vec::new(),
    }
}

/// A question or signal to the engine that is under way.
type Acting<'a> = Pin<Box<dyn Future<Output = Event> + Send + 'a>>;

async fn watch_task(
    container: &TaskContainer,
    subscribed: Subscribed,
    io: TaskIo,
    requests: &mut watch::Receiver<Option<Cancel>>,
) -> Ended {
    let Subscribed { attached, waiting, ignored } = subscribed;
    let spec = &container.plan().spec;
    let timeout_ms = spec.timeout.map_or(0, |timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    let mut machine = Machine::new(timeout_ms);
    let mut report = OutputReport::default();
    let mut input_error = None;
    let (ended_sender, ended) = watch::channel(false);
    {
        let mut pump = pin!(pump(attached.output, io.output, spec.max_output, ended, &mut report));
        let mut feed = pin!(feed(attached.input, io.stdin));
        let mut exit = pin!(waiting.exit_code());
        let (mut pumping, mut feeding, mut waiting) = (true, true, true);
        let mut alarms = Alarms::new(spec.timeout);
        let mut patience = Patience::default();
        let mut acting: Option<Acting<'_>> = None;
        loop {
            let event = tokio::select! {
                biased;
                Ok(()) = requests.changed() => match *requests.borrow_and_update() {
                    Some(cancel) => Event::Cancel(cancel),
                    None => continue,
                },
                alarm = alarms.next() => match alarm {
                    Alarm::Deadline => Event::Deadline,
                    Alarm::Grace => Event::GraceOver,
                    Alarm::Drain => {
                        pumping = false;
                        Event::OutputEnded
                    }
                },
                event = next(&mut acting) => {
                    acting = None;
                    patience.judge(event)
                }
                code = &mut exit, if waiting => {
                    waiting = false;
                    code.map_or_else(|_| Event::WaitBroken, Event::WaitAnswered)
                }
                end = &mut pump, if pumping => {
                    pumping = false;
                    match end {
                        output::End::Stream => Event::OutputEnded,
                        output::End::ReceiverGone => {
                            machine.step(Event::OutputEnded);
                            Event::Cancel(Cancel::OutputClosed)
                        }
                    }
                }
                result = &mut feed, if feeding => {
                    feeding = false;
                    input_error = result.err().map(|error| error.to_string());
                    continue;
                }
            };
            match machine.step(event) {
                Action::Wait => {}
                Action::Ask => {
                    acting.get_or_insert_with(|| Box::pin(ask(container, Duration::ZERO)));
                }
                Action::AskAgain(count) => {
                    acting.get_or_insert_with(|| Box::pin(ask(container, pause(count))));
                }
                Action::Terminate => {
                    alarms.grace = Some(Instant::now() + spec.stop_timeout);
                    acting = Some(Box::pin(signal(container, "TERM")));
                }
                Action::Kill => acting = Some(Box::pin(signal(container, "KILL"))),
                Action::Finish => break,
            }
            if machine.has_ended() {
                ended_sender.send_replace(true);
                if machine.is_ending() && pumping {
                    alarms.drain.get_or_insert_with(|| Instant::now() + DRAIN_AFTER_ENDING);
                }
            }
        }
    }
    if !report.complete && report.incomplete_because.is_none() {
        report.incomplete_because = Some("its reader did not take it before the task had to end".into());
    }
    Ended {
        outcome: machine.outcome(),
        child_out_of_memory: machine.child_out_of_memory(),
        evidence: machine.evidence,
        output: report,
        input_error,
        ignored,
    }
}

/// The instants at which something happens by itself.
struct Alarms {
    deadline: Option<Instant>,
    grace: Option<Instant>,
    drain: Option<Instant>,
}

enum Alarm {
    Deadline,
    Grace,
    Drain,
}

impl Alarms {
    fn new(timeout: Option<Duration>) -> Self {
        Self { deadline: timeout.map(|timeout| Instant::now() + timeout), grace: None, drain: None }
    }

    /// The next one; each rings once.
    async fn next(&mut self) -> Alarm {
        tokio::select! {
            () = ring(&mut self.deadline) => Alarm::Deadline,
            () = ring(&mut self.grace) => Alarm::Grace,
            () = ring(&mut self.drain) => Alarm::Drain,
        }
    }
}

async fn ring(alarm: &mut Option<Instant>) {
    match alarm {
        Some(instant) => sleep_until(*instant).await,
        None => std::future::pending().await,
    }
    *alarm = None;
}

/// How long an engine that does not answer is asked again.
#[derive(Default)]
struct Patience {
    failing_since: Option<Instant>,
}

impl Patience {
    fn judge(&mut self, answer: Event) -> Event {
        if !matches!(answer, Event::InspectFailed(_)) {
            self.failing_since = None;
            return answer;
        }
        let since = self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() > ENGINE_PATIENCE { Event::EngineGivenUp } else { answer }
    }
}

/// Between two questions: quick right after something happened, then less and less so.
fn pause(count: u32) -> Duration {
    Duration::from_millis(match count {
        0..=10 => 3,
        11..=20 => 10,
        21..=30 => 50,
        _ => 250,
    })
}

async fn next(acting: &mut Option<Acting<'_>>) -> Event {
    match acting {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn ask(container: &TaskContainer, after: Duration) -> Event {
    if !after.is_zero() {
        sleep(after).await;
    }
    match container.engine().container_inspect(container.id().as_str()).await {
        Ok(inspect) => Event::Inspected(inspect.state),
        Err(error) if error.is_not_found() => Event::Vanished,
        Err(error) => Event::InspectFailed(error.message()),
    }
}

async fn signal(container: &TaskContainer, signal: &'static str) -> Event {
    let plan = container.plan();
    tracing::info!(operation = plan.operation, name = %plan.name, signal, "stopping");
    match container.engine().container_kill(container.id().as_str(), signal).await {
        Ok(()) => {}
        // It has just ended by itself.
        Err(error) if error.is_conflict() || error.is_not_found() => {}
        Err(error) => tracing::error!(operation = plan.operation, %error, "signal not sent"),
    }
    ask(container, Duration::ZERO).await
}

/// Passes standard input on and half-closes it at its end. That the task stops reading is ordinary.
async fn feed(mut input: Input, stdin: Option<Box<dyn AsyncRead + Send + Unpin>>) -> io::Result<()> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    let mut buffer = vec![0; 64 * 1024];
    let read = loop {
        match stdin.read(&mut buffer).await {
            Ok(0) => break Ok(()),
            Ok(count) => {
                if input.write_all(&buffer[..count]).await.is_err() {
                    return Ok(());
                }
            }
            // A descriptor that whoever started us has made non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(Duration::from_millis(5)).await,
            Err(error) => break Err(error),
        }
    };
    let _ = input.finish().await;
    read
}

async fn finish(container: &TaskContainer, ended: Ended, mut clock: Clock) -> Receipt {
    let plan = container.plan();
    let mut warnings = plan.warnings.clone();
    if ended.child_out_of_memory {
        warnings.push("a process of the task was killed for memory, though the task ended otherwise".into());
    }
    if let Some(error) = &ended.input_error {
        warnings.push(format!("standard input could not be read to its end: {error}"));
    }
    if ended.outcome == (Outcome::Exited { code: 137 }) {
        warnings.push("exit code 137 may also mean that something outside sent KILL".into());
    }
    let removed = if plan.spec.keep { None } else { Some(container.remove().await) };
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
        container: ContainerReceipt { id: container.id().to_string(), name: plan.name.to_string() },
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
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { started, began: now, last: now, phases: Phases::default() }
    }

    /// Ends a phase, which began where the one before it ended.
    fn phase(&mut self, phase: impl FnOnce(&mut Phases) -> &mut f64) {
        let now = Instant::now();
        *phase(&mut self.phases) = milliseconds(now - self.last);
        self.last = now;
    }

    fn total(&self) -> Phases {
        Phases { total: milliseconds(self.last - self.began), ..self.phases.clone() }
    }
}

/// To a thousandth.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
