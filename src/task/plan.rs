//! Everything about a task that is fixed before its container exists: name, labels, request.

use std::borrow::Cow;
use std::time::Duration;

use super::fallback::engines_filter;
use super::ids::{random_bytes, uuid};
use super::image::{Found, OnPull, Wanted};
use super::limits::{HostCapacity, Resolved};
use super::mounts::{self, CheckedMount, Looked, Share, Source};
use super::policy::{Surroundings, create_body, process};
use super::receipt::ImageReceipt;
use super::runner::Runner;
use super::seccomp::{self, Filter};
use super::secret;
use super::spec::TaskSpec;
use super::state::Told;
use super::user::User;
use super::{files, hosts_file};
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::model::{CreateBody, ImageConfig};
use crate::protocol::labels::{TaskLabels, WRITABLE};
use crate::protocol::name::ContainerName;
use crate::protocol::order::{Hello, Order};
use crate::protocol::record::Nonce;
use crate::protocol::security::Host;
use crate::sweep::owner;

/// How long a container may be there when its task was given no time, or when it is kept.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// Process 1 enforces the deadline too, but the client says it first where it lives.
const OUR_DEADLINE_FIRST: Duration = Duration::from_millis(250);

/// A task that has been checked, with the request that would create its container.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) name: ContainerName,
    pub(super) operation: String,
    pub(super) body: CreateBody,
    pub(super) image: ImageReceipt,
    /// How long pulling the image took, where it was pulled.
    pub(super) pull: Option<Duration>,
    pub(super) limits: Resolved,
    pub(super) warnings: Vec<String>,
    pub(super) spec: TaskSpec,
    /// This create was refused where it asked for the network's fast path.
    pub(super) without_fast_network: bool,
    /// Our own process 1, or why the engine's is used.
    pub(super) init: std::result::Result<String, &'static str>,
    /// Create was refused with our own process 1, or something that was sent with it.
    pub(super) dropped_our_init: bool,
    pub(super) mounts: Vec<CheckedMount>,
    writable: Vec<Source>,
    /// Taken when it is to run, released with the plan.
    pub(super) shares: Vec<Share>,
    /// Which filter of system calls it has.
    pub(super) filter: Filter,
    /// How ours is asked for.
    filter_option: Cow<'static, str>,
    /// Ours was refused, or something that was sent with it.
    pub(super) dropped_our_filter: bool,
    labels: TaskLabels,
    image_config: ImageConfig,
}

/// What our own process 1 is sent first.
pub(super) struct FirstOrders {
    /// What it is asked for, in words.
    pub(super) told: Told,
    pub(super) orders: Vec<u8>,
}

impl Plan {
    /// Checks `spec`, looks at the image, which is pulled if need be, and fixes name, labels and request. Nothing is created, so
    /// dropping the future is harmless.
    ///
    /// # Errors
    /// `ACODE-CTN-007`, `-012`, `-015`, `-016` for what is not right in `spec`; `ACODE-CTN-011` when the image is not there
    /// and cannot be had, `ACODE-CTN-006` when pulling it fails.
    pub async fn new(engine: &Engine, spec: TaskSpec) -> Result<Self> {
        Self::with(&Runner::new(engine.clone()), spec, None).await
    }

