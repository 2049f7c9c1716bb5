//! What a guard knows, and the lines by which it is told. Pure.

use std::collections::BTreeMap;
use std::fmt;

/// No line is longer: a name and a UUID, or a UUID and an id.
const MAX_LINE: usize = 1024;

/// A container that is to be removed when its client is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) name: String,
    /// Whose it is: another operation's container of the same name is not.
    pub(crate) operation: String,
    /// Known once the create was answered.
    pub(crate) id: Option<String>,
}

/// One line, as it is written. None of its parts contains a space.
pub(crate) enum Line<'a> {
    Hold(&'a Held),
    /// Operation and id.
    Created(&'a str, &'a str),
    /// Operation.
    Release(&'a str),
    /// Operation.
    GiveUp(&'a str),
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold(held) => writeln!(f, "hold {} {}", held.operation, held.name),
            Self::Created(operation, id) => writeln!(f, "created {operation} {id}"),
            Self::Release(operation) => writeln!(f, "release {operation}"),
            Self::GiveUp(operation) => writeln!(f, "give-up {operation}"),
        }
    }
}

/// Everything that is held, by operation.
#[derive(Debug, Default)]
pub(crate) struct Book {
    held: BTreeMap<String, Held>,
    /// A line that has not ended.
    begun: Vec<u8>,
}

impl Book {
    /// Takes in what was read, and returns what is to be removed now.
    pub(crate) fn read(&mut self, input: &[u8]) -> Vec<Held> {
        let mut given_up = Vec::new();
        for piece in input.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if self.begun.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                given_up.extend(self.line(&String::from_utf8_lossy(&line)));
            }
            // Nobody who is to be trusted writes such a line.
            self.begun.truncate(MAX_LINE);
        }
        given_up
    }

    fn line(&mut self, line: &str) -> Option<Held> {
        let mut words = line.split_whitespace();
        let (word, operation, last) = (words.next()?, words.next()?, words.next());
        match (word, last) {
            ("hold", Some(name)) => {
                let held = Held {
                    name: name.to_owned(),
                    operation: operation.to_owned(),
                    id: None,
                };
                self.held.insert(operation.to_owned(), held);
                None
            }
            ("created", Some(id)) => {
                self.held.get_mut(operation)?.id = Some(id.to_owned());
                None
            }
            ("release", None) => {
                self.held.remove(operation);
                None
            }
            ("give-up", None) => self.held.remove(operation),
            _ => None,
        }
    }

    /// All that is still held: the client is gone.
    pub(crate) fn close(self) -> Vec<Held> {
        self.held.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(name: &str, id: Option<&str>) -> Held {
        Held {
            name: name.into(),
            operation: format!("op-{name}"),
            id: id.map(Into::into),
        }
    }

    #[test]
    fn what_is_neither_released_nor_given_up_is_still_held() {
        let mut text = String::new();
        for name in ["a", "b", "c", "d"] {
            text += &Line::Hold(&held(name, None)).to_string();
        }
        text += &Line::Created("op-b", "1234").to_string();
        text += &Line::Release("op-c").to_string();
        text += &Line::GiveUp("op-d").to_string();
        text += &Line::GiveUp("op-unknown").to_string();
        for split in 0..=text.len() {
            let mut book = Book::default();
            let mut given_up = book.read(&text.as_bytes()[..split]);
            given_up.extend(book.read(&text.as_bytes()[split..]));
            assert_eq!(given_up, [held("d", None)]);
            assert_eq!(book.close(), [held("a", None), held("b", Some("1234"))]);
        }
    }

    #[test]
    fn a_line_that_was_not_finished_or_makes_no_sense_changes_nothing() {
        let mut book = Book::default();
        for junk in [
            "\n",
            "hold\n",
            "hold x\n",
            "release\n",
            "what ever\n",
            "hold x y",
        ] {
            assert_eq!(book.read(junk.as_bytes()), []);
        }
        book.read(&vec![b'x'; 100_000]);
        assert!(book.begun.len() <= MAX_LINE);
        assert_eq!(book.close(), []);
    }
}
