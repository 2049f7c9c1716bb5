//! Reads the tar stream that an engine makes of a task's files. What it holds is the task's, and a broken engine may send anything.
//!
//! A reader of our own, since this is where an attacker's bytes are understood: it takes the few forms that engines write (ustar, pax and
//! GNU long names), each bounded, never allocates by what a header claims, expands nothing sparse, and refuses the whole archive where
//! two readers could understand it in two ways. Whoever reads an entry gets slices of the stream as they came, without a copy.

use std::io::{self, BufRead};

const BLOCK: usize = 512;
/// The longest extension header: a name, and a few attributes.
const MAX_EXTENSION: u64 = 64 * 1024;

/// Why a stream is not read on.
#[derive(Debug)]
pub(super) enum Broken {
    /// It ended before its end, or reading failed.
    Cut(Option<io::Error>),
    /// It is no archive, or an ambiguous one.
    Malformed(&'static str),
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Directory,
    /// Never written; the text says what it is.
    Other(&'static str),
}

/// An entry's header.
#[derive(Debug)]
pub(super) struct Entry {
    /// As it stands there.
    pub(super) name: Vec<u8>,
    pub(super) kind: EntryKind,
    /// Permission bits and those beyond, as they stand there.
    pub(super) mode: u32,
    /// How many bytes follow.
    pub(super) size: u64,
}

/// The archive, entry by entry.
pub(super) struct TarReader<R> {
    input: R,
    /// Bytes of the current entry that were not read yet, and what fills its last block.
    left: u64,
    padding: u64,
}

/// What extension headers say of the entry behind them.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    pax: Option<Pax>,
    long_link: bool,
}

#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl<R: BufRead> TarReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry; what of the last one was not read is passed over. `None` at the proper end.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Broken> {
        self.pass_over(self.left + self.padding)?;
        (self.left, self.padding) = (0, 0);
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.block()? else {
                return if extensions.any() {
                    Err(Broken::Malformed("it ends behind an extension header"))
                } else {
                    Ok(None)
                };
            };
            check_sum(&header)?;
            let size = number(&header[124..136]).ok_or(Broken::Malformed("a size is no number"))?;
            match header[156] {
                b'x' => {
                    let pax = parse_pax(&self.extension(size)?)?;
                    set_once(&mut extensions.pax, pax)?;
                }
                b'L' => {
                    let mut name = self.extension(size)?;
                    while name.last() == Some(&0) {
                        name.pop();
                    }
                    set_once(&mut extensions.long_name, name)?;
                }
                b'K' => {
                    self.extension(size)?;
                    if std::mem::replace(&mut extensions.long_link, true) {
                        return Err(TWICE);
                    }
                }
                // Engines write none, and what it says would hold for every entry behind it.
                b'g' => return Err(Broken::Malformed("it has a global header")),
                _ => return self.entry(&header, size, extensions).map(Some),
            }
        }
    }

    /// Some of the current entry's bytes, as they came; `None` when all have been read. To be followed by [`TarReader::consume`].
    pub(super) fn fill(&mut self) -> Result<Option<&[u8]>, Broken> {
        if self.left == 0 {
            return Ok(None);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let bytes = fill(&mut self.input)?;
        Ok(Some(&bytes[..bytes.len().min(most)]))
    }

    /// These of the bytes that `fill` gave have been used.
    pub(super) fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.left -= count as u64;
    }

    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        size: u64,
        extensions: Extensions,
    ) -> Result<Entry, Broken> {
        let pax = extensions.pax.unwrap_or_default();
        let size = pax.size.unwrap_or(size);
        let kind = match header[156] {
            _ if pax.sparse => EntryKind::Other("a sparse file in an extended form"),
            // In the oldest form a directory is a file with a slash behind its name, which its name is refused for.
            b'0' | 0 | b'7' => EntryKind::File,
            b'5' => EntryKind::Directory,
            b'1' => EntryKind::Other("a hard link"),
            b'2' => EntryKind::Other("a symbolic link"),
            b'3' => EntryKind::Other("a character device"),
            b'4' => EntryKind::Other("a block device"),
            b'6' => EntryKind::Other("a named pipe"),
            b'S' => return Err(Broken::Malformed("it has a sparse file in the GNU form")),
            _ => EntryKind::Other("of an unknown kind"),
        };
        if matches!(header[156], b'1'..=b'6') && size != 0 {
            return Err(Broken::Malformed("an entry without content has a size"));
        }
        if size > i64::MAX as u64 {
            return Err(Broken::Malformed("a size is beyond any file"));
        }
        let name = match (pax.path, extensions.long_name) {
            (Some(path), _) => path,
            (None, Some(name)) => name,
            (None, None) => plain_name(header),
        };
        let mode = number(&header[100..108]).ok_or(Broken::Malformed("a mode is no number"))?;
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(Entry {
            name,
            kind,
            mode: u32::try_from(mode & 0o7777).unwrap_or_default(),
            size,
        })
    }

    /// The next header; `None` for the block of zeros that ends an archive.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Broken> {
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block).map_err(cut)?;
        Ok(block.iter().any(|byte| *byte != 0).then_some(block))
    }

    /// What an extension header holds.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Broken> {
        if size > MAX_EXTENSION {
            return Err(Broken::Malformed("an extension header is too long"));
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or_default()];
        self.input.read_exact(&mut content).map_err(cut)?;
        self.pass_over(size.next_multiple_of(BLOCK as u64) - size)?;
        Ok(content)
    }

    fn pass_over(&mut self, mut count: u64) -> Result<(), Broken> {
        while count > 0 {
            let most = usize::try_from(count).unwrap_or(usize::MAX);
            let there = fill(&mut self.input)?.len().min(most);
            self.input.consume(there);
            count -= there as u64;
        }
        Ok(())
    }
}

