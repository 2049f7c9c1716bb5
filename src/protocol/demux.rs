//! The multiplexed stream in which an engine sends a container's standard output and standard
//! error over one connection (`attach` and `logs` of a container without a terminal).
//!
//! Every frame is an 8 byte header and a payload. The header is the stream's number (0 standard
//! input, 1 standard output, 2 standard error, 3 the engine's own error), three zero bytes, and
//! the payload's length as a big-endian `u32`.

use std::fmt;

const HEADER_LEN: usize = 8;

/// What is kept of an engine's own error text, in bytes. The error is raised as soon as this much
/// has come, so that a header that claims gigabytes holds nothing up.
const ENGINE_ERROR_LEN: usize = 4096;

/// Where a run of payload belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output. Frames numbered 0 (standard input) count as this, as they do in the
    /// engine's own reference client.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// `stdout` or `stderr`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Why a stream cannot be demultiplexed any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DemuxError {
    /// A header has a stream number above 3.
    BadStream(u8),
    /// A header has these bytes where three zeros belong.
    BadPadding([u8; 3]),
    /// The engine reported an error of its own (stream number 3): its text, lossily decoded and
    /// cut to 4 KiB.
    EngineError(String),
    /// The stream ended inside a header.
    CutInHeader {
        /// How many of the header's 8 bytes came.
        got: usize,
    },
    /// The stream ended inside a payload.
    CutInPayload {
        /// How many of the payload's bytes did not come.
        missing: u32,
    },
}

impl fmt::Display for DemuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadStream(id) => write!(
                f,
                "the engine's output has a frame for stream {id}, but only 0 to 3 exist \
                 (a container with a terminal sends no frames)"
            ),
            Self::BadPadding(bytes) => write!(
                f,
                "the engine's output has a frame header with the bytes {bytes:?} where three \
                 zeros belong (a container with a terminal sends no frames)"
            ),
            Self::EngineError(text) => {
                write!(
                    f,
                    "the engine reported an error in the output: {}",
                    text.trim_end()
                )
            }
            Self::CutInHeader { got } => write!(
                f,
                "the engine's output ended inside a frame header, after {got} of its 8 bytes"
            ),
            Self::CutInPayload { missing } => {
                write!(
                    f,
                    "the engine's output ended {missing} bytes before the end of a frame"
                )
            }
        }
    }
}

impl std::error::Error for DemuxError {}

/// How many bytes were taken from the front of the input, and the run of payload among them, where
/// there is one.
pub type Decoded<'a> = (usize, Option<(Stream, &'a [u8])>);

#[derive(Debug)]
enum State {
    Header { bytes: [u8; HEADER_LEN], got: usize },
    Payload { stream: Stream, missing: usize },
    EngineError { text: Vec<u8>, missing: usize },
    Failed(DemuxError),
}

impl State {
    const BETWEEN_FRAMES: Self = Self::Header {
        bytes: [0; HEADER_LEN],
        got: 0,
    };

    fn after_header(header: [u8; HEADER_LEN]) -> Self {
        let [id, p0, p1, p2, length @ ..] = header;
        if id > 3 {
            return Self::Failed(DemuxError::BadStream(id));
        }
        if [p0, p1, p2] != [0; 3] {
            return Self::Failed(DemuxError::BadPadding([p0, p1, p2]));
        }
        let missing = u32::from_be_bytes(length) as usize;
        let stream = match id {
            0 | 1 => Stream::Stdout,
            2 => Stream::Stderr,
            _ => {
                let text = Vec::new();
                return Self::EngineError { text, missing };
            }
        };
        if missing == 0 {
            Self::BETWEEN_FRAMES
        } else {
            Self::Payload { stream, missing }
        }
    }
}

/// Takes the multiplexed stream apart, in chunks of any size, without copying payload.
///
/// It holds at most a header (or the engine's error text, at most 4 KiB); nothing is allocated by
/// what a header claims.
#[derive(Debug)]
pub struct Demuxer {
    state: State,
}

impl Default for Demuxer {
    fn default() -> Self {
        Self::new()
    }
}

impl Demuxer {
    /// A demultiplexer at the beginning of a stream.
    pub const fn new() -> Self {
        Self {
            state: State::BETWEEN_FRAMES,
        }
    }

