//! What runs tasks: an engine, and the helpers that stand beside them.

use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

use tokio::sync::watch;

use super::audit::Audit;
use super::image::{OnPull, PullPolicy, Wanted};
use super::outcome::Cancel;
use super::plan::Plan;
use super::receipt::{ImageReceipt, Receipt};
use super::rules::Rules;
use super::run::{Canceller, TaskIo, run_planned};
use super::spec::TaskSpec;
use crate::engine::{Engine, Host};
use crate::error::{Code, Error, Kind, Result};
use crate::guard::Guard;
use crate::program::{InitFile, Program};
use crate::protocol::image_ref::ImageRef;

/// Runs tasks on one engine. Cheap to clone; one is enough for a harness.
///
/// With a [`Program`] beside it, a task ends within a second of this process's death, whatever killed it, and its container is removed
/// within two: the program is process 1 of every task, and a guard that outlives us. Without one ([`Runner::new`], [`crate::run`]) the
/// engine's own init is process 1, a future that is dropped is cleaned up after by a thread, and what a process leaves behind that is
/// killed stays and runs until the next [`crate::sweep::sweep`].
///
/// ```no_run
/// # async fn example() -> acode_rt::Result<()> {
/// use acode_rt::engine::Host;
/// use acode_rt::{Canceller, ImageRef, Program, Runner, TaskIo, TaskSpec};
/// let runner = Runner::connect(&Host::find(None)?, &Program::at("/usr/local/bin/acode-rt")?).await?;
/// let spec = TaskSpec::new("a1b2c3d4", "build-001", ImageRef::parse("busybox").unwrap(), ["make"]);
/// let receipt = runner.run(spec, TaskIo::default(), &Canceller::new()).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Runner {
    engine: Engine,
    init: std::result::Result<InitFile, &'static str>,
    pub(super) guard: Guard,
    pub(super) rules: Arc<Rules>,
    pub(super) audit: Option<Audit>,
}

impl Runner {
    /// Without a program: see [`Runner`] for what that loses.
    pub fn new(engine: Engine) -> Self {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            tracing::warn!(
                "no program stands guard: tasks of a process that is killed run on until the next sweep"
            );
        });
        let guard = Guard::thread(engine.socket());
        Self::of(engine, Err("no program was given"), guard)
    }

    /// Connects to an engine and starts `program` as the guard, at once. To be called once in a process, not for each task.
    ///
    /// # Errors
    /// Those of [`Engine::connect`]; `ACODE-CTN-015` when the program does not stand guard.
    pub async fn connect(host: &Host, program: &Program) -> Result<Self> {
        let guard = start_guard(program, host.socket());
        let (engine, guard) = tokio::try_join!(Engine::connect(host), guard)?;
        Ok(Self::of(engine, program.init_file(), guard))
    }

    /// As [`Runner::connect`], with an engine that is connected already.
    ///
    /// # Errors
    /// `ACODE-CTN-015` when the program does not stand guard.
    pub async fn with_program(engine: Engine, program: &Program) -> Result<Self> {
        let guard = start_guard(program, engine.socket()).await?;
        Ok(Self::of(engine, program.init_file(), guard))
    }

    fn of(engine: Engine, init: std::result::Result<InitFile, &'static str>, guard: Guard) -> Self {
        Self {
            engine,
            init,
            guard,
            rules: Arc::default(),
            audit: None,
        }
    }

    /// With what the operator of the host admits; [`Rules::default`] until then.
    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = Arc::new(rules);
        self
    }

    /// With an audit log, without which nothing starts from now on.
    #[must_use]
    pub fn with_audit(mut self, audit: Audit) -> Self {
        self.audit = Some(audit);
        self
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether a process stands guard, which outlives this one.
    pub fn is_guarded(&self) -> bool {
        self.guard.is_process()
    }

    /// The program that can stand as process 1 of a task, or why there is none.
    pub(super) fn init(&self) -> std::result::Result<&Path, &'static str> {
        let path = self.init.as_ref().map_err(|why| *why)?.path()?;
        self.engine.takes_our_files()?;
        Ok(path)
    }

    /// Runs one task: create, subscribe, start, stream, end, remove, confirm. Whatever happens after create, the container is removed
    /// before this returns (but for `keep`), and a removal that fails is in the receipt.
    ///
    /// Dropping the future, at any point, ends the task and removes the container, without a runtime: by the guard, or by a thread
    /// where there is none. Use `canceller` to end a task and learn how it ended.
    ///
    /// # Errors
    /// When the task did not begin: those of [`Plan::new`], `ACODE-CTN-001` and `ACODE-CTN-005` of create, `ACODE-CTN-007` when the
    /// engine ignored a limit or protection, and `ACODE-CTN-003` when it was cancelled before. A container that does not start is an
    /// [`Outcome::StartFailed`](super::Outcome::StartFailed).
    pub async fn run(&self, spec: TaskSpec, io: TaskIo, canceller: &Canceller) -> Result<Receipt> {
        // Boxed, so that whoever awaits it does not carry its state.
        Box::pin(run_planned(self, spec, io, canceller)).await
    }

    /// Pulls an image, where the rules admit that, also when it is there: a tag may be another one by now.
    ///
    /// # Errors
    /// `ACODE-CTN-012` when the rules refuse it, `ACODE-CTN-011` when the registry does not have it, `ACODE-CTN-006`, and `ACODE-CTN-015`
    /// for credentials that cannot be used.
    pub async fn pull(
        &self,
        image: &ImageRef,
        timeout: Duration,
        on_pull: Option<&OnPull>,
    ) -> Result<ImageReceipt> {
        let policy = self.rules.images.admit(image, PullPolicy::Always)?;
        let wanted = Wanted {
            image,
            operation: "",
            policy,
            timeout,
            in_full: self.rules.images.are_about_names(),
        };
        Ok(wanted.find(&self.engine, on_pull).await?.receipt)
    }

    /// Checks `spec` as [`Plan::new`] does, for this runner.
    ///
    /// # Errors
    /// Those of [`Plan::new`].
    pub async fn plan(&self, spec: TaskSpec) -> Result<Plan> {
        Plan::with(self, spec, None).await
    }

    /// Checks `spec`, for a task that is to run: one that is refused is audited.
    pub(super) async fn admit(&self, spec: TaskSpec, on_pull: Option<&OnPull>) -> Result<Plan> {
        let (session, task) = (spec.session.clone(), spec.task.clone());
        let mut admitted = Plan::with(self, spec, on_pull).await;
        if let Ok(plan) = &mut admitted {
            admitted = plan.share().and(admitted);
        }
        admitted.inspect_err(|error| {
            if let Some(audit) = &self.audit {
                audit.refused(&session, &task, error);
            }
        })
    }
}

async fn start_guard(program: &Program, socket: &Path) -> Result<Guard> {
    let command = program.command()?;
    Guard::start(command, socket).await.map_err(|error| {
        Error::new(
            Code::Configuration,
            Kind::Io,
            "guard",
            "the program does not stand guard; it has to begin with serve_helper, as acode-rt does",
        )
        .on(command.display().to_string())
        .because(error)
    })
}

/// What cancels a task, as it is waited for.
pub(super) type Requests = watch::Receiver<Option<Cancel>>;
