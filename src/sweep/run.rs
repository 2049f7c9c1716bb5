use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::owner;
use super::policy::{Decision, decide};
use crate::engine::{Engine, ListOptions};
use crate::error::{Code, Error, Result};
use crate::model::{Inspect, Listed};
use crate::protocol::image_ref::ImageRef;
use crate::protocol::labels::{Labels, TaskLabels};
use crate::task::remove_confirmed;

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
    /// The UUID of the operation that made it.
    pub operation: String,
    /// As the engine says it.
    pub state: String,
    /// It is to go.
    pub orphan: bool,
    /// Why, or why not.
    pub reason: &'static str,
    /// It is confirmed gone.
    pub removed: bool,
    /// Why it is not.
    #[serde(skip)]
    pub error: Option<Error>,
}

/// Looks at every container of ours, removes those that are orphans, and reports on all (FR-020A-64 to FR-020A-70, FR-020A-76). A
/// removal that fails is in its entry and does not stop the others. Dropping the future abandons removals under way.
///
/// # Errors
/// `ACODE-CTN-010` when the containers cannot be listed.
pub async fn sweep(engine: &Engine, options: &Sweep) -> Result<Vec<Entry>> {
    let ours = owned_containers(engine)
        .await
        .map_err(|error| error.with_code(Code::CleanupFailed))?;
    let observer = owner::current();
    let mut entries = Vec::new();
    for (container, labels) in ours {
        if options
            .session
            .as_ref()
            .is_some_and(|session| *session != labels.session)
        {
            continue;
        }
        let decision = if options.session.is_some() {
            Decision::Remove("its session is cleaned up")
        } else {
            let running = !matches!(
                container.state.as_str(),
                "created" | "exited" | "dead" | "stopped"
            );
            let state = owner::look(labels.owner.as_ref(), observer.as_ref());
            decide(&labels, running, state, engine.now())
        };
        let (orphan, reason) = match decision {
            Decision::Remove(reason) => (true, reason),
            Decision::Keep(reason) => (false, reason),
        };
        entries.push(Entry {
            name: container.name().to_owned(),
            id: container.id,
            session: labels.session,
            task: labels.task,
            operation: labels.operation,
            state: container.state,
            orphan,
            reason,
            removed: false,
            error: None,
        });
    }
    if !options.dry_run {
        remove_orphans(engine, &mut entries, options.timeout).await;
    }
    Ok(entries)
}

async fn remove_orphans(engine: &Engine, entries: &mut [Entry], timeout: Duration) {
    let orphans: Vec<usize> = (0..entries.len())
        .filter(|index| entries[*index].orphan)
        .collect();
    if !orphans.is_empty() {
        tracing::warn!(count = orphans.len(), "found orphaned containers");
    }
    for group in orphans.chunks(PARALLEL) {
        let mut removals = JoinSet::new();
        for index in group.iter().copied() {
            let (engine, id) = (engine.clone(), entries[index].id.clone());
            let Entry {
                name,
                session,
                operation,
                ..
            } = &entries[index];
            tracing::warn!(operation, name, session, "removing orphan");
            removals.spawn(async move { (index, remove_confirmed(&engine, &id, timeout).await) });
        }
        while let Some(Ok((index, result))) = removals.join_next().await {
            let entry = &mut entries[index];
            entry.removed = result.is_ok();
            entry.error = result.err();
            if let Some(error) = &entry.error {
                tracing::error!(operation = entry.operation, name = entry.name, %error, "orphan not removed");
            }
        }
    }
}

/// The containers that are ours, with their labels: labels that an image brought along do not count, and where the image is gone nobody can
/// tell whose a container is, so that it is left alone.
///
/// # Errors
/// `ACODE-CTN-014`.
pub async fn owned_containers(engine: &Engine) -> Result<Vec<(Listed, TaskLabels)>> {
    let mut images: BTreeMap<String, Option<Labels>> = BTreeMap::new();
    let mut ours = Vec::new();
    for container in engine.container_list(&ListOptions::managed()).await? {
        if !images.contains_key(&container.image_id) {
            // One image that cannot be read must not hide the others' containers.
            let labels = image_labels(engine, &container.image_id).await.unwrap_or_else(|error| {
                tracing::warn!(image = container.image_id, %error, "whose its containers are cannot be told");
                None
            });
            images.insert(container.image_id.clone(), labels);
        }
        let image = images.get(&container.image_id).and_then(Option::as_ref);
        if let Some(labels) = image.and_then(|image| TaskLabels::read(&container.labels, image)) {
            ours.push((container, labels));
        }
    }
    Ok(ours)
}

/// What an inspected container says of itself, where it is ours; `None` where it is not, or where that cannot be told.
///
/// # Errors
/// `ACODE-CTN-014`.
pub async fn owned_labels(engine: &Engine, inspect: &Inspect) -> Result<Option<TaskLabels>> {
    let image = image_labels(engine, &inspect.image).await?;
    Ok(image.and_then(|image| TaskLabels::read(&inspect.config.labels, &image)))
}

/// The labels that the image with this id brought along; `None` where it is gone, so that what a container got from it cannot be told.
async fn image_labels(engine: &Engine, id: &str) -> Result<Option<Labels>> {
    let Ok(image) = ImageRef::parse(id) else {
        return Ok(None);
    };
    match engine.image_inspect(&image).await {
        Ok(image) => Ok(Some(image.config.labels)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
