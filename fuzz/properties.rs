//! What must hold for any bytes: each function panics where it does not.
//!
//! The fuzz targets call them with what libFuzzer makes up, and `tests/fuzz_corpus.rs` with what
//! is in `corpus/`. How a function reads its bytes is said above it.

use acode_rt::protocol::demux::{DemuxError, Demuxer, Stream};
use acode_rt::protocol::json_lines::{JsonLines, JsonLinesError};
use acode_rt::protocol::name::{ContainerName, NameError, Parsed, Prefix};

/// `[prefix length, session length, prefix.., session.., task..]`; text is decoded lossily, and
/// the default stands in for what is no prefix.
pub(crate) fn name(data: &[u8]) {
    let mut rest = data;
    let prefix_len = usize::from(take_byte(&mut rest) % 20);
    let session_len = usize::from(take_byte(&mut rest));
    let prefix = String::from_utf8_lossy(take(&mut rest, prefix_len));
    let session = String::from_utf8_lossy(take(&mut rest, session_len)).into_owned();
    let task = String::from_utf8_lossy(rest).into_owned();

    let made = Prefix::new(&prefix);
    assert_eq!(
        made.is_ok(),
        (1..=16).contains(&prefix.len()) && is_plain(&prefix)
    );
    let prefix = made.unwrap_or_default();

    check_name(&prefix, &session, &task);
    let bits = std::array::from_fn(|at| data.get(at).copied().unwrap_or(0xa5));
    check_random_name(&prefix, &session, &task, bits);
    check_parse(&prefix, &format!("{prefix}-{session}-{task}"));
    check_parse(&prefix, &task);

    // Ids that are near to these have other names, among them the same characters divided
    // elsewhere, and what this name has after its prefix.
    let mut near = vec![
        (session.clone(), task.clone()),
        (task.clone(), session.clone()),
        (session.clone(), format!("{task}-")),
        (format!("{session}-"), task.clone()),
        (session.to_lowercase(), task.to_lowercase()),
        (session.replace('_', "-"), task.replace('_', "-")),
    ];
    let printed = ContainerName::new(&prefix, &session, &task);
    let printed = printed
        .as_ref()
        .map_or("", |name| &name.as_str()[prefix.as_str().len() + 1..]);
    for joined in [&format!("{session}-{task}"), printed] {
        near.extend(joined.match_indices('-').map(|(at, _)| {
            let (session, task) = (&joined[..at], &joined[at + 1..]);
            (session.to_owned(), task.to_owned())
        }));
    }
    near.sort();
    near.dedup();
    let mut names: Vec<ContainerName> = near
        .iter()
        .filter_map(|(session, task)| ContainerName::new(&prefix, session, task).ok())
        .collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "two of {near:?} have the same name");
}

fn check_name(prefix: &Prefix, session: &str, task: &str) {
    let made = ContainerName::new(prefix, session, task);
    assert_eq!(made, ContainerName::new(prefix, session, task));
    let refusal = refusal("session", session).or_else(|| refusal("task", task));
    assert_eq!(made.as_ref().err(), refusal.as_ref());
    let Ok(name) = made else { return };

    assert_is_label(prefix, name.as_str());
    let printed = format!("{prefix}-{session}-{task}");
    let exact = printed.len() <= 63
        && is_plain(session)
        && task.split('-').all(is_plain)
        && !is_marked(&printed, b"hr");
    let parsed = ContainerName::parse(prefix, name.as_str());
    if exact {
        assert_eq!(name.as_str(), printed);
        assert_eq!(parsed, Some(Parsed::Exact { session, task }));
    } else {
        assert!(is_marked(name.as_str(), b"h"), "{name}");
        assert_eq!(parsed, Some(Parsed::Labelled));
    }
}

fn check_random_name(prefix: &Prefix, session: &str, task: &str, bits: [u8; 10]) {
    let made = ContainerName::random(prefix, session, task, bits);
    assert_eq!(
        made.is_ok(),
        ContainerName::new(prefix, session, task).is_ok()
    );
    let Ok(name) = made else { return };
    assert_is_label(prefix, name.as_str());
    assert!(is_marked(name.as_str(), b"r"), "{name}");
    assert_eq!(
        ContainerName::parse(prefix, name.as_str()),
        Some(Parsed::Labelled)
    );

    let digits = name
        .as_str()
        .bytes()
        .rev()
        .take(16)
        .map(|digit| match digit {
            b'a'..=b'z' => digit - b'a',
            _ => digit - b'2' + 26,
        });
    let (decoded, _) = digits.fold((0, 0), |(sum, shift), digit| {
        (sum | u128::from(digit) << shift, shift + 5)
    });
    let mut expected = [0; 16];
    expected[6..].copy_from_slice(&bits);
    assert_eq!(decoded.to_be_bytes(), expected);
}

/// What parses as exact is what these ids are printed as.
fn check_parse(prefix: &Prefix, name: &str) {
    match ContainerName::parse(prefix, name) {
        Some(Parsed::Exact { session, task }) => {
            let printed = ContainerName::new(prefix, session, task).expect("ids of a name");
            assert_eq!(printed.as_str(), name);
        }
        Some(Parsed::Labelled) => {
            assert_is_label(prefix, name);
            assert!(is_marked(name, b"hr"), "{name}");
        }
        None => {}
    }
}

