//! Who a task runs as.

use crate::error::{Code, Error, Result, shown};

/// Who a task runs as. Numbers only: a name is resolved by the image, which may map it to root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Default for User {
    fn default() -> Self {
        Self {
            uid: 1000,
            gid: 1000,
        }
    }
}

impl User {
    /// Root, which a caller chooses deliberately.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };

    /// Reads `UID[:GID]`; the group is the same number unless said. Root only with `allow_root`, where `root` is understood too.
    ///
    /// # Errors
    /// `ACODE-CTN-012` for root, `ACODE-CTN-015` for what is no number.
    pub fn parse(text: &str, allow_root: bool) -> Result<Self> {
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        let number = |part: &str| match part {
            "root" => Some(0),
            _ => part
                .parse()
                .ok()
                .filter(|_| part.bytes().all(|b| b.is_ascii_digit())),
        };
        let (Some(uid), Some(gid)) = (number(uid), number(gid)) else {
            return Err(Error::invalid(
                Code::Configuration,
                "user",
                format!(
                    "'{}' is not UID or UID:GID; names are not taken, since the image could map any name to root",
                    shown(text)
                ),
            ));
        };
        if uid == 0 && !allow_root {
            return Err(Error::invalid(
                Code::PolicyRefused,
                "user",
                "the task would run as root; where that is meant, say --allow-root as well",
            ));
        }
        Ok(Self { uid, gid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nfr_020a_23_root_is_chosen_deliberately_or_not_at_all() {
        assert_eq!(
            User::parse("1000", false).unwrap(),
            User {
                uid: 1000,
                gid: 1000
            }
        );
        assert_eq!(User::parse("5:6", false).unwrap(), User { uid: 5, gid: 6 });
        for root in ["0", "0:1000", "root", "00"] {
            assert_eq!(
                User::parse(root, false).unwrap_err().code(),
                Code::PolicyRefused,
                "{root}"
            );
            assert_eq!(User::parse(root, true).unwrap().uid, 0, "{root}");
        }
        for wrong in [
            "",
            "node",
            "-1",
            "+1",
            "1:2:3",
            "4294967296",
            "1:",
            ":1",
            "1 ",
        ] {
            assert_eq!(
                User::parse(wrong, true).unwrap_err().code(),
                Code::Configuration,
                "{wrong}"
            );
        }
    }
}
