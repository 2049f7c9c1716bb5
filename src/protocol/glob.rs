//! Patterns for paths: `*` and `?` stay within a component, `**` crosses them, and everything else is itself.

/// A pattern such as `/etc/**` or `/usr/*/bin/?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Itself(char),
    /// `?`
    One,
    /// `*`
    Component,
    /// `**`
    Anything,
    /// `**/` where a component begins: any number of whole components, also none.
    Components,
}

/// A longer pattern is a mistake.
const MAX_LEN: usize = 1024;

impl Glob {
    /// Reads a pattern for absolute paths.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !(text.starts_with('/') || text.starts_with("**")) || text.len() > MAX_LEN {
            return Err(format!(
                "'{}' is no pattern of absolute paths; write it like /etc/** or **/*.so",
                crate::error::shown(text)
            ));
        }
        let mut tokens = Vec::new();
        let (mut rest, mut begins) = (text, true);
        while let Some(first) = rest.chars().next() {
            let (token, length) = if begins && rest.starts_with("**/") {
                (Token::Components, 3)
            } else if rest.starts_with("**") {
                (Token::Anything, 2)
            } else {
                match first {
                    '*' => (Token::Component, 1),
                    '?' => (Token::One, 1),
                    other => (Token::Itself(other), other.len_utf8()),
                }
            };
            begins = first == '/' || token == Token::Components;
            tokens.push(token);
            rest = &rest[length..];
        }
        Ok(Self {
            text: text.to_owned(),
            tokens,
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether all of `path` is as the pattern says. Takes time in proportion to both lengths, whatever the pattern.
    pub fn matches(&self, path: &str) -> bool {
        let count = self.tokens.len();
        // Where in the pattern one may be, before a token; and within the components that one of them skips.
        let (mut before, mut within) = (vec![false; count + 1], vec![false; count]);
        let (mut next, mut next_within) = (before.clone(), within.clone());
        before[0] = true;
        self.skip(&mut before);
        for c in path.chars() {
            next.fill(false);
            next_within.fill(false);
            for (at, token) in self.tokens.iter().enumerate() {
                match token {
                    Token::Itself(itself) => next[at + 1] |= before[at] && *itself == c,
                    Token::One => next[at + 1] |= before[at] && c != '/',
                    Token::Component => next[at] |= before[at] && c != '/',
                    Token::Anything => next[at] |= before[at],
                    Token::Components => {
                        let reached = before[at] || within[at];
                        next[at] |= reached && c == '/';
                        next_within[at] |= reached && c != '/';
                    }
                }
            }
            self.skip(&mut next);
            std::mem::swap(&mut before, &mut next);
            std::mem::swap(&mut within, &mut next_within);
        }
        before[count]
    }

    /// What may stand for nothing.
    fn skip(&self, before: &mut [bool]) {
        for (at, token) in self.tokens.iter().enumerate() {
            if matches!(
                token,
                Token::Component | Token::Anything | Token::Components
            ) {
                before[at + 1] |= before[at];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, yes, no) in [
            (
                "/etc/passwd",
                &["/etc/passwd"][..],
                &["/etc/passwd2", "/x/etc/passwd", "/etc"][..],
            ),
            ("/etc/*", &["/etc/a", "/etc/"], &["/etc/a/b", "/etc"]),
            (
                "/etc/**",
                &["/etc/a", "/etc/a/b/c"],
                &["/etc", "/etcetera/a"],
            ),
            ("/**", &["/", "/a/b"], &["", "a"]),
            (
                "**/*.so",
                &["/a.so", "/lib/x/a.so", "a.so"],
                &["/a.so.1", "/lib.so/a"],
            ),
            (
                "/a/**/z",
                &["/a/z", "/a/b/z", "/a/b/c/z"],
                &["/a/bz", "/az", "/a/z/y"],
            ),
            ("/a?c", &["/abc", "/aéc"], &["/a/c", "/ac"]),
            ("/a**z", &["/az", "/a/b/z"], &["/b/z"]),
        ] {
            let glob = Glob::parse(pattern).unwrap();
            for path in yes {
                assert!(glob.matches(path), "{pattern} {path}");
            }
            for path in no {
                assert!(!glob.matches(path), "{pattern} {path}");
            }
        }
        for wrong in ["", "etc", "*.so", "?"] {
            assert!(Glob::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pattern_that_could_be_tried_in_many_ways_takes_no_time() {
        let pattern = format!("/{}b", "**/*".repeat(200));
        let path = format!("/{}", "a/".repeat(1000));
        assert!(!Glob::parse(&pattern).unwrap().matches(&path));
    }
}
