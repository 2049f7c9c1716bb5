//! How a task ended, from all that is known when it is over.

use super::{End, Ending, Machine};
use crate::error::shown;
use crate::protocol::record::{Cause, End as Word, How, Unprepared};
use crate::task::outcome::{Outcome, StartFailure};

impl Machine {
    /// How it ended, once [`Action::Finish`] was said.
    pub(crate) fn outcome(&self) -> Outcome {
        let ended = match &self.end {
            Some(End::Code(code)) => Ok(*code),
            Some(End::Unknown(message)) => Err(message),
            Some(End::Lost) | None => {
                let message = if self.last_error.is_empty() {
                    "its connection to the task was cut, which ended the task".to_owned()
                } else {
                    self.last_error.clone()
                };
                return Outcome::EngineLost { message };
            }
        };
        let by_itself = match (ended, self.word) {
            (Ok(_), Some(word)) => self.by_word(word),
            (Ok(code), None) => self.by_code(code),
            (Err(_), _) => None,
        };
        match (by_itself, self.ending, ended) {
            (Some(outcome), _, _) => outcome,
            // We ended it, whatever the code: Podman says -1 where a stalled reader blocks its monitor.
            (None, Some(Ending::Deadline), _) => self.deadline(),
            (None, Some(Ending::Cancel(by)), _) => Outcome::Cancelled { by },
            (None, None, Err(message)) => Outcome::Unknown {
                message: message.clone(),
            },
            (None, None, Ok(code)) => Outcome::Exited { code },
        }
    }

    /// Whether the engine may have ended the task because it is being shut down itself.
    pub(crate) fn may_be_the_engines_end(&self) -> bool {
        let signaled = matches!(self.end, Some(End::Code(137 | 143)));
        let by_itself = self.word.is_some_and(|word| word.cause == Cause::Itself);
        self.ending.is_none()
            && ((signaled && !by_itself)
                || matches!(self.word, Some(word) if word.cause == Cause::Outside))
    }

    /// It is.
    pub(crate) fn lose_the_engine(&mut self) {
        self.lose("it was shut down while the task ran, and ended the task");
    }

    pub(super) fn lose(&mut self, why: &str) {
        self.last_error = why.into();
        self.end = Some(End::Lost);
    }

    /// From process 1's word; `None` when we ended it.
    fn by_word(&self, word: Word) -> Option<Outcome> {
        let oom = self.evidence.oom_killed == Some(true);
        // It may have ended by itself just before our KILL came.
        let asked_to_end = self.ending.is_some() && self.evidence.signals != ["KILL"];
        match (word.cause, word.how) {
            (Cause::Deadline, _) => Some(self.deadline()),
            (_, How::Failed(errno)) => Some(self.start_failed(errno)),
            (_, How::Unprepared(what)) => Some(self.unprepared(what)),
            // One that took the signal well and says so ends by itself, but with 0 it does not say that it did its work.
            (Cause::Outside, How::Exited(code @ 1..)) if self.ending.is_none() => {
                Some(Outcome::Exited { code })
            }
            (Cause::Outside, _) if self.ending.is_none() => Some(Outcome::Stopped),
            (Cause::Order | Cause::Outside, _) => None,
            (Cause::Itself, _) if asked_to_end => None,
            (Cause::Itself, How::Exited(code)) => Some(Outcome::Exited { code }),
            (Cause::Itself, How::Signaled(_)) if self.ending.is_some() => None,
            (Cause::Itself, How::Signaled(9)) if oom => Some(Outcome::OutOfMemory),
            (Cause::Itself, How::Signaled(signal)) => Some(Outcome::Signaled { signal }),
        }
    }

    /// From the exit code alone; `None` when we ended it.
    fn by_code(&self, code: u8) -> Option<Outcome> {
        let oom = self.evidence.oom_killed == Some(true);
        match self.ending {
            None if code == 137 && oom => Some(Outcome::OutOfMemory),
            None => Some(Outcome::Exited { code }),
            // Process 1 would have told of an end that was not ours.
            Some(_) if self.told_of.is_some() => None,
            // It may have ended by itself just before our KILL came.
            Some(_) => (!matches!(code, 137 | 143) && self.evidence.signals == ["KILL"])
                .then_some(Outcome::Exited { code }),
        }
    }

    fn start_failed(&self, errno: i32) -> Outcome {
        let reason = match How::Failed(errno).exit_code() {
            127 => StartFailure::NotFound,
            126 => StartFailure::NotExecutable,
            _ => StartFailure::Other,
        };
        let told = self.told_of.as_ref();
        let command = shown(told.map_or("", |told| &told.command));
        let error = std::io::Error::from_raw_os_error(errno);
        Outcome::StartFailed {
            reason,
            message: format!("'{command}' cannot be started: {error}"),
        }
    }

    fn unprepared(&self, what: Unprepared) -> Outcome {
        let told = self.told_of.as_ref();
        let name = |list: Option<&Vec<String>>, number: u16| {
            shown(
                list.and_then(|list| list.get(usize::from(number)))
                    .map_or("", |name| name),
            )
        };
        let message = match what {
            Unprepared::Mount(number) => format!(
                "what is mounted at {} inside is not what was checked outside: it was replaced meanwhile, or the engine does not see the \
                 files that we see; the task was not started",
                name(told.map(|told| &told.mounts), number)
            ),
            Unprepared::Secret(number) => format!(
                "the secret '{}' could not be written inside; the task was not started",
                name(told.map(|told| &told.secrets), number)
            ),
        };
        Outcome::StartFailed {
            reason: StartFailure::Other,
            message,
        }
    }

    fn deadline(&self) -> Outcome {
        Outcome::Deadline {
            after_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The kernel killed something for memory, but the main process ended in another way.
    pub(crate) fn child_out_of_memory(&self) -> bool {
        self.evidence.oom_killed == Some(true) && self.outcome() != Outcome::OutOfMemory
    }
}
