//! The leak ledger: what of ours is on the engine and nobody's any more. It only looks.

use serde::Serialize;

use super::find::{labelled_containers, look_at_owner};
use super::owner::{self, OwnerState};
use super::policy::{Decision, decide};
use crate::engine::{Engine, ListOptions};
use crate::error::Result;
use crate::protocol::labels::{Labels, MANAGED, TaskLabels};
use crate::protocol::owner::Owner;

/// What kind of thing the engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A container.
    Container,
    /// A volume.
    Volume,
    /// A network.
    Network,
}

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Somebody's, or meant to be there.
    Owned,
    /// Nobody's: a leak.
    Leaked,
    /// It cannot be told from here, and counts as no leak.
    Untold,
}

/// One thing that is labelled as ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Session id.
    pub session: String,
    /// The process that made it, as its own PID namespace counts.
    pub owner_pid: Option<u32>,
    /// Whose it is.
    pub standing: Standing,
    /// Why that is said.
    pub reason: &'static str,
}

/// Looks at all containers, volumes and networks that are labelled as ours.
///
/// # Errors
/// `ACODE-CTN-014`.
pub async fn ledger(engine: &Engine) -> Result<Vec<Holding>> {
    let containers = labelled_containers(engine).await?;
    let managed = ListOptions::managed().filters;
    let volumes = engine.volume_list(&managed).await?;
    let networks = engine.network_list(&managed).await?;
    let now = engine.ping().await?.date;
    let observer = owner::current();
    let judge = |kind, name: &str, labels: &TaskLabels, running| {
        let (state, believed) = look_at_owner(labels, observer.as_ref(), now);
        judge(kind, name, labels, running, state, believed)
    };
    let mut holdings = Vec::new();
    for (container, image) in containers {
        let (kind, name) = (Kind::Container, container.name());
        let brought = |image: &Labels| image.get(MANAGED) == container.labels.get(MANAGED);
        let read = |image: &Labels| TaskLabels::read(&container.labels, image);
        holdings.push(match (image.as_ref().and_then(read), &image) {
            (Some(labels), _) => judge(kind, name, &labels, container.is_running()),
            (None, Some(image)) if brought(image) => continue,
            (None, _) => Holding::untold(kind, name),
        });
    }
    let mut others: Vec<(Kind, String, Labels)> = Vec::new();
    others.extend(
        volumes
            .into_iter()
            .map(|v| (Kind::Volume, v.name, v.labels)),
    );
    others.extend(
        networks
            .into_iter()
            .map(|n| (Kind::Network, n.name, n.labels)),
    );
    for (kind, name, labels) in others {
        // Neither comes from an image that could have brought labels along.
        holdings.push(match TaskLabels::read(&labels, &Labels::new()) {
            Some(labels) => judge(kind, &name, &labels, false),
            None => Holding::untold(kind, &name),
        });
    }
    Ok(holdings)
}

impl Holding {
    fn untold(kind: Kind, name: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            session: String::new(),
            owner_pid: None,
            standing: Standing::Untold,
            reason: "whether it was made by acode-rt cannot be told",
        }
    }
}

fn judge(
    kind: Kind,
    name: &str,
    labels: &TaskLabels,
    running: bool,
    owner: OwnerState,
    now: u64,
) -> Holding {
    let (standing, reason) = match decide(labels, running, owner, now) {
        Decision::Remove(reason) => (Standing::Leaked, reason),
        Decision::Keep(reason) => match owner {
            OwnerState::Unknown | OwnerState::OtherBoot if labels.ephemeral => {
                (Standing::Untold, reason)
            }
            _ => (Standing::Owned, reason),
        },
    };
    Holding {
        kind,
        name: name.to_owned(),
        session: labels.session.clone(),
        owner_pid: labels.owner.as_ref().map(|Owner { pid, .. }| *pid),
        standing,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_provably_nobodys_is_a_leak() {
        let standing = |ephemeral, owner, deadline| {
            let labels = TaskLabels {
                session: "s".into(),
                task: "t".into(),
                created: 1_000_000,
                ephemeral,
                operation: "o".into(),
                owner: None,
                deadline: Some(deadline),
            };
            judge(Kind::Volume, "v", &labels, true, owner, 1_000_000).standing
        };
        let (later, long_ago) = (1_000_001, 1);
        assert_eq!(standing(true, OwnerState::Gone, later), Standing::Leaked);
        assert_eq!(standing(true, OwnerState::Alive, long_ago), Standing::Owned);
        assert_eq!(standing(true, OwnerState::Unknown, later), Standing::Untold);
        assert_eq!(
            standing(true, OwnerState::OtherBoot, later),
            Standing::Untold
        );
        assert_eq!(
            standing(true, OwnerState::Unknown, long_ago),
            Standing::Leaked
        );
        assert_eq!(standing(false, OwnerState::Gone, later), Standing::Owned);
        assert_eq!(
            standing(false, OwnerState::Gone, long_ago),
            Standing::Leaked
        );
    }
}
