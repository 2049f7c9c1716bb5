//! Container names: `{prefix}-{session}-{task}`, always a DNS label of at most 63 characters.
//!
//! Ids that fit are in the name as they are ([`ContainerName::new`], exact form). Others are
//! shortened to their readable part and told apart by a hash. The last part of a name says which:
//! `h` and 16 base32 characters is a hash, `r` and 16 is a random number, and an id which would
//! imitate either is hashed.

use std::fmt;

use sha2::{Digest, Sha256};

/// The prefix where none is given.
pub const DEFAULT_PREFIX: &str = "acode";

/// The longest name, in characters: that of a DNS label.
pub const MAX_LEN: usize = 63;

const MAX_PREFIX_LEN: usize = 16;
const MAX_ID_LEN: usize = 256;
/// What is left of a session id in the hashed and random forms.
const SESSION_LEN: usize = 12;
/// A letter and 80 bits in base32.
const MARK_LEN: usize = 17;
/// RFC 4648, in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What every name of one installation begins with: 1 to 16 characters of `a-z` and `0-9`;
/// `acode` by default.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(String);

impl Prefix {
    /// A prefix of this text.
    ///
    /// # Errors
    ///
    /// [`NameError::BadPrefix`] where it is not 1 to 16 characters of `a-z` and `0-9`.
    pub fn new(prefix: &str) -> Result<Self, NameError> {
        if is_alphanumeric(prefix) && prefix.len() <= MAX_PREFIX_LEN {
            Ok(Self(prefix.to_owned()))
        } else {
            Err(NameError::BadPrefix(prefix.to_owned()))
        }
    }

    /// The text, without the hyphen that follows it in a name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self(DEFAULT_PREFIX.to_owned())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one task's container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerName(String);

impl ContainerName {
    /// The name of a session's task: the same for the same ids, different for different ids.
    ///
    /// It is `{prefix}-{session}-{task}` where the session is of `a-z` and `0-9`, the task is of
    /// such parts joined by single hyphens, all fits, and the last part is no hash or random part.
    /// Otherwise it is what is readable of the ids, and 80 bits of a SHA-256 over each of prefix,
    /// session and task preceded by its length in bytes (a big-endian `u64`).
    ///
    /// # Errors
    ///
    /// An id is empty, longer than 256 bytes, or has a control character.
    pub fn new(prefix: &Prefix, session: &str, task: &str) -> Result<Self, NameError> {
        check_id("session", session)?;
        check_id("task", task)?;
        let len = prefix.0.len() + 1 + session.len() + 1 + task.len();
        if len <= MAX_LEN
            && is_alphanumeric(session)
            && is_dashed(task)
            && !is_mark(last_part(task))
        {
            return Ok(Self([&prefix.0, session, task].join("-")));
        }
        let mut hash = Sha256::new();
        for part in [&prefix.0, session, task] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut bits = [0; 10];
        bits.copy_from_slice(&hash.finalize()[..10]);
        Ok(Self::marked(prefix, session, task, 'h', bits))
    }

    /// A name for a session's task that no other has, given 80 random bits.
    ///
    /// # Errors
    ///
    /// As [`ContainerName::new`].
    pub fn random(
        prefix: &Prefix,
        session: &str,
        task: &str,
        entropy: [u8; 10],
    ) -> Result<Self, NameError> {
        check_id("session", session)?;
        check_id("task", task)?;
        Ok(Self::marked(prefix, session, task, 'r', entropy))
    }

    fn marked(prefix: &Prefix, session: &str, task: &str, mark: char, bits: [u8; 10]) -> Self {
        let mut name = String::with_capacity(MAX_LEN);
        name.push_str(&prefix.0);
        name.push('-');
        push_readable(&mut name, session, SESSION_LEN);
        name.push('-');
        let left = MAX_LEN - name.len() - 1 - MARK_LEN;
        push_readable(&mut name, task, left);
        name.push('-');
        name.push(mark);
        let bits = bits
            .iter()
            .fold(0, |bits, byte| bits << 8 | u128::from(*byte));
        for shift in (0..80).step_by(5).rev() {
            name.push(char::from(BASE32[(bits >> shift & 31) as usize]));
        }
        Self(name)
    }