    pub(super) async fn with(
        runner: &Runner,
        mut spec: TaskSpec,
        on_pull: Option<&OnPull>,
    ) -> Result<Self> {
        let engine = runner.engine();
        spec.check()?;
        runner.rules.apply(&mut spec)?;
        files::look_at_sources(&spec)?;
        let init = if spec.engine_init {
            Err("the engine's init was asked for")
        } else {
            runner
                .init()
                .and_then(|path| path.to_str().ok_or("its path is not text"))
        };
        if let (Some(what), Err(why)) = (needs_our_init(&spec), init) {
            return Err(Error::invalid(
                Code::Configuration,
                "options",
                format!("{what} needs our own process 1, which cannot be used: {why}"),
            ));
        }
        let looked = mounts::look(&spec, &runner.rules.mounts, engine.socket())?;
        if let Some(owner) = looked.owner {
            spec.user = owner;
        }
        if !looked.mounts.is_empty() {
            fit_user_namespace(engine, &mut spec, &looked).await?;
        }
        let (filter, filter_option) = match seccomp::option(engine) {
            Ok(option) if !spec.engine_seccomp => (Filter::Ours, option),
            other => (engines_filter(engine, other.err()).await?, "".into()),
        };
        let (mut limits, mut warnings) = spec.limits.resolve(HostCapacity::of_this_machine())?;
        runner.rules.limit(&spec, &mut limits)?;
        warnings.extend(looked.warnings.iter().cloned());
        if spec.has_files() {
            warnings.push("/workspace is a volume, which no engine bounds on disk: the task can fill the engine's disk".into());
        }
        let random: [u8; 26] = random_bytes()?;
        let (name_bytes, uuid_bytes) = random.split_at(10);
        let name = if spec.random_name {
            let mut entropy = [0; 10];
            entropy.copy_from_slice(name_bytes);
            ContainerName::random(&spec.prefix, &spec.session, &spec.task, entropy)?
        } else {
            ContainerName::new(&spec.prefix, &spec.session, &spec.task)?
        };
        let operation = uuid(uuid_bytes);
        let wanted = Wanted {
            image: &spec.image,
            operation: &operation,
            policy: spec.pull,
            timeout: spec.pull_timeout,
            in_full: runner.rules.images.are_about_names(),
        };
        let Found {
            receipt: image,
            inspect,
            pull,
        } = wanted.find(engine, on_pull).await?;
        let created = engine.now();
        // What is kept is kept for a day, however short its task was to be.
        let lifetime = match spec.timeout {
            Some(timeout) if !spec.keep => timeout,
            timeout => timeout.unwrap_or_default().max(DEFAULT_DEADLINE),
        };
        let labels = TaskLabels {
            session: spec.session.clone(),
            task: spec.task.clone(),
            created,
            ephemeral: !spec.keep,
            operation,
            owner: owner::current(),
            deadline: Some(created + lifetime.as_secs()),
        };
        let mut plan = Self {
            name,
            operation: labels.operation.clone(),
            body: CreateBody::default(),
            image,
            pull,
            limits,
            warnings,
            spec,
            without_fast_network: false,
            init: init.map(str::to_owned),
            dropped_our_init: false,
            filter,
            filter_option,
            dropped_our_filter: false,
            labels,
            image_config: inspect.config,
            mounts: looked.mounts,
            writable: looked.writable,
            shares: Vec::new(),
        };
        plan.write_body(engine)?;
        Ok(plan)
    }

    /// The container's name.
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// The operation's UUID, which stands in every log line and in a label.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// What is executed: entrypoint and command.
    ///
    /// # Errors
    /// None for a plan that was made.
    pub fn command(&self) -> Result<Vec<String>> {
        Ok(process(&self.spec, &self.image_config)?.argv)
    }

    /// `KEY=VALUE` of the environment, beside the image's.
    ///
    /// # Errors
    /// None for a plan that was made.
    pub fn environment(&self) -> Result<Vec<String>> {
        Ok(process(&self.spec, &self.image_config)?.env)
    }

