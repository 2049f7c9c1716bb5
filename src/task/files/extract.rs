//! From an archive that an engine made of a task's files to files of ours. Nothing outside of the destination changes, whatever the
//! archive holds; no file has its final name before it is complete.
//!
//! Regular files and directories are written, anything else is passed over and reported: a link that is not made leads nowhere.

use std::collections::HashSet;
use std::io::{self, BufRead, Write};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::destination::Destination;
use super::glob::Glob;
use super::tar_reader::{Broken, Entry, EntryKind, TarReader};
use crate::error::shown;

/// Files and directories that are written, of all artifacts together.
const MAX_ENTRIES: u32 = 100_000;
/// Headers that are looked at, most of which may belong to files that nobody asked for.
const MAX_HEADERS: u32 = 1_000_000;
/// What a stream may hold in all. More could not be read in time.
const MAX_STREAM: u64 = 64 << 30;
/// All names in the receipt together.
const MAX_NAMES: usize = 8 << 20;
/// What was passed over is counted, and named so often.
const MAX_NAMED: usize = 100;
const MAX_PATH: usize = 4095;
const MAX_NAME: usize = 255;
const MAX_DEPTH: usize = 128;

/// A file that was brought out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Artifact {
    /// Its path inside.
    pub path: String,
    /// Its path here.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Of its content, in hex digits.
    pub sha256: String,
    /// Its permissions here, such as `0644`.
    pub mode: String,
}

/// Something that was asked for and not written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Skipped {
    /// Its name in the archive, control characters escaped.
    pub path: String,
    /// Why.
    pub why: String,
}

/// What has been brought out so far, and what still may be.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) artifacts: Vec<Artifact>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) skipped_count: u64,
    /// Something of ours was in the way.
    pub(super) in_the_way: Option<String>,
    bytes: u64,
    entries: u32,
    headers: u32,
    stream: u64,
    names: usize,
}

/// What is wanted of an archive.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The directory inside that the archive's root is in.
    pub(super) inside: String,
    /// The archive's root.
    pub(super) root: String,
    /// What of it.
    pub(super) glob: Glob,
    /// What the root is called below the destination.
    pub(super) to: Vec<String>,
}

/// Why extraction ended before the archive did.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) message: String,
    /// The stream ended, for which whoever reads it knows the reason.
    pub(super) cut: bool,
}

impl Collected {
    pub(super) fn up_to(bytes: u64) -> Self {
        Self {
            artifacts: Vec::new(),
            skipped: Vec::new(),
            skipped_count: 0,
            in_the_way: None,
            bytes,
            entries: MAX_ENTRIES,
            headers: MAX_HEADERS,
            stream: MAX_STREAM,
            names: MAX_NAMES,
        }
    }

    fn skip(&mut self, name: &[u8], why: impl Into<String>) {
        self.skipped_count += 1;
        if self.skipped.len() < MAX_NAMED {
            self.skipped.push(Skipped {
                path: shown(&String::from_utf8_lossy(name)),
                why: why.into(),
            });
        }
    }

    /// Counts an entry before any of it is read.
    fn look_at(&mut self, entry: &Entry) -> Result<(), Stopped> {
        self.headers = take(self.headers, 1)
            .ok_or_else(|| limit(format!("more than {MAX_HEADERS} entries")))?;
        self.stream = self
            .stream
            .checked_sub(entry.size)
            .ok_or_else(|| limit("more than could be read in time".into()))?;
        Ok(())
    }

    fn admit(&mut self, entry: &Entry, name: usize, limits: u64) -> Result<(), Stopped> {
        self.entries = take(self.entries, 1)
            .ok_or_else(|| limit(format!("more than {MAX_ENTRIES} files and directories")))?;
        self.names = self
            .names
            .checked_sub(name)
            .ok_or_else(|| limit("names that are too long together".into()))?;
        self.bytes = self.bytes.checked_sub(entry.size).ok_or_else(|| {
            limit(format!(
                "more than the limit, of which {limits} bytes were left for '{}' with {}",
                shown(&String::from_utf8_lossy(&entry.name)),
                entry.size
            ))
        })?;
        Ok(())
    }
}

fn take(count: u32, much: u32) -> Option<u32> {
    count.checked_sub(much)
}

fn limit(what: String) -> Stopped {
    Stopped {
        message: format!("there is {what}"),
        cut: false,
    }
}

impl From<Broken> for Stopped {
    fn from(broken: Broken) -> Self {
        let message = match &broken {
            Broken::Cut(None) => "the archive ended before its end".to_owned(),
            Broken::Cut(Some(error)) => format!("the archive could not be read: {error}"),
            Broken::Malformed(why) => {
                format!("the engine's archive is not as engines write them: {why}")
            }
        };
        Self {
            message,
            cut: matches!(broken, Broken::Cut(_)),
        }
    }
}

