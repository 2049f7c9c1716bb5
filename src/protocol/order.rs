//! What a client tells process 1 of a task, over the container's standard input: its command, its input, signals.
//!
//! Every order is its letter, the length of its payload as a big-endian `u32`, and the payload. The first is always
//! [`Order::Hello`], and [`Order::Start`] follows the command. A client sends at most [`WINDOW`] bytes of input beyond what process 1
//! has said that it passed on, so that process 1 can always read on: an unread pipe would hide its client's death.

use std::fmt;

use super::record::{NONCE_LEN, Nonce};

/// Bytes of the task's input that may be on their way without having been passed on.
pub const WINDOW: usize = 1 << 20;

/// The longest payload: one argument or variable, which the kernel limits to 128 KiB.
pub const MAX_PAYLOAD: usize = 128 * 1024;

/// The directory of secrets inside, a tmpfs.
pub const SECRETS: &str = "/run/secrets";

/// The version of orders and records; both sides are the same program, unless somebody replaced one of them.
const VERSION: u8 = 2;

const HEADER_LEN: usize = 5;

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// How the task is to be run.
    Hello(Hello),
    /// The command, then each of its arguments.
    Argument(Vec<u8>),
    /// One `KEY=VALUE` of the environment, beside and before what the container has.
    Variable(Vec<u8>),
    /// What has to stand at a path inside before anything is started.
    Mount(MountCheck),
    /// A file of [`SECRETS`], which the task alone can read.
    Secret(Secret),
    /// The command is complete: start it.
    Start,
    /// Bytes for the task's standard input.
    Input(Vec<u8>),
    /// The task's standard input ends here.
    InputEnd,
    /// Send this signal to the task's main process.
    Signal(u8),
    /// Kill everything in the container.
    Kill,
    /// The terminal has this size now.
    Resize(TerminalSize),
    /// All records and all output have arrived: process 1 may exit.
    Done,
}

/// How a task is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// What every record begins with.
    pub nonce: Nonce,
    /// The task has a standard input; otherwise that is `/dev/null`.
    pub interactive: bool,
    /// The task has a terminal of this size.
    pub terminal: Option<TerminalSize>,
    /// Milliseconds after which everything is killed.
    pub deadline_ms: Option<u64>,
}

/// A mount as it has to be seen from inside. That proves that the engine shares our file system, and that it mounted what was looked at and not
/// what somebody put in its place afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountCheck {
    /// Device number of the mount's root.
    pub device: u64,
    /// Inode number of the mount's root.
    pub inode: u64,
    /// It must not be writable.
    pub read_only: bool,
    /// Path inside.
    pub target: Vec<u8>,
}

/// A secret in a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name below [`SECRETS`].
    pub name: Vec<u8>,
    /// What it is.
    pub value: Vec<u8>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.name.escape_ascii())
    }
}

/// A terminal's size, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// Why orders cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderError {
    /// No order has this letter.
    BadLetter(u8),
    /// The payload is longer than [`MAX_PAYLOAD`], or not as long as the order's is.
    BadLength(u32),
    /// The other side speaks another version.
    BadVersion(u8),
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLetter(letter) => write!(f, "there is no order {:?}", char::from(*letter)),
            Self::BadLength(length) => write!(f, "no order of this kind has {length} bytes"),
            Self::BadVersion(version) => {
                write!(f, "the client speaks version {version}, not {VERSION}")
            }
        }
    }
}

impl std::error::Error for OrderError {}

