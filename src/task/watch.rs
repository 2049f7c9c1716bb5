//! Watching a task that has started: output, exit, input, requests and alarms in one loop. What it decides stands in `state`.

use std::future::Future;
use std::pin::Pin;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::alarms::{Alarm, Alarms};
use super::applied::Ignored;
use super::container::{Subscribed, TaskContainer};
use super::control::{Control, InputError, Records, note, read, steer};
use super::outcome::{Cancel, Evidence, Outcome};
use super::output::{self, OutputReport, pump};
use super::plan::FirstOrders;
use super::protections::Confined;
use super::run::TaskIo;
use super::runner::Requests;
use super::state::{Action, Event, Machine};
use super::stopping::Stopping;
use crate::engine::Input;
use crate::error::Result;
use crate::protocol::order::TerminalSize;
use crate::protocol::record::Use;

/// An engine that does not answer for so long during a task is given up.
const ENGINE_PATIENCE: Duration = Duration::from_secs(15);
/// Process 1 ends within so long when its stream has ended, or it never had one.
const ENDS_WITH_ITS_STREAM: Duration = Duration::from_secs(5);
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
    /// Our own process 1 never answered.
    pub(super) unheard: bool,
    /// What our own process 1 said that it has used.
    pub(super) used: Vec<(Use, u64)>,
}

/// Something under way that can be dropped.
type Slot<'a, T> = Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>;

/// A question or signal to the engine that is under way.
type Acting<'a> = Slot<'a, (Event, Instant)>;

/// Watches until the task has ended and its output is through, or given up.
pub(super) async fn watch_task(
    container: &TaskContainer,
    subscribed: Subscribed,
    first: Option<FirstOrders>,
    io: TaskIo,
    requests: &mut Requests,
) -> Ended {
    let Subscribed {
        attached,
        waiting,
        ignored,
    } = subscribed;
    let spec = &container.plan().spec;
    let control = first.is_some().then(Control::new);
    let (told, orders) = first.map(|first| (first.told, first.orders)).unzip();
    let mut machine = Machine::new(spec.timeout.unwrap_or_default(), told);
    let mut report = OutputReport::default();
    let input_error = InputError::default();
    let (ended_sender, ended) = watch::channel(false);
    let records = control
        .clone()
        .map(|control| Records::new(container.plan().nonce(), control));
    let mut under_way = UnderWay {
        pump: Some(Box::pin(pump(
            attached.output,
            records,
            io.output,
            spec.max_output,
            ended,
            &mut report,
        ))),
        feed: Some(match (control.clone(), orders) {
            (Some(control), Some(orders)) => Box::pin(steer(
                attached.input,
                orders,
                io.stdin,
                control,
                &input_error,
            )),
            _ => Box::pin(feed(
                attached.input,
                io.stdin,
                spec.interactive,
                &input_error,
            )),
        }),
        size: control
            .clone()
            .zip(io.terminal_size)
            .map(|(control, sizes)| Box::pin(pass_on_sizes(control, sizes)) as _),
        exit: Some(Box::pin(waiting.exit_code())),
        acting: None,
        alarms: Alarms::new(
            spec.timeout,
            control
                .is_some()
                .then(|| Instant::now() + container.engine().timeouts().act),
        ),
        control: control.clone(),
        is_cut: false,
        patience: Patience::default(),
    };
    loop {
        let event = under_way.next(requests, &mut machine).await;
        if let Some(end) = control.as_ref().and_then(Control::end) {
            machine.told(end);
        }
        let action = machine.step(event);
        if action == Action::Finish {
            break;
        }
        if action == Action::Terminate {
            under_way.alarms.grace = Some(Instant::now() + spec.stop_timeout);
        }
        let stopping = Stopping::of(container, machine.why());
        begin(action, stopping, control.as_ref(), &mut under_way.acting);
        if machine.has_ended() {
            ended_sender.send_replace(true);
        }
        if machine.needs_no_more_output() && under_way.pump.is_some() {
            under_way
                .alarms
                .drain
                .get_or_insert_with(|| Instant::now() + DRAIN_AFTER_ENDING);
        }
    }
    drop(under_way);
    conclude(container, control.is_some(), &mut machine, &mut report).await;
    let outcome = machine.outcome();
    let used = control.as_ref().map(Control::used).unwrap_or_default();
    let unheard = control.is_some_and(|control| !control.has_started())
        && matches!(outcome, Outcome::EngineLost { .. });
    Ended {
        outcome,
        unheard,
        used,
        child_out_of_memory: machine.child_out_of_memory(),
        evidence: machine.evidence,
        output: report,
        input_error: input_error
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
        ignored,
    }
}