    /// Why process 1 is the engine's; `None` where it is ours.
    pub fn engine_init(&self) -> Option<&'static str> {
        self.init.as_ref().err().copied()
    }

    /// What would be sent to create it. Our own process 1 is told of command and environment only when it runs.
    pub fn create_body(&self) -> &CreateBody {
        &self.body
    }

    /// The image, and what its reference named when it was looked at.
    pub fn image(&self) -> &ImageReceipt {
        &self.image
    }

    /// What of the host is mounted.
    pub fn mounts(&self) -> &[CheckedMount] {
        &self.mounts
    }

    /// Limits with all defaults filled in.
    pub fn limits(&self) -> &Resolved {
        &self.limits
    }

    /// What is worth knowing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What our own process 1 is sent first; `None` where the engine's is used.
    pub(super) fn first_orders(&self) -> Result<Option<FirstOrders>> {
        if self.init.is_err() {
            return Ok(None);
        }
        let process = process(&self.spec, &self.image_config)?;
        let told = Told {
            command: process.argv.first().cloned().unwrap_or_default(),
            mounts: self
                .mounts
                .iter()
                .map(|mount| mount.target.clone())
                .collect(),
            secrets: secret::files(&self.spec.secrets)
                .map(|secret| secret.name.clone())
                .collect(),
        };
        let mut orders = Vec::new();
        let hello = Hello {
            nonce: self.nonce(),
            interactive: self.spec.interactive,
            terminal: self.spec.terminal,
            deadline_ms: self
                .spec
                .timeout
                .and_then(|timeout| u64::try_from((timeout + OUR_DEADLINE_FIRST).as_millis()).ok()),
        };
        Order::Hello(hello).write(&mut orders);
        for variable in process.env {
            Order::Variable(variable.into()).write(&mut orders);
        }
        for mount in &self.mounts {
            Order::Mount(mount.check()).write(&mut orders);
        }
        for secret in &self.spec.secrets {
            secret.order().write(&mut orders);
        }
        for argument in process.argv {
            Order::Argument(argument.into()).write(&mut orders);
        }
        Order::Start.write(&mut orders);
        Ok(Some(FirstOrders { told, orders }))
    }

    /// Takes what the task may write to, against all other tasks.
    ///
    /// # Errors
    /// `ACODE-CTN-012` when another task has it.
    pub(super) fn share(&mut self) -> Result<()> {
        self.shares = self
            .writable
            .iter()
            .map(Share::take)
            .collect::<Result<_>>()?;
        Ok(())
    }

    /// Whether the engine's process 1 could do as well.
    pub(super) fn can_do_without_our_init(&self) -> bool {
        self.init.is_ok() && needs_our_init(&self.spec).is_none()
    }

    /// The engine's process 1 instead of ours; `false` where that is so already, or cannot be.
    pub(super) fn without_our_init(&mut self, engine: &Engine) -> bool {
        if !self.can_do_without_our_init() {
            return false;
        }
        self.init = Err("the engine could not start it");
        self.write_body(engine).is_ok()
    }

    /// What process 1's records begin with.
    pub(super) fn nonce(&self) -> Nonce {
        Nonce::of(&self.operation)
    }

    /// Writes the request, anew after the engine turned out to want another.
    pub(super) fn write_body(&mut self, engine: &Engine) -> Result<()> {
        let fast = engine.network_fast_path() && !self.without_fast_network;
        let hosts = fast.then(hosts_file::ensure).flatten();
        let around = Surroundings {
            kind: engine.kind(),
            fast_network: hosts.as_deref(),
            init: self.init.as_deref().ok(),
            mounts: &self.mounts,
            our_filter: (self.filter == Filter::Ours).then_some(&*self.filter_option),
        };
        let mut labels = self.spec.labels.clone();
        labels.extend(mounts::label(&self.writable).map(|paths| (WRITABLE.to_owned(), paths)));
        labels.extend(self.labels.to_map());
        self.body = create_body(
            &self.spec,
            &self.limits,
            &self.image.id,
            &self.image_config,
            labels,
            around,
        )?;
        Ok(())
    }
}

/// What of a task only our own process 1 can do.
fn needs_our_init(spec: &TaskSpec) -> Option<&'static str> {
    if spec.terminal.is_some() {
        Some("a terminal")
    } else if spec.workspace.is_some() || !spec.mounts.is_empty() {
        Some("a mount (it is looked at from inside before the task begins)")
    } else if !spec.secrets.is_empty() {
        Some("a secret")
    } else {
        None
    }
}

/// Who is who where the engine's users are not ours.
async fn fit_user_namespace(engine: &Engine, spec: &mut TaskSpec, looked: &Looked) -> Result<()> {
    let info = engine.info().await?;
    let host = Host::of(&info.security_options);
    let refused = |message: &str| Err(Error::invalid(Code::PolicyRefused, "mounts", message));
    if host.userns && looked.is_writable() {
        return refused(
            "the engine maps users (userns-remap), so that no task could write as the owner of a directory of the host; mount it read-only",
        );
    }
    if let Some(owner) = looked.owner.filter(|_| host.rootless) {
        if owner.uid != nix::unistd::geteuid().as_raw() {
            return refused(
                "a rootless engine can act only for the user that it runs as, who does not own the workspace; say --user",
            );
        }
        tracing::info!("the engine is rootless: the task runs as its user 0, who is you outside");
        spec.user = User::ROOT;
    }
    Ok(())
}