impl Order {
    /// Appends the order as it is sent. A payload that is too long is cut into several orders where it is input; an argument
    /// that is too long was refused before.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => {
                let mut payload = vec![VERSION];
                payload.extend(hello.nonce.as_bytes());
                payload.push(u8::from(hello.interactive));
                let size = hello.terminal.unwrap_or(TerminalSize {
                    rows: 0,
                    columns: 0,
                });
                payload.push(u8::from(hello.terminal.is_some()));
                payload.extend(size.to_bytes());
                payload.extend(hello.deadline_ms.unwrap_or(u64::MAX).to_be_bytes());
                frame(out, b'h', &payload);
            }
            Self::Argument(argument) => frame(out, b'a', argument),
            Self::Variable(variable) => frame(out, b'v', variable),
            Self::Mount(mount) => frame(out, b'm', &mount.to_bytes()),
            Self::Secret(secret) => {
                let mut payload = vec![u8::try_from(secret.name.len()).unwrap_or(u8::MAX)];
                payload.extend(&secret.name);
                payload.extend(&secret.value);
                frame(out, b'x', &payload);
            }
            Self::Start => frame(out, b's', &[]),
            Self::Input(data) => Self::write_input(data, out),
            Self::InputEnd => frame(out, b'e', &[]),
            Self::Signal(signal) => frame(out, b'g', &[*signal]),
            Self::Kill => frame(out, b'k', &[]),
            Self::Resize(size) => frame(out, b'r', &size.to_bytes()),
            Self::Done => frame(out, b'd', &[]),
        }
    }

    /// As [`Order::write`] of an [`Order::Input`], without the copy.
    pub fn write_input(data: &[u8], out: &mut Vec<u8>) {
        for part in data.chunks(MAX_PAYLOAD) {
            frame(out, b'i', part);
        }
    }

    fn read(letter: u8, payload: &[u8]) -> Result<Self, OrderError> {
        let length = OrderError::BadLength(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        let order = match letter {
            b'h' => return Hello::read(payload).map(Self::Hello),
            b'a' => Self::Argument(payload.to_vec()),
            b'v' => Self::Variable(payload.to_vec()),
            b'm' => Self::Mount(MountCheck::from_bytes(payload).ok_or(length)?),
            b'x' => {
                let (name_len, rest) = payload.split_first().ok_or(length)?;
                let (name, value) = rest
                    .split_at_checked(usize::from(*name_len))
                    .ok_or(length)?;
                Self::Secret(Secret {
                    name: name.to_vec(),
                    value: value.to_vec(),
                })
            }
            b'i' => Self::Input(payload.to_vec()),
            b's' if payload.is_empty() => Self::Start,
            b'e' if payload.is_empty() => Self::InputEnd,
            b'k' if payload.is_empty() => Self::Kill,
            b'd' if payload.is_empty() => Self::Done,
            b'g' => Self::Signal(
                *<&[u8; 1]>::try_from(payload)
                    .map_err(|_| length)?
                    .first()
                    .ok_or(length)?,
            ),
            b'r' => Self::Resize(TerminalSize::from_bytes(payload).ok_or(length)?),
            b's' | b'e' | b'k' | b'd' => return Err(length),
            _ => return Err(OrderError::BadLetter(letter)),
        };
        Ok(order)
    }
}

fn frame(out: &mut Vec<u8>, letter: u8, payload: &[u8]) {
    out.push(letter);
    out.extend(
        u32::try_from(payload.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    out.extend_from_slice(payload);
}

impl Hello {
    fn read(payload: &[u8]) -> Result<Self, OrderError> {
        let bad = OrderError::BadLength(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        let (version, rest) = payload.split_first().ok_or(bad)?;
        if *version != VERSION {
            return Err(OrderError::BadVersion(*version));
        }
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(bad)?;
        let (flags, rest) = rest.split_first_chunk::<2>().ok_or(bad)?;
        let (size, rest) = rest.split_at_checked(4).ok_or(bad)?;
        let deadline = u64::from_be_bytes(rest.try_into().map_err(|_| bad)?);
        Ok(Self {
            nonce: Nonce::from_bytes(*nonce),
            interactive: flags[0] != 0,
            terminal: TerminalSize::from_bytes(size).filter(|_| flags[1] != 0),
            deadline_ms: (deadline != u64::MAX).then_some(deadline),
        })
    }
}

impl MountCheck {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.device.to_be_bytes().to_vec();
        bytes.extend(self.inode.to_be_bytes());
        bytes.push(u8::from(self.read_only));
        bytes.extend(&self.target);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (device, rest) = bytes.split_first_chunk()?;
        let (inode, rest) = rest.split_first_chunk()?;
        let (read_only, target) = rest.split_first()?;
        Some(Self {
            device: u64::from_be_bytes(*device),
            inode: u64::from_be_bytes(*inode),
            read_only: *read_only != 0,
            target: target.to_vec(),
        })
    }
}

impl TerminalSize {
    fn to_bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.rows.to_be_bytes(), self.columns.to_be_bytes());
        [a, b, c, d]
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d] = *<&[u8; 4]>::try_from(bytes).ok()?;
        Some(Self {
            rows: u16::from_be_bytes([a, b]),
            columns: u16::from_be_bytes([c, d]),
        })
    }
}

/// Reads orders, in pieces of any size. It holds at most one order.
#[derive(Debug, Default)]
pub struct Orders {
    held: Vec<u8>,
    failed: Option<OrderError>,
}

