//! What differs between two recordings of the same exchange, made equal: ids, times, and what is of the machine rather than
//! of the engine. Masking twice is masking once, so that the tests can tell whether a file is masked.

use std::collections::BTreeSet;
use std::fmt::Write;

/// Instead of the container's id; of a shortened one as many digits.
pub(crate) const CONTAINER: &str =
    "c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1";
/// Instead of the id of the image `busybox:latest`.
pub(crate) const IMAGE: &str = "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1";
/// Instead of any other 64 hex digits: layers, networks, sandboxes, imported images.
pub(crate) const OTHER: &str = "e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1";
/// Instead of any time, in seconds since 1970.
pub(crate) const SECONDS: u64 = 1_000_000_000;

const DATE: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
const TIME: &str = "2001-09-09T01:46:40";
const REFERENCE: &str = "0xc000000000";

/// A member of a JSON object, and what stands instead of its value. A value of another type stays, and so do negative
/// numbers, `""` and `0`, which say that there is none.
struct Field {
    /// In which files: what their name begins with.
    within: &'static str,
    /// The member up to its value; where the key alone is ambiguous, with what comes before it.
    before: &'static str,
    value: &'static str,
}

const fn field(within: &'static str, before: &'static str, value: &'static str) -> Field {
    Field {
        within,
        before,
        value,
    }
}

const FIELDS: &[Field] = &[
    field("container_inspect/", "\"Pid\":", "4711"),
    field("container_inspect/", "\"ResolvConfPath\":", "\"/masked\""),
    field("container_inspect/", "\"HostnamePath\":", "\"/masked\""),
    field("container_inspect/", "\"HostsPath\":", "\"/masked\""),
    field("container_inspect/", "\"LogPath\":", "\"/masked\""),
    field("container_inspect/", "\"SandboxKey\":", "\"/masked\""),
    field("", "\"LowerDir\":", "\"/masked\""),
    field("", "\"MergedDir\":", "\"/masked\""),
    field("", "\"UpperDir\":", "\"/masked\""),
    field("", "\"WorkDir\":", "\"/masked\""),
    field("", "\"Created\":", "1000000000"),
    field(
        "container_list/",
        "\"State\":\"running\",\"Status\":",
        "\"Up 1 second\"",
    ),
    field(
        "container_list/",
        "\"State\":\"exited\",\"Status\":",
        "\"Exited (0) 1 second ago\"",
    ),
    field("events/", "\"time\":", "1000000000"),
    field("events/", "\"timeNano\":", "1000000000000000000"),
    field("image_", "\"Size\":", "2000000"),
    field("image_", "\"VirtualSize\":", "2000000"),
    field("image_list/", "\"Containers\":", "0"),
    field("info/", "\n{\"ID\":", "\"masked\""),
    field("info/", "\"Containers\":", "0"),
    field("info/", "\"ContainersRunning\":", "0"),
    field("info/", "\"ContainersPaused\":", "0"),
    field("info/", "\"ContainersStopped\":", "0"),
    field("info/", "\"NFd\":", "20"),
    field("info/", "\"NGoroutines\":", "40"),
    field("info/", "\"OperatingSystem\":", "\"Linux\""),
    field("info/", "\"OSVersion\":", "\"1\""),
    field("info/", "\"NCPU\":", "4"),
    field("info/", "\"MemTotal\":", "8589934592"),
    field("info/", "\"DockerRootDir\":", "\"/masked\""),
    field("info/", "\"NoProxy\":\"\",\"Name\":", "\"masked\""),
    field("info/", "\"Address\":", "\"/masked\""),
    field("info/", "\"SwapFree\":", "0"),
    field("info/", "\"SwapTotal\":", "0"),
    field("info/", "\"Uptime\":", "\"0h 1m 0.00s\""),
    field("", "\"KernelVersion\":", "\"6.1.0\""),
    field("volume_list/", "\"Mountpoint\":", "\"/masked\""),
];

/// The ids that are known beforehand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) container: &'a str,
    /// Without `sha256:`.
    pub(crate) image: &'a str,
}

/// A masked message, and which masks it needed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Masked {
    pub(crate) bytes: Vec<u8>,
    pub(crate) masks: BTreeSet<String>,
}

/// What all masks are, one a line, for the reader of a manifest.
pub(crate) fn legend() -> String {
    let mut text = format!(
        "container id = {CONTAINER}\nimage id = {IMAGE}\nother id = {OTHER}\nDate = {DATE}\nX-Reference-Id = {REFERENCE}\n\
         window = {SECONDS}\nRFC 3339 time = {TIME}, with a fraction .000000000\n"
    );
    for Field { before, value, .. } in FIELDS {
        writeln!(text, "{} = {value}", label(before)).expect("a string takes everything");
    }
    text
}

