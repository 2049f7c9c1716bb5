//! One task's container, step by step: create, subscribe, start, status, logs, stop, remove.

mod holder;

use std::sync::OnceLock;
use std::time::Duration;

use holder::{Holder, holder};

use super::applied::{Ignored, compare};
use super::audit::Trail;
use super::cleanup::remove_confirmed;
use super::disk;
use super::fallback::{adapt, without_our_filter};
use super::mounts::refuse_shared;
use super::plan::Plan;
use super::protections::Confined;
use super::runner::Runner;
use super::seccomp::Filter;
use super::spec::TaskSpec;
use crate::engine::{
    AttachOptions, Attached, ContainerId, Engine, EngineKind, LogStream, LogsOptions, Waiting,
};
use crate::error::{Code, Error, Kind, Result};
use crate::guard::{Guard, Hold};
use crate::model::Inspect;
use crate::protocol::name::ContainerName;
use crate::protocol::units::{show_cpus, show_size};

/// A container of ours that exists (FR-020A-01): a fresh one for each task (FR-020A-07), never started twice.
///
/// Dropping it without [`TaskContainer::remove`] removes it too (unless it is to be kept), a moment later and without a runtime: by the
/// runner's guard, or by a thread. Dropping one of its futures abandons that call: whether the engine acted is then unknown. For all of
/// it in one call see [`Runner::run`]. Its process 1 is always the engine's.
///
/// ```no_run
/// # async fn example(engine: acode_rt::engine::Engine) -> acode_rt::Result<()> {
/// use acode_rt::{ImageRef, TaskContainer, TaskSpec};
/// # let image = ImageRef::parse("busybox").unwrap();
/// let spec = TaskSpec::new("a1b2c3d4", "build-001", image, ["sleep", "60"]);
/// let container = TaskContainer::create(&engine, spec).await?;
/// container.start().await?;
/// println!("{} is {:?}", container.name(), container.status().await?);
/// container.stop(std::time::Duration::from_secs(10)).await?;
/// container.remove().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct TaskContainer {
    engine: Engine,
    id: ContainerId,
    plan: Plan,
    /// `None` for one that is to be kept.
    hold: Option<Hold>,
    pub(super) trail: Trail,
    /// What the engine said of it once it ran.
    pub(super) confined: OnceLock<Confined>,
}

/// What a container is doing (FR-020A-06).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Created and not started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Ended, with this exit code; -1 where the engine does not say.
    Exited(i64),
    /// There is no such container any more.
    Gone,
}

/// A container's streams and exit, subscribed to before it starts.
#[derive(Debug)]
pub struct Subscribed {
    /// Its streams.
    pub attached: Attached,
    /// Its exit.
    pub waiting: Waiting,
    /// What was not applied, and accepted by name.
    pub ignored: Vec<Ignored>,
}

impl TaskContainer {
    /// Checks `spec` and creates its container (FR-020A-02, FR-020A-09): either it exists, or after an error that the engine answered with
    /// nothing of it does. Where no answer came ([`Error::is_timeout`], [`Error::is_cut`]) it is looked for and removed for two seconds here,
    /// and for a minute by the guard, or a thread. So it is when the future is dropped.
    ///
    /// # Errors
    /// Those of [`Plan::new`]; `ACODE-CTN-001`, `ACODE-CTN-005` for a name in use.
    pub async fn create(engine: &Engine, spec: TaskSpec) -> Result<Self> {
        Self::create_by(&Runner::new(engine.clone()), spec).await
    }

    /// As [`TaskContainer::create`], with the guard of `runner`.
    ///
    /// # Errors
    /// As [`TaskContainer::create`].
    pub async fn create_by(runner: &Runner, mut spec: TaskSpec) -> Result<Self> {
        // Our own process 1 is led by the driver.
        spec.engine_init = true;
        // Boxed, so that whoever awaits it does not carry its state.
        let plan = Box::pin(runner.admit(spec, None)).await?;
        Box::pin(Self::create_planned(runner, plan)).await
    }

