//! Watching a task that has started: output, exit, input, requests and alarms in one loop. What it decides stands in `state`.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::applied::Ignored;
use super::container::{Subscribed, TaskContainer};
use super::outcome::{Cancel, Evidence, Outcome};
use super::output::{self, OutputReport, pump};
use super::run::TaskIo;
use super::state::{Action, Event, Machine};
use crate::engine::Input;

/// An engine that does not answer for so long during a task is given up.
const ENGINE_PATIENCE: Duration = Duration::from_secs(15);
/// A task that was ended on request has so long to get its last output read.
const DRAIN_AFTER_ENDING: Duration = Duration::from_secs(2);

/// How a task ended, before its container is removed.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) evidence: Evidence,
    pub(super) child_out_of_memory: bool,
    pub(super) output: OutputReport,
    /// Why standard input ended before its end.
    pub(super) input_error: Option<String>,
    pub(super) ignored: Vec<Ignored>,
}

/// A question or signal to the engine that is under way.
type Acting<'a> = Slot<'a, Event>;

/// Something under way that can be dropped.
type Slot<'a, T> = Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>;

/// Watches until the task has ended and its output is through, or given up.
pub(super) async fn watch_task(
    container: &TaskContainer,
    subscribed: Subscribed,
    io: TaskIo,
    requests: &mut watch::Receiver<Option<Cancel>>,
) -> Ended {
    let Subscribed {
        attached,
        waiting,
        ignored,
    } = subscribed;
    let spec = &container.plan().spec;
    let mut machine = Machine::new(spec.timeout.unwrap_or_default());
    let mut report = OutputReport::default();
    let mut input_error = None;
    let (ended_sender, ended) = watch::channel(false);
    {
        // In options, so that giving both up closes their connection: an engine whose output nobody takes does not note the task's end.
        let mut pump: Slot<'_, output::End> = Some(Box::pin(pump(
            attached.output,
            io.output,
            spec.max_output,
            ended,
            &mut report,
        )));
        let mut feed: Slot<'_, io::Result<()>> =
            Some(Box::pin(feed(attached.input, io.stdin, spec.interactive)));
        let mut exit = pin!(waiting.exit_code());
        let mut waiting = true;
        let mut alarms = Alarms::new(spec.timeout);
        let mut patience = Patience::default();
        let mut acting: Acting<'_> = None;
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
                        (pump, feed) = (None, None);
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
                end = next(&mut pump) => {
                    pump = None;
                    match end {
                        output::End::Stream => Event::OutputEnded,
                        output::End::ReceiverGone => {
                            feed = None;
                            machine.step(Event::OutputEnded);
                            Event::Cancel(Cancel::OutputClosed)
                        }
                    }
                }
                result = next(&mut feed) => {
                    feed = None;
                    input_error = result.err().map(|error| error.to_string());
                    continue;
                }
            };
            let action = machine.step(event);
            if action == Action::Finish {
                break;
            }
            if action == Action::Terminate {
                alarms.grace = Some(Instant::now() + spec.stop_timeout);
            }
            begin(action, container, &mut acting);
            if machine.has_ended() {
                ended_sender.send_replace(true);
            }
            if machine.needs_no_more_output() && pump.is_some() {
                alarms
                    .drain
                    .get_or_insert_with(|| Instant::now() + DRAIN_AFTER_ENDING);
            }
        }
    }
    if machine.lost_the_engine() {
        // The stream has no end of its own: where the other connection was cut, this end may be a cut too.
        report.lost("the engine's connections were cut while the task ran");
    }
    if !report.complete {
        report.lost("its reader did not take it before the task had to end");
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

/// Begins what was decided. A signal replaces a question, and a question waits for what is under way: both end with an answer.
fn begin<'a>(action: Action, container: &'a TaskContainer, acting: &mut Acting<'a>) {
    let question = match action {
        Action::Wait | Action::Finish => return,
        Action::Ask => Duration::ZERO,
        Action::AskAgain(count) => pause(count),
        Action::Terminate => {
            *acting = Some(Box::pin(signal(container, "TERM")));
            return;
        }
        Action::Kill => {
            *acting = Some(Box::pin(signal(container, "KILL")));
            return;
        }
    };
    acting.get_or_insert_with(|| Box::pin(ask(container, question)));
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
        Self {
            deadline: timeout.map(|timeout| Instant::now() + timeout),
            grace: None,
            drain: None,
        }
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
        if since.elapsed() > ENGINE_PATIENCE {
            Event::EngineGivenUp
        } else {
            answer
        }
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

/// What a future gives, if there is one.
async fn next<T>(slot: &mut Slot<'_, T>) -> T {
    match slot {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn ask(container: &TaskContainer, after: Duration) -> Event {
    if !after.is_zero() {
        sleep(after).await;
    }
    match container
        .engine()
        .container_inspect(container.id().as_str())
        .await
    {
        Ok(inspect) => Event::Inspected(inspect.state),
        Err(error) if error.is_not_found() => Event::Vanished,
        Err(error) => Event::InspectFailed(error.message()),
    }
}

async fn signal(container: &TaskContainer, signal: &'static str) -> Event {
    let plan = container.plan();
    tracing::info!(operation = plan.operation, name = %plan.name, signal, "stopping");
    match container
        .engine()
        .container_kill(container.id().as_str(), signal)
        .await
    {
        Ok(()) => {}
        // It has just ended by itself.
        Err(error) if error.is_conflict() || error.is_not_found() => {}
        Err(error) => tracing::error!(operation = plan.operation, %error, "signal not sent"),
    }
    ask(container, Duration::ZERO).await
}

/// Passes standard input on and half-closes it at its end; where there is none, at once. That the task stops reading is ordinary.
async fn feed(
    mut input: Input,
    stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    open: bool,
) -> io::Result<()> {
    let Some(mut stdin) = stdin else {
        if open {
            let _ = input.finish().await;
        }
        return Ok(());
    };
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
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(Duration::from_millis(5)).await;
            }
            Err(error) => break Err(error),
        }
    };
    let _ = input.finish().await;
    read
}
