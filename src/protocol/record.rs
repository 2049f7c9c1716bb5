//! What process 1 of a task tells its client. The task owns standard output and error, so a record stands in the midst of them: it begins with a nonce
//! that the task does not know, is written at once (it is shorter than `PIPE_BUF`), and the client takes it out wherever it stands.
//!
//! A record is text, so that no log driver changes it: the byte 0x1e, 24 hex digits of nonce, a letter, 16 hex digits.
//!
//! A task can do no harm by forging one: it says nothing that the task could not do by itself, such as ending with another code,
//! and the exit code is the engine's.

use sha2::{Digest, Sha256};

use super::demux::Stream;

/// Bytes of a [`Nonce`], its first one included.
pub const NONCE_LEN: usize = 25;
/// Bytes of a record.
pub const RECORD_LEN: usize = NONCE_LEN + 1 + 16;

/// No text has it, so that what looks like the beginning of a record, and is held back until it is known not to be one, is rare.
const FIRST: u8 = 0x1e;

/// What every record of one task begins with, and nothing else in its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; NONCE_LEN]);

impl Nonce {
    /// The nonce of an operation, whose UUID the task does not know.
    pub fn of(operation: &str) -> Self {
        let hash = Sha256::new()
            .chain_update("acode-rt record\0")
            .chain_update(operation)
            .finalize();
        let mut nonce = [FIRST; NONCE_LEN];
        write_hex(&mut nonce[1..], hash.iter().copied());
        Self(nonce)
    }

    /// As [`Nonce::as_bytes`] gave it.
    pub const fn from_bytes(bytes: [u8; NONCE_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves.
    pub const fn as_bytes(&self) -> &[u8; NONCE_LEN] {
        &self.0
    }
}

fn write_hex(out: &mut [u8], bytes: impl Iterator<Item = u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// The command is known, and about to be started.
    Started,
    /// So many more bytes of input were passed on to the task.
    Credit(u32),
    /// The task has closed its standard input: no more is wanted.
    InputClosed,
    /// Everything in the container is dead, and this is the last of standard error.
    End(End),
    /// So much the task has used, all its processes together; told just before the end.
    Used(Use, u64),
    /// This is the last of standard output.
    OutputEnd,
}

/// What is counted of a task's use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Millionths of a second of CPU time.
    CpuMicros,
    /// The most bytes of memory at a time.
    MemoryPeak,
    /// The most processes and threads at a time.
    PidsPeak,
    /// Bytes read from block devices.
    BlockRead,
    /// Bytes written to block devices.
    BlockWrite,
    /// Bytes received over the network.
    NetworkReceived,
    /// Bytes sent over the network.
    NetworkSent,
}

/// How a task's main process ended, as process 1 saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// How.
    pub how: How,
    /// Whether process 1 made it end.
    pub cause: Cause,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// With this exit code.
    Exited(u8),
    /// By this signal.
    Signaled(u8),
    /// It could not be started: the kernel's error number.
    Failed(i32),
    /// Something that it was to find could not be made, or is not as it was to be; it was not started.
    Unprepared(Unprepared),
}

/// What a task was to find and did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unprepared {
    /// The mount of this number, from 0, is missing, is another than was asked for, or is writable and was not to be.
    Mount(u16),
    /// The secret of this number, from 0, could not be written.
    Secret(u16),
}

/// What made a task end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The task itself, or something unknown to process 1.
    Itself,
    /// Its deadline.
    Deadline,
    /// The client's order to kill.
    Order,
    /// A signal that somebody outside sent through the engine, or the engine itself as it was shut down.
    Outside,
}

/// The exit code of process 1 when its client was gone before the task had ended. The task's own are always told.
pub const ABANDONED: u8 = 125;

impl Use {
    const ALL: [Self; 7] = [
        Self::CpuMicros,
        Self::MemoryPeak,
        Self::PidsPeak,
        Self::BlockRead,
        Self::BlockWrite,
        Self::NetworkReceived,
        Self::NetworkSent,
    ];

    fn letter(self) -> u8 {
        match self {
            Self::CpuMicros => b'u',
            Self::MemoryPeak => b'm',
            Self::PidsPeak => b'p',
            Self::BlockRead => b'r',
            Self::BlockWrite => b'w',
            Self::NetworkReceived => b'n',
            Self::NetworkSent => b't',
        }
    }
}

impl How {
    /// The exit code that process 1 ends with.
    pub fn exit_code(self) -> u8 {
        const ENOENT: i32 = 2;
        const ENOTDIR: i32 = 20;
        const EACCES: i32 = 13;
        const ENOEXEC: i32 = 8;
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128_u8.saturating_add(signal),
            Self::Failed(ENOENT | ENOTDIR) => 127,
            Self::Failed(EACCES | ENOEXEC) => 126,
            Self::Failed(_) | Self::Unprepared(_) => 125,
        }
    }
}

