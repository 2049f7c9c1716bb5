//! The program behind a proxy that does something to one of its calls.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::fault_proxy::{Action, Call, Point, Proxy, Rule, Victim};
use crate::running::{Run, Running};
use crate::support::{Ctx, IMAGE, bare_program};

/// `exec` through a proxy with one rule.
pub(crate) struct Behind {
    pub(crate) proxy: Proxy,
    pub(crate) victim: Victim,
    pub(crate) command: Command,
}

impl Behind {
    /// `script` in task `task`, where `does` is what happens to the `call`.
    pub(crate) fn new(
        ctx: &Ctx,
        task: &str,
        options: &[&str],
        script: &str,
        call: Call,
        does: Does,
    ) -> Self {
        let socket = ctx.file(&format!("{task}.sock"));
        let victim = Victim::default();
        let rule = Rule {
            call,
            nth: 1,
            times: 1,
            at: does.0,
            actions: does
                .1
                .into_iter()
                .map(|what| what.action(&victim))
                .collect(),
        };
        let proxy = Proxy::start(Path::new(&socket), ctx.target.host.socket(), vec![rule]).unwrap();
        let mut command = bare_program();
        command.args(["--host", &socket, "exec", "--image", IMAGE]);
        command.args(["--session", &ctx.session, "--task", task]);
        // What a sweep asks may be streamed, and what follows on its connection is not looked at.
        command.args(["--sweep", "off"]);
        command.args(options).args(["--", "sh", "-c", script]);
        Self {
            proxy,
            victim,
            command,
        }
    }

    pub(crate) fn start(&mut self) -> Running {
        let child = self.command.spawn().unwrap();
        self.victim.set(child.id());
        Running::watch(child)
    }

    /// The proxy goes on, for the guard.
    pub(crate) fn run(&mut self) -> Run {
        let run = self.start().wait();
        assert_eq!(
            self.proxy.hits(),
            1,
            "{}\n{}",
            run.err(),
            self.proxy.transcript()
        );
        run
    }
}

/// What happens, and where.
pub(crate) struct Does(pub(crate) Point, pub(crate) Vec<What>);

pub(crate) enum What {
    Send(Signal),
    Note(Arc<Mutex<Option<Instant>>>),
    Just(Action),
}

impl What {
    fn action(self, victim: &Victim) -> Action {
        match self {
            Self::Send(signal) => {
                let victim = victim.clone();
                Action::Run(Arc::new(move || victim.signal(signal)))
            }
            Self::Note(time) => Action::Run(Arc::new(move || {
                *time.lock().unwrap() = Some(Instant::now());
            })),
            Self::Just(action) => action,
        }
    }
}
