//! A name that is taken, or may be by a create that was not answered: who has it.

use std::time::Duration;

use super::Status;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::model::Inspect;
use crate::protocol::labels::OPERATION;
use crate::sweep::policy::{Decision, decide};
use crate::sweep::{look_at_owner, owned_labels, owner};
use crate::task::cleanup::remove_confirmed;
use crate::task::plan::Plan;

/// How long a container is looked for whose create was not answered.
const LATE_CREATE: Duration = Duration::from_secs(2);

pub(super) enum Holder {
    Nobody,
    /// Its id.
    Orphan(String),
    Other,
}

/// Who holds the plan's name after a create that was refused or not answered. A container of this very operation is removed: its
/// create did arrive, and may do so late.
pub(super) async fn holder(engine: &Engine, plan: &Plan, error: &Error) -> Result<Holder> {
    let until = tokio::time::Instant::now() + LATE_CREATE;
    loop {
        match engine.container_inspect(plan.name.as_str()).await {
            Ok(inspect) if inspect.config.labels.get(OPERATION) == Some(&plan.operation) => {
                remove_confirmed(engine, &inspect.id, plan.spec.cleanup_timeout).await?;
                return Ok(Holder::Nobody);
            }
            Ok(inspect) => return judge(engine, inspect).await,
            // It was answered, if only by Podman's 500 for any bad request: there is nothing to wait for.
            Err(missing) if missing.is_not_found() && error.status().is_some() => {
                return Ok(Holder::Nobody);
            }
            Err(failed) if tokio::time::Instant::now() >= until && !failed.is_not_found() => {
                return Err(failed);
            }
            Err(_) => {}
        }
        if tokio::time::Instant::now() >= until {
            return Ok(Holder::Nobody);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn judge(engine: &Engine, inspect: Inspect) -> Result<Holder> {
    let Some(labels) = owned_labels(engine, &inspect).await? else {
        return Ok(Holder::Other);
    };
    let running = matches!(Status::from(&inspect), Status::Running | Status::Paused);
    let observer = owner::current();
    let (state, now) = look_at_owner(&labels, observer.as_ref(), engine.now());
    Ok(match decide(&labels, running, state, now) {
        Decision::Remove(_) => Holder::Orphan(inspect.id),
        Decision::Keep(_) => Holder::Other,
    })
}
