//! What may be removed: only what is provably nobody's. Pure, so that every case can be read and tested here.

use super::owner::OwnerState;
use crate::model::Ties;
use crate::protocol::labels::{Labels, TaskLabels};
use crate::protocol::name::{ContainerName, Prefix};

/// Seconds past its deadline, or past its making in another boot, after which a container without a living owner goes.
pub const GRACE: u64 = 3600;

/// What to do with a container, and why.
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

/// The clock as far as it can be believed: nothing is older than the process that made it, so that a clock that says so has stepped ahead
/// since. `owner_age` is in seconds that no clock can change.
pub fn believed(now: u64, labels: &TaskLabels, owner_age: Option<u64>) -> u64 {
    match owner_age {
        // A second for each of the two that were rounded down.
        Some(age) if labels.created > 0 => {
            now.min(labels.created.saturating_add(age).saturating_add(2))
        }
        _ => now,
    }
}

/// Decides on a container that bears a name of ours and is not labelled as ours, as one does that was made by hand or by a program that
/// sets no labels. Whoever keeps a container on purpose says so in one of its ties. `image` are the labels that its image brought along;
/// `None` where those cannot be told.
pub fn decide_unlabelled(ties: &Ties, image: Option<&Labels>) -> Decision {
    use Decision::{Keep, Remove};
    if ContainerName::parse(&Prefix::default(), ties.name()).is_none() {
        return Keep("its name is not of our kind");
    }
    let labels = &ties.config.labels;
    match image {
        _ if labels.is_empty() => {}
        None => return Keep("whether its labels are its image's cannot be told"),
        Some(image)
            if labels
                .iter()
                .all(|(key, value)| image.get(key) == Some(value)) => {}
        Some(_) => return Keep("it has labels of its own"),
    }
    let host = &ties.host_config;
    if !matches!(host.restart_policy.name.as_str(), "" | "no") {
        return Keep("it has a restart policy");
    }
    if host.publish_all_ports || !host.port_bindings.is_empty() {
        return Keep("it publishes ports");
    }
    match volumes_of_its_own(ties) {
        Some(reason) => Keep(reason),
        None => Remove("its name is one of ours, and nothing says that anybody keeps it"),
    }
}

/// Anonymous volumes and tmpfs go with their container; anything else that is mounted was given to it.
fn volumes_of_its_own(ties: &Ties) -> Option<&'static str> {
    const BIND: Option<&str> = Some("it has a bind");
    const NAMED: Option<&str> = Some("it has a named volume");
    // Podman writes anonymous volumes as binds, by their generated names.
    for bind in &ties.host_config.binds {
        match bind.split(':').next().unwrap_or_default() {
            source if source.starts_with('/') => return BIND,
            source if !is_generated(source) => return NAMED,
            _ => {}
        }
    }
    if !ties.host_config.volumes_from.is_empty() {
        return Some("it has the volumes of another container");
    }
    for mount in &ties.mounts {
        match mount.kind.as_str() {
            "tmpfs" => {}
            "volume" if is_generated(&mount.name) => {}
            "volume" => return NAMED,
            "bind" => return BIND,
            _ => return Some("it has a mount"),
        }
    }
    None
}