/// Writes what is `wanted` of an archive; whether there was any of it. What was written before an error stays and is in `collected`.
pub(super) fn extract(
    input: impl BufRead,
    wanted: &Wanted,
    destination: &mut Destination,
    collected: &mut Collected,
) -> Result<bool, Stopped> {
    let mut archive = TarReader::new(input);
    let mut seen = HashSet::new();
    let mut found = false;
    while let Some(entry) = archive.next()? {
        collected.look_at(&entry)?;
        let below = match parts_of(&entry, &wanted.root) {
            Ok(below) => below,
            Err(why) => {
                collected.skip(&entry.name, why);
                continue;
            }
        };
        if !wanted.glob.selects(&below) {
            continue;
        }
        if let EntryKind::Other(what) = entry.kind {
            collected.skip(&entry.name, what);
            continue;
        }
        let to: Vec<String> = wanted
            .to
            .iter()
            .cloned()
            .chain(below.iter().map(|part| (*part).to_owned()))
            .collect();
        let path = destination.path_of(&to).display().to_string();
        collected.admit(&entry, 2 * (path.len() + entry.name.len()), collected.bytes)?;
        let written = if entry.kind == EntryKind::Directory {
            destination.directory(&to, entry.mode).map(|()| None)
        } else if seen.insert(fingerprint(&to)) {
            write(&mut archive, &entry, &to, destination)?.map(Some)
        } else {
            collected.skip(
                &entry.name,
                "it is there twice, and the first one was taken",
            );
            continue;
        };
        match written {
            // A pattern asks for what is below.
            Ok(None) => found |= wanted.glob.rest.is_empty() || !below.is_empty(),
            Ok(Some((sha256, mode))) => {
                found = true;
                let name = String::from_utf8_lossy(&entry.name);
                collected.artifacts.push(Artifact {
                    path: format!("{}/{name}", wanted.inside),
                    file: path,
                    bytes: entry.size,
                    sha256,
                    mode: format!("{mode:04o}"),
                });
            }
            Err(error) if is_in_the_way(&error) => {
                let why = format!("what is there already is in the way: {error}");
                collected
                    .in_the_way
                    .get_or_insert_with(|| format!("{}: {why}", shown(&path)));
                collected.skip(&entry.name, why);
            }
            Err(error) => return Err(not_written(&path, &error)),
        }
    }
    Ok(found)
}

/// One file. The inner error is its destination's, before any of it was read or after all of it.
fn write(
    archive: &mut TarReader<impl BufRead>,
    entry: &Entry,
    to: &[String],
    destination: &mut Destination,
) -> Result<io::Result<(String, u32)>, Stopped> {
    let mut part = match destination.begin(to, entry.mode) {
        Ok(part) => part,
        Err(error) => return Ok(Err(error)),
    };
    let mut hash = Sha256::new();
    while let Some(bytes) = archive.fill()? {
        hash.update(bytes);
        let written = part.file.write_all(bytes);
        let count = bytes.len();
        if let Err(error) = written {
            let path = destination.path_of(to).display().to_string();
            return Err(not_written(&path, &error));
        }
        archive.consume(count);
    }
    let digits = hash
        .finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            use std::fmt::Write;
            let _ = write!(text, "{byte:02x}");
            text
        });
    Ok(part.finish().map(|mode| (digits, mode)))
}

fn not_written(path: &str, error: &io::Error) -> Stopped {
    Stopped {
        message: format!("'{}' could not be written: {error}", shown(path)),
        cut: false,
    }
}

/// A file where a directory should be, or the other way round, or a symbolic link.
fn is_in_the_way(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        matches!(
            errno,
            Errno::EXIST | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::NAMETOOLONG
        )
    }) || error.kind() == io::ErrorKind::IsADirectory
}

/// The parts of an entry's name behind the archive's root, or what is wrong with it.
fn parts_of<'a>(entry: &'a Entry, root: &str) -> Result<Vec<&'a str>, &'static str> {
    let name = std::str::from_utf8(&entry.name).map_err(|_| "its name is not UTF-8")?;
    let name = match entry.kind {
        EntryKind::Directory => name.strip_suffix('/').unwrap_or(name),
        _ => name,
    };
    if name.len() > MAX_PATH {
        return Err("its name is too long");
    }
    if name.chars().any(char::is_control) {
        return Err("its name has control characters");
    }
    if name.contains('\\') {
        return Err("its name has a backslash");
    }
    if name.starts_with('/') {
        return Err("its name is absolute");
    }
    let mut parts = name.split('/');
    let first = parts.next().unwrap_or_default();
    let below: Vec<&str> = parts.collect();
    if below.len() > MAX_DEPTH {
        return Err("it is too deep");
    }
    for part in std::iter::once(&first).chain(&below) {
        match *part {
            "" => return Err("its name has an empty part"),
            "." | ".." => return Err("its name has '.' or '..' in it"),
            part if part.len() > MAX_NAME => return Err("its name is too long"),
            _ => {}
        }
    }
    if first != root {
        return Err("it is not below what was asked for");
    }
    Ok(below)
}

/// Of a path, for what is kept of a hundred thousand of them.
fn fingerprint(parts: &[String]) -> [u8; 16] {
    let digest = Sha256::digest(parts.join("/").as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    short
}
