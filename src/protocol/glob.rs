//! Paths with `*`, `?`, `[…]` and `**`: artifacts, and changed files that are to be told of.
//!
//! A small matcher of our own: the library stays light, and no pattern makes it slow. Every step works through a table of at most
//! pattern × name, never by going back.

/// A pattern is no longer than this.
const MAX_PATTERN: usize = 1024;
/// And has no more parts.
const MAX_PARTS: usize = 64;

/// A path with patterns, in parts: `*` and `?` stand for any characters but `/`, `[a-z]` and `[!a-z]` for one of these, `**` for any directories. What is
/// in a directory that it matches is matched too. A backslash takes the next character as it is.
///
/// ```
/// use acode_rt::protocol::glob::Glob;
/// let logs = Glob::parse("/var/**/*.log").unwrap();
/// assert!(logs.matches("/var/x/y.log") && !logs.matches("/var/x/y.log.1"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// Parts without a pattern, which the rest is looked for in.
    pub(crate) fixed: Vec<String>,
    /// From the first part with a pattern on; empty where there is none.
    pub(crate) rest: Vec<String>,
}

impl Glob {
    /// Reads a path without `..`; a slash at its beginning makes no difference.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_PATTERN {
            return Err(format!("it is longer than {MAX_PATTERN} bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err("it contains a control character".into());
        }
        let mut fixed = Vec::new();
        let mut rest: Vec<String> = Vec::new();
        for part in text.split('/').filter(|part| !matches!(*part, "" | ".")) {
            if part == ".." {
                return Err("it contains '..'".into());
            }
            check_part(part)?;
            if !rest.is_empty() || is_pattern(part) {
                rest.push(part.to_owned());
            } else {
                fixed.push(unescaped(part));
            }
        }
        if fixed.len() + rest.len() > MAX_PARTS {
            return Err(format!("it has more than {MAX_PARTS} parts"));
        }
        Ok(Self { fixed, rest })
    }

    /// Whether `path` is asked for. Takes time in proportion to both lengths, whatever the pattern.
    pub fn matches(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.split_at_checked(self.fixed.len()) {
            Some((fixed, rest)) => fixed.iter().eq(self.fixed.iter()) && self.selects(rest),
            None => false,
        }
    }

    /// Whether `parts`, which are those behind the fixed ones, are asked for. What is in a directory that is asked for is so too.
    pub(crate) fn selects(&self, parts: &[&str]) -> bool {
        // reached[i]: the parts so far may end before the i-th part of the pattern.
        let end = self.rest.len();
        let mut reached = vec![false; end + 1];
        reached[0] = true;
        skip_stars(&self.rest, &mut reached);
        for part in parts {
            if reached[end] {
                return true;
            }
            let mut next = vec![false; end + 1];
            for (index, pattern) in self.rest.iter().enumerate() {
                if reached[index] && pattern == "**" {
                    next[index] = true;
                } else if reached[index] && part_matches(pattern, part) {
                    next[index + 1] = true;
                }
            }
            skip_stars(&self.rest, &mut next);
            reached = next;
        }
        reached[end]
    }
}

/// `**` also stands for no part at all.
fn skip_stars(pattern: &[String], reached: &mut [bool]) {
    for (index, part) in pattern.iter().enumerate() {
        if part == "**" && reached[index] {
            reached[index + 1] = true;
        }
    }
}

fn is_pattern(part: &str) -> bool {
    let mut escaped = false;
    for c in part.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

fn check_part(part: &str) -> Result<(), String> {
    if part.contains("**") && part != "**" {
        return Err("'**' has to stand alone between slashes".into());
    }
    tokens(part).map(drop)
}

fn unescaped(part: &str) -> String {
    let mut escaped = false;
    part.chars()
        .filter(|c| {
            escaped = !escaped && *c == '\\';
            !escaped
        })
        .collect()
}

#[derive(Debug, PartialEq)]
enum Token {
    Is(char),
    One,
    Many,
    Among {
        ranges: Vec<(char, char)>,
        not: bool,
    },
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Is(wanted) => *wanted == c,
            Self::One | Self::Many => true,
            Self::Among { ranges, not } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *not
            }
        }
    }
}

fn tokens(part: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = part.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '\\' => Token::Is(chars.next().ok_or("it ends with a backslash")?),
            '?' => Token::One,
            '*' => Token::Many,
            '[' => {
                let not = chars.next_if(|c| matches!(c, '!' | '^')).is_some();
                let mut ranges = Vec::new();
                loop {
                    let from = match chars.next() {
                        None => return Err("a '[' has no ']'".into()),
                        Some(']') if !ranges.is_empty() => break,
                        Some('\\') => chars.next().ok_or("it ends with a backslash")?,
                        Some(c) => c,
                    };
                    let mut ahead = chars.clone();
                    let to = match (ahead.next(), ahead.next()) {
                        (Some('-'), Some(to)) if to != ']' => {
                            chars = ahead;
                            to
                        }
                        _ => from,
                    };
                    ranges.push((from, to));
                }
                Token::Among { ranges, not }
            }
            c => Token::Is(c),
        });
    }
    Ok(tokens)
}

/// One name against one part: at each `*` that fits, only the last one is ever tried again.
fn part_matches(pattern: &str, name: &str) -> bool {
    let Ok(tokens) = tokens(pattern) else {
        return false;
    };
    let name: Vec<char> = name.chars().collect();
    let (mut token, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match tokens.get(token) {
            Some(Token::Many) => {
                star = Some((token, at));
                token += 1;
            }
            Some(one) if one.takes(name[at]) => {
                token += 1;
                at += 1;
            }
            _ => match star {
                Some((star_token, from)) => {
                    star = Some((star_token, from + 1));
                    (token, at) = (star_token + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    tokens[token..].iter().all(|token| *token == Token::Many)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(pattern: &str, path: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(path)
    }

    #[test]
    fn patterns_select_as_in_a_shell() {
        for (pattern, path, expected) in [
            ("out/report.txt", "out/report.txt", true),
            ("out", "out/a/b", true),
            ("out", "outer", false),
            ("*.txt", "a.txt", true),
            ("*.txt", ".txt", true),
            ("*.txt", "a/b.txt", false),
            ("*.txt", "dir.txt/inside", true),
            ("out/*.txt", "out/a.txt.bak", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("?", "é", true),
            ("?", "ab", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("**", "a/b/c", true),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "a/b/y", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z/*.o", "a/b/z/q.o", true),
            ("a/**/z/*.o", "a/b/q.o", false),
            ("./out//x", "out/x", true),
            ("/etc/**", "/etc/a/b", true),
            ("/etc", "/etcetera", false),
            ("**/*.so", "/lib/a.so", true),
            ("", "anything/at/all", true),
        ] {
            assert_eq!(selects(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "../x",
            "a/..",
            "a[b",
            "x\\",
            "a**",
            "a\0b",
            &"x".repeat(2000),
        ] {
            assert!(Glob::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_pattern_is_slow() {
        let pattern = format!("{}/{}", "**/".repeat(50), "*a".repeat(100));
        let glob = Glob::parse(&pattern).unwrap();
        let name = "a".repeat(255) + "b";
        let parts: Vec<&str> = std::iter::repeat_n(name.as_str(), 100).collect();
        assert!(!glob.selects(&parts));
    }
}