/// The engine calls a volume that nobody named by 64 hex digits.
fn is_generated(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TiedMount;

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

    /// FR-020A-64: the clock is whatever was passed in, and one that is behind what the labels say never makes anything an orphan.
    #[test]
    fn a_clock_that_jumps_back_takes_nothing_and_one_that_jumps_ahead_not_what_is_owned() {
        let labels = labels(true, NOW, Some(NOW + 86_400));
        for owner in [OwnerState::Unknown, OwnerState::OtherBoot] {
            for now in [0, 1, NOW - 10 * 86_400, NOW, NOW + 86_400 + GRACE] {
                let running = owner == OwnerState::OtherBoot;
                let decision = decide(&labels, running, owner, now);
                assert!(matches!(decision, Decision::Keep(_)), "{owner:?} {now}");
            }
            let late = decide(&labels, true, owner, NOW + 86_400 + GRACE + 1);
            assert_eq!(late, Decision::Remove("its deadline has passed"));
        }
        let ahead = decide(&labels, true, OwnerState::Alive, u64::MAX);
        assert_eq!(ahead, Decision::Keep("its owner lives"));
        let local = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        assert!(
            local > NOW + 86_400 + GRACE
                && matches!(
                    decide(&labels, true, OwnerState::Unknown, NOW),
                    Decision::Keep(_)
                ),
            "the local clock is not asked"
        );
    }

    #[test]
    fn a_clock_that_steps_ahead_makes_nothing_older_than_its_maker() {
        let labels = labels(true, NOW, Some(NOW + 86_400));
        let stepped = NOW + 365 * 86_400;
        assert_eq!(believed(stepped, &labels, Some(60)), NOW + 62);
        assert_eq!(believed(NOW + 5, &labels, Some(60)), NOW + 5);
        assert_eq!(believed(stepped, &labels, None), stepped);
        assert_eq!(believed(stepped, &labels, Some(u64::MAX / 2)), stepped);
        let undated = TaskLabels {
            created: 0,
            ..labels
        };
        assert_eq!(believed(stepped, &undated, Some(60)), stepped);
    }

    #[test]
    fn an_owner_that_cannot_be_read_is_kept_until_the_deadline() {
        let odd: Labels = [
            (crate::protocol::labels::MANAGED, "true"),
            (crate::protocol::labels::OPERATION, "o"),
            (crate::protocol::labels::OWNER, "0123.what"),
            (crate::protocol::labels::DEADLINE, "soon"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let read = TaskLabels::read(&odd, &Labels::new()).unwrap();
        assert_eq!((&read.owner, read.deadline), (&None, None));
        assert!(!removed(&read, false, OwnerState::Unknown));
    }

    fn bare() -> Ties {
        Ties {
            name: "/acode-orphan-test-123".into(),
            ..Ties::default()
        }
    }

    fn labelled(pairs: &[(&str, &str)]) -> Labels {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    fn mount(kind: &str, name: &str) -> TiedMount {
        TiedMount {
            kind: kind.into(),
            name: name.into(),
        }
    }

    fn kept(ties: &Ties, image: Option<&Labels>) -> Option<&'static str> {
        match decide_unlabelled(ties, image) {
            Decision::Keep(reason) => Some(reason),
            Decision::Remove(_) => None,
        }
    }

    #[test]
    fn fr_020a_65_66_an_unlabelled_container_goes_by_its_name_alone() {
        assert_eq!(kept(&bare(), None), None);
        let mut usual = bare();
        usual.host_config.restart_policy.name = "no".into();
        let generated = "0123456789abcdef".repeat(4);
        usual.host_config.binds = vec![format!("{generated}:/anonymous:rw,nosuid")];
        usual.mounts = vec![mount("tmpfs", ""), mount("volume", &generated)];
        assert_eq!(kept(&usual, None), None);
        for name in [
            "",
            "/",
            "acode",
            "acode-x",
            "acode--x-y",
            "my-acode-a-b",
            "acode-A-b",
            "acode-a-b_c",
            "acoder-a-b",
        ] {
            let other = Ties {
                name: format!("/{name}"),
                ..bare()
            };
            assert_eq!(
                kept(&other, None),
                Some("its name is not of our kind"),
                "{name}"
            );
        }
    }

    #[test]
    fn an_unlabelled_container_that_somebody_keeps_stays() {
        let with = |tie: fn(&mut Ties)| {
            let mut ties = bare();
            tie(&mut ties);
            kept(&ties, None)
        };
        for policy in ["always", "unless-stopped", "on-failure", "sometimes"] {
            let mut ties = bare();
            ties.host_config.restart_policy.name = policy.into();
            assert_eq!(
                kept(&ties, None),
                Some("it has a restart policy"),
                "{policy}"
            );
        }
        let ports = Some("it publishes ports");
        assert_eq!(with(|t| t.host_config.publish_all_ports = true), ports);
        let null = |t: &mut Ties| {
            t.host_config
                .port_bindings
                .insert("80/tcp".into(), serde_json::Value::Null);
        };
        assert_eq!(with(null), ports);
        let bind = Some("it has a bind");
        assert_eq!(
            with(|t| t.host_config.binds = vec!["/etc:/x:ro".into()]),
            bind
        );
        assert_eq!(with(|t| t.mounts = vec![mount("bind", "")]), bind);
        let named = Some("it has a named volume");
        assert_eq!(
            with(|t| t.host_config.binds = vec!["data:/x".into()]),
            named
        );
        assert_eq!(with(|t| t.mounts = vec![mount("volume", "data")]), named);
        assert_eq!(
            with(|t| t.mounts = vec![mount("npipe", "")]),
            Some("it has a mount")
        );
        assert_eq!(
            with(|t| t.host_config.volumes_from = vec!["db".into()]),
            Some("it has the volumes of another container")
        );
    }

    #[test]
    fn labels_that_only_the_image_has_are_no_labels_of_its_own() {
        let mut ties = bare();
        ties.config.labels = labelled(&[("maintainer", "x")]);
        assert_eq!(kept(&ties, Some(&ties.config.labels)), None);
        let own = Some("it has labels of its own");
        assert_eq!(kept(&ties, Some(&Labels::new())), own);
        assert_eq!(kept(&ties, Some(&labelled(&[("maintainer", "y")]))), own);
        assert_eq!(
            kept(&ties, None),
            Some("whether its labels are its image's cannot be told")
        );
    }
}