    /// What a name says; `None` where it is none of this prefix's. A leading `/`, as the engine
    /// writes it, is not part of a name.
    pub fn parse<'a>(prefix: &Prefix, name: &'a str) -> Option<Parsed<'a>> {
        let ids = name.strip_prefix(prefix.as_str())?.strip_prefix('-')?;
        let (session, task) = ids.split_once('-')?;
        if name.len() > MAX_LEN || !is_dashed(ids) {
            return None;
        }
        Some(if is_mark(last_part(task)) {
            Parsed::Labelled
        } else {
            Parsed::Exact { session, task }
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ContainerName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What a name says about its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// The ids are in the name.
    Exact {
        /// The session's id.
        session: &'a str,
        /// The task's id.
        task: &'a str,
    },
    /// The name is hashed or random: the ids are only in the container's labels.
    Labelled,
}

/// Why there is no such name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// This prefix is not 1 to 16 characters of `a-z` and `0-9`.
    BadPrefix(String),
    /// An id is empty.
    EmptyId {
        /// `session` or `task`.
        which: &'static str,
    },
    /// An id is longer than 256 bytes.
    LongId {
        /// `session` or `task`.
        which: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// An id has a control character.
    BadId {
        /// `session` or `task`.
        which: &'static str,
        /// The first control character.
        control: char,
        /// Where it is, in bytes from the id's beginning.
        at: usize,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPrefix(prefix) => {
                let shown: String = prefix.chars().take(32).collect();
                let more = if shown.len() < prefix.len() {
                    "..."
                } else {
                    ""
                };
                write!(
                    f,
                    "the name prefix \"{}{more}\" is not 1 to {MAX_PREFIX_LEN} characters of a-z \
                     and 0-9, such as \"{DEFAULT_PREFIX}\"",
                    shown.escape_debug()
                )
            }
            Self::EmptyId { which } => {
                write!(
                    f,
                    "the {which} id is empty: it needs 1 to {MAX_ID_LEN} bytes"
                )
            }
            Self::LongId { which, len } => {
                write!(
                    f,
                    "the {which} id has {len} bytes: at most {MAX_ID_LEN} are allowed"
                )
            }
            Self::BadId { which, control, at } => write!(
                f,
                "the {which} id has the control character '{}' at byte {at}: it may have any \
                 other character",
                control.escape_debug()
            ),
        }
    }
}

impl std::error::Error for NameError {}

fn check_id(which: &'static str, id: &str) -> Result<(), NameError> {
    match id.len() {
        0 => return Err(NameError::EmptyId { which }),
        1..=MAX_ID_LEN => {}
        len => return Err(NameError::LongId { which, len }),
    }
    match id.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, control)) => Err(NameError::BadId { which, control, at }),
        None => Ok(()),
    }
}

