//! What every live test has: an engine, a session and a directory of its own, the program, and a look at what is left at the end.

#[path = "../support/own_environment.rs"]
mod own_environment;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acode_rt::engine::{Engine, EngineKind, Host, ListOptions, Timeouts};
use acode_rt::model::Listed;
use acode_rt::protocol::labels::SESSION;
use acode_rt::task::{generated_id, remove_confirmed};
use acode_rt::{ImageRef, TaskSpec};
use own_environment::forget_ours;
use serde_json::Value;

use crate::running::{Run, Running};

/// What every test runs from.
pub(crate) const IMAGE: &str = "busybox:latest";
/// No step of a test takes so long, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_acode-rt");
const TIMEOUTS: Timeouts = Timeouts {
    ask: PATIENCE,
    act: PATIENCE,
};

/// One test.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Ctx),
}

/// A file's tests, by their names.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[crate::support::Test] =
            &[$(crate::support::Test { name: stringify!($name), run: $name }),*];
    };
}
pub(crate) use tests;

/// An engine that answers and has the image.
pub(crate) struct Target {
    /// Such as `docker-20.10`.
    pub(crate) name: String,
    pub(crate) host: Host,
    pub(crate) kind: EngineKind,
    pub(crate) server: String,
    /// The program is told to use the engine's process 1, also where it could have its own there.
    pub(crate) plain: bool,
    /// Held by tests that make orphans, and by those that sweep: a sweep takes every orphan that it finds.
    orphans: Arc<Mutex<()>>,
}

impl Target {
    pub(crate) fn find_all() -> Vec<Arc<Self>> {
        let hosts: Vec<Host> = match env::var("ACODE_TEST_ENGINES") {
            Ok(list) => list
                .split_whitespace()
                .map(|host| Host::parse(host).unwrap())
                .collect(),
            Err(_) => Host::find(None).into_iter().collect(),
        };
        let looked = hosts.into_iter().map(|host| block_on(Self::look(host)));
        let mut targets: Vec<Self> = looked
            .filter_map(|found| {
                found
                    .inspect_err(|error| eprintln!("not tested: {error}"))
                    .ok()
            })
            .collect();
        // Both ways have to pass the same tests.
        let docker = targets.iter().find(|target| !target.is_podman());
        let plain = docker.map(|docker| Self {
            name: format!("{}-plain", docker.name),
            host: docker.host.clone(),
            server: docker.server.clone(),
            orphans: Arc::clone(&docker.orphans),
            plain: true,
            ..*docker
        });
        targets.extend(plain);
        targets.into_iter().map(Arc::new).collect()
    }

    async fn look(host: Host) -> acode_rt::Result<Self> {
        let engine = Engine::connect(&host).await?;
        engine.image_inspect(&image()).await?;
        let version = engine.version().await?.version;
        let kind = match engine.kind() {
            EngineKind::Docker => "docker",
            EngineKind::Podman => "podman",
        };
        let number: Vec<&str> = version.split('.').take(2).collect();
        Ok(Self {
            name: format!("{kind}-{}", number.join(".")),
            kind: engine.kind(),
            server: engine.server().to_owned(),
            plain: false,
            host,
            orphans: Arc::default(),
        })
    }

    pub(crate) fn is_podman(&self) -> bool {
        self.kind == EngineKind::Podman
    }
}

/// One test's own.
pub(crate) struct Ctx {
    pub(crate) target: Arc<Target>,
    /// Every container of the test has it in its name.
    pub(crate) session: String,
    /// Why there is nothing to test here.
    pub(crate) ignored: Cell<Option<&'static str>>,
    dir: PathBuf,
}

