//! A running task as a state machine: events in, the next action out. Pure; the driver in `run` owns sockets and clocks.

mod verdict;

use std::time::Duration;

use super::outcome::{Cancel, Evidence};
use crate::model::State as ContainerState;
use crate::protocol::record::{ABANDONED, End as Word};

/// Questions between two KILLs: about half a second.
const ASKS_PER_KILL: u32 = 28;
/// Questions, about a tenth of a second, after which a task does not end with its output.
const ENDS_WITH_ITS_OUTPUT: u32 = 20;
/// After so many it is left to the removal.
const MAX_KILLS: u32 = 10;

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The output came to an end, whether or not it was complete.
    OutputEnded,
    /// `wait` answered.
    WaitAnswered(u8),
    /// `wait` was cut or answered nonsense.
    WaitBroken,
    /// An inspect answered.
    Inspected(ContainerState),
    /// An inspect says that there is no such container any more.
    Vanished,
    /// An inspect did not answer; the text says why.
    InspectFailed(String),
    /// The engine has not answered for so long that it is given up.
    EngineGivenUp,
    /// Somebody wants it to end.
    Cancel(Cancel),
    /// Nothing was heard of it for a while.
    TimeToLook,
    /// Process 1 of a container that runs does not answer.
    Unheard,
    /// The time it was given is over.
    Deadline,
    /// The grace period after TERM is over.
    GraceOver,
}

/// What to do next. At most one is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Wait for the next event.
    Wait,
    /// Inspect at once.
    Ask,
    /// Inspect after a pause; the number counts the pauses since something happened.
    AskAgain(u32),
    /// Send TERM and begin the grace period.
    Terminate,
    /// Send KILL.
    Kill,
    /// It is over.
    Finish,
}

#[derive(Debug)]
pub(crate) struct Machine {
    timeout: Duration,
    output_ended: bool,
    wait_broken: bool,
    asked: u32,
    outlived_its_output: bool,
    kills: u32,
    ending: Option<Ending>,
    end: Option<End>,
    last_error: String,
    /// What it is asked to do, where our own process 1 tells how it ended: an end without its word is not the task's.
    told_of: Option<Told>,
    word: Option<Word>,
    pub(crate) evidence: Evidence,
}

/// What our own process 1 was asked for, in words.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) command: String,
    /// Where inside.
    pub(crate) mounts: Vec<String>,
    /// Their names.
    pub(crate) secrets: Vec<String>,
}

/// Why we are ending it. The first deadline or cancel stands; a stronger cancel replaces a weaker one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Deadline,
    Cancel(Cancel),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Code(u8),
    Lost,
    Unknown(String),
}

impl Machine {
    pub(crate) fn new(timeout: Duration, told_of: Option<Told>) -> Self {
        Self {
            timeout,
            output_ended: false,
            wait_broken: false,
            asked: 0,
            outlived_its_output: false,
            kills: 0,
            ending: None,
            end: None,
            last_error: String::new(),
            told_of,
            word: None,
            evidence: Evidence::default(),
        }
    }

    /// Whether the main process is known to have ended, or nothing more can be known.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Whether it was killed, or has ended while it was being ended from outside, so that its output need not be waited for much longer.
    pub(crate) fn needs_no_more_output(&self) -> bool {
        self.kills > 0 || (self.has_ended() && self.ending.is_some())
    }

    /// Process 1's word on how the task ended, as soon as it is there.
    pub(crate) fn told(&mut self, word: Word) {
        self.word = Some(word);
        self.evidence.init = Some(word.how.into());
    }

