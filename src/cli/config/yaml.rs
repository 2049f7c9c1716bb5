//! YAML as a configuration file may have it: one document, bounded, without aliases, tags and duplicate keys; every value with its line.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput};

/// No configuration needs more.
pub(super) const MAX_BYTES: usize = 64 << 10;
const MAX_DEPTH: usize = 16;
const MAX_NODES: usize = 4096;

/// What is wrong, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Of a mapping's value that is not a scalar: the line of its key.
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `plain` is without quotes: only then it can be a number or a truth value.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    /// In the file's order; no key is there twice.
    Mapping(Vec<(String, Node)>),
}

impl Node {
    /// Nothing was written, or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Reads a file's one document; `None` where there is nothing in it but comments.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Node>, Wrong> {
    let text = check_text(bytes)?;
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        nodes: 0,
    };
    reader.next()?;
    let node = match reader.next()? {
        (Event::StreamEnd, _) => return Ok(None),
        (Event::DocumentStart(_), _) => {
            let (event, line) = reader.next()?;
            reader.node(event, line, 1)?
        }
        (event, line) => return Err(odd(&event, line)),
    };
    reader.next()?;
    match reader.next()? {
        (Event::StreamEnd, _) => Ok(Some(node).filter(|node| !node.is_null())),
        (_, line) => Err(wrong(line, "there is more than one document; one is read")),
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), Wrong> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => Err(not_yaml(&error)),
            None => Err(wrong(1, "it ends too early")),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Wrong> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(wrong(
                line,
                format!("there are more than {MAX_NODES} values"),
            ));
        }
        if depth > MAX_DEPTH {
            return Err(wrong(
                line,
                format!("it is nested more than {MAX_DEPTH} deep"),
            ));
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => return Err(odd(&event, line)),
        };
        if anchor != 0 {
            return Err(wrong(line, "anchors (&) are not read; write the value out"));
        }
        if tag {
            return Err(wrong(line, "tags (!) are not read; leave it out"));
        }
        let value = match event {
            Event::Scalar(text, style, ..) => Value::Scalar {
                text: text.into_owned(),
                plain: style == ScalarStyle::Plain,
            },
            Event::SequenceStart(..) => self.sequence(depth)?,
            _ => self.mapping(depth)?,
        };
        Ok(Node { line, value })
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, Wrong> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Sequence(items)),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Wrong> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Mapping(entries));
            }
            let key = match self.node(event, line, depth + 1)? {
                node if node.is_null() => return Err(wrong(line, "a key is missing")),
                Node {
                    value: Value::Scalar { text, .. },
                    ..
                } => text,
                _ => return Err(wrong(line, "a key has to be a word")),
            };
            if key == "<<" {
                return Err(wrong(
                    line,
                    "merge keys (<<) are not read; write the values out",
                ));
            }
            if entries.iter().any(|(known, _)| *known == key) {
                let text = super::quoted(&key);
                return Err(wrong(line, format!("{text} is there twice")));
            }
            let (event, at) = self.next()?;
            let mut node = self.node(event, at, depth + 1)?;
            if node.is_null() || !matches!(node.value, Value::Scalar { .. }) {
                node.line = line;
            }
            entries.push((key, node));
        }
    }
}

fn wrong(line: usize, message: impl Into<String>) -> Wrong {
    Wrong {
        line,
        message: message.into(),
    }
}

fn odd(event: &Event<'_>, line: usize) -> Wrong {
    let message = match event {
        Event::Alias(_) => {
            "aliases (*) are not read; write the value out, or put it in quotation marks"
        }
        _ => "a value is missing",
    };
    wrong(line, message)
}

fn not_yaml(error: &ScanError) -> Wrong {
    let why: String = error.info().escape_debug().take(200).collect();
    let message = if why.contains("anchor") {
        format!(
            "aliases (*) are not read; write the value out, or put it in quotation marks ({why})"
        )
    } else {
        format!("it is not YAML: {why}")
    };
    wrong(error.marker().line().max(1), message)
}