    pub(super) async fn create_unaudited(runner: &Runner, mut plan: Plan) -> Result<Self> {
        let engine = runner.engine();
        for warning in &plan.warnings {
            tracing::warn!(operation = plan.operation, name = %plan.name, "{warning}");
        }
        tracing::debug!(
            operation = plan.operation, name = %plan.name,
            "container resource limits: memory={}, cpus={}, pids={}",
            show_size(plan.limits.memory), show_cpus(plan.limits.nano_cpus), plan.limits.pids
        );
        tracing::info!(operation = plan.operation, name = %plan.name, image = plan.image.id, "creating container");
        let hold = (!plan.spec.keep).then(|| hold(runner, &mut plan));
        let mut replaced = false;
        loop {
            let error = match engine.container_create(&plan.name, &plan.body).await {
                Ok((id, warnings)) => {
                    if plan.without_fast_network && !plan.dropped_our_filter {
                        engine.refuse_network_fast_path();
                    }
                    tracing::debug!(operation = plan.operation, id = id.as_str(), "created");
                    plan.warnings
                        .extend(warnings.iter().map(|warning| crate::error::shown(warning)));
                    if let Some(hold) = &hold {
                        hold.created(id.as_str());
                    }
                    let container = Self {
                        engine: engine.clone(),
                        id,
                        plan,
                        hold,
                        trail: Trail::none(),
                        confined: OnceLock::new(),
                    };
                    return Box::pin(container.unless_shared()).await;
                }
                Err(error) => error.with_operation_id(&plan.operation),
            };
            // Boxed, since they are rare and every create would carry their state.
            if error.status() == Some(400) && Box::pin(adapt(engine, &mut plan)).await {
                tracing::debug!(operation = plan.operation, %error, "creating again, otherwise");
                continue;
            }
            if error.is_conflict() || error.is_unclear() {
                match Box::pin(holder(engine, &plan, &error)).await {
                    Ok(Holder::Orphan(id)) if !replaced => {
                        tracing::warn!(operation = plan.operation, name = %plan.name, "removing the orphan that holds the name");
                        remove_confirmed(engine, &id, plan.spec.cleanup_timeout).await?;
                        replaced = true;
                        continue;
                    }
                    Ok(Holder::Orphan(_) | Holder::Other) => {
                        return Err(error.with_code(Code::NameTaken));
                    }
                    // Podman has its 500 for a filter that it cannot read, too.
                    Ok(Holder::Nobody)
                        if error.status() == Some(500)
                            && engine.kind() == EngineKind::Podman
                            && Box::pin(without_our_filter(engine, &mut plan)).await =>
                    {
                        continue;
                    }
                    Ok(Holder::Nobody) => {}
                    Err(failed) => return Err(error.and_cleanup(failed)),
                }
            }
            if let Some(hold) = hold.filter(|_| !error.is_unclear()) {
                hold.release();
            }
            return Err(disk::explain(engine, &plan, error).await);
        }
    }

    async fn unless_shared(self) -> Result<Self> {
        match refuse_shared(&self.engine, &self.id, &self.plan.shares).await {
            Ok(()) => Ok(self),
            Err(error) => Err(self.removed_after(error).await),
        }
    }

    /// Removes it after `error`, to which a removal that fails is added.
    pub(super) async fn removed_after(&self, error: Error) -> Error {
        match self.remove().await {
            Ok(()) => error,
            Err(failed) => error.and_cleanup(failed),
        }
    }

    /// Removes it, and gives back the plan, to be created in another way.
    pub(super) async fn undo(self) -> Result<Plan> {
        self.remove().await?;
        Ok(self.plan)
    }

    /// Attaches, waits and compares what was applied with what was asked for. Before start, so that neither output nor exit
    /// can be missed.
    ///
    /// # Errors
    /// `ACODE-CTN-007` when the engine ignored a limit or protection that was not accepted by name; `ACODE-CTN-014`.
    pub async fn subscribe(&self) -> Result<Subscribed> {
        let id = self.id.as_str();
        let options = AttachOptions {
            stdin: self.plan.body.open_stdin,
        };
        let (attached, waiting, inspect) = tokio::try_join!(
            self.engine.container_attach(id, options),
            self.engine.container_wait(id),
            self.engine.container_inspect(id),
        )?;
        let missing = (self.plan.filter == Filter::Missing).then(Ignored::filter);
        let (ignored, refused): (Vec<_>, Vec<_>) =
            compare(&self.plan.body, &inspect, self.engine.kind())
                .into_iter()
                .chain(missing)
                .partition(|ignored| {
                    self.plan
                        .spec
                        .accept_ignored
                        .iter()
                        .any(|name| name == ignored.name)
                });
        if refused.is_empty() {
            self.trail.ignored(&ignored);
            return Ok(Subscribed {
                attached,
                waiting,
                ignored,
            });
        }
        let list: Vec<String> = refused
            .iter()
            .map(|i| {
                format!(
                    "{} (asked for {}, applied {})",
                    i.name,
                    i.asked,
                    crate::error::shown(&i.applied)
                )
            })
            .collect();
        Err(Error::new(
            Code::LimitInvalid,
            Kind::Refused,
            "compare",
            format!("the engine did not apply {}", list.join(", ")),
        )
        .on(self.plan.name.as_str())
        .with_operation_id(&self.plan.operation))
    }