/// `Pid` of `"Pid":`.
fn label(before: &str) -> &str {
    before
        .trim_end_matches("\":")
        .rsplit('"')
        .next()
        .unwrap_or(before)
}

/// Masks one side of the exchange `name`. `Content-Length` and the sizes of chunks are made to fit.
///
/// # Errors
/// The message cannot be read, or a mask would change a length where that is not written in it.
pub(crate) fn mask(name: &str, message: &[u8], known: Known<'_>) -> Result<Masked, String> {
    let head_end = find(message, b"\r\n\r\n").ok_or("the message has no head")? + 4;
    let head = std::str::from_utf8(&message[..head_end]).map_err(|e| e.to_string())?;
    let (body, chunks) = if head
        .to_ascii_lowercase()
        .contains("\r\ntransfer-encoding: chunked\r\n")
    {
        unchunked(&message[head_end..])?
    } else {
        (message[head_end..].to_vec(), Vec::new())
    };
    let mut edits = head_edits(head);
    ids(head.as_bytes(), known, &mut edits);
    let mut head_bytes = edits.apply(head.as_bytes());
    let mut masks = edits.labels;

    let is_json = matches!(body.first(), Some(b'{' | b'['));
    let mut edits = Edits::default();
    fields(name, &body, &mut edits);
    ids(&body, known, &mut edits);
    times(&body, &mut edits);
    let masked = edits.apply(&body);
    if masked.len() != body.len() && !is_json {
        return Err("a mask would change a length inside the body".to_owned());
    }
    masks.append(&mut edits.labels.clone());
    if chunks.is_empty() {
        let length = |length: usize| format!("\r\nContent-Length: {length}\r\n");
        let head = String::from_utf8(head_bytes).map_err(|e| e.to_string())?;
        head_bytes = head
            .replace(&length(body.len()), &length(masked.len()))
            .into_bytes();
        head_bytes.extend(masked);
    } else {
        head_bytes.extend(chunked(&masked, &chunks));
    }
    Ok(Masked {
        bytes: head_bytes,
        masks,
    })
}

/// A chunk's size, also as it was written.
type Chunk = (String, usize);

/// The body of a chunked message, and its chunks; the last one is empty.
fn unchunked(mut text: &[u8]) -> Result<(Vec<u8>, Vec<Chunk>), String> {
    let (mut body, mut chunks) = (Vec::new(), Vec::new());
    loop {
        let line = find(text, b"\r\n").ok_or("a chunk has no size")?;
        let written = std::str::from_utf8(&text[..line]).map_err(|e| e.to_string())?;
        let size = usize::from_str_radix(written, 16).map_err(|e| e.to_string())?;
        let chunk = text
            .get(line + 2..line + 2 + size)
            .ok_or("a chunk is cut")?;
        body.extend_from_slice(chunk);
        chunks.push((written.to_owned(), size));
        text = &text[line + 2 + size..];
        text = text.strip_prefix(b"\r\n").ok_or("a chunk has no end")?;
        if size == 0 {
            return if text.is_empty() {
                Ok((body, chunks))
            } else {
                Err("there is more after the last chunk".to_owned())
            };
        }
    }
}

/// `body` in chunks of the sizes that it had. The last but the empty one takes what is left, because an engine cuts what is
/// long at a fixed size.
fn chunked(mut body: &[u8], chunks: &[Chunk]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, (written, size)) in chunks.iter().enumerate() {
        let take = if index + 2 == chunks.len() {
            body.len()
        } else {
            body.len().min(*size)
        };
        if take == 0 && *size > 0 {
            continue;
        }
        let written = if take == *size {
            written.clone()
        } else {
            format!("{take:x}")
        };
        out.extend([written.as_bytes(), b"\r\n", &body[..take], b"\r\n"].concat());
        body = &body[take..];
    }
    out
}

/// Replacements that do not overlap, in no order until they are applied.
#[derive(Debug, Default)]
struct Edits {
    list: Vec<(usize, usize, String)>,
    labels: BTreeSet<String>,
}

impl Edits {
    /// The first edit of a place is the one that counts.
    fn add(&mut self, start: usize, end: usize, text: impl Into<String>, label: &str) {
        if self.list.iter().all(|(s, e, _)| end <= *s || *e <= start) {
            self.list.push((start, end, text.into()));
            self.labels.insert(label.to_owned());
        }
    }