    pub(crate) fn step(&mut self, event: Event) -> Action {
        match event {
            Event::OutputEnded => {
                self.output_ended = true;
                self.asked = 0;
                if self.has_ended() {
                    Action::Finish
                } else {
                    Action::Ask
                }
            }
            Event::WaitAnswered(code) => {
                self.evidence.wait_code = Some(code);
                self.asked = 0;
                if self.has_ended() {
                    self.after_end()
                } else {
                    Action::Ask
                }
            }
            Event::WaitBroken => {
                self.wait_broken = true;
                if self.has_ended() {
                    self.after_end()
                } else {
                    Action::AskAgain(self.count())
                }
            }
            Event::Inspected(state) => self.inspected(&state),
            Event::Vanished => {
                self.end = Some(match self.evidence.wait_code {
                    Some(code) => End::Code(code),
                    None => End::Unknown(
                        "the container was removed by somebody else while the task ran".into(),
                    ),
                });
                self.after_end()
            }
            Event::InspectFailed(error) => {
                self.last_error = error;
                Action::AskAgain(self.count())
            }
            Event::EngineGivenUp => {
                self.end = Some(self.evidence.wait_code.map_or(End::Lost, End::Code));
                Action::Finish
            }
            Event::Unheard => {
                self.lose("process 1 of the container did not answer");
                Action::Finish
            }
            Event::Cancel(cancel) => self.cancel(cancel),
            Event::Deadline => {
                if self.ending.is_some() {
                    return self.after_end();
                }
                self.ending = Some(Ending::Deadline);
                if self.has_ended() {
                    self.after_end()
                } else {
                    self.kill()
                }
            }
            Event::GraceOver | Event::TimeToLook if self.has_ended() => self.after_end(),
            Event::GraceOver => self.kill(),
            Event::TimeToLook => Action::Ask,
        }
    }

    fn inspected(&mut self, state: &ContainerState) -> Action {
        if state.has_ended() {
            self.evidence.inspect_code = state.exit_code;
            self.evidence.oom_killed = Some(state.oom_killed);
            self.evidence.engine_error.clone_from(&state.error);
            self.end = Some(self.conclude(state.exit_code));
            return self.after_end();
        }
        if self.kills > 0 {
            return self.still_there_after_kill();
        }
        self.outlived_its_output |= self.output_ended && self.asked > ENDS_WITH_ITS_OUTPUT;
        // Closed streams do not mean an end: while wait is open and the output goes on there is no need to ask.
        if self.output_ended || self.wait_broken || self.evidence.wait_code.is_some() {
            Action::AskAgain(self.count())
        } else {
            Action::Wait
        }
    }

    fn conclude(&self, code: Option<i64>) -> End {
        let Some(code) = code else {
            return End::Unknown(
                "the engine says that it has ended, but not with which exit code".into(),
            );
        };
        let Ok(code) = u8::try_from(code) else {
            return End::Unknown(format!("{code} is not an exit code"));
        };
        if let Some(other) = self.evidence.wait_code.filter(|other| *other != code) {
            return End::Unknown(format!(
                "the engine says exit code {other} and exit code {code}"
            ));
        }
        match self.word {
            Some(word) if word.how.exit_code() != code => End::Unknown(format!(
                "process 1 says {:?}, the engine says exit code {code}",
                word.how
            )),
            // An engine that stops or dies ends its containers, or closes the stream on which process 1 waits for us.
            None if self.lost_the_engine() && matches!(code, 137 | 143) => End::Lost,
            None if self.told_of.is_some() && code == ABANDONED && self.ending.is_none() => {
                End::Lost
            }
            None if self.told_of.is_some() && !self.lost_the_engine() && code != 137 => {
                End::Unknown(format!(
                    "process 1 did not say how the task ended, the engine says exit code {code}"
                ))
            }
            _ => End::Code(code),
        }
    }

    /// Whether the connection that waits was lost, so that the end of the output may be a cut as well.
    pub(crate) fn lost_the_engine(&self) -> bool {
        self.wait_broken && self.evidence.wait_code.is_none()
    }

    /// Whether it ran on after its output had ended: it closed its streams, or their connection was cut just between two frames.
    pub(crate) fn outlived_its_output(&self) -> bool {
        self.outlived_its_output
    }