/// What can be read as text without surprise: nothing that looks like something else, and no directives.
fn check_text(bytes: &[u8]) -> Result<&str, Wrong> {
    if bytes.len() > MAX_BYTES {
        return Err(wrong(1, format!("it has more than {MAX_BYTES} bytes")));
    }
    let line_of = |at: usize| bytes[..at].split(|byte| *byte == b'\n').count();
    let text = std::str::from_utf8(bytes)
        .map_err(|error| wrong(line_of(error.valid_up_to()), "it is not UTF-8"))?;
    if text.starts_with('\u{feff}') {
        return Err(wrong(
            1,
            "it begins with a byte order mark; save it without one",
        ));
    }
    for (at, char) in text.char_indices() {
        let fine = match char {
            '\n' | '\t' => true,
            '\r' => bytes.get(at + 1) == Some(&b'\n'),
            _ => !char.is_control() && !is_deceptive(char),
        };
        if !fine {
            let char = char.escape_unicode();
            return Err(wrong(
                line_of(at),
                format!("the character {char} is not allowed"),
            ));
        }
    }
    for (before, line) in text.lines().enumerate() {
        if line.starts_with('%') {
            return Err(wrong(before + 1, "directives (%) are not read"));
        }
        if line.trim_start_matches(' ').starts_with('\t') && !line.trim().is_empty() {
            return Err(wrong(before + 1, "it is indented with a tab; use spaces"));
        }
    }
    Ok(text)
}