    fn apply(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.list.sort();
        let mut out = Vec::with_capacity(bytes.len());
        let mut from = 0;
        for (start, end, text) in &self.list {
            out.extend_from_slice(&bytes[from..*start]);
            out.extend_from_slice(text.as_bytes());
            from = *end;
        }
        out.extend_from_slice(&bytes[from..]);
        out
    }
}

fn head_edits(head: &str) -> Edits {
    let mut edits = Edits::default();
    for (header, value) in [("Date", DATE), ("X-Reference-Id", REFERENCE)] {
        let start = format!("\r\n{header}: ");
        if let Some(at) = head.find(&start).map(|at| at + start.len()) {
            let end = at + head[at..].find('\r').unwrap_or(0);
            edits.add(at, end, value, header);
        }
    }
    let target = head.lines().next().unwrap_or_default();
    for parameter in ["?since=", "&until="] {
        if let Some(at) = target.find(parameter).map(|at| at + parameter.len()) {
            let digits = target[at..].bytes().take_while(u8::is_ascii_digit).count();
            edits.add(at, at + digits, SECONDS.to_string(), "window");
        }
    }
    edits
}

fn fields(name: &str, body: &[u8], edits: &mut Edits) {
    for field in FIELDS.iter().filter(|field| name.starts_with(field.within)) {
        // A line feed before the member stands for the body's start.
        let (before, only_first) = match field.before.strip_prefix('\n') {
            Some(before) => (before.as_bytes(), true),
            None => (field.before.as_bytes(), false),
        };
        let mut from = 0;
        while let Some(found) = find(&body[from..], before) {
            let start = from + found + before.len();
            if only_first && found > 0 {
                break;
            }
            let end = start + value_len(&body[start..]);
            let value = &body[start..end];
            if value
                .first()
                .is_some_and(|first| (*first == b'"') == field.value.starts_with('"'))
                && value != b"\"\""
                && (value != b"0" || field.value == "0")
            {
                edits.add(start, end, field.value, label(field.before));
            }
            from = start;
        }
    }
}

/// How long a string or a number is at the start of `text`; 0 for anything else.
fn value_len(text: &[u8]) -> usize {
    if text.first() != Some(&b'"') {
        return text.iter().take_while(|b| b.is_ascii_digit()).count();
    }
    let mut escaped = false;
    let inside = text[1..].iter().take_while(|&&b| {
        let ends = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        !ends
    });
    inside.count() + 2
}

/// Hex digits that are a known id, or as many of one as engines show (11 or 12), or 64.
fn ids(text: &[u8], known: Known<'_>, edits: &mut Edits) {
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'%' {
            // A percent sign and two hex digits are one character.
            at += 3;
            continue;
        }
        let word = text[at..]
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric())
            .count();
        let run = &text[at..at + word];
        let instead = match word {
            11..=64 if known.container.as_bytes().starts_with(run) => {
                Some((CONTAINER, "container id"))
            }
            11..=64 if known.image.as_bytes().starts_with(run) => Some((IMAGE, "image id")),
            64 if run.iter().all(u8::is_ascii_hexdigit) => Some((OTHER, "other id")),
            _ => None,
        };
        if let Some((id, label)) = instead {
            edits.add(at, at + word, &id[..word], label);
        }
        at += word.max(1);
    }
}

