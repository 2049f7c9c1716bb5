//! Pulling from a real registry, once for each engine: Debian's `docker-registry` behind a proxy that makes faults, both of the tests' own.
//!
//! `ACODE_TEST_ENGINES` names the engines, as for the live tests. Without `docker-registry`, or an engine that reaches it, every test is
//! ignored.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "registry/credentials.rs"]
mod credentials;
#[path = "registry/failing.rs"]
mod failing;
#[path = "registry/pulling.rs"]
mod pulling;
#[path = "support/registry_faults.rs"]
mod registry_faults;
#[path = "support/registry_server.rs"]
mod registry_server;
#[path = "live/running.rs"]
#[expect(dead_code, reason = "nothing here speaks to a task")]
mod running;
#[path = "live/support.rs"]
#[expect(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "the live tests use all of it"
)]
mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use acode_rt::ImageRef;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use registry_faults::FaultyRegistry;
use registry_server::{Pushed, Registry};
use support::{Ctx, Target};

/// As many at a time as an engine pulls.
const THREADS: usize = 4;

/// One test, with what it pulls from.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Pulls),
}

macro_rules! pulls {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[crate::Test] = &[$(crate::Test { name: stringify!($name), run: $name }),*];
    };
}
use pulls;

/// An engine, and a registry that it reaches.
pub(crate) struct Pulls {
    pub(crate) ctx: Ctx,
    pub(crate) proxy: Arc<FaultyRegistry>,
    /// The same, with a password.
    pub(crate) locked: Arc<FaultyRegistry>,
    registry: Arc<Registry>,
    locked_registry: Arc<Registry>,
    ids: Mutex<Vec<String>>,
}

impl Pulls {
    /// An image that nobody else has, at `name:1`; the test removes it at its end.
    pub(crate) fn push(&self, size: usize) -> Pushed {
        self.push_to(&self.registry, size)
    }

    pub(crate) fn push_locked(&self, size: usize) -> Pushed {
        self.push_to(&self.locked_registry, size)
    }

    fn push_to(&self, registry: &Registry, size: usize) -> Pushed {
        let pushed = registry.push(&self.name(), "1", &support::random_bytes(size));
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.push(pushed.id.clone());
        pushed
    }

    /// Its name at the registry.
    pub(crate) fn name(&self) -> String {
        format!("busybox-{}", self.ctx.session)
    }

    /// A reference to it, by way of `fault`.
    pub(crate) fn image(&self, fault: &str) -> String {
        format!("{}:1", self.proxy.name(fault, &self.name()))
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.proxy.seen(&self.name())
    }

    /// `exec`, to its end; what the task says is `ran`.
    pub(crate) fn exec(&self, image: &str, options: &[&str]) -> running::Run {
        self.ctx.run(&self.exec_arguments(image, options))
    }

    pub(crate) fn exec_arguments<'a>(
        &'a self,
        image: &'a str,
        options: &[&'a str],
    ) -> Vec<&'a str> {
        let session = self.ctx.session.as_str();
        let fixed = [
            "exec",
            "--session",
            session,
            "--sweep",
            "off",
            "--image",
            image,
        ];
        [&fixed[..], options, &["--", "echo", "ran"]].concat()
    }

    /// The image as the engine has it.
    pub(crate) fn id_of(&self, image: &str) -> Option<String> {
        let image = ImageRef::parse(image).unwrap();
        self.ctx
            .with_engine(async |engine| engine.image_inspect(&image).await)
            .ok()
            .map(|found| found.id)
    }

    fn remove_images(&self) {
        for id in self
            .ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            let path = format!("/v1.41/images/{id}?force=true");
            let mut socket = UnixStream::connect(self.ctx.target.host.socket()).unwrap();
            write!(
                socket,
                "DELETE {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            let status = answer.get(9..12).unwrap_or_default();
            assert!(matches!(status, "200" | "404"), "{path}: {answer}");
        }
    }
}

