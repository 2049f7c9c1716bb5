//! The labels that mark a container as ours. They are part of the create request, so that no container of ours is ever
//! without them.

use std::collections::BTreeMap;

use super::owner::Owner;

/// Labels as they stand on the wire.
pub type Labels = BTreeMap<String, String>;

/// `acode.managed`: always `true`.
pub const MANAGED: &str = "acode.managed";
/// `acode.session`: the exact session id.
pub const SESSION: &str = "acode.session";
/// `acode.task`: the exact task id.
pub const TASK: &str = "acode.task";
/// `acode.created`: seconds since 1970 by the engine's clock.
pub const CREATED: &str = "acode.created";
/// `acode.ephemeral`: `false` for what is to outlive its owner.
pub const EPHEMERAL: &str = "acode.ephemeral";
/// `acode.operation`: the UUID that stands in every log line.
pub const OPERATION: &str = "acode.operation";
/// `acode.owner`: see [`Owner`].
pub const OWNER: &str = "acode.owner";
/// `acode.deadline`: seconds since 1970 by the engine's clock after which the container is nobody's.
pub const DEADLINE: &str = "acode.deadline";

/// `acode.writable`: the host's directories that the container can write to, a JSON array.
pub const WRITABLE: &str = "acode.writable";

/// What a container of ours says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLabels {
    /// Exact session id.
    pub session: String,
    /// Exact task id.
    pub task: String,
    /// Seconds since 1970, by the engine's clock.
    pub created: u64,
    /// `false` for containers that are kept.
    pub ephemeral: bool,
    /// The operation's UUID.
    pub operation: String,
    /// The process that made it; `None` where it could not be read back.
    pub owner: Option<Owner>,
    /// Seconds since 1970, by the engine's clock; `None` where it could not be read back.
    pub deadline: Option<u64>,
}

impl TaskLabels {
    /// The labels to send.
    pub fn to_map(&self) -> Labels {
        let mut map: Labels = [
            (MANAGED, "true".to_owned()),
            (SESSION, self.session.clone()),
            (TASK, self.task.clone()),
            (CREATED, self.created.to_string()),
            (EPHEMERAL, self.ephemeral.to_string()),
            (OPERATION, self.operation.clone()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        if let Some(owner) = &self.owner {
            map.insert(OWNER.into(), owner.to_string());
        }
        if let Some(deadline) = self.deadline {
            map.insert(DEADLINE.into(), deadline.to_string());
        }
        map
    }

    /// Reads a container's labels; `None` when it is not ours. `image` are the labels of its image: what stands there
    /// too was brought along by the image and says nothing, however it is called. An operation id is made anew for each
    /// container, so that ours is never equal to one that an image brought.
    pub fn read(container: &Labels, image: &Labels) -> Option<Self> {
        let get = |key: &str| container.get(key).map(String::as_str);
        let operation = get(OPERATION)?;
        let ours = get(MANAGED) == Some("true")
            && image.get(OPERATION).map(String::as_str) != Some(operation);
        ours.then(|| Self {
            session: get(SESSION).unwrap_or_default().to_owned(),
            task: get(TASK).unwrap_or_default().to_owned(),
            created: get(CREATED).and_then(|s| s.parse().ok()).unwrap_or(0),
            ephemeral: get(EPHEMERAL) != Some("false"),
            operation: operation.to_owned(),
            owner: get(OWNER).and_then(Owner::parse),
            deadline: get(DEADLINE).and_then(|s| s.parse().ok()),
        })
    }
}

/// Checks a label of the user's, `KEY=VALUE` or `KEY`.
///
/// # Errors
/// A sentence; keys that begin with `acode.` are ours.
pub fn parse_user_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let shown = crate::error::shown(text);
    if key.is_empty() || key.len() > 256 || key.chars().any(|c| c.is_control() || c.is_whitespace())
    {
        return Err(format!(
            "label '{shown}': a key has 1 to 256 characters and no spaces"
        ));
    }
    if value.len() > 4096 || value.contains('\0') {
        return Err(format!(
            "label '{shown}': a value has at most 4096 bytes and no NUL"
        ));
    }
    if key.to_ascii_lowercase().starts_with("acode.") {
        return Err(format!(
            "label '{shown}': keys that begin with 'acode.' are reserved"
        ));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> TaskLabels {
        TaskLabels {
            session: "Session/1".into(),
            task: "Task ü".into(),
            created: 7,
            ephemeral: true,
            operation: "op".into(),
            owner: None,
            deadline: Some(9),
        }
    }

    #[test]
    fn fr_020a_31_labels_carry_the_exact_ids() {
        let map = labels().to_map();
        assert_eq!(map[SESSION], "Session/1");
        assert_eq!(map[TASK], "Task ü");
        assert_eq!(TaskLabels::read(&map, &Labels::new()), Some(labels()));
    }

    #[test]
    fn what_an_image_brought_along_is_not_ours() {
        let map = labels().to_map();
        assert_eq!(
            TaskLabels::read(&map, &map),
            None,
            "forged in the image, run by somebody else"
        );
        let mut forged = map.clone();
        forged.insert(OPERATION.into(), "image's".into());
        assert!(
            TaskLabels::read(&map, &forged).is_some(),
            "our own container from such an image"
        );
        assert_eq!(TaskLabels::read(&Labels::new(), &Labels::new()), None);
    }

    #[test]
    fn user_labels_leave_ours_alone() {
        assert_eq!(parse_user_label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(parse_user_label("a"), Ok(("a".into(), String::new())));
        for wrong in [
            "",
            "=x",
            "acode.session=x",
            "ACODE.x=1",
            "a b=c",
            "a\n=c",
            "a=\0",
        ] {
            assert!(parse_user_label(wrong).is_err(), "{wrong:?}");
        }
    }
}
