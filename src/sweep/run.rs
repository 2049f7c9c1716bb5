use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::find::{judge_unlabelled, look_at_owner, named_containers, owned_containers, without};
use super::owner::{self, OwnerState};
use super::policy::{Decision, decide};
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::model::Listed;
use crate::protocol::labels::TaskLabels;
use crate::protocol::name::{ContainerName, Parsed, Prefix};
use crate::protocol::owner::Owner;
use crate::task::remove_by;

/// Removals under way at once; more would only queue inside the engine.
const PARALLEL: usize = 4;

/// What to sweep.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Everything of this session, orphaned or not; otherwise what is provably orphaned, of any session.
    pub session: Option<String>,
    /// Decide, and remove nothing (FR-020A-75).
    pub dry_run: bool,
    /// For each removal.
    pub timeout: Duration,
}

/// One container that a sweep looked at.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own in the report"
)]
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Container name.
    pub name: String,
    /// Container id.
    pub id: String,
    /// Session id.
    pub session: String,
    /// Task id.
    pub task: String,
    /// The UUID of the operation that made it; empty for one without our labels.
    pub operation: String,
    /// As the engine says it.
    pub state: String,
    /// Whether it has our labels; otherwise only its name is like one of ours.
    pub labelled: bool,
    /// What can be said of the process that made it.
    pub owner: OwnerState,
    /// That process, as its own PID namespace counts.
    pub owner_pid: Option<u32>,
    /// Seconds since it was created, by the engine's clock.
    pub age_seconds: u64,
    /// It is to go.
    pub orphan: bool,
    /// Why, or why not.
    pub reason: &'static str,
    /// This sweep removed it, and it is confirmed gone.
    pub removed: bool,
    /// Somebody else removed it first.
    pub gone_already: bool,
    /// Why it is still there.
    #[serde(skip)]
    pub error: Option<Error>,
}

/// What a sweep came to (FR-020A-76).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Containers that were to go.
    pub orphans: usize,
    /// Those that this sweep removed. Engines may say yes to several who remove one container at the same moment, Podman always and Docker in
    /// a narrow race: each of them then counts it.
    pub removed: usize,
    /// Those that somebody else removed first.
    pub gone_already: usize,
    /// Those that could not be removed.
    pub failed: usize,
    /// Containers that were looked at and are not to go.
    pub kept: usize,
}

impl Totals {
    /// Counts.
    pub fn of(entries: &[Entry]) -> Self {
        let count = |wanted: fn(&Entry) -> bool| entries.iter().filter(|e| wanted(e)).count();
        Self {
            orphans: count(|entry| entry.orphan),
            removed: count(|entry| entry.removed),
            gone_already: count(|entry| entry.gone_already),
            failed: count(|entry| entry.error.is_some()),
            kept: count(|entry| !entry.orphan),
        }
    }
}

/// Looks at every container of ours, and at those that only bear a name of ours, removes those that are orphans, and reports on all
/// (FR-020A-64 to FR-020A-70, FR-020A-76). A removal that fails is in its entry and does not stop the others. Sweeps may run beside each
/// other. Dropping the future abandons removals under way.
///
/// Everything is listed first and judged afterwards: a container that is created meanwhile is not looked at, and an owner that ends meanwhile
/// owned what was listed. What is removed is removed by id.
///
/// # Errors
/// `ACODE-CTN-010` when the containers cannot be listed.
pub async fn sweep(engine: &Engine, options: &Sweep) -> Result<Vec<Entry>> {
    let failed = |error: Error| error.with_code(Code::CleanupFailed);
    let mut named = Vec::new();
    if options.session.is_none() {
        // Before ours, so that one of ours that is created in between is in neither list or in both.
        named = named_containers(engine).await.map_err(failed)?;
    }
    let ours = owned_containers(engine).await.map_err(failed)?;
    // Asked each time: a clock that was read once knows nothing of a step since.
    let now = engine.ping().await.map_err(failed)?.date;
    let unlabelled = without(named, &ours);
    let observer = owner::current();
    let mut entries: Vec<Entry> = ours
        .into_iter()
        .filter(|(_, labels)| {
            let wanted = options.session.as_ref();
            wanted.is_none_or(|session| *session == labels.session)
        })
        .map(|(container, labels)| {
            let (state, believed) = look_at_owner(&labels, observer.as_ref(), now);
            let decision = if options.session.is_some() {
                Decision::Remove("its session is cleaned up")
            } else {
                decide(&labels, container.is_running(), state, believed)
            };
            Entry::labelled(container, labels, state, now).decided(decision)
        })
        .collect();
    for container in unlabelled {
        let decision = match judge_unlabelled(engine, &container.id).await {
            Ok(Some(decision)) => decision,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(name = container.name(), %error, "it cannot be looked at");
                Decision::Keep("it cannot be looked at")
            }
        };
        entries.push(Entry::unlabelled(container, now).decided(decision));
    }
    if !options.dry_run {
        remove_orphans(engine, &mut entries, options.timeout).await;
    }
    Ok(entries)
}