/// What is the same for all tests of one engine.
struct Place {
    target: Arc<Target>,
    proxies: Result<(Arc<FaultyRegistry>, Arc<FaultyRegistry>), String>,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mut impossible = Registry::impossible();
    let targets = if arguments.list {
        Vec::new()
    } else {
        Target::find_all()
    };
    let targets: Vec<_> = targets.into_iter().filter(|target| !target.plain).collect();
    if targets.is_empty() {
        impossible = impossible.or(Some("no engine answers".into()));
    }
    let tests: Vec<&Test> = [pulling::TESTS, failing::TESTS, credentials::TESTS]
        .into_iter()
        .flatten()
        .collect();
    if let Some(reason) = impossible {
        eprintln!("not tested: {reason}");
        let never = |test: &&Test| {
            let reason = reason.clone();
            let trial = move || Ok(Completion::ignored_with(reason));
            Trial::ignorable_test(format!("no-engine::{}", test.name), trial)
        };
        return libtest_mimic::run(&arguments, tests.iter().map(never).collect()).exit_code();
    }
    let registry = Arc::new(Registry::start(false));
    let locked = Arc::new(Registry::start(true));
    let mut trials = Vec::new();
    for target in targets {
        let place = Arc::new(Place::look(target, &registry, &locked));
        for test in &tests {
            let (place, run) = (Arc::clone(&place), test.run);
            let (registry, locked_registry) = (Arc::clone(&registry), Arc::clone(&locked));
            let name = format!("{}::{}", place.target.name, test.name);
            trials.push(Trial::ignorable_test(name, move || {
                let (proxy, locked) = match &place.proxies {
                    Ok((proxy, locked)) => (Arc::clone(proxy), Arc::clone(locked)),
                    Err(reason) => return Ok(Completion::ignored_with(reason)),
                };
                run_one(
                    run,
                    &Pulls {
                        ctx: Ctx::new(Arc::clone(&place.target)),
                        proxy,
                        locked,
                        registry,
                        locked_registry,
                        ids: Mutex::default(),
                    },
                )
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop((registry, locked));
    conclusion.exit_code()
}

impl Place {
    fn look(target: Arc<Target>, registry: &Registry, locked: &Registry) -> Self {
        let start = |registry: &Registry| {
            FaultyRegistry::start(target.host.socket(), registry.port)
                .map(Arc::new)
                .map_err(|error| format!("no registry where the engine's network is: {error}"))
        };
        let proxies = start(registry).and_then(|proxy| Ok((proxy, start(locked)?)));
        let proxies = proxies.and_then(|(proxy, locked)| {
            // Podman takes a registry without encryption only where its own configuration says so.
            let probe = ImageRef::parse(&proxy.name("none", "probe")).unwrap();
            support::block_on(async {
                let engine = acode_rt::engine::Engine::connect(&target.host)
                    .await
                    .unwrap();
                let stall = std::time::Duration::from_secs(20);
                let pulled = engine.image_pull(&probe, None, stall, |_| {}).await;
                assert!(pulled.is_err(), "there is no such image");
            });
            // Docker tries both.
            if proxy.client_wants_tls() && proxy.seen("probe").is_empty() {
                Err("the engine speaks to encrypted registries only".into())
            } else {
                Ok((proxy, locked))
            }
        });
        Self { target, proxies }
    }
}

/// A test, and a look at what is left of it.
fn run_one(test: fn(&Pulls), pulls: &Pulls) -> Result<Completion, Failed> {
    let ended = catch_unwind(AssertUnwindSafe(|| test(pulls)));
    let left = pulls.ctx.clean_up();
    pulls.remove_images();
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
    if !left.is_empty() {
        return Err(format!("left behind: {}", left.join(", ")).into());
    }
    Ok(pulls
        .ctx
        .ignored
        .take()
        .map_or(Completion::Completed, Completion::ignored_with))
}