/// What can be said only once all is over: whether the engine went away, and what that makes of the output.
async fn conclude(
    container: &TaskContainer,
    own_init: bool,
    machine: &mut Machine,
    report: &mut OutputReport,
) {
    if machine.may_be_the_engines_end() && !container.engine().listens().await {
        machine.lose_the_engine();
    }
    report.doubtful |= machine.outlived_its_output();
    if machine.lost_the_engine() && !own_init {
        // What another engine wrote, or this one before it was killed, need not be all.
        report.doubtful = false;
        // The stream has no end of its own: where the other connection was cut, this end may be a cut too.
        report.lost("the engine's connections were cut while the task ran");
    }
    if !report.complete {
        report.lost("the rest was given up after the task had to end: its reader stalled, or the engine sent nothing more");
    }
}

/// Everything that goes on beside the task. Giving both the output and the input up closes their connection: an engine whose output nobody
/// takes does not note the task's end.
struct UnderWay<'a> {
    pump: Slot<'a, output::End>,
    feed: Slot<'a, ()>,
    size: Slot<'a, ()>,
    exit: Slot<'a, Result<u8>>,
    acting: Acting<'a>,
    alarms: Alarms,
    patience: Patience,
    control: Option<Control>,
    /// Our own process 1 has not told the end, and cannot any more.
    is_cut: bool,
}

impl UnderWay<'_> {
    /// Our own process 1 has not answered yet.
    fn is_unheard(&self) -> bool {
        self.control
            .as_ref()
            .is_some_and(|control| !control.has_started())
    }

    /// What happens next.
    async fn next(&mut self, requests: &mut Requests, machine: &mut Machine) -> Event {
        loop {
            tokio::select! {
                biased;
                Ok(()) = requests.changed() => {
                    if let Some(cancel) = *requests.borrow_and_update() {
                        return Event::Cancel(cancel);
                    }
                }
                alarm = self.alarms.next() => match alarm {
                    // What never began did not take too long.
                    Alarm::Deadline if self.is_unheard() => return Event::Unheard,
                    Alarm::Deadline => return Event::Deadline,
                    Alarm::Grace => return Event::GraceOver,
                    Alarm::Drain => {
                        (self.pump, self.feed) = (None, None);
                        return Event::OutputEnded;
                    }
                    Alarm::Answer if self.is_unheard() || self.is_cut => return Event::Unheard,
                    Alarm::Answer => {}
                    Alarm::Look => {
                        self.alarms.look_again();
                        return Event::TimeToLook;
                    }
                },
                (event, asked) = next(&mut self.acting) => {
                    self.acting = None;
                    return self.patience.judge(event, asked);
                }
                code = next(&mut self.exit) => {
                    self.exit = None;
                    return code.map_or_else(|_| Event::WaitBroken, Event::WaitAnswered);
                }
                end = next(&mut self.pump) => {
                    self.pump = None;
                    match end {
                        output::End::Stream => {
                            // Without its word nothing more can come: closing our side ends whatever still runs.
                            if self.control.as_ref().is_some_and(|control| control.end().is_none()) {
                                self.feed = None;
                                self.is_cut = true;
                                self.alarms.answer = Some(Instant::now() + ENDS_WITH_ITS_STREAM);
                            }
                            return Event::OutputEnded;
                        }
                        output::End::ReceiverGone => {
                            self.feed = None;
                            machine.step(Event::OutputEnded);
                            return Event::Cancel(Cancel::OutputClosed);
                        }
                    }
                }
                () = next(&mut self.feed) => self.feed = None,
                () = next(&mut self.size) => self.size = None,
            }
        }
    }
}

