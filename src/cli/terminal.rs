//! Our own terminal, for a task that has one: raw while the task runs, and its size passed on.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

use acode_rt::error::{Code, Error, Kind, Result};
use acode_rt::protocol::order::TerminalSize;
use acode_rt::task::{OnPull, PullEvent};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What a terminal has whose size nobody knows.
const USUAL: TerminalSize = TerminalSize {
    rows: 24,
    columns: 80,
};

/// The size of our terminal, where we have one.
pub(crate) fn size() -> TerminalSize {
    let known = [tcgetwinsize(io::stdout()), tcgetwinsize(io::stdin())]
        .into_iter()
        .flatten()
        .find(|size| size.ws_row > 0 && size.ws_col > 0);
    known.map_or(USUAL, |size| TerminalSize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// Every later size.
pub(crate) fn sizes() -> Option<watch::Receiver<TerminalSize>> {
    let mut changes = signal(SignalKind::window_change()).ok()?;
    let (sender, receiver) = watch::channel(size());
    tokio::spawn(
        async move { while changes.recv().await.is_some() && sender.send(size()).is_ok() {} },
    );
    Some(receiver)
}

/// Our terminal in raw mode: every key goes to the task. As it was before, once dropped.
pub(crate) struct Raw(Option<Termios>);

impl Raw {
    /// Does nothing where standard input is no terminal.
    pub(crate) fn enter() -> Result<Self> {
        let stdin = io::stdin();
        if !isatty(&stdin) {
            return Ok(Self(None));
        }
        let enter = || {
            let before = tcgetattr(&stdin)?;
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(&stdin, OptionalActions::Now, &raw)?;
            Ok(Self(Some(before)))
        };
        enter().map_err(|error: rustix::io::Errno| {
            Error::new(
                Code::Configuration,
                Kind::Io,
                "terminal",
                "it cannot be put into raw mode",
            )
            .because(io::Error::from(error))
        })
    }
}

impl Raw {
    /// As it was before, for a while: what is written has lines, and INT is ours.
    fn pause(&self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Drain, before);
        }
    }

    fn resume(&self) {
        if let Some(before) = &self.0 {
            let mut raw = before.clone();
            raw.make_raw();
            let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &raw);
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.pause();
    }
}

/// `report`, outside of the raw mode that there may be by then.
pub(crate) fn outside_raw(raw: Arc<OnceLock<Raw>>, report: OnPull) -> OnPull {
    Box::new(move |event| {
        if let Some(raw) = raw.get() {
            raw.pause();
        }
        report(event);
        if let (Some(raw), PullEvent::Pulled { .. }) = (raw.get(), event) {
            raw.resume();
        }
    })
}