impl Extensions {
    fn any(&self) -> bool {
        self.long_name.is_some() || self.pax.is_some() || self.long_link
    }
}

const TWICE: Broken = Broken::Malformed("an entry has the same extension twice");

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<(), Broken> {
    slot.replace(value).map_or(Ok(()), |_| Err(TWICE))
}

fn cut(error: io::Error) -> Broken {
    Broken::Cut(Some(error).filter(|error| error.kind() != io::ErrorKind::UnexpectedEof))
}

/// Bytes that are there; never none.
fn fill(input: &mut impl BufRead) -> Result<&[u8], Broken> {
    // Twice, since what the first call borrows could not be given up again on its error path.
    loop {
        match input.fill_buf() {
            Ok([]) => return Err(Broken::Cut(None)),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cut(error)),
        }
    }
    input.fill_buf().map_err(cut)
}

fn check_sum(header: &[u8; BLOCK]) -> Result<(), Broken> {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    // Its own field counts as blanks.
    let sum = sum(&header[..148]) + 8 * u64::from(b' ') + sum(&header[156..]);
    if number(&header[148..156]) == Some(sum) {
        Ok(())
    } else {
        Err(Broken::Malformed("a header's sum is wrong"))
    }
}

/// A number in octal digits, or in GNU's binary form; nothing negative.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let first = u64::from(field[0] & 0x7f);
        return field[1..].iter().try_fold(first, |number, byte| {
            number
                .checked_mul(256)
                .map(|number| number | u64::from(*byte))
        });
    }
    let digits = field.trim_ascii_start();
    let end = digits
        .iter()
        .position(|byte| matches!(byte, 0 | b' '))
        .unwrap_or(digits.len());
    digits[..end].iter().try_fold(0_u64, |number, byte| {
        matches!(byte, b'0'..=b'7')
            .then(|| number.checked_mul(8))
            .flatten()
            .map(|number| number | u64::from(byte - b'0'))
    })
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

fn plain_name(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    // Only the POSIX form has a prefix there; GNU's has times.
    let prefix = if &header[257..263] == b"ustar\0" {
        until_nul(&header[345..500])
    } else {
        &[]
    };
    if prefix.is_empty() {
        name.to_vec()
    } else {
        [prefix, b"/", name].concat()
    }
}

/// Records of `LENGTH KEY=VALUE\n`, where the length counts all of it.
fn parse_pax(mut rest: &[u8]) -> Result<Pax, Broken> {
    const WRONG: Broken = Broken::Malformed("an extension header is not well-formed");
    let mut pax = Pax::default();
    while !rest.is_empty() {
        let blank = rest.iter().position(|byte| *byte == b' ').ok_or(WRONG)?;
        let length = decimal(&rest[..blank]).ok_or(WRONG)?;
        let length = usize::try_from(length).map_err(|_| WRONG)?;
        let record = rest.get(blank + 1..length).ok_or(WRONG)?;
        let record = record.strip_suffix(b"\n").ok_or(WRONG)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(WRONG)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => set_once(&mut pax.path, value.to_vec())?,
            b"size" => set_once(&mut pax.size, decimal(value).ok_or(WRONG)?)?,
            _ if key.starts_with(b"GNU.sparse") => pax.sparse = true,
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(pax)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u64::from(byte - b'0'))
    })
}
