//! What may be removed: only what is provably nobody's. Pure, so that every case can be read and tested here.

use super::owner::OwnerState;
use crate::protocol::labels::TaskLabels;

/// Seconds past its deadline, or past its making in another boot, after which a container without a living owner goes.
pub const GRACE: u64 = 3600;

/// What to do with a container of ours, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is an orphan.
    Remove(&'static str),
    /// It is not, or that cannot be told.
    Keep(&'static str),
}

/// Decides. `now` is the engine's clock, seconds since 1970, as the labels are.
pub fn decide(labels: &TaskLabels, running: bool, owner: OwnerState, now: u64) -> Decision {
    use Decision::{Keep, Remove};
    let past = |instant: u64| now > instant.saturating_add(GRACE);
    if owner == OwnerState::Alive {
        return Keep("its owner lives");
    }
    if labels.deadline.is_some_and(past) {
        return Remove("its deadline has passed");
    }
    if !labels.ephemeral {
        return Keep("it is meant to be kept until its deadline");
    }
    match owner {
        OwnerState::Gone => Remove("its owner is gone"),
        OwnerState::OtherBoot if running => {
            Keep("its owner is of another boot or machine, and it runs")
        }
        OwnerState::OtherBoot if labels.created > 0 && past(labels.created) => {
            Remove("its owner is of another boot, and it does not run")
        }
        OwnerState::OtherBoot => Keep("its owner is of another boot or machine, and it is young"),
        OwnerState::Alive | OwnerState::Unknown => {
            Keep("whether its owner lives cannot be told from here")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn labels(ephemeral: bool, created: u64, deadline: Option<u64>) -> TaskLabels {
        TaskLabels {
            session: "s".into(),
            task: "t".into(),
            created,
            ephemeral,
            operation: "o".into(),
            owner: None,
            deadline,
        }
    }

    fn removed(labels: &TaskLabels, running: bool, owner: OwnerState) -> bool {
        matches!(decide(labels, running, owner, NOW), Decision::Remove(_))
    }

    #[test]
    fn a_living_owner_protects_whatever_the_clock_says() {
        for ephemeral in [true, false] {
            assert!(!removed(
                &labels(ephemeral, 1, Some(1)),
                false,
                OwnerState::Alive
            ));
        }
    }

    #[test]
    fn nfr_020a_13_only_provable_orphans_go() {
        let young = labels(true, NOW, Some(NOW + 9));
        assert!(removed(&young, true, OwnerState::Gone));
        assert!(!removed(&young, true, OwnerState::Unknown));
        assert!(!removed(&young, false, OwnerState::OtherBoot));
        let old = labels(true, NOW - GRACE - 1, Some(NOW + 9));
        assert!(removed(&old, false, OwnerState::OtherBoot));
        assert!(!removed(&old, true, OwnerState::OtherBoot));
        assert!(
            !removed(&labels(true, 0, None), false, OwnerState::OtherBoot),
            "no time of making"
        );
    }

    #[test]
    fn kept_containers_go_at_their_deadline_only() {
        assert!(!removed(
            &labels(false, 1, Some(NOW)),
            false,
            OwnerState::Gone
        ));
        assert!(removed(
            &labels(false, 1, Some(NOW - GRACE - 1)),
            false,
            OwnerState::Gone
        ));
        assert!(removed(
            &labels(true, 1, Some(NOW - GRACE - 1)),
            true,
            OwnerState::Unknown
        ));
        assert!(
            !removed(&labels(true, 1, Some(u64::MAX)), true, OwnerState::Unknown),
            "no overflow"
        );
    }
}
