use std::collections::{BTreeMap, BTreeSet};

use super::owner::{self, OwnerState};
use super::policy::{Decision, believed, decide_unlabelled};
use crate::engine::{Engine, ListOptions};
use crate::error::Result;
use crate::model::{Inspect, Listed};
use crate::protocol::image_ref::ImageRef;
use crate::protocol::labels::{Labels, TaskLabels};
use crate::protocol::name::{ContainerName, Prefix};
use crate::protocol::owner::Owner;
use crate::protocol::target::Filters;

/// The containers that are ours, with their labels: labels that an image brought along do not count, and where the image is gone nobody can
/// tell whose a container is, so that it is left alone.
///
/// # Errors
/// `ACODE-CTN-014`.
pub async fn owned_containers(engine: &Engine) -> Result<Vec<(Listed, TaskLabels)>> {
    let ours = |(container, image): (Listed, Option<Labels>)| {
        let labels = TaskLabels::read(&container.labels, &image?)?;
        Some((container, labels))
    };
    let labelled = labelled_containers(engine).await?;
    Ok(labelled.into_iter().filter_map(ours).collect())
}

/// The containers with the label of ours, and the labels that their images brought along; `None` where those cannot be told.
pub(super) async fn labelled_containers(engine: &Engine) -> Result<Vec<(Listed, Option<Labels>)>> {
    let mut images: BTreeMap<String, Option<Labels>> = BTreeMap::new();
    let mut labelled = Vec::new();
    for container in engine.container_list(&ListOptions::managed()).await? {
        if !images.contains_key(&container.image_id) {
            // One image that cannot be read must not hide the others' containers.
            let labels = image_labels(engine, &container.image_id).await.unwrap_or_else(|error| {
                tracing::warn!(image = container.image_id, %error, "whose its containers are cannot be told");
                None
            });
            images.insert(container.image_id.clone(), labels);
        }
        let image = images.get(&container.image_id).cloned().flatten();
        labelled.push((container, image));
    }
    Ok(labelled)
}

/// What an inspected container says of itself, where it is ours; `None` where it is not, or where that cannot be told.
///
/// # Errors
/// `ACODE-CTN-014`.
pub async fn owned_labels(engine: &Engine, inspect: &Inspect) -> Result<Option<TaskLabels>> {
    let image = image_labels(engine, &inspect.image).await?;
    Ok(image.and_then(|image| TaskLabels::read(&inspect.config.labels, &image)))
}

/// What can be said from here of the process that made it, and the time as far as the engine's clock can be believed.
pub(crate) fn look_at_owner(
    labels: &TaskLabels,
    observer: Option<&Owner>,
    now: u64,
) -> (OwnerState, u64) {
    let made_by = labels.owner.as_ref();
    let age = owner::age(made_by, observer);
    (owner::look(made_by, observer), believed(now, labels, age))
}

/// The containers with a name of ours, whatever their labels.
pub(super) async fn named_containers(engine: &Engine) -> Result<Vec<Listed>> {
    let prefix = Prefix::default();
    // The engine looks for the text anywhere in a name. Podman 4.3 fails a pattern with a slash, so that the rest is looked at here.
    let options = ListOptions {
        all: true,
        filters: Filters::new().with("name", format!("{}-", prefix.as_str())),
    };
    let mut named = engine.container_list(&options).await?;
    named.retain(|container| ContainerName::parse(&prefix, container.name()).is_some());
    Ok(named)
}

/// Those of `named` that are not `ours`.
pub(super) fn without(named: Vec<Listed>, ours: &[(Listed, TaskLabels)]) -> Vec<Listed> {
    let ours: BTreeSet<&str> = ours.iter().map(|(ours, _)| ours.id.as_str()).collect();
    let is_other = |container: &Listed| !ours.contains(container.id.as_str());
    named.into_iter().filter(is_other).collect()
}

/// Looks at a container that is not labelled as ours and decides on it; `None` where it is gone.
pub(super) async fn judge_unlabelled(engine: &Engine, id: &str) -> Result<Option<Decision>> {
    let ties = match engine.container_ties(id).await {
        Err(error) if error.is_not_found() => return Ok(None),
        ties => ties?,
    };
    let image = if ties.config.labels.is_empty() {
        None
    } else {
        image_labels(engine, &ties.image).await?
    };
    Ok(Some(decide_unlabelled(&ties, image.as_ref())))
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