impl Record {
    /// As it is written.
    pub fn to_bytes(self, nonce: &Nonce) -> [u8; RECORD_LEN] {
        let pair = |a: u32, b: u32| u64::from(a) << 32 | u64::from(b);
        let (letter, value) = match self {
            Self::Credit(bytes) => (b'c', pair(bytes, 0)),
            Self::Started => (b'b', 0),
            Self::InputClosed => (b'i', 0),
            Self::OutputEnd => (b'o', 0),
            Self::Used(what, value) => (what.letter(), value),
            Self::End(End { how, cause }) => {
                let (letter, value) = match how {
                    How::Exited(code) => (b'e', u32::from(code)),
                    How::Signaled(signal) => (b's', u32::from(signal)),
                    How::Failed(errno) => (b'f', errno.cast_unsigned()),
                    How::Unprepared(Unprepared::Mount(number)) => (b'y', number.into()),
                    How::Unprepared(Unprepared::Secret(number)) => (b'x', number.into()),
                };
                let cause = match cause {
                    Cause::Itself => 0,
                    Cause::Deadline => 1,
                    Cause::Order => 2,
                    Cause::Outside => 3,
                };
                (letter, pair(value, cause))
            }
        };
        let mut bytes = [letter; RECORD_LEN];
        bytes[..NONCE_LEN].copy_from_slice(nonce.as_bytes());
        write_hex(&mut bytes[NONCE_LEN + 1..], value.to_be_bytes().into_iter());
        bytes
    }

    /// Reads what stands behind the nonce.
    fn parse(behind: &[u8]) -> Option<Self> {
        let (letter, digits) = behind.split_first()?;
        // A sign would be read too.
        let digits = std::str::from_utf8(digits).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let value = u64::from_str_radix(digits, 16).ok()?;
        let a = u32::try_from(value >> 32).ok()?;
        let b = u32::try_from(value & u64::from(u32::MAX)).ok()?;
        if let Some(what) = Use::ALL.into_iter().find(|what| what.letter() == *letter) {
            return Some(Self::Used(what, value));
        }
        let how = match letter {
            b'c' => return Some(Self::Credit(a)),
            b'b' => return Some(Self::Started),
            b'i' => return Some(Self::InputClosed),
            b'o' => return Some(Self::OutputEnd),
            b'e' => How::Exited(u8::try_from(a).ok()?),
            b's' => How::Signaled(u8::try_from(a).ok()?),
            b'f' => How::Failed(a.cast_signed()),
            b'y' => How::Unprepared(Unprepared::Mount(u16::try_from(a).ok()?)),
            b'x' => How::Unprepared(Unprepared::Secret(u16::try_from(a).ok()?)),
            _ => return None,
        };
        let cause = match b {
            0 => Cause::Itself,
            1 => Cause::Deadline,
            2 => Cause::Order,
            3 => Cause::Outside,
            _ => return None,
        };
        Some(Self::End(End { how, cause }))
    }
}

/// A [`Strip`] for each stream of a task.
#[derive(Debug)]
pub struct Strips {
    stdout: Strip,
    stderr: Strip,
}

impl Strips {
    /// For the task with this nonce.
    pub fn new(nonce: Nonce) -> Self {
        Self {
            stdout: Strip::new(nonce),
            stderr: Strip::new(nonce),
        }
    }

    /// As [`Strip::take`], of `stream`.
    pub fn take(&mut self, stream: Stream, data: &mut Vec<u8>, found: &mut Vec<Record>) {
        let strip = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        strip.take(data, found);
    }

    /// As [`Strip::finish`], of both.
    pub fn finish(&mut self) -> [(Stream, Vec<u8>); 2] {
        [
            (Stream::Stdout, self.stdout.finish()),
            (Stream::Stderr, self.stderr.finish()),
        ]
    }
}

/// Takes the records out of one stream, in pieces of any size. It holds back less than one record.
#[derive(Debug)]
pub struct Strip {
    nonce: Nonce,
    held: Vec<u8>,
}

impl Strip {
    /// For the stream of the task with this nonce.
    pub fn new(nonce: Nonce) -> Self {
        Self {
            nonce,
            held: Vec::new(),
        }
    }

    /// Leaves in `data` what the task wrote, and adds the records among it to `found`. What may be the beginning of a record comes with the
    /// next piece.
    pub fn take(&mut self, data: &mut Vec<u8>, found: &mut Vec<Record>) {
        // The ordinary case costs one look at every byte.
        if self.held.is_empty() && !data.contains(&FIRST) {
            return;
        }
        if !self.held.is_empty() {
            data.splice(..0, self.held.drain(..));
        }
        let (mut from, mut kept) = (0, 0);
        while let Some(distance) = data[from..].iter().position(|byte| *byte == FIRST) {
            let at = from + distance;
            data.copy_within(from..at, kept);
            kept += distance;
            match self.look(&data[at..]) {
                Look::Record(record) => {
                    found.push(record);
                    from = at + RECORD_LEN;
                }
                Look::NeedsMore => {
                    self.held.extend_from_slice(&data[at..]);
                    data.truncate(kept);
                    return;
                }
                Look::Output => {
                    data[kept] = FIRST;
                    kept += 1;
                    from = at + 1;
                }
            }
        }
        let rest = data.len() - from;
        data.copy_within(from.., kept);
        data.truncate(kept + rest);
    }