/// Tells process 1 of every new size of the terminal.
async fn pass_on_sizes(control: Control, mut sizes: watch::Receiver<TerminalSize>) {
    while sizes.changed().await.is_ok() {
        control.resize(*sizes.borrow_and_update());
    }
}

/// Begins what was decided. A signal replaces a question, and a question waits for what is under way: both end with an answer.
fn begin<'a>(
    action: Action,
    stopping: Stopping<'a>,
    control: Option<&Control>,
    acting: &mut Acting<'a>,
) {
    let question = match action {
        Action::Wait | Action::Finish => return,
        Action::Ask => Duration::ZERO,
        Action::AskAgain(count) => pause(count),
        Action::Terminate => {
            if let Some(control) = control {
                stopping.log("TERM");
                control.terminate();
            } else {
                *acting = Some(Box::pin(signal(stopping, "TERM")));
            }
            return;
        }
        // Process 1 tells what came of it. One that does not is killed by the engine the next time.
        Action::Kill if control.is_some_and(Control::kill) => {
            stopping.log("KILL");
            pause(1)
        }
        Action::Kill => {
            *acting = Some(Box::pin(signal(stopping, "KILL")));
            return;
        }
    };
    acting.get_or_insert_with(|| Box::pin(ask(stopping.container, question)));
}

/// How long an engine that does not answer is asked again.
#[derive(Default)]
struct Patience {
    /// When the first question was asked that it has not answered.
    failing_since: Option<Instant>,
}

impl Patience {
    fn judge(&mut self, answer: Event, asked: Instant) -> Event {
        if !matches!(answer, Event::InspectFailed(_)) {
            self.failing_since = None;
            return answer;
        }
        let since = self.failing_since.get_or_insert(asked);
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

/// The answer, and when it was asked.
async fn ask(container: &TaskContainer, after: Duration) -> (Event, Instant) {
    if !after.is_zero() {
        sleep(after).await;
    }
    let asked = Instant::now();
    let answer = match container
        .engine()
        .container_inspect(container.id().as_str())
        .await
    {
        Ok(inspect) => {
            let _ = container.confined.set(Confined::of(&inspect));
            Event::Inspected(inspect.state)
        }
        Err(error) if error.is_not_found() => Event::Vanished,
        Err(error) => Event::InspectFailed(error.message()),
    };
    (answer, asked)
}

async fn signal(stopping: Stopping<'_>, signal: &'static str) -> (Event, Instant) {
    stopping.log(signal);
    let container = stopping.container;
    match container
        .engine()
        .container_kill(container.id().as_str(), signal)
        .await
    {
        Ok(()) => {}
        // It has just ended by itself.
        Err(error) if error.is_conflict() || error.is_not_found() => {}
        Err(error) => {
            tracing::error!(operation = container.plan().operation, %error, "signal not sent");
        }
    }
    ask(container, Duration::ZERO).await
}

/// Passes standard input on and half-closes it at its end; where there is none, at once. That the task stops reading is ordinary.
async fn feed(
    mut input: Input,
    mut stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    open: bool,
    failure: &InputError,
) {
    let mut buffer = vec![0; if stdin.is_some() { 64 * 1024 } else { 0 }];
    while stdin.is_some() {
        match read(stdin.as_mut(), &mut buffer).await {
            Ok(0) => break,
            Ok(count) => {
                if input.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                note(failure, &error);
                break;
            }
        }
    }
    if open {
        let _ = input.finish().await;
    }
}