/// RFC 3339 times; the year 1, which says "never", stays.
fn times(text: &[u8], edits: &mut Edits) {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let mut at = 0;
    while let Some(window) = text.get(at..at + SHAPE.len()) {
        let fits = window.iter().zip(SHAPE).all(|(b, s)| {
            if *s == b'0' {
                b.is_ascii_digit()
            } else {
                b == s
            }
        });
        if fits && !window.starts_with(b"0001") {
            let rest = &text[at + SHAPE.len()..];
            let fraction = match rest.split_first() {
                Some((b'.', digits)) => {
                    1 + digits.iter().take_while(|b| b.is_ascii_digit()).count()
                }
                _ => 0,
            };
            let instead = if fraction > 0 {
                format!("{TIME}.000000000")
            } else {
                TIME.to_owned()
            };
            edits.add(at, at + SHAPE.len() + fraction, instead, "RFC 3339 time");
        }
        at += 1;
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const KNOWN: Known<'_> = Known {
        container: ID,
        image: "fedcba9876543210",
    };
    const MASKED: Known<'_> = Known {
        container: CONTAINER,
        image: IMAGE,
    };

    fn masked(name: &str, message: &str) -> (String, Vec<String>) {
        let masked = mask(name, message.as_bytes(), KNOWN).unwrap();
        let again = mask(name, &masked.bytes, MASKED).unwrap();
        assert_eq!(masked, again, "masking twice is masking once");
        (
            String::from_utf8(masked.bytes).unwrap(),
            masked.masks.into_iter().collect(),
        )
    }

    #[test]
    fn what_differs_is_masked_and_the_length_fits() {
        let body = format!(
            "{{\"Id\":\"{ID}\",\"Short\":\"{}\",\"Pid\":7,\"NotPid\":7,\"LogPath\":\"/a/{ID}\\\"/b\",\"Created\":\
             \"2026-01-02T03:04:05.6Z\",\"Never\":\"0001-01-01T00:00:00Z\",\"Layer\":\"sha256:{}\"}}",
            &ID[..12],
            "ab".repeat(32)
        );
        let message = format!(
            "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 09:54:25 GMT\r\nContent-Length: {}\r\nX-Reference-Id: 0xc0\r\n\r\n{body}",
            body.len()
        );
        let (text, masks) = masked("container_inspect/x", &message);
        let body = format!(
            "{{\"Id\":\"{CONTAINER}\",\"Short\":\"c1c1c1c1c1c1\",\"Pid\":4711,\"NotPid\":7,\"LogPath\":\"/masked\",\"Created\":\
             \"{TIME}.000000000Z\",\"Never\":\"0001-01-01T00:00:00Z\",\"Layer\":\"sha256:{OTHER}\"}}"
        );
        let length = body.len();
        assert_eq!(
            text,
            format!(
                "HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Length: {length}\r\nX-Reference-Id: {REFERENCE}\r\n\r\n{body}"
            )
        );
        assert_eq!(
            masks,
            [
                "Date",
                "LogPath",
                "Pid",
                "RFC 3339 time",
                "X-Reference-Id",
                "container id",
                "other id"
            ]
        );
    }

    #[test]
    fn chunks_keep_their_sizes_and_the_last_takes_the_rest() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (text, masks) = masked(
            "events/x",
            &format!(
                "{head}1D\r\n{{\"time\":1795254868,\"timeNano\"\r\nA\r\n:123456789\r\n1\r\n}}\r\n0\r\n\r\n"
            ),
        );
        let nano = "1000000000000000000";
        assert_eq!(
            text,
            format!(
                "{head}1D\r\n{{\"time\":1000000000,\"timeNano\"\r\nA\r\n:{}\r\nb\r\n{}}}\r\n0\r\n\r\n",
                &nano[..9],
                &nano[9..]
            )
        );
        assert_eq!(masks, ["time", "timeNano"]);
        let (text, _) = masked(
            "container_inspect/x",
            &format!("{head}11\r\n{{\"LogPath\":\"/long\r\n6\r\n/path\"\r\n1\r\n}}\r\n0\r\n\r\n"),
        );
        assert_eq!(
            text,
            format!("{head}11\r\n{{\"LogPath\":\"/mask\r\n4\r\ned\"}}\r\n0\r\n\r\n"),
            "one chunk less"
        );
        for cut in ["", "5\r\nabc", "x\r\n", "1\r\na\r\n", "0\r\n\r\nmore"] {
            assert!(
                mask("x", format!("{head}{cut}").as_bytes(), KNOWN).is_err(),
                "{cut:?}"
            );
        }
    }

    #[test]
    fn a_length_inside_a_body_is_never_made_wrong() {
        let head = "HTTP/1.1 200 OK\r\n\r\n";
        assert!(
            mask(
                "x",
                format!("{head}\u{1}2026-01-02T03:04:05.123Z").as_bytes(),
                KNOWN
            )
            .is_err()
        );
        let (text, _) = masked(
            "x",
            &format!("{head}\u{1}2026-01-02T03:04:05.123456789Z 2026-01-02T03:04:05Z"),
        );
        assert_eq!(text, format!("{head}\u{1}{TIME}.000000000Z {TIME}Z"));
    }

    #[test]
    fn requests_are_masked_too() {
        let (text, masks) = masked(
            "events/x",
            &format!(
                "GET /v1.41/events?since=17&until=18&filters=%22{ID}%22 HTTP/1.1\r\nhost: x\r\n\r\n"
            ),
        );
        let target =
            format!("/v1.41/events?since={SECONDS}&until={SECONDS}&filters=%22{CONTAINER}%22");
        assert_eq!(text, format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert_eq!(masks, ["container id", "window"]);
    }
}
