//! Splits a byte stream into the JSON values that follow each other in it.
//!
//! Engines send events and pull progress so: objects that are separated by `\r\n`, by `\n`, or by
//! nothing. Only the values' ends are found here; whether a value is valid JSON is for whoever
//! parses it.

use std::collections::VecDeque;
use std::fmt;

/// Why a stream cannot be split any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonLinesError {
    /// A value is longer than was allowed.
    TooLong {
        /// The allowed length in bytes.
        max_len: usize,
    },
    /// A value begins with this byte, so it is neither an object nor an array.
    NotAnObject(u8),
    /// The stream ended inside a value.
    Cut {
        /// How many bytes of the value came.
        pending: usize,
    },
}

impl fmt::Display for JsonLinesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { max_len } => {
                write!(
                    f,
                    "the engine sent a JSON value of more than {max_len} bytes"
                )
            }
            Self::NotAnObject(byte) => write!(
                f,
                "the engine sent '{}' where a JSON object or array should begin",
                byte.escape_ascii()
            ),
            Self::Cut { pending } => {
                write!(
                    f,
                    "the engine's JSON ended inside a value, after {pending} bytes of it"
                )
            }
        }
    }
}

impl std::error::Error for JsonLinesError {}

/// Splits JSON objects and arrays from chunks of any size. Every byte is looked at once.
///
/// It holds the begun value, at most `max_len` bytes, and the values that are complete and not yet
/// taken, so take them after each `push`.
#[derive(Debug)]
pub struct JsonLines {
    max_len: usize,
    complete: VecDeque<Vec<u8>>,
    begun: Vec<u8>,
    /// How many brackets and braces of `begun` are open.
    depth: usize,
    in_string: bool,
    /// The last byte was a backslash that escapes the next one.
    escaped: bool,
    failed: Option<JsonLinesError>,
}

impl JsonLines {
    /// A splitter for values of at most `max_len` bytes each.
    pub fn new(max_len: usize) -> Self {
        Self {
            max_len,
            complete: VecDeque::new(),
            begun: Vec::new(),
            depth: 0,
            in_string: false,
            escaped: false,
            failed: None,
        }
    }