impl Ctx {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        let session = generated_id().unwrap();
        let dir = env::temp_dir().join(format!("acode-live-{session}"));
        fs::create_dir(&dir).unwrap();
        Self {
            target,
            session,
            ignored: Cell::default(),
            dir,
        }
    }

    /// Whether tasks of the program have our own process 1 here. Podman is tested in a root directory of its own.
    pub(crate) fn has_own_init(&self) -> bool {
        !self.target.plain && !self.target.is_podman()
    }

    /// Options for the engine's process 1, where every task has that anyway.
    pub(crate) fn engine_init(&self) -> &'static [&'static str] {
        if self.target.plain {
            &[]
        } else {
            &["--init", "engine"]
        }
    }

    /// A file of this test's.
    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// The program, with this engine.
    pub(crate) fn program(&self) -> Command {
        let mut command = bare_program();
        command.arg("--host").arg(self.target.host.socket());
        command
    }

    /// The program with these arguments, to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let mut program = self.program();
        program.args(arguments);
        Running::start(&mut program).finish()
    }

    /// `exec` in this session.
    pub(crate) fn exec_program(&self, options: &[&str], command: &[&str]) -> Command {
        let mut program = self.program();
        // What other tests make for a sweep is theirs.
        program.args([
            "exec",
            "--session",
            &self.session,
            "--image",
            IMAGE,
            "--sweep",
            "off",
        ]);
        if self.target.plain {
            program.args(["--init", "engine"]);
        }
        program.args(options).arg("--").args(command);
        program
    }

    /// One task, to its end.
    pub(crate) fn exec(&self, options: &[&str], command: &[&str]) -> Run {
        Running::start(&mut self.exec_program(options, command)).finish()
    }

    /// A shell script as a task, to its end.
    pub(crate) fn sh(&self, options: &[&str], script: &str) -> Run {
        self.exec(options, &["sh", "-c", script])
    }

    /// A shell script as a task, to its end, and its receipt.
    pub(crate) fn sh_receipt(&self, options: &[&str], script: &str) -> (Run, Value) {
        let file = self.file("receipt.json");
        let run = self.sh(&[&["--receipt", &file], options].concat(), script);
        let receipt = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        (run, receipt)
    }

    /// A shell script as a task, with our end of its input open; it has to say `ready`.
    pub(crate) fn start(&self, options: &[&str], script: &str) -> Running {
        let mut program = self.exec_program(&[&["-i"], options].concat(), &["sh", "-c", script]);
        let running = Running::start(program.stdin(Stdio::piped()));
        running.stdout.until(b"ready\n");
        running
    }

    /// What `list` says of this session.
    pub(crate) fn list(&self) -> Vec<Value> {
        let list = self
            .run(&["list", "--json", "--session", &self.session])
            .expect(0)
            .json();
        list.as_array().unwrap().clone()
    }

    pub(crate) fn spec(&self, task: &str, script: &str) -> TaskSpec {
        TaskSpec::new(self.session.as_str(), task, image(), ["sh", "-c", script])
    }

    /// Runs a piece of a test with the library.
    pub(crate) fn with_engine<T>(&self, work: impl AsyncFnOnce(Engine) -> T) -> T {
        block_on(async {
            let engine = Engine::connect_with(&self.target.host, TIMEOUTS)
                .await
                .unwrap();
            tokio::time::timeout(PATIENCE, work(engine))
                .await
                .expect("the test takes too long")
        })
    }

    /// Every container of this test that the engine has.
    pub(crate) fn containers(&self) -> Vec<Listed> {
        self.with_engine(async |engine| self.listed(&engine).await)
    }

    async fn listed(&self, engine: &Engine) -> Vec<Listed> {
        let mut all = engine
            .container_list(&ListOptions {
                all: true,
                ..ListOptions::default()
            })
            .await
            .unwrap();
        all.retain(|container| {
            let session = container
                .labels
                .get(SESSION)
                .is_some_and(|session| session.starts_with(&self.session));
            session || container.name().contains(&self.session)
        });
        all
    }

    /// No other test of this engine makes or sweeps orphans for as long as this is held.
    pub(crate) fn alone_with_orphans(&self) -> MutexGuard<'_, ()> {
        self.target
            .orphans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what is left of the test, and says what that was.
    pub(crate) fn clean_up(&self) -> Vec<String> {
        fs::remove_dir_all(&self.dir).unwrap();
        self.with_engine(async |engine| {
            let mut left = Vec::new();
            for container in self.listed(&engine).await {
                remove_confirmed(&engine, &container.id, PATIENCE)
                    .await
                    .unwrap();
                left.push(container.name().to_owned());
            }
            left
        })
    }
}

/// The program, without an engine and without what our own environment would tell it.
pub(crate) fn bare_program() -> Command {
    let mut command = Command::new(PROGRAM);
    forget_ours(&mut command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(crate) fn image() -> ImageRef {
    ImageRef::parse(IMAGE).unwrap()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Bytes that no two tests share.
pub(crate) fn random_bytes(count: usize) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = vec![0; count];
    fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut bytes)
        .unwrap();
    bytes
}

/// `key=value` lines as a task prints them.
pub(crate) fn facts(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .collect()
}