    /// Why it is being ended, in a word.
    pub(crate) fn why(&self) -> &'static str {
        match self.ending {
            Some(Ending::Deadline) => "deadline",
            Some(Ending::Cancel(Cancel::Stop)) => "stop",
            Some(Ending::Cancel(Cancel::Kill)) => "kill",
            Some(Ending::Cancel(Cancel::OutputClosed)) => "output_closed",
            None => "",
        }
    }

    fn cancel(&mut self, cancel: Cancel) -> Action {
        if self.has_ended() {
            // Only its output is still on the way to somebody who does not read it.
            self.ending.get_or_insert(Ending::Cancel(cancel));
            return self.after_end();
        }
        match self.ending {
            Some(Ending::Deadline) => Action::Wait,
            Some(Ending::Cancel(earlier)) if earlier >= cancel => Action::Wait,
            _ => {
                self.ending = Some(Ending::Cancel(cancel));
                if cancel == Cancel::Stop {
                    self.evidence.signals.push("TERM");
                    Action::Terminate
                } else {
                    self.kill()
                }
            }
        }
    }

    fn kill(&mut self) -> Action {
        self.kills += 1;
        self.asked = 0;
        self.evidence.signals.push("KILL");
        Action::Kill
    }

    /// A KILL may be refused or lost, so it is sent again. After some seconds the rest is left to the removal, which is by force.
    fn still_there_after_kill(&mut self) -> Action {
        let asked = self.count();
        if asked < ASKS_PER_KILL {
            return Action::AskAgain(asked);
        }
        if self.kills < MAX_KILLS {
            return self.kill();
        }
        self.end = Some(End::Unknown(
            "it was still running after repeated KILLs".into(),
        ));
        self.after_end()
    }

    fn count(&mut self) -> u32 {
        self.asked += 1;
        self.asked
    }

    fn after_end(&self) -> Action {
        if self.has_ended() && self.output_ended {
            Action::Finish
        } else {
            Action::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::{Outcome, StartFailure};
    use super::*;
    use crate::protocol::record::{Cause, How};

    fn state(status: &str, exit_code: i64, oom_killed: bool) -> Event {
        Event::Inspected(ContainerState {
            status: status.into(),
            exit_code: Some(exit_code),
            oom_killed,
            ..ContainerState::default()
        })
    }

    fn ended(code: i64) -> Event {
        state("exited", code, false)
    }

    /// Runs events; the actions must be those given.
    fn run(steps: impl IntoIterator<Item = (Event, Action)>) -> Machine {
        let mut machine = Machine::new(Duration::from_secs(5), None);
        for (number, (event, expected)) in steps.into_iter().enumerate() {
            let shown = format!("{event:?}");
            assert_eq!(machine.step(event), expected, "step {number}: {shown}");
        }
        machine
    }

    #[test]
    fn an_exit_is_known_by_whatever_says_it_first() {
        use Action::{Ask, AskAgain, Finish, Wait};
        let by_output = run([
            (Event::OutputEnded, Ask),
            (state("running", 0, false), AskAgain(1)),
            (state("stopped", 7, false), Finish),
        ]);
        assert_eq!(by_output.outcome(), Outcome::Exited { code: 7 });
        let by_wait = run([
            (Event::WaitAnswered(7), Ask),
            (ended(7), Wait),
            (Event::OutputEnded, Finish),
        ]);
        assert_eq!(by_wait.outcome(), Outcome::Exited { code: 7 });
        assert_eq!(by_wait.evidence.wait_code, Some(7));
    }

    #[test]
    fn closed_streams_are_no_end() {
        use Action::{Ask, AskAgain};
        let mut machine = run([
            (Event::OutputEnded, Ask),
            (state("running", 0, false), AskAgain(1)),
            (state("running", 0, false), AskAgain(2)),
            (Event::WaitAnswered(5), Ask),
        ]);
        assert!(!machine.has_ended());
        assert_eq!(machine.step(ended(5)), Action::Finish);
        assert_eq!(machine.outcome(), Outcome::Exited { code: 5 });
    }

    #[test]
    fn fr_020a_87_out_of_memory_is_told_apart_from_the_code() {
        use Action::{Ask, Finish};
        let main = run([
            (Event::OutputEnded, Ask),
            (state("exited", 137, true), Finish),
        ]);
        assert_eq!(main.outcome(), Outcome::OutOfMemory);
        assert!(!main.child_out_of_memory());
        let child = run([
            (Event::OutputEnded, Ask),
            (state("exited", 0, true), Finish),
        ]);
        assert_eq!(child.outcome(), Outcome::Exited { code: 0 });
        assert!(child.child_out_of_memory());
        let bare = run([(Event::OutputEnded, Ask), (ended(137), Finish)]);
        assert_eq!(bare.outcome(), Outcome::Exited { code: 137 });
    }

    #[test]
    fn fr_020a_71_stop_is_term_then_kill_and_the_second_request_is_kill() {
        use Action::{Ask, Finish, Kill, Terminate};
        let graceful = run([
            (Event::Cancel(Cancel::Stop), Terminate),
            (Event::OutputEnded, Ask),
            (ended(143), Finish),
        ]);
        assert_eq!(graceful.outcome(), Outcome::Cancelled { by: Cancel::Stop });
        assert_eq!(graceful.evidence.signals, ["TERM"]);
        let stubborn = run([
            (Event::Cancel(Cancel::Stop), Terminate),
            (Event::GraceOver, Kill),
        ]);
        assert_eq!(stubborn.evidence.signals, ["TERM", "KILL"]);
        let twice = run([
            (Event::Cancel(Cancel::Stop), Terminate),
            (Event::Cancel(Cancel::Stop), Action::Wait),
            (Event::Cancel(Cancel::Kill), Kill),
        ]);
        assert_eq!(twice.evidence.signals, ["TERM", "KILL"]);
    }

    #[test]
    fn a_task_that_handles_term_and_exits_0_is_still_cancelled() {
        use Action::{Ask, Finish, Terminate};
        let machine = run([
            (Event::Cancel(Cancel::Stop), Terminate),
            (Event::OutputEnded, Ask),
            (ended(0), Finish),
        ]);
        assert_eq!(machine.outcome().status(), 143);
    }

    #[test]
    fn a_deadline_kills_and_stands_against_a_later_cancel() {
        use Action::{Ask, Finish, Kill, Wait};
        let machine = run([
            (Event::Deadline, Kill),
            (Event::Cancel(Cancel::Stop), Wait),
            (Event::OutputEnded, Ask),
            (ended(137), Finish),
        ]);
        assert_eq!(machine.outcome(), Outcome::Deadline { after_ms: 5000 });
        assert_eq!(machine.outcome().status(), 124);
    }

    #[test]
    fn a_task_that_we_ended_needs_no_code_to_say_so() {
        use Action::{Ask, Finish, Kill};
        let machine = run([
            (Event::Deadline, Kill),
            (ended(-1), Action::Wait),
            (Event::OutputEnded, Finish),
        ]);
        assert_eq!(machine.outcome().status(), 124);
        let machine = run([
            (Event::Cancel(Cancel::Kill), Kill),
            (Event::OutputEnded, Ask),
            (Event::Vanished, Finish),
        ]);
        assert_eq!(machine.outcome(), Outcome::Cancelled { by: Cancel::Kill });
    }

    #[test]
    fn a_kill_that_does_not_work_is_repeated_and_never_success() {
        let mut machine = run([(Event::Deadline, Action::Kill)]);
        let mut kills = 1;
        for _ in 0..1000 {
            match machine.step(state("running", 0, false)) {
                Action::Kill => kills += 1,
                Action::AskAgain(_) => {}
                other => {
                    assert_eq!(other, Action::Wait);
                    break;
                }
            }
        }
        assert_eq!(kills, MAX_KILLS);
        assert_eq!(machine.step(Event::OutputEnded), Action::Finish);
        assert_eq!(machine.outcome().status(), 124);
        let mut late = run([(Event::Deadline, Action::Kill)]);
        while late.step(state("running", 0, false)) != Action::Kill {}
        late.step(Event::OutputEnded);
        assert_eq!(late.step(ended(0)), Action::Finish);
        assert_eq!(late.outcome().status(), 124, "it outlived its deadline");
    }

    #[test]
    fn evidence_that_is_missing_or_disagrees_is_no_success() {
        use Action::{Ask, Finish, Wait};
        let missing = Event::Inspected(ContainerState {
            status: "exited".into(),
            ..ContainerState::default()
        });
        let machine = run([(Event::OutputEnded, Ask), (missing, Finish)]);
        assert_eq!(machine.outcome().status(), 125);
        let machine = run([
            (Event::WaitAnswered(7), Ask),
            (ended(0), Wait),
            (Event::OutputEnded, Finish),
        ]);
        assert_eq!(machine.outcome().status(), 125);
    }

    #[test]
    fn an_exit_just_before_the_kill_keeps_its_code() {
        use Action::{Ask, Finish, Kill};
        let machine = run([
            (Event::Deadline, Kill),
            (Event::OutputEnded, Ask),
            (ended(3), Finish),
        ]);
        assert_eq!(machine.outcome(), Outcome::Exited { code: 3 });
    }

    #[test]
    fn a_stalled_reader_of_a_task_that_has_ended_does_not_stop_the_deadline() {
        let machine = run([
            (Event::WaitAnswered(0), Action::Ask),
            (ended(0), Action::Wait),
            (Event::Deadline, Action::Wait),
            (Event::OutputEnded, Action::Finish),
        ]);
        assert_eq!(machine.outcome().status(), 124);
    }

    #[test]
    fn a_lost_engine_is_never_success() {
        use Action::{Ask, AskAgain, Finish, Wait};
        let lost = run([
            (Event::WaitBroken, AskAgain(1)),
            (Event::OutputEnded, Ask),
            (Event::InspectFailed("no socket".into()), AskAgain(1)),
            (Event::EngineGivenUp, Finish),
        ]);
        assert_eq!(
            lost.outcome(),
            Outcome::EngineLost {
                message: "no socket".into()
            }
        );
        assert_eq!(lost.outcome().status(), 125);
        let back = run([
            (Event::WaitBroken, AskAgain(1)),
            (ended(7), Wait),
            (Event::OutputEnded, Finish),
        ]);
        assert_eq!(back.outcome(), Outcome::Exited { code: 7 });
        let gone = run([(Event::OutputEnded, Ask), (Event::Vanished, Finish)]);
        assert_eq!(gone.outcome().status(), 125);
        let odd = run([(Event::OutputEnded, Ask), (ended(-1), Finish)]);
        assert_eq!(odd.outcome().status(), 125);
    }

    /// A task with our own process 1, which says `word` before the engine says that it has ended with `code`.
    fn told(
        steps: impl IntoIterator<Item = Event>,
        word: impl Into<Option<Word>>,
        end: Event,
    ) -> Outcome {
        let mut machine = Machine::new(
            Duration::from_secs(5),
            Some(Told {
                command: "sh".into(),
                mounts: vec!["/workspace".into()],
                secrets: vec!["token".into()],
            }),
        );
        for event in steps {
            machine.step(event);
        }
        if let Some(word) = word.into() {
            machine.told(word);
        }
        machine.step(Event::OutputEnded);
        machine.step(end);
        machine.outcome()
    }

    const SILENT: Option<Word> = None;

    fn word(how: How, cause: Cause) -> Word {
        Word { how, cause }
    }

    #[test]
    fn fr_020a_18_process_1_tells_a_signal_from_a_code() {
        use Cause::{Itself, Outside};
        let exited = |code| Outcome::Exited { code };
        for (how, cause, engine, outcome) in [
            (How::Exited(0), Itself, ended(0), exited(0)),
            (How::Exited(139), Itself, ended(139), exited(139)),
            (
                How::Signaled(11),
                Itself,
                ended(139),
                Outcome::Signaled { signal: 11 },
            ),
            (
                How::Signaled(9),
                Itself,
                state("exited", 137, true),
                Outcome::OutOfMemory,
            ),
            (
                How::Exited(137),
                Itself,
                state("exited", 137, true),
                exited(137),
            ),
            (How::Exited(3), Outside, ended(3), exited(3)),
            (How::Exited(0), Outside, ended(0), Outcome::Stopped),
            (How::Signaled(15), Outside, ended(143), Outcome::Stopped),
        ] {
            assert_eq!(told([], word(how, cause), engine), outcome, "{how:?}");
        }
        let failed = told([], word(How::Failed(2), Itself), ended(127));
        assert_eq!(failed.status(), 127);
        assert!(matches!(
            failed,
            Outcome::StartFailed {
                reason: StartFailure::NotFound,
                ..
            }
        ));
    }

    #[test]
    fn an_end_without_process_1s_word_or_against_it_is_no_success() {
        for code in [0, 1, 143] {
            assert_eq!(told([], SILENT, ended(code)).status(), 125, "{code}");
        }
        assert_eq!(told([], SILENT, ended(137)), Outcome::Exited { code: 137 });
        assert_eq!(
            told([], word(How::Exited(0), Cause::Itself), ended(1)).status(),
            125
        );
        // A cut that takes both connections.
        let lost = |code| told([Event::WaitBroken], SILENT, ended(code));
        assert_eq!((lost(137).status(), lost(143).status()), (125, 125));
        assert!(matches!(
            told([], SILENT, ended(ABANDONED.into())),
            Outcome::EngineLost { .. }
        ));
        assert_eq!(lost(7), Outcome::Exited { code: 7 });
    }

    #[test]
    fn who_ended_it_is_known_by_process_1s_word() {
        let killed = word(How::Signaled(9), Cause::Order);
        let deadline = Outcome::Deadline { after_ms: 5000 };
        let cancelled = |by| Outcome::Cancelled { by };
        assert_eq!(told([Event::Deadline], killed, ended(137)), deadline);
        assert_eq!(
            told([], word(How::Signaled(9), Cause::Deadline), ended(137)),
            deadline
        );
        let kill = || [Event::Cancel(Cancel::Kill)];
        assert_eq!(told(kill(), killed, ended(137)), cancelled(Cancel::Kill));
        // We closed its connection, since nobody took the output.
        assert_eq!(
            told([Event::Deadline], SILENT, ended(ABANDONED.into())),
            deadline
        );
        // By itself, just before our KILL came.
        let itself = word(How::Exited(137), Cause::Itself);
        assert_eq!(
            told(kill(), itself, ended(137)),
            Outcome::Exited { code: 137 }
        );
        let stop = || [Event::Cancel(Cancel::Stop)];
        assert_eq!(
            told(stop(), word(How::Exited(0), Cause::Itself), ended(0)),
            cancelled(Cancel::Stop)
        );
    }

    #[test]
    fn what_the_engine_may_have_ended_is_looked_into() {
        let after = |word: Option<Word>, code| {
            let mut machine = Machine::new(
                Duration::from_secs(5),
                Some(Told {
                    command: "sh".into(),
                    mounts: vec!["/workspace".into()],
                    secrets: vec!["token".into()],
                }),
            );
            if let Some(word) = word {
                machine.told(word);
            }
            machine.step(Event::OutputEnded);
            machine.step(ended(code));
            machine.may_be_the_engines_end()
        };
        assert!(after(None, 137));
        assert!(after(Some(word(How::Signaled(15), Cause::Outside)), 143));
        assert!(after(Some(word(How::Exited(0), Cause::Outside)), 0));
        assert!(!after(Some(word(How::Signaled(9), Cause::Itself)), 137));
        assert!(!after(Some(word(How::Exited(0), Cause::Itself)), 0));
    }

    #[test]
    fn a_task_of_which_nothing_is_heard_is_looked_at() {
        run([
            (Event::TimeToLook, Action::Ask),
            (state("running", 0, false), Action::Wait),
            (Event::TimeToLook, Action::Ask),
            (Event::InspectFailed("stopped".into()), Action::AskAgain(1)),
            (Event::EngineGivenUp, Action::Finish),
        ]);
    }
}