    /// Takes the stream's next bytes.
    ///
    /// # Errors
    ///
    /// A value is too long, or is neither an object nor an array. Every later call returns the
    /// error again; the values before it can still be taken.
    pub fn push(&mut self, input: &[u8]) -> Result<(), JsonLinesError> {
        let mut rest = input;
        while self.failed.is_none() {
            if self.depth == 0 {
                let Some(start) = rest
                    .iter()
                    .position(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
                else {
                    return Ok(());
                };
                rest = &rest[start..];
                if !matches!(rest[0], b'{' | b'[') {
                    self.failed = Some(JsonLinesError::NotAnObject(rest[0]));
                    break;
                }
            }
            let end = self.scan(rest);
            let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
            if self.begun.len() + part.len() > self.max_len {
                self.failed = Some(JsonLinesError::TooLong {
                    max_len: self.max_len,
                });
                break;
            }
            self.begun.extend_from_slice(part);
            if end.is_none() {
                return Ok(());
            }
            self.complete.push_back(std::mem::take(&mut self.begun));
            rest = after;
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Looks for the end of the begun value: where in `input` the bytes after it start.
    fn scan(&mut self, input: &[u8]) -> Option<usize> {
        for (at, byte) in input.iter().enumerate() {
            if self.escaped {
                self.escaped = false;
            } else if self.in_string {
                match byte {
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
                        self.depth -= 1;
                        if self.depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
            }
        }
        None
    }

    /// The next complete value, as the bytes that came, without what separates values.
    pub fn next_value(&mut self) -> Option<Vec<u8>> {
        self.complete.pop_front()
    }

    /// To be called at the end of the stream.
    ///
    /// # Errors
    ///
    /// The stream ended inside a value, or `push` had failed before.
    pub fn finish(&self) -> Result<(), JsonLinesError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.begun.is_empty() => Ok(()),
            None => Err(JsonLinesError::Cut {
                pending: self.begun.len(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(max_len: usize, chunks: &[&[u8]]) -> (Vec<String>, Result<(), JsonLinesError>) {
        let mut lines = JsonLines::new(max_len);
        let mut values = Vec::new();
        for chunk in chunks {
            let pushed = lines.push(chunk);
            while let Some(value) = lines.next_value() {
                values.push(String::from_utf8(value).unwrap());
            }
            if pushed.is_err() {
                assert_eq!(lines.push(b"{}"), pushed);
                assert_eq!(lines.next_value(), None);
                assert_eq!(lines.finish(), pushed);
                return (values, pushed);
            }
        }
        (values, lines.finish())
    }

    const VALUES: [&str; 6] = [
        r#"{"status":"Pulling","progressDetail":{"current":1,"total":[2,{}]}}"#,
        "{}",
        r#"{"a":"}]{[\"","b\\":"\\"}"#,
        "[\n 1,\r\n\t[]\n]",
        "{\"\u{fc}\":\"\\u00fc\u{1f980}\"}",
        r#"["\\\"]"]"#,
    ];

    #[test]
    fn any_two_splits_and_any_separator_give_the_same_values() {
        for separator in ["", "\n", "\r\n", " \t\r\n\n"] {
            let text = VALUES.join(separator) + separator;
            let bytes = text.as_bytes();
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    let (values, end) = split(100, &chunks);
                    assert_eq!((&values[..], end), (&VALUES.map(str::to_owned)[..], Ok(())));
                }
            }
        }
    }

    #[test]
    fn bytes_one_at_a_time_give_the_same_values() {
        let text = VALUES.concat();
        let chunks: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(split(100, &chunks).0, VALUES);
    }

    #[test]
    fn a_value_is_complete_with_its_last_byte() {
        let mut lines = JsonLines::new(100);
        lines.push(br#"{"a":{}"#).unwrap();
        assert_eq!(lines.next_value(), None);
        lines.push(b"}").unwrap();
        assert_eq!(lines.next_value().unwrap(), br#"{"a":{}}"#);
        assert_eq!(lines.finish(), Ok(()));
    }

    #[test]
    fn a_value_has_at_most_the_given_length_however_it_comes() {
        let text = br#"{"a":1} {"b":22} {}"#;
        let too_long = Err(JsonLinesError::TooLong { max_len: 7 });
        for at in 0..=text.len() {
            let chunks = [&text[..at], &text[at..]];
            assert_eq!(
                split(7, &chunks),
                (vec![r#"{"a":1}"#.to_owned()], too_long.clone())
            );
            assert_eq!(split(8, &chunks).0.len(), 3);
            assert_eq!(split(8, &chunks).1, Ok(()));
        }
        assert_eq!(split(7, &[b"[1234567"]).1, too_long);
        assert_eq!(
            split(7, &[b"[123456"]).1,
            Err(JsonLinesError::Cut { pending: 7 })
        );
        assert_eq!(split(7, &[&[b' '; 100]]).1, Ok(()));
    }

    #[test]
    fn what_is_neither_object_nor_array_is_an_error_after_the_values_before_it() {
        for byte in (0..=u8::MAX).filter(|b| !b" \t\r\n{[".contains(b)) {
            let text = [b"{}\n", &[byte][..], b"{}"].concat();
            let error = Err(JsonLinesError::NotAnObject(byte));
            assert_eq!(split(100, &[&text]), (vec!["{}".to_owned()], error));
        }
    }

    #[test]
    fn an_end_inside_a_value_is_an_error() {
        let text = br#"{}{"a":"\""}"#;
        for end in 0..=text.len() {
            let expected = match end {
                0 | 2 | 12 => Ok(()),
                1 => Err(JsonLinesError::Cut { pending: 1 }),
                _ => Err(JsonLinesError::Cut { pending: end - 2 }),
            };
            assert_eq!(split(100, &[&text[..end]]).1, expected, "cut at {end}");
        }
    }

    #[test]
    fn errors_are_sentences() {
        let shown = [
            JsonLinesError::TooLong { max_len: 9 },
            JsonLinesError::NotAnObject(b'\n'),
            JsonLinesError::Cut { pending: 3 },
        ]
        .map(|error| error.to_string());
        assert_eq!(
            shown,
            [
                "the engine sent a JSON value of more than 9 bytes",
                "the engine sent '\\n' where a JSON object or array should begin",
                "the engine's JSON ended inside a value, after 3 bytes of it",
            ]
        );
    }
}