    /// Takes bytes from the front of `input`, up to the end of the first run of payload in it,
    /// which is never empty. A frame may come in several runs. `(input.len(), None)` means that
    /// all was taken and more is needed; after a run, call again with the rest.
    ///
    /// # Errors
    ///
    /// A bad header, or an error that the engine reports. Every later call returns it again.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Decoded<'a>, DemuxError> {
        let mut rest = input;
        loop {
            match &mut self.state {
                State::Header { bytes, got } => {
                    // Mostly the whole header is there, and short frames are many.
                    if *got == 0
                        && let Some((header, after)) = rest.split_first_chunk()
                    {
                        rest = after;
                        self.state = State::after_header(*header);
                        continue;
                    }
                    let (part, after) = rest.split_at(rest.len().min(HEADER_LEN - *got));
                    rest = after;
                    bytes[*got..*got + part.len()].copy_from_slice(part);
                    *got += part.len();
                    if *got < HEADER_LEN {
                        return Ok((input.len(), None));
                    }
                    self.state = State::after_header(*bytes);
                }
                State::Payload { stream, missing } => {
                    if rest.is_empty() {
                        return Ok((input.len(), None));
                    }
                    let stream = *stream;
                    let (run, after) = rest.split_at(rest.len().min(*missing));
                    *missing -= run.len();
                    if *missing == 0 {
                        self.state = State::BETWEEN_FRAMES;
                    }
                    return Ok((input.len() - after.len(), Some((stream, run))));
                }
                State::EngineError { text, missing } => {
                    let room = ENGINE_ERROR_LEN - text.len();
                    let taken = rest.len().min(*missing).min(room);
                    text.extend_from_slice(&rest[..taken]);
                    *missing -= taken;
                    if *missing > 0 && text.len() < ENGINE_ERROR_LEN {
                        return Ok((input.len(), None));
                    }
                    let text = lossy(text);
                    self.state = State::Failed(DemuxError::EngineError(text));
                }
                State::Failed(error) => return Err(error.clone()),
            }
        }
    }

    /// To be called at the end of the stream.
    ///
    /// # Errors
    ///
    /// The stream ended inside a frame, or `decode` had failed before.
    pub fn finish(&self) -> Result<(), DemuxError> {
        match &self.state {
            State::Header { got: 0, .. } => Ok(()),
            State::Header { got, .. } => Err(DemuxError::CutInHeader { got: *got }),
            State::Payload { missing, .. } | State::EngineError { missing, .. } => {
                // It came from a `u32`.
                let missing = u32::try_from(*missing).unwrap_or(u32::MAX);
                Err(DemuxError::CutInPayload { missing })
            }
            State::Failed(error) => Err(error.clone()),
        }
    }
}

