//! When clients are killed, and at what kinds of task.

use std::time::Duration;

use crate::fault_proxy::{Call, Point};

/// What the task does.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) script: &'static str,
    /// Gigabytes of input that nobody reads.
    pub(crate) fed: bool,
}

const KINDS: [Kind; 7] = [
    Kind {
        name: "quick",
        script: "true",
        fed: false,
    },
    Kind {
        name: "sleeper",
        script: "exec sleep 1000",
        fed: false,
    },
    Kind {
        name: "stubborn",
        script: "trap '' TERM INT HUP; while :; do sleep 1; done",
        fed: false,
    },
    Kind {
        name: "writer",
        script: "exec yes",
        fed: false,
    },
    Kind {
        name: "fed",
        script: "exec sleep 1000",
        fed: true,
    },
    Kind {
        name: "daemons",
        script: "setsid sleep 1000 & setsid sh -c 'trap \"\" TERM; sleep 1000' & exec sleep 1000",
        fed: false,
    },
    Kind {
        name: "stopped",
        script: "sleep 1000 & kill -STOP $!; kill -STOP $$; sleep 1000",
        fed: false,
    },
];

/// When the client dies.
#[derive(Clone, Copy)]
pub(crate) enum Moment {
    At(Call, Point),
    After(Duration),
}

pub(crate) struct Case {
    pub(crate) kind: &'static Kind,
    pub(crate) moment: Moment,
    pub(crate) with_guard: bool,
}

impl Case {
    pub(crate) fn title(&self) -> String {
        let moment = match self.moment {
            Moment::At(call, point) => format!("{point:?} {call:?}"),
            Moment::After(time) => format!("after {} ms", time.as_millis()),
        };
        let guard = if self.with_guard { ", guard too" } else { "" };
        format!("{} killed {moment}{guard}", self.kind.name)
    }
}

/// Every call before, during and after it, and instants of no call, for every kind.
pub(crate) fn cases(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in &KINDS {
        for call in Call::ALL {
            // One that ends by itself is not killed.
            if call == Call::Kill && kind.name == "quick" {
                continue;
            }
            for point in [Point::Before, Point::Forwarded, Point::Answered] {
                let moment = Moment::At(call, point);
                cases.push(Case {
                    kind,
                    moment,
                    with_guard: false,
                });
                // Without our own init only the guard is left to stop a task.
                if call != Call::Kill && ["sleeper", "daemons", "fed"].contains(&kind.name) {
                    cases.push(Case {
                        kind,
                        moment,
                        with_guard: true,
                    });
                }
            }
        }
        for step in 0..19 {
            // 0 to 306 ms: from its first instruction to well into the task, prime to every period.
            let moment = Moment::After(Duration::from_millis(step * 17));
            cases.push(Case {
                kind,
                moment,
                with_guard: false,
            });
        }
    }
    if quick {
        let sample = |(index, case)| (index % 13 == 0).then_some(case);
        cases = cases.into_iter().enumerate().filter_map(sample).collect();
    }
    cases
}