    /// Starts it (FR-020A-03).
    ///
    /// # Errors
    /// `ACODE-CTN-002`; the container is still there.
    pub async fn start(&self) -> Result<()> {
        tracing::info!(operation = self.plan.operation, name = %self.plan.name, "starting");
        self.engine
            .container_start(self.id.as_str())
            .await
            .inspect(|()| self.trail.started())
            .map_err(|e| self.mine(e))
    }

    /// Stops it (FR-020A-04): TERM, KILL after `grace`. One that has stopped already is no error.
    ///
    /// # Errors
    /// `ACODE-CTN-003`.
    pub async fn stop(&self, grace: Duration) -> Result<()> {
        tracing::info!(operation = self.plan.operation, name = %self.plan.name, ?grace, "stopping");
        self.trail.stopping("TERM", "stop");
        self.engine
            .container_stop(self.id.as_str(), grace)
            .await
            .map_err(|e| self.mine(e))
    }

    /// Removes it by force, in any state, and confirms that it is gone (FR-020A-05, FR-020A-11, FR-020A-12).
    ///
    /// # Errors
    /// `ACODE-CTN-004`.
    pub async fn remove(&self) -> Result<()> {
        self.remove_within(self.plan.spec.cleanup_timeout).await
    }

    pub(super) async fn remove_within(&self, timeout: Duration) -> Result<()> {
        tracing::debug!(operation = self.plan.operation, name = %self.plan.name, "removing");
        let timeout = timeout.min(self.plan.spec.cleanup_timeout);
        let removal = remove_confirmed(&self.engine, self.id.as_str(), timeout).await;
        self.trail.removal(&removal);
        removal.map_err(|e| self.mine(e))?;
        if let Some(hold) = &self.hold {
            hold.release();
        }
        Ok(())
    }

    /// What it is doing (FR-020A-06).
    ///
    /// # Errors
    /// `ACODE-CTN-014`.
    pub async fn status(&self) -> Result<Status> {
        match self.engine.container_inspect(self.id.as_str()).await {
            Ok(inspect) => Ok(Status::from(&inspect)),
            Err(error) if error.is_not_found() => Ok(Status::Gone),
            Err(error) => Err(self.mine(error)),
        }
    }

    /// The engine's log of it (FR-020A-20).
    ///
    /// # Errors
    /// `ACODE-CTN-014`.
    pub async fn logs(&self, options: &LogsOptions) -> Result<LogStream> {
        self.engine
            .container_logs(self.id.as_str(), options)
            .await
            .map_err(|e| self.mine(e))
    }

    /// Its id (FR-020A-14).
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Its name (FR-020A-15).
    pub fn name(&self) -> &ContainerName {
        &self.plan.name
    }

    /// What it was made from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn is_guarded(&self) -> bool {
        self.hold.as_ref().is_some_and(Hold::is_guarded)
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn mine(&self, error: Error) -> Error {
        error
            .on(self.plan.name.as_str())
            .with_operation_id(&self.plan.operation)
    }
}

impl From<&Inspect> for Status {
    fn from(inspect: &Inspect) -> Self {
        match inspect.state.status.as_str() {
            "created" | "initialized" | "configured" => Self::Created,
            "paused" => Self::Paused,
            _ if inspect.state.has_ended() => Self::Exited(inspect.state.exit_code.unwrap_or(-1)),
            _ => Self::Running,
        }
    }
}

/// Tells the guard of a container that is about to be created. One that has gone is replaced by a thread.
fn hold(runner: &Runner, plan: &mut Plan) -> Hold {
    let (name, operation) = (plan.name.as_str().to_owned(), plan.operation.clone());
    runner.guard.hold(&name, &operation).unwrap_or_else(|error| {
        tracing::error!(operation, name, %error, "the guard has gone");
        plan.warnings.push(
            "the guard has gone: should this process be killed, the task is left to the next sweep".into(),
        );
        Guard::thread(runner.engine().socket()).hold_here(&name, &operation)
    })
}