/// Replacement characters are longer than the bytes they stand for, so the decoded text is cut
/// again.
fn lossy(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let mut end = text.len().min(ENGINE_ERROR_LEN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(id: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        [&[id, 0, 0, 0], &length.to_be_bytes()[..], payload].concat()
    }

    type Demuxed = (Vec<(Stream, Vec<u8>)>, Result<(), DemuxError>);

    /// Decodes the chunks, then the end; runs of one stream that follow each other are joined.
    fn demux(chunks: &[&[u8]]) -> Demuxed {
        let mut demuxer = Demuxer::new();
        let mut runs: Vec<(Stream, Vec<u8>)> = Vec::new();
        for chunk in chunks {
            let mut rest = *chunk;
            loop {
                match demuxer.decode(rest) {
                    Ok((taken, Some((stream, run)))) => {
                        assert!(!run.is_empty());
                        rest = &rest[taken..];
                        match runs.last_mut() {
                            Some((last, bytes)) if *last == stream => bytes.extend_from_slice(run),
                            _ => runs.push((stream, run.to_vec())),
                        }
                    }
                    Ok((taken, None)) => {
                        assert_eq!(taken, rest.len());
                        break;
                    }
                    Err(error) => {
                        assert_eq!(demuxer.decode(b"x").as_ref(), Err(&error));
                        assert_eq!(demuxer.finish().as_ref(), Err(&error));
                        return (runs, Err(error));
                    }
                }
            }
        }
        (runs, demuxer.finish())
    }

    fn sample() -> (Vec<u8>, Vec<(Stream, Vec<u8>)>) {
        let bytes = [
            frame(1, b"out"),
            frame(2, b"err\0\xff"),
            frame(1, b""),
            frame(0, b"in counts as out,"),
            frame(1, b" and this follows"),
            frame(2, b""),
            frame(2, b"!"),
        ]
        .concat();
        let runs = vec![
            (Stream::Stdout, b"out".to_vec()),
            (Stream::Stderr, b"err\0\xff".to_vec()),
            (
                Stream::Stdout,
                b"in counts as out, and this follows".to_vec(),
            ),
            (Stream::Stderr, b"!".to_vec()),
        ];
        (bytes, runs)
    }

    #[test]
    fn any_two_splits_give_the_same_runs() {
        let (bytes, runs) = sample();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(
                    demux(&chunks),
                    (runs.clone(), Ok(())),
                    "split at {first}, {second}"
                );
            }
        }
    }

    #[test]
    fn any_chunk_size_gives_the_same_runs() {
        let (bytes, runs) = sample();
        for size in 1..=bytes.len() {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(demux(&chunks), (runs.clone(), Ok(())), "chunks of {size}");
        }
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error_and_an_end_between_frames_is_none() {
        let bytes = frame(1, b"four");
        for end in 0..=bytes.len() {
            let expected = match end {
                0 | 12 => Ok(()),
                1..8 => Err(DemuxError::CutInHeader { got: end }),
                _ => Err(DemuxError::CutInPayload {
                    missing: u32::try_from(12 - end).unwrap(),
                }),
            };
            assert_eq!(demux(&[&bytes[..end]]).1, expected, "cut at {end}");
        }
        let huge = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(
            demux(&[&huge]).1,
            Err(DemuxError::CutInPayload { missing: u32::MAX })
        );
        let error = [3, 0, 0, 0, 0, 0, 0, 9, b'n', b'o'];
        assert_eq!(
            demux(&[&error]).1,
            Err(DemuxError::CutInPayload { missing: 7 })
        );
    }

    #[test]
    fn runs_are_the_caller_s_own_bytes() {
        let bytes = frame(2, b"payload");
        let (taken, run) = Demuxer::new().decode(&bytes).unwrap();
        let (stream, run) = run.unwrap();
        assert_eq!((taken, stream), (bytes.len(), Stream::Stderr));
        assert_eq!(run.as_ptr(), bytes[HEADER_LEN..].as_ptr());
    }

    #[test]
    fn a_bad_header_is_an_error_after_the_runs_before_it() {
        let out = vec![(Stream::Stdout, b"ok".to_vec())];
        for id in 4..=u8::MAX {
            let bytes = [frame(1, b"ok"), frame(id, b"x")].concat();
            assert_eq!(
                demux(&[&bytes]),
                (out.clone(), Err(DemuxError::BadStream(id)))
            );
        }
        for at in 0..3 {
            let mut bytes = [frame(1, b"ok"), frame(2, b"x")].concat();
            bytes[11 + at] = 7;
            let mut padding = [0; 3];
            padding[at] = 7;
            assert_eq!(
                demux(&[&bytes]),
                (out.clone(), Err(DemuxError::BadPadding(padding)))
            );
        }
    }

    #[test]
    fn the_engine_s_own_error_ends_the_stream_at_any_split() {
        let bytes = [
            frame(2, b"a"),
            frame(3, "gr\u{fc}n\n".as_bytes()),
            frame(1, b"b"),
        ]
        .concat();
        let expected = (
            vec![(Stream::Stderr, b"a".to_vec())],
            Err(DemuxError::EngineError("gr\u{fc}n\n".to_owned())),
        );
        for at in 0..=bytes.len() {
            assert_eq!(
                demux(&[&bytes[..at], &bytes[at..]]),
                expected,
                "split at {at}"
            );
        }
        let empty = Err(DemuxError::EngineError(String::new()));
        assert_eq!(demux(&[&frame(3, b"")]).1, empty);
    }

    #[test]
    fn the_engine_s_own_error_is_raised_at_4_kib_however_long_it_claims_to_be() {
        let header = [3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        let text = [b'e'; ENGINE_ERROR_LEN];
        let short = [&header[..], &text[1..]].concat();
        let missing = u32::MAX - 4095;
        assert_eq!(
            demux(&[&short]).1,
            Err(DemuxError::CutInPayload { missing })
        );
        for more in [&b""[..], &b"and more"[..]] {
            let Err(DemuxError::EngineError(text)) = demux(&[&short, b"e", more]).1 else {
                panic!("no engine error");
            };
            assert_eq!(text, "e".repeat(ENGINE_ERROR_LEN));
        }
    }

    #[test]
    fn an_engine_error_that_is_not_text_stays_within_4_kib() {
        let Err(DemuxError::EngineError(text)) = demux(&[&frame(3, &[0xff; 5000])]).1 else {
            panic!("no engine error");
        };
        assert_eq!(text, "\u{fffd}".repeat(ENGINE_ERROR_LEN / 3));
    }

    #[test]
    fn errors_are_sentences() {
        let shown = [
            DemuxError::BadStream(9),
            DemuxError::BadPadding([0, 1, 2]),
            DemuxError::EngineError("log driver is gone\n".to_owned()),
            DemuxError::CutInHeader { got: 3 },
            DemuxError::CutInPayload { missing: 5 },
        ]
        .map(|error| error.to_string());
        assert_eq!(
            shown,
            [
                "the engine's output has a frame for stream 9, but only 0 to 3 exist (a container \
                 with a terminal sends no frames)",
                "the engine's output has a frame header with the bytes [0, 1, 2] where three zeros \
                 belong (a container with a terminal sends no frames)",
                "the engine reported an error in the output: log driver is gone",
                "the engine's output ended inside a frame header, after 3 of its 8 bytes",
                "the engine's output ended 5 bytes before the end of a frame",
            ]
        );
        assert_eq!(
            [Stream::Stdout, Stream::Stderr].map(Stream::as_str),
            ["stdout", "stderr"]
        );
    }
}