    /// At the stream's end: what was held back, which is the task's.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn look(&self, data: &[u8]) -> Look {
        let nonce = self.nonce.as_bytes();
        let shared = data.len().min(NONCE_LEN);
        if data[..shared] != nonce[..shared] {
            return Look::Output;
        }
        match data.get(NONCE_LEN..RECORD_LEN) {
            None => Look::NeedsMore,
            Some(behind) => Record::parse(behind).map_or(Look::Output, Look::Record),
        }
    }
}

enum Look {
    Record(Record),
    NeedsMore,
    Output,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: [Record; 15] = [
        Record::Used(Use::BlockWrite, 1),
        Record::Used(Use::NetworkSent, 2),
        Record::Used(Use::CpuMicros, 0),
        Record::Used(Use::MemoryPeak, u64::MAX),
        Record::Used(Use::PidsPeak, 7 << 32 | 5),
        Record::Started,
        Record::Credit(u32::MAX),
        Record::InputClosed,
        Record::OutputEnd,
        Record::End(End {
            how: How::Exited(0),
            cause: Cause::Itself,
        }),
        Record::End(End {
            how: How::Exited(255),
            cause: Cause::Deadline,
        }),
        Record::End(End {
            how: How::Signaled(9),
            cause: Cause::Order,
        }),
        Record::End(End {
            how: How::Failed(-1),
            cause: Cause::Outside,
        }),
        Record::End(End {
            how: How::Unprepared(Unprepared::Mount(u16::MAX)),
            cause: Cause::Itself,
        }),
        Record::End(End {
            how: How::Unprepared(Unprepared::Secret(0)),
            cause: Cause::Itself,
        }),
    ];

    fn strip(nonce: Nonce, pieces: &[&[u8]]) -> (Vec<u8>, Vec<Record>) {
        let (mut strip, mut output, mut found) = (Strip::new(nonce), Vec::new(), Vec::new());
        for piece in pieces {
            let mut data = piece.to_vec();
            strip.take(&mut data, &mut found);
            assert!(strip.held.len() < RECORD_LEN);
            output.extend(data);
        }
        output.extend(strip.finish());
        (output, found)
    }

    #[test]
    fn records_are_found_wherever_they_stand_and_however_they_are_split() {
        let nonce = Nonce::of("operation");
        let (mut stream, mut output) = (Vec::new(), Vec::new());
        for record in RECORDS {
            for part in [&b"text"[..], b"\x1e", &nonce.as_bytes()[..7]] {
                stream.extend(part);
                output.extend(part);
            }
            stream.extend(record.to_bytes(&nonce));
        }
        let expected = (output, RECORDS.to_vec());
        for split in 0..=stream.len() {
            assert_eq!(
                strip(nonce, &[&stream[..split], &stream[split..]]),
                expected,
                "{split}"
            );
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(strip(nonce, &single), expected);
    }

    #[test]
    fn output_that_only_looks_like_a_record_is_output() {
        let nonce = Nonce::of("operation");
        let other = Record::InputClosed.to_bytes(&Nonce::of("another"));
        let mut odd = Record::InputClosed.to_bytes(&nonce);
        odd[NONCE_LEN] = b'?';
        let mut big = RECORDS[9].to_bytes(&nonce);
        big[NONCE_LEN + 1] = b'f';
        for output in [
            &other[..],
            &odd,
            &big,
            &[FIRST; 500],
            &nonce.as_bytes()[..],
            b"",
        ] {
            assert_eq!(strip(nonce, &[output]), (output.to_vec(), vec![]));
        }
    }

    #[test]
    fn records_are_short_text() {
        let bytes = RECORDS[6].to_bytes(&Nonce::of("operation"));
        assert!(bytes.is_ascii() && !bytes.contains(&b'\n'));
        assert_eq!(bytes.len(), RECORD_LEN);
        assert_ne!(Nonce::of("a"), Nonce::of("b"));
    }

    #[test]
    fn fr_020a_18_a_start_that_failed_has_the_shells_codes() {
        for (errno, code) in [(2, 127), (20, 127), (13, 126), (8, 126), (7, 125)] {
            assert_eq!(How::Failed(errno).exit_code(), code);
        }
        assert_eq!(How::Signaled(15).exit_code(), 143);
    }
}
