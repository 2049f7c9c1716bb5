//! The engines that were recorded, and their files.

use std::fs;
use std::path::{Path, PathBuf};

use acode_rt::engine::EngineKind;

use crate::cases::{CASES, Case, Exchange};
use crate::replay::{Pieces, Script, Then};

/// One recorded engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded {
    pub(crate) directory: &'static str,
    pub(crate) kind: EngineKind,
}

pub(crate) const ENGINES: [Recorded; 4] = [
    Recorded {
        directory: "v1.41-docker-20.10",
        kind: EngineKind::Docker,
    },
    Recorded {
        directory: "v1.45-docker-26.1",
        kind: EngineKind::Docker,
    },
    Recorded {
        directory: "v1.51-docker-28.5",
        kind: EngineKind::Docker,
    },
    Recorded {
        directory: "v1.41-podman-5.4",
        kind: EngineKind::Podman,
    },
];

impl Recorded {
    pub(crate) fn path(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("api-fixtures")
            .join(self.directory)
    }

    pub(crate) fn read(self, file: &str) -> Vec<u8> {
        fs::read(self.path().join(file))
            .unwrap_or_else(|error| panic!("{}/{file}: {error}", self.directory))
    }

    pub(crate) fn exchange(self, name: &str) -> Exchange {
        Exchange {
            req: self.read(&format!("{name}.req")),
            resp: self.read(&format!("{name}.resp")),
        }
    }

    pub(crate) fn cases(self) -> impl Iterator<Item = &'static Case> {
        CASES.iter().filter(move |case| case.is_for(self.kind))
    }

    /// As it was recorded. The answer to a request that our client does not make is given to the one like it that it does.
    pub(crate) fn script(self, case: &Case) -> Script {
        let mut call = self.exchange(case.name);
        if let Some(raw) = case.raw {
            assert_eq!(call.req, raw.as_bytes());
            call.req = self.read("version/ok.req");
        }
        Script {
            ping: self.exchange("ping/ok"),
            call,
            pieces: Pieces::Whole,
            then: Then::KeepOpen,
        }
    }
}