fn refusal(which: &'static str, id: &str) -> Option<NameError> {
    let control = id.char_indices().find(|(_, c)| c.is_control());
    match (id.len(), control) {
        (0, _) => Some(NameError::EmptyId { which }),
        (len @ 257.., _) => Some(NameError::LongId { which, len }),
        (_, Some((at, control))) => Some(NameError::BadId { which, control, at }),
        _ => None,
    }
}

fn assert_is_label(prefix: &Prefix, name: &str) {
    assert!(name.len() <= 63 && name.split('-').all(is_plain), "{name}");
    assert_eq!(name.split('-').next(), Some(prefix.as_str()));
    assert!(name.split('-').count() >= 3, "{name}");
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9'))
}

fn is_marked(name: &str, marks: &[u8]) -> bool {
    let last = name.rsplit('-').next().unwrap_or_default().as_bytes();
    let base32 = |b: &u8| matches!(b, b'a'..=b'z' | b'2'..=b'7');
    last.len() == 17 && marks.contains(&last[0]) && last[1..].iter().all(base32)
}

/// `[7 chunk lengths.., stream..]`; the stream is also read as frames to print,
/// `[stream number, payload length, payload..]..`.
pub(crate) fn demux(data: &[u8]) {
    let mut stream = data;
    let lens = take(&mut stream, 7);
    check_demux(stream, lens, &demux_by_definition(stream));

    let mut printed = Vec::new();
    let mut runs = Vec::new();
    while !stream.is_empty() {
        let id = take_byte(&mut stream) % 3;
        let len = usize::from(take_byte(&mut stream));
        let payload = take(&mut stream, len);
        printed.extend([id, 0, 0, 0]);
        printed.extend([
            0,
            0,
            0,
            u8::try_from(payload.len()).expect("taken by a byte"),
        ]);
        printed.extend(payload);
        let stream = if id == 2 {
            Stream::Stderr
        } else {
            Stream::Stdout
        };
        append(&mut runs, stream, payload);
    }
    check_demux(&printed, lens, &(runs, Ok(())));
}

/// What was demultiplexed, where runs of one stream that follow each other are joined.
type Demuxed = (Vec<(Stream, Vec<u8>)>, Result<(), DemuxError>);

fn append(runs: &mut Vec<(Stream, Vec<u8>)>, stream: Stream, run: &[u8]) {
    match runs.last_mut() {
        _ if run.is_empty() => {}
        Some((last, bytes)) if *last == stream => bytes.extend(run),
        _ => runs.push((stream, run.to_vec())),
    }
}

fn check_demux(stream: &[u8], lens: &[u8], expected: &Demuxed) {
    for chunks in chunkings(stream, lens) {
        let mut demuxer = Demuxer::new();
        let mut runs = Vec::new();
        let failed = chunks.into_iter().find_map(|chunk| {
            let mut rest = chunk;
            loop {
                match demuxer.decode(rest) {
                    Ok((taken, None)) => {
                        assert_eq!(taken, rest.len());
                        return None;
                    }
                    Ok((taken, Some((stream, run)))) => {
                        let (front, after) = rest.split_at(taken);
                        assert!(!run.is_empty());
                        assert_eq!(run.as_ptr_range().end, front.as_ptr_range().end);
                        append(&mut runs, stream, run);
                        rest = after;
                    }
                    Err(error) => {
                        assert_eq!(demuxer.decode(rest).as_ref(), Err(&error));
                        assert_eq!(demuxer.decode(&[]).as_ref(), Err(&error));
                        assert_eq!(demuxer.finish().as_ref(), Err(&error));
                        return Some(error);
                    }
                }
            }
        });
        let end = failed.map_or_else(|| demuxer.finish(), Err);
        assert_eq!(&(runs, end), expected);
    }
}

/// The format as it is written down, for a stream that is all there.
fn demux_by_definition(mut stream: &[u8]) -> Demuxed {
    let mut runs = Vec::new();
    while !stream.is_empty() {
        let header = take(&mut stream, 8);
        let &[id, p0, p1, p2, l0, l1, l2, l3] = header else {
            return (runs, Err(DemuxError::CutInHeader { got: header.len() }));
        };
        if id > 3 {
            return (runs, Err(DemuxError::BadStream(id)));
        }
        if [p0, p1, p2] != [0; 3] {
            return (runs, Err(DemuxError::BadPadding([p0, p1, p2])));
        }
        let len = u32::from_be_bytes([l0, l1, l2, l3]);
        let payload = take(&mut stream, len as usize);
        let missing = len - u32::try_from(payload.len()).expect("taken by a u32");
        if id == 3 && (missing == 0 || payload.len() >= 4096) {
            let mut text = String::new();
            for c in String::from_utf8_lossy(&payload[..payload.len().min(4096)]).chars() {
                if text.len() + c.len_utf8() > 4096 {
                    break;
                }
                text.push(c);
            }
            return (runs, Err(DemuxError::EngineError(text)));
        }
        match id {
            0 | 1 => append(&mut runs, Stream::Stdout, payload),
            2 => append(&mut runs, Stream::Stderr, payload),
            _ => {}
        }
        if missing > 0 {
            return (runs, Err(DemuxError::CutInPayload { missing }));
        }
    }
    (runs, Ok(()))
}