/// Appends at most `max` characters of an id to a name that ends with a hyphen: letters and digits
/// in lower case, and one hyphen for everything between them; `x` where it has none.
fn push_readable(name: &mut String, id: &str, max: usize) {
    let start = name.len();
    for byte in id.bytes() {
        if name.len() - start == max {
            break;
        }
        if byte.is_ascii_alphanumeric() {
            name.push(char::from(byte.to_ascii_lowercase()));
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    if name.len() == start {
        name.push('x');
    } else if name.ends_with('-') {
        name.pop();
    }
}

/// `[a-z0-9]+`
fn is_alphanumeric(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'))
}

/// `[a-z0-9]+(-[a-z0-9]+)*`
fn is_dashed(text: &str) -> bool {
    text.split('-').all(is_alphanumeric)
}

fn last_part(text: &str) -> &str {
    text.rsplit_once('-').map_or(text, |(_, last)| last)
}

/// `[hr][a-z2-7]{16}`
fn is_mark(part: &str) -> bool {
    part.len() == MARK_LEN
        && part.starts_with(['h', 'r'])
        && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const HASH_LIKE: &str = "habcdefghijklmnop";
    const RANDOM_LIKE: &str = "r234567abcdefghij";

    fn assert_is_label(name: &str) {
        assert!(name.len() <= 63, "{name}");
        assert!(
            !name.starts_with('-') && !name.ends_with('-') && !name.contains("--"),
            "{name}"
        );
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
            "{name}"
        );
    }

    fn name(session: &str, task: &str) -> String {
        let prefix = Prefix::default();
        let name = ContainerName::new(&prefix, session, task).unwrap();
        assert_is_label(name.as_str());
        name.0
    }

    fn is_exact(session: &str, task: &str) -> bool {
        let name = name(session, task);
        let parsed = ContainerName::parse(&Prefix::default(), &name).unwrap();
        let exact = name == format!("acode-{session}-{task}");
        let expected = if exact {
            Parsed::Exact { session, task }
        } else {
            Parsed::Labelled
        };
        assert_eq!(parsed, expected, "{name}");
        exact
    }

    #[test]
    fn plain_ids_are_in_the_name_as_they_are() {
        assert_eq!(name("a1b2c3d4", "build-001"), "acode-a1b2c3d4-build-001");
        for task in [
            "0",
            "a-b-c",
            &HASH_LIKE[1..],
            "habcdefghijklmno1",
            "habcdefghijklmno8",
            "habcdefghijklmnopq",
            "h-abcdefghijklmnop",
        ] {
            assert!(is_exact("s", task), "{task}");
        }
        // Only the last part is read as a mark.
        assert!(is_exact(HASH_LIKE, "a"));
        assert!(is_exact("s", &format!("{RANDOM_LIKE}-a")));
        let prefix = Prefix::new("ci9").unwrap();
        let name = ContainerName::new(&prefix, "s", "t-u").unwrap();
        assert_eq!(name.as_str(), "ci9-s-t-u");
        assert_eq!(name.as_ref(), "ci9-s-t-u");
        assert_eq!(name.to_string(), "ci9-s-t-u");
    }

    /// The hashes were computed by another program, from the definition.
    #[test]
    fn other_ids_are_made_readable_and_hashed() {
        assert_eq!(name("a-b", "c"), "acode-a-b-c-hnilde72ey3tfmnok");
        assert_eq!(
            name("Sess", "Task 1"),
            "acode-sess-task-1-hkcdfhccvdt6ceerx"
        );
        assert_eq!(name("\u{4e16}", "--"), "acode-x-x-h7fwc6mhaurcgvmwp");
        assert_eq!(
            name("Abcdefghijklmn", &"T".repeat(30)),
            format!("acode-abcdefghijkl-{}-haprl5jiua5eoe7ok", "t".repeat(26))
        );
        assert_eq!(
            name("s", &"t".repeat(56)),
            format!("acode-s-{}-hwps2xusgamhn2vhf", "t".repeat(37))
        );
        assert_eq!(
            name("s", HASH_LIKE),
            format!("acode-s-{HASH_LIKE}-h2ejieu37fuvt4jvc")
        );
    }

    #[test]
    fn ids_that_are_not_plain_are_not_exact() {
        for session in ["a-b", "A", "a_b", "-", "\u{fc}", " "] {
            assert!(!is_exact(session, "t"), "{session}");
        }
        for task in [
            "A",
            "-a",
            "a-",
            "a--b",
            "a_b",
            "a.b",
            "\u{df}",
            HASH_LIKE,
            RANDOM_LIKE,
        ] {
            assert!(!is_exact("s", task), "{task}");
        }
        assert!(!is_exact("s", &format!("a-{RANDOM_LIKE}")));
    }

    #[test]
    fn fr_020a_29_name_is_at_most_63_characters() {
        assert!(is_exact("s", &"t".repeat(55)));
        assert!(!is_exact("s", &"t".repeat(56)));
        for prefix in ["a", "acode", "abcdefghijklmnop"] {
            let prefix = Prefix::new(prefix).unwrap();
            for filler in ["s", "s-", "-s", "S", "\u{fc}"] {
                for session_len in [0, 5, 6, 7, 11, 12, 40, 63, 127] {
                    let session = format!("s{}", filler.repeat(session_len));
                    for task_len in (0..64).chain([127]) {
                        let task = format!("t{}", filler.repeat(task_len));
                        let new = ContainerName::new(&prefix, &session, &task).unwrap();
                        assert_is_label(new.as_str());
                        let random = ContainerName::random(&prefix, &session, &task, [9; 10]);
                        assert_is_label(random.unwrap().as_str());
                    }
                }
            }
        }
    }

    #[test]
    fn readable_parts_are_cut_and_lose_the_hyphens_at_their_ends() {
        let readable = |id, max| {
            let mut name = "n-".to_owned();
            push_readable(&mut name, id, max);
            name.split_off(2)
        };
        assert_eq!(readable("--A..b__C--", 12), "a-b-c");
        assert_eq!(readable("abcdefghijkl-m", 12), "abcdefghijkl");
        assert_eq!(readable("abcdefghijk-lm", 12), "abcdefghijk");
        assert_eq!(readable("\u{4e16}a\u{754c}b\u{4e16}", 12), "a-b");
        assert_eq!(readable("\u{4e16}", 12), "x");
    }

    #[test]
    fn a_random_name_has_the_given_bits_and_parses_as_labelled() {
        let prefix = Prefix::default();
        let bits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 255];
        let name = ContainerName::random(&prefix, "a1b2c3d4", "build-001", bits).unwrap();
        assert_eq!(name.as_str(), "acode-a1b2c3d4-build-001-raaaqeayeaudaoch7");
        assert_eq!(
            ContainerName::parse(&prefix, name.as_str()),
            Some(Parsed::Labelled)
        );
        let other = ContainerName::random(&prefix, "a1b2c3d4", "build-001", [0; 10]).unwrap();
        assert_ne!(name, other);
    }

    #[test]
    fn what_is_no_name_of_the_prefix_does_not_parse() {
        let prefix = Prefix::default();
        let long = format!("acode-s-{}", "t".repeat(56));
        for name in [
            "",
            "acode",
            "acode-",
            "acode-s",
            "acode-s-",
            "acode--t",
            "acode-s--t",
            "acode-s-t-",
            "/acode-s-t",
            "acodes-t",
            "other-s-t",
            "acode-S-t",
            "acode-s-t_u",
            "acode-s-\u{fc}",
            &long,
        ] {
            assert_eq!(ContainerName::parse(&prefix, name), None, "{name}");
        }
        let fits = Parsed::Exact {
            session: "s",
            task: &long[8..63],
        };
        assert_eq!(ContainerName::parse(&prefix, &long[..63]), Some(fits));
    }

    #[test]
    fn different_ids_have_different_names() {
        let mut seen = HashSet::new();
        let mut add = |session: &str, task: &str| {
            assert!(seen.insert(name(session, task)), "{session} {task}");
        };
        // Every pair of texts of up to three of these, among them ("a", "b-c") and ("a-b", "c").
        let letters = ["a", "b", "c", "-", "A"];
        let mut ids = letters.map(str::to_owned).to_vec();
        for first in letters {
            for second in letters {
                ids.push(format!("{first}{second}"));
                ids.extend(letters.map(|third| format!("{first}{second}{third}")));
            }
        }
        let marks = [
            HASH_LIKE,
            RANDOM_LIKE,
            "a-habcdefghijklmnop",
            "a-r234567abcdefghij",
        ];
        let long = [
            "t".repeat(55),
            "t".repeat(56),
            "t".repeat(57),
            "t".repeat(256),
        ];
        ids.extend(marks.map(str::to_owned));
        ids.extend(long);
        for session in &ids {
            for task in &ids {
                add(session, task);
            }
        }
        for session in 0..100 {
            for task in 0..2_000 {
                add(&format!("s{session}"), &format!("task-{task}"));
            }
        }
        // What a hashed name looks like is no way to have the same name.
        let hashed = name("a-b", "c");
        for cut in ["acode-", "acode-a-", "acode-a-b-", "acode-a-b-c-"] {
            let (session, task) = ("a", &hashed[cut.len()..]);
            add(session, task);
        }
        assert!(seen.len() > 200_000);
    }

    #[test]
    fn prefixes_have_1_to_16_letters_and_digits() {
        assert_eq!(Prefix::default().as_str(), "acode");
        for prefix in ["a", "0", "abcdefghijklmnop"] {
            assert_eq!(Prefix::new(prefix).unwrap().to_string(), prefix);
        }
        for prefix in ["", "A", "a-b", "a_", "\u{fc}", "abcdefghijklmnopq"] {
            assert_eq!(
                Prefix::new(prefix),
                Err(NameError::BadPrefix(prefix.to_owned()))
            );
        }
    }

    #[test]
    fn ids_are_1_to_256_bytes_without_control_characters() {
        let prefix = Prefix::default();
        let long = "\u{fc}".repeat(128) + "a";
        for (id, error) in [
            ("", NameError::EmptyId { which: "task" }),
            (
                &long,
                NameError::LongId {
                    which: "task",
                    len: 257,
                },
            ),
            (
                "\u{fc}\0\n",
                NameError::BadId {
                    which: "task",
                    control: '\0',
                    at: 2,
                },
            ),
            (
                "\u{85}",
                NameError::BadId {
                    which: "task",
                    control: '\u{85}',
                    at: 0,
                },
            ),
        ] {
            assert_eq!(ContainerName::new(&prefix, "s", id), Err(error.clone()));
            assert_eq!(ContainerName::random(&prefix, "s", id, [0; 10]), Err(error));
        }
        let session = ContainerName::new(&prefix, "\x7f", "");
        assert_eq!(
            session,
            Err(NameError::BadId {
                which: "session",
                control: '\x7f',
                at: 0
            })
        );
        assert!(ContainerName::new(&prefix, &long[..256], "t").is_ok());
    }

    #[test]
    fn errors_say_what_would_be_right_and_escape_and_shorten_what_is_wrong() {
        let shown = [
            NameError::BadPrefix("A\n".to_owned()),
            NameError::BadPrefix("b".repeat(1000)),
            NameError::EmptyId { which: "task" },
            NameError::LongId {
                which: "session",
                len: 300,
            },
            NameError::BadId {
                which: "task",
                control: '\x1b',
                at: 4,
            },
        ]
        .map(|error| error.to_string());
        let not = "is not 1 to 16 characters of a-z and 0-9, such as \"acode\"";
        assert_eq!(
            shown,
            [
                format!(r#"the name prefix "A\n" {not}"#),
                format!(r#"the name prefix "{}..." {not}"#, "b".repeat(32)),
                "the task id is empty: it needs 1 to 256 bytes".to_owned(),
                "the session id has 300 bytes: at most 256 are allowed".to_owned(),
                "the task id has the control character '\\u{1b}' at byte 4: it may have any other \
                 character"
                    .to_owned(),
            ]
        );
    }
}
