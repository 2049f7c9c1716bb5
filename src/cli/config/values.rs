//! A file's values by their keys, strictly: what is not exactly of its kind is an error that names file, line and key.

use std::fmt;
use std::sync::Arc;

use acode_rt::error::{Code, Error, Result};

use super::quoted;
use super::yaml::{Node, Value};

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: Arc<str>,
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A value, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// Whose file it is: the operator's is trusted, the repository's is hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Author {
    /// Of this host
    Operator,
    /// Whoever wrote the code
    Repository,
}

/// One value of a file.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    file: &'a Arc<str>,
    pub(super) author: Author,
    /// Such as `docker.resources.memory`.
    path: String,
    key: &'a str,
    node: &'a Node,
}

impl<'a> Item<'a> {
    pub(super) fn root(file: &'a Arc<str>, author: Author, node: &'a Node) -> Self {
        Self {
            file,
            author,
            path: String::new(),
            key: "",
            node,
        }
    }

    pub(super) fn key(&self) -> &'a str {
        self.key
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn place(&self) -> Place {
        Place {
            file: Arc::clone(self.file),
            line: self.node.line,
        }
    }

    pub(super) fn at<T>(&self, value: T) -> At<T> {
        At {
            value,
            place: self.place(),
        }
    }

    /// What is below it; nothing where nothing is written.
    pub(super) fn section(&self) -> Result<Vec<Item<'a>>> {
        match &self.node.value {
            _ if self.node.is_null() => Ok(Vec::new()),
            Value::Mapping(entries) => Ok(entries
                .iter()
                .map(|(key, node)| self.below(key, node))
                .collect()),
            _ => Err(self.wrong("it has to be a section: keys with values below it")),
        }
    }

    pub(super) fn list(&self) -> Result<Vec<Item<'a>>> {
        match &self.node.value {
            Value::Sequence(nodes) => Ok(nodes
                .iter()
                .enumerate()
                .map(|(index, node)| Item {
                    path: format!("{}[{index}]", self.path),
                    node,
                    ..self.clone()
                })
                .collect()),
            _ => Err(self.wrong("it has to be a list, such as [a, b]")),
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::Sequence(_))
    }

    pub(super) fn boolean(&self) -> Result<bool> {
        self.as_boolean()
            .ok_or_else(|| self.wrong("it has to be true or false"))
    }

    pub(super) fn as_boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => None,
        }
    }

    /// A whole number in decimal digits.
    pub(super) fn number(&self) -> Result<u64> {
        let digits = match &self.node.value {
            Value::Scalar { text, plain: true } if text.bytes().all(|b| b.is_ascii_digit()) => text,
            _ => return Err(self.wrong("it has to be a whole number, such as 30")),
        };
        self.check_zeros(digits)?;
        digits
            .parse()
            .map_err(|_| self.wrong("the number is too large"))
    }

    /// A number or a word, as it is written.
    pub(super) fn text(&self) -> Result<&'a str> {
        let Value::Scalar { text, plain } = &self.node.value else {
            return Err(self.wrong("it has to be one value"));
        };
        if self.node.is_null() {
            return Err(self.wrong("it has no value"));
        }
        let lower = text.to_ascii_lowercase();
        let surprises = ["true", "false", "yes", "no", "on", "off", "y", "n"];
        if *plain && surprises.contains(&lower.as_str()) {
            return Err(self.wrong(&format!(
                "{} is a truth value to some; write true or false, or put it in quotation marks if it is a word",
                quoted(text)
            )));
        }
        if *plain {
            self.check_zeros(text)?;
        }
        Ok(text)
    }

    /// A word, also where it has digits alone.
    pub(super) fn is_quoted(&self) -> bool {
        matches!(self.node.value, Value::Scalar { plain: false, .. })
    }

    /// Such a text as `parse` reads it.
    pub(super) fn parsed<T>(&self, parse: impl Fn(&str) -> Result<T, String>) -> Result<T> {
        parse(self.text()?).map_err(|why| self.wrong(&why))
    }

    /// A number that begins with 0 is octal to some and decimal to others.
    fn check_zeros(&self, text: &str) -> Result<()> {
        let mut bytes = text.bytes();
        let surprising = bytes.next() == Some(b'0')
            && bytes
                .next()
                .is_some_and(|b| b.is_ascii_digit() || matches!(b, b'x' | b'o' | b'b' | b'_'));
        if surprising {
            return Err(
                self.wrong("a number is written in decimal digits and does not begin with 0")
            );
        }
        Ok(())
    }

    /// `ACODE-CTN-015`: it is not what it has to be.
    pub(super) fn wrong(&self, why: &str) -> Error {
        self.error(Code::Configuration, why)
    }

    /// `ACODE-CTN-012`: it is understood, and not admitted.
    pub(super) fn refused(&self, why: &str) -> Error {
        self.error(Code::PolicyRefused, why)
    }

    /// Its key is none of these.
    pub(super) fn unknown(&self, known: &[&str]) -> Error {
        let meant =
            meant(self.key, known).map_or_else(|| ".".into(), |name| format!("; is {name} meant?"));
        let all = known.join(", ");
        self.wrong(&format!("this key is not known{meant} Known here: {all}"))
    }

    fn error(&self, code: Code, why: &str) -> Error {
        let separator = if self.path.is_empty() { "" } else { ": " };
        at_place(
            code,
            &self.place(),
            &format!("{}{separator}{why}", self.path),
        )
    }

    fn below(&self, key: &'a str, node: &'a Node) -> Item<'a> {
        let shown =
            if !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic()) && key.len() < 60 {
                key.to_owned()
            } else {
                quoted(key)
            };
        let dot = if self.path.is_empty() { "" } else { "." };
        Item {
            path: format!("{}{dot}{shown}", self.path),
            key,
            node,
            ..self.clone()
        }
    }
}

pub(super) fn at_place(code: Code, place: &Place, message: &str) -> Error {
    Error::invalid(code, "config", message).on(place.to_string())
}

/// The name that is nearest to what was written, if one is near.
pub(super) fn meant<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| -> String {
        let kept = text.chars().filter(char::is_ascii_alphanumeric);
        kept.map(|c| c.to_ascii_lowercase()).take(40).collect()
    };
    let written = plain(written);
    known
        .iter()
        .map(|name| (distance(&written, &plain(name)), *name))
        .filter(|(distance, name)| *distance <= 2 && *distance * 2 < name.len())
        .min()
        .map(|(_, name)| name)
}

/// How many characters have to be changed, added or left out.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_near() {
        let known = ["memory", "cpus", "pids_limit"];
        for (written, expected) in [
            ("memroy", Some("memory")),
            ("Memory", Some("memory")),
            ("MEMORY", Some("memory")),
            ("cpu", Some("cpus")),
            ("PidsLimit", Some("pids_limit")),
            ("pids-limit", Some("pids_limit")),
            ("privileged", None),
            ("", None),
            ("m", None),
        ] {
            assert_eq!(meant(written, &known), expected, "{written}");
        }
    }
}