impl Entry {
    fn labelled(container: Listed, labels: TaskLabels, owner: OwnerState, now: u64) -> Self {
        let entry = Self::unlabelled(container, now);
        Self {
            labelled: true,
            owner,
            owner_pid: labels.owner.as_ref().map(|Owner { pid, .. }| *pid),
            session: labels.session,
            task: labels.task,
            operation: labels.operation,
            ..entry
        }
    }

    fn unlabelled(container: Listed, now: u64) -> Self {
        let name = container.name().to_owned();
        let (session, task) = match ContainerName::parse(&Prefix::default(), &name) {
            Some(Parsed::Exact { session, task }) => (session.to_owned(), task.to_owned()),
            Some(Parsed::Labelled) | None => Default::default(),
        };
        Self {
            name,
            session,
            task,
            operation: String::new(),
            age_seconds: now.saturating_sub(u64::try_from(container.created).unwrap_or(0)),
            id: container.id,
            state: container.state,
            labelled: false,
            owner: OwnerState::Unknown,
            owner_pid: None,
            orphan: false,
            reason: "",
            removed: false,
            gone_already: false,
            error: None,
        }
    }

    fn decided(mut self, decision: Decision) -> Self {
        (self.orphan, self.reason) = match decision {
            Decision::Remove(reason) => (true, reason),
            Decision::Keep(reason) => (false, reason),
        };
        self
    }

    fn ended(&mut self, end: Result<End>) {
        let Self {
            operation,
            name,
            session,
            ..
        } = self;
        match end {
            Ok(End::Removed) => {
                tracing::info!(operation, name, session, "removed orphan");
                self.removed = true;
            }
            Ok(End::GoneAlready) => {
                tracing::info!(operation, name, session, "orphan is gone already");
                self.gone_already = true;
            }
            Ok(End::Kept(reason)) => {
                tracing::info!(name, reason, "kept after all");
                (self.orphan, self.reason) = (false, reason);
            }
            Err(error) => {
                tracing::error!(operation, name, session, %error, "orphan not removed");
                self.error = Some(error);
            }
        }
    }
}

/// How a removal ended.
enum End {
    Removed,
    GoneAlready,
    /// Somebody has begun to keep it since it was judged.
    Kept(&'static str),
}

async fn remove_orphans(engine: &Engine, entries: &mut [Entry], timeout: Duration) {
    let orphans = entries.iter().filter(|entry| entry.orphan).count();
    if orphans > 0 {
        tracing::warn!(count = orphans, "found orphaned containers");
    }
    let mut removals = JoinSet::new();
    let mut next = 0;
    loop {
        while removals.len() < PARALLEL && next < entries.len() {
            let (index, entry) = (next, &entries[next]);
            next += 1;
            if !entry.orphan {
                continue;
            }
            let Entry {
                operation,
                name,
                session,
                reason,
                labelled,
                ..
            } = entry;
            tracing::warn!(
                operation,
                name,
                session,
                reason,
                labelled,
                "removing orphan"
            );
            let (engine, id, labelled) = (engine.clone(), entry.id.clone(), *labelled);
            removals.spawn(async move { (index, remove(&engine, &id, labelled, timeout).await) });
        }
        match removals.join_next().await {
            Some(Ok((index, end))) => entries[index].ended(end),
            Some(Err(error)) => tracing::error!(%error, "a removal was lost"),
            None => break,
        }
    }
    if orphans > 0 {
        let Totals {
            removed,
            gone_already,
            failed,
            kept,
            ..
        } = Totals::of(entries);
        tracing::info!(removed, gone_already, failed, kept, "sweep complete");
    }
}

/// Removes by id, and says who did it, as far as the engine tells several who do it at once apart.
async fn remove(engine: &Engine, id: &str, labelled: bool, timeout: Duration) -> Result<End> {
    // Labels stay as they were created, a restart policy or a name does not.
    if !labelled {
        match judge_unlabelled(engine, id).await? {
            Some(Decision::Remove(_)) => {}
            Some(Decision::Keep(reason)) => return Ok(End::Kept(reason)),
            None => return Ok(End::GoneAlready),
        }
    }
    Ok(if remove_by(engine, id, timeout).await? {
        End::Removed
    } else {
        End::GoneAlready
    })
}