/// Line ends that editors do not show as such, and what changes the direction or hides.
fn is_deceptive(char: char) -> bool {
    matches!(char, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(line: usize, text: &str, plain: bool) -> Node {
        let text = text.into();
        Node {
            line,
            value: Value::Scalar { text, plain },
        }
    }

    #[test]
    fn values_have_their_lines() {
        let node = read(b"# comment\na: 1\nb:\n  - x\n  - 'y'\nc:\nd: {e: f}\n").unwrap();
        let list = Value::Sequence(vec![scalar(4, "x", true), scalar(5, "y", false)]);
        let map = Value::Mapping(vec![("e".into(), scalar(7, "f", true))]);
        let expected = Value::Mapping(vec![
            ("a".into(), scalar(2, "1", true)),
            (
                "b".into(),
                Node {
                    line: 3,
                    value: list,
                },
            ),
            ("c".into(), scalar(6, "", true)),
            (
                "d".into(),
                Node {
                    line: 7,
                    value: map,
                },
            ),
        ]);
        let node = node.unwrap();
        assert_eq!(node.value, expected);
        let Value::Mapping(entries) = &node.value else {
            panic!("{node:?}")
        };
        assert!(entries[2].1.is_null() && entries[2].1.line == 6);
    }

    #[test]
    fn nothing_but_comments_is_nothing() {
        for text in [
            "",
            "\n\n",
            "# a\n",
            "---\n",
            "~\n",
            "null",
            "---\n...\n",
            "\r\n",
        ] {
            assert_eq!(read(text.as_bytes()), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn what_hides_or_multiplies_is_refused() {
        let long = format!("a: {}", "x".repeat(MAX_BYTES));
        let deep = format!("{}x{}", "[".repeat(17), "]".repeat(17));
        let deep_block = (0..17).fold(String::new(), |text, at| {
            format!("{text}{}a:\n", " ".repeat(at))
        });
        let many = format!("[{}]", "1,".repeat(MAX_NODES));
        let cases: &[(&[u8], usize, &str)] = &[
            (long.as_bytes(), 1, "65536 bytes"),
            (deep.as_bytes(), 1, "16 deep"),
            (deep_block.as_bytes(), 16, "16 deep"),
            (many.as_bytes(), 1, "4096 values"),
            (b"a: &x 1\nb: *x\n", 1, "anchors"),
            (b"a: 1\nb: *x\n", 2, "aliases"),
            (b"a: &x [*x]\n", 1, "anchors"),
            (b"a: {b: 1}\nc:\n  <<: {d: 1}\n", 3, "merge"),
            (b"a: !!str 1\n", 1, "tags"),
            (b"a: ! 1\n", 1, "tags"),
            (b"!!map {a: 1}\n", 1, "tags"),
            (b"a: 1\n---\nb: 1\n", 2, "more than one document"),
            (b"a: 1\n...\n---\nb: 1\n", 3, "more than one document"),
            (b"a: 1\nb: 2\n'a': 3\n", 3, "\"a\" is there twice"),
            (b"a: 1\n\"\\x61\": 3\n", 2, "\"a\" is there twice"),
            (b"? [a]\n: 1\n", 1, "a key has to be a word"),
            (b"? {a: 1}\n: 1\n", 1, "a key has to be a word"),
            (b": 1\n", 1, "a key is missing"),
            (b"null: 1\n", 1, "a key is missing"),
            (b"%YAML 1.1\n---\na: 1\n", 1, "directives"),
            (b"%TAG ! tag:x,2000:\n---\na: 1\n", 1, "directives"),
            (b"a: [1\n", 2, "not YAML"),
            (b"a: b: c\n", 1, "not YAML"),
            (b"\ta: 1\n", 1, "tab"),
            (b"a:\n  \tb: 1\n", 2, "tab"),
            (b"a: \"\\q\"\n", 1, "not YAML"),
            (b"a: '\n", 1, "not YAML"),
            (b"a: 1\nb: \0\n", 2, "\\u{0} is not allowed"),
            (b"a: \x1b[31m\n", 1, "\\u{1b} is not allowed"),
            (b"a: \x7f\n", 1, "\\u{7f} is not allowed"),
            (b"a: 1\rb: 2\n", 1, "\\u{d} is not allowed"),
            ("a: \u{85}b".as_bytes(), 1, "\\u{85} is not allowed"),
            ("a: \u{2028}b".as_bytes(), 1, "\\u{2028} is not allowed"),
            ("# \u{202e}\n".as_bytes(), 1, "\\u{202e} is not allowed"),
            ("\u{feff}a: 1".as_bytes(), 1, "byte order mark"),
            ("a: \u{feff}1".as_bytes(), 1, "\\u{feff} is not allowed"),
            (b"a: 1\nb: \xff\n", 2, "not UTF-8"),
            (b"\xff\xfea\0:\0", 1, "not UTF-8"),
        ];
        for (text, line, message) in cases {
            let shown = String::from_utf8_lossy(&text[..text.len().min(60)]);
            match read(text) {
                Err(wrong) => {
                    assert!(wrong.message.contains(message), "{shown:?}: {wrong:?}");
                    assert_eq!(wrong.line, *line, "{shown:?}: {wrong:?}");
                }
                Ok(node) => panic!("{shown:?} is read as {node:?}"),
            }
        }
    }

    /// What a hostile file could make slow: each as long as a file may be.
    #[test]
    fn whatever_fills_the_file_is_read_at_once() {
        let pieces = [
            "[",
            "{",
            "- ",
            "? ",
            "a: ",
            "a:\n",
            "'",
            "\"",
            "\"\\",
            "*a ",
            "&a ",
            "!a ",
            "- - ",
            "{a: ",
            "[a, ",
            "{?",
            "a\n",
            "\n",
            " ",
            "\t",
            "#",
            "# \n",
            "|\n ",
            ">\n\n",
            "a: |\n  x\n",
            "-\n",
            "--- \n",
            "...\n",
            ",",
            "]",
            "}",
            ":",
            ": ",
            "? a\n",
            "a: b\n",
            "[]: ",
            "a b c d e f ",
            "\"a\": ",
            "é",
            "\r\n",
            "-a",
            "a,",
        ];
        for piece in pieces {
            let text = piece.repeat(MAX_BYTES / piece.len());
            let began = std::time::Instant::now();
            let _ = read(text.as_bytes());
            let open = format!("a: [{text}");
            let _ = read(&open.as_bytes()[..open.len().min(MAX_BYTES)]);
            let took = began.elapsed();
            assert!(took.as_secs() < 2, "{piece:?} takes {took:?}");
        }
    }

    /// The parser is another's: whatever it makes of a text, it neither panics nor goes on for ever.
    #[test]
    fn noise_is_read_or_refused() {
        const PIECES: [&str; 40] = [
            "a", "b: ", ": ", "- ", "? ", "\n", "\n ", "\n  ", "\n    ", "[", "]", "{", "}", ",",
            "\"", "'", "\\", "|", ">", "|2\n", ">-\n", "#", " #", "&x ", "*x", "!t ", "!<", "%",
            "@", "`", "~", "null", "---", "\n---\n", "\n...\n", "\t", "\r\n", "é", "\\x", "0",
        ];
        let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut below = |end: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % end).unwrap()
        };
        let mut fine = 0;
        for _ in 0..30_000 {
            let pieces = 1 + below(24);
            let text: String = (0..pieces).map(|_| PIECES[below(40)]).collect();
            fine += usize::from(read(text.as_bytes()).is_ok());
        }
        assert!(fine > 100, "{fine}");
    }
}