/// `[longest value or 0 for any, 7 chunk lengths.., stream..]`; the lines of the stream are also
/// printed as JSON values.
pub(crate) fn json_lines(data: &[u8]) {
    let mut stream = data;
    let max_len = match take_byte(&mut stream) {
        0 => usize::MAX,
        max_len => usize::from(max_len),
    };
    let lens = take(&mut stream, 7);
    let split = check_chunkings(stream, lens, max_len);
    check_against_serde_json(stream, max_len, &split);

    let mut printed = Vec::new();
    let mut values = Vec::new();
    for (number, line) in stream.split(|b| *b == b'\n').enumerate() {
        let text = String::from_utf8_lossy(line);
        let value = match number % 3 {
            0 => serde_json::json!({ text: { "number": number } }).to_string(),
            1 => serde_json::json!([text, [], [{}], { "": text }]).to_string(),
            _ => format!(
                "{:#}",
                serde_json::json!({ "text": text, "more": [null, -1.5e3] })
            ),
        };
        printed.extend(value.bytes());
        printed.extend(["\r\n", "", "\n", " \t"][number % 4].bytes());
        values.push(value.into_bytes());
    }
    assert_eq!(
        check_chunkings(&printed, lens, usize::MAX),
        (values, Ok(()))
    );
}

type Split = (Vec<Vec<u8>>, Result<(), JsonLinesError>);

/// Any chunking gives the same.
fn check_chunkings(stream: &[u8], lens: &[u8], max_len: usize) -> Split {
    let [whole, bytes, fuzzed] = chunkings(stream, lens).map(|chunks| split_json(&chunks, max_len));
    assert_eq!(whole, bytes);
    assert_eq!(whole, fuzzed);
    whole
}

fn split_json(chunks: &[&[u8]], max_len: usize) -> Split {
    let mut lines = JsonLines::new(max_len);
    let mut values = Vec::new();
    for chunk in chunks {
        let pushed = lines.push(chunk);
        values.extend(std::iter::from_fn(|| lines.next_value()));
        if pushed.is_err() {
            assert_eq!(lines.push(b"{}"), pushed);
            assert_eq!(lines.next_value(), None);
            assert_eq!(lines.finish(), pushed);
            return (values, pushed);
        }
    }
    (values, lines.finish())
}

/// The objects and arrays that `serde_json` reads from the front of the stream are split just so.
/// Where it then comes to the end, or to what is no object or array, the splitter says so; after a
/// syntax error, which the splitter does not look for, nothing is compared.
fn check_against_serde_json(stream: &[u8], max_len: usize, (values, end): &Split) {
    let mut parser = serde_json::Deserializer::from_slice(stream).into_iter::<serde_json::Value>();
    let mut values = values.iter();
    loop {
        let after = &stream[parser.byte_offset()..];
        let space = after.iter().take_while(|b| b" \t\r\n".contains(b)).count();
        let rest = &after[space..];
        let expected_end = match rest.first() {
            None => Ok(()),
            Some(b'{' | b'[') => match parser.next() {
                Some(Ok(_)) => {
                    let len = rest.len() - (stream.len() - parser.byte_offset());
                    if len <= max_len {
                        assert_eq!(values.next().map(Vec::as_slice), Some(&rest[..len]));
                        continue;
                    }
                    Err(JsonLinesError::TooLong { max_len })
                }
                Some(Err(error)) if !error.is_eof() => return,
                _ if rest.len() > max_len => Err(JsonLinesError::TooLong { max_len }),
                _ => Err(JsonLinesError::Cut {
                    pending: rest.len(),
                }),
            },
            Some(byte) => Err(JsonLinesError::NotAnObject(*byte)),
        };
        assert_eq!((values.next(), end), (None, &expected_end));
        return;
    }
}

/// Takes `len` bytes, or what is left, from the front.
fn take<'a>(data: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (front, rest) = data.split_at(len.min(data.len()));
    *data = rest;
    front
}

fn take_byte(data: &mut &[u8]) -> u8 {
    take(data, 1).first().copied().unwrap_or_default()
}

/// The stream whole, byte by byte, and in chunks of the given lengths over and over (0 is an empty
/// chunk).
fn chunkings<'a>(stream: &'a [u8], lens: &[u8]) -> [Vec<&'a [u8]>; 3] {
    let mut rest = stream;
    let mut fuzzed = Vec::new();
    if lens.iter().any(|len| *len > 0) {
        let mut lens = lens.iter().cycle();
        while let (false, Some(len)) = (rest.is_empty(), lens.next()) {
            fuzzed.push(take(&mut rest, usize::from(*len)));
        }
    }
    fuzzed.push(rest);
    [vec![stream], stream.chunks(1).collect(), fuzzed]
}