impl Orders {
    /// Takes bytes from the front of `input`, up to the end of the first order in it. `(input.len(), None)` means that all was taken
    /// and more is needed; after an order, call again with the rest.
    ///
    /// # Errors
    /// What no client sends. Every later call returns it again.
    pub fn decode(&mut self, input: &[u8]) -> Result<(usize, Option<Order>), OrderError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.next(input)
            .inspect_err(|error| self.failed = Some(*error))
    }

    fn next(&mut self, input: &[u8]) -> Result<(usize, Option<Order>), OrderError> {
        let mut taken = self.hold(input, HEADER_LEN);
        let Some((header, _)) = self.held.split_first_chunk::<HEADER_LEN>() else {
            return Ok((taken, None));
        };
        let [letter, length @ ..] = *header;
        let length = u32::from_be_bytes(length);
        let whole = HEADER_LEN + length as usize;
        if length as usize > MAX_PAYLOAD {
            return Err(OrderError::BadLength(length));
        }
        taken += self.hold(&input[taken..], whole);
        if self.held.len() < whole {
            return Ok((taken, None));
        }
        let order = Order::read(letter, &self.held[HEADER_LEN..])?;
        self.held.clear();
        Ok((taken, Some(order)))
    }

    /// Takes in as much as is missing to `length` bytes.
    fn hold(&mut self, input: &[u8], length: usize) -> usize {
        let count = length.saturating_sub(self.held.len()).min(input.len());
        self.held.extend_from_slice(&input[..count]);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Order> {
        vec![
            Order::Hello(Hello {
                nonce: Nonce::of("operation"),
                interactive: true,
                terminal: Some(TerminalSize {
                    rows: 24,
                    columns: 80,
                }),
                deadline_ms: Some(1500),
            }),
            Order::Hello(Hello {
                nonce: Nonce::of("other"),
                interactive: false,
                terminal: None,
                deadline_ms: None,
            }),
            Order::Argument(b"sh".to_vec()),
            Order::Argument(Vec::new()),
            Order::Variable(b"A=b".to_vec()),
            Order::Mount(MountCheck {
                device: u64::MAX,
                inode: 7,
                read_only: true,
                target: b"/workspace".to_vec(),
            }),
            Order::Secret(Secret {
                name: b"token".to_vec(),
                value: b"\0\xff".to_vec(),
            }),
            Order::Start,
            Order::Input(vec![0; 300]),
            Order::InputEnd,
            Order::Signal(15),
            Order::Kill,
            Order::Resize(TerminalSize {
                rows: 1,
                columns: 2,
            }),
            Order::Done,
        ]
    }

    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        for order in all() {
            order.write(&mut bytes);
        }
        bytes
    }

    fn decode(pieces: &[&[u8]]) -> Result<Vec<Order>, OrderError> {
        let (mut orders, mut found) = (Orders::default(), Vec::new());
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                let (taken, order) = orders.decode(piece)?;
                piece = &piece[taken..];
                found.extend(order);
            }
        }
        Ok(found)
    }

    #[test]
    fn orders_read_back_however_they_are_split() {
        let bytes = written();
        for split in 0..=bytes.len() {
            assert_eq!(decode(&[&bytes[..split], &bytes[split..]]).unwrap(), all());
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single).unwrap(), all());
    }

    #[test]
    fn long_input_is_sent_in_orders_that_can_be_read() {
        let mut bytes = Vec::new();
        Order::Input(vec![7; MAX_PAYLOAD * 2 + 1]).write(&mut bytes);
        let lengths: Vec<usize> = decode(&[&bytes])
            .unwrap()
            .iter()
            .map(|order| match order {
                Order::Input(data) => data.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lengths, [MAX_PAYLOAD, MAX_PAYLOAD, 1]);
    }

    #[test]
    fn what_no_client_sends_is_an_error_that_stays() {
        for wrong in [
            &b"x\0\0\0\0"[..],
            b"i\xff\xff\xff\xff",
            b"s\0\0\0\x01x",
            b"g\0\0\0\0",
            b"g\0\0\0\x02ab",
            b"r\0\0\0\x03abc",
            b"m\0\0\0\x03abc",
            b"x\0\0\0\0",
            b"x\0\0\0\x02\x02a",
            b"h\0\0\0\x01\x01",
            b"h\0\0\0\x01\x09",
        ] {
            let mut orders = Orders::default();
            let error = orders.decode(wrong).unwrap_err();
            assert_eq!(orders.decode(b"s\0\0\0\0"), Err(error), "{wrong:?}");
        }
        assert_eq!(
            decode(&[b"h\0\0\0\x01\x09"]),
            Err(OrderError::BadVersion(9))
        );
    }

    #[test]
    fn a_header_allocates_nothing_by_its_claim() {
        let mut orders = Orders::default();
        orders.decode(b"i\0\x02\0\0").unwrap();
        assert!(orders.held.capacity() < 64);
    }
}
