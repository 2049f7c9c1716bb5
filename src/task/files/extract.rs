//! From an archive that an engine made of a task's files to files of ours. Nothing outside of the destination changes, whatever the
//! archive holds; no file has its final name before it is complete.
//!
//! Regular files and directories are written, anything else is passed over and reported: a link that is not made leads nowhere.

use std::collections::HashSet;
use std::io::{self, BufRead, Write};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::destination::Destination;
use super::tar_reader::{Broken, Entry, EntryKind, TarReader};
use crate::error::shown;
use crate::protocol::glob::Glob;
use crate::protocol::hex::hex;

/// Files and directories that are written, of all artifacts together.
const MAX_ENTRIES: u32 = 100_000;
/// Headers that are looked at, most of which may belong to files that nobody asked for.
const MAX_HEADERS: u32 = 1_000_000;
/// What a stream may hold in all. More could not be read in time.
const MAX_STREAM: u64 = 64 << 30;
/// All names in the receipt together.
const MAX_NAMES: usize = 32 << 20;
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
            .ok_or_else(|| limit(&format!("more than {MAX_HEADERS} entries")))?;
        self.stream = self
            .stream
            .checked_sub(entry.size)
            .ok_or_else(|| limit("more than could be read in time"))?;
        Ok(())
    }

    fn admit(&mut self, entry: &Entry, name: usize, limits: u64) -> Result<(), Stopped> {
        self.entries = take(self.entries, 1)
            .ok_or_else(|| limit(&format!("more than {MAX_ENTRIES} files and directories")))?;
        self.names = self
            .names
            .checked_sub(name)
            .ok_or_else(|| limit("more in names than a receipt can hold"))?;
        self.bytes = self.bytes.checked_sub(entry.size).ok_or_else(|| {
            limit(&format!(
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

fn limit(what: &str) -> Stopped {
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
        collected.admit(&entry, path.len() + entry.name.len(), collected.bytes)?;
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
    let digits = hex(&hash.finalize());
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::super::{ArtifactRequest, FilesReceipt, unpack};
    use super::*;
    use crate::task::generated_id;

    /// A directory with one for artifacts in it, and something beside that must not change.
    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            let dir =
                std::env::temp_dir().join(format!("acode-extract-{}", generated_id().unwrap()));
            fs::create_dir_all(dir.join("in")).unwrap();
            fs::write(dir.join("outside"), "untouched").unwrap();
            Self(dir)
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.join("in").join(path)
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.at(path)).unwrap()
        }

        /// Everything in the directory for artifacts, by its path.
        fn all(&self) -> Vec<String> {
            let mut found = Vec::new();
            let mut open = vec![self.at("")];
            while let Some(dir) = open.pop() {
                for entry in fs::read_dir(&dir).unwrap() {
                    let entry = entry.unwrap();
                    let path = entry.path();
                    found.push(
                        path.strip_prefix(self.at(""))
                            .unwrap()
                            .display()
                            .to_string(),
                    );
                    if entry.file_type().unwrap().is_dir() {
                        open.push(path);
                    }
                }
            }
            found.sort();
            found
        }

        fn unpack_up_to(&self, path: &str, archive: &[u8], limit: u64) -> FilesReceipt {
            let request = ArtifactRequest {
                path: path.into(),
                destination: Some(self.at("./")),
            };
            let receipt = unpack(archive, &request, limit).unwrap();
            assert_eq!(
                fs::read_to_string(self.0.join("outside")).unwrap(),
                "untouched"
            );
            assert_eq!(fs::read_dir(&self.0).unwrap().count(), 2);
            receipt
        }

        fn unpack(&self, path: &str, archive: &[u8]) -> FilesReceipt {
            self.unpack_up_to(path, archive, 1 << 20)
        }

        /// What came of an artifact `out`: what there is, what was passed over, and whether all went well.
        fn out(archive: &[u8]) -> (Vec<String>, Vec<String>, bool) {
            let place = Self::new();
            let receipt = place.unpack("out", archive);
            let skipped = receipt.skipped.iter().map(|skipped| skipped.why.clone());
            (place.all(), skipped.collect(), receipt.error.is_none())
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn header(name: &[u8], kind: u8, size: u64) -> [u8; 512] {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name);
        header[100..108].copy_from_slice(b"0000644\0");
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        summed(header)
    }

    fn summed(mut header: [u8; 512]) -> [u8; 512] {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    }

    fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut entry = header(name.as_bytes(), kind, content.len() as u64).to_vec();
        entry.extend_from_slice(content);
        entry.resize(entry.len().next_multiple_of(512), 0);
        entry
    }

    fn file(name: &str, content: &str) -> Vec<u8> {
        entry(name, b'0', content.as_bytes())
    }

    fn with_mode(name: &str, kind: u8, mode: [u8; 8]) -> Vec<u8> {
        let mut header = header(name.as_bytes(), kind, 0);
        header[100..108].copy_from_slice(&mode);
        summed(header).to_vec()
    }

    fn pax(records: &[(&str, &str)]) -> Vec<u8> {
        let mut content = String::new();
        for (key, value) in records {
            let bare = key.len() + value.len() + 3;
            let length = bare + (bare + 2).to_string().len();
            content.extend([&length.to_string(), " ", key, "=", value, "\n"]);
        }
        entry("PaxHeaders/x", b'x', content.as_bytes())
    }

    fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut archive = entries.concat();
        archive.resize(archive.len() + 1024, 0);
        archive
    }

    #[test]
    fn fr_020a_74_files_come_out_as_they_are_with_their_digests() {
        let place = Place::new();
        let long = format!("out/{}/{}", "d".repeat(90), "f".repeat(90));
        let receipt = place.unpack(
            "out",
            &archive(&[
                with_mode("out/", b'5', *b"0000755\0"),
                file("out/a", "abc"),
                with_mode("out/tool", b'0', *b"0006777\0"),
                with_mode("out/closed", b'0', *b"0000000\0"),
                with_mode("out/empty/", b'5', *b"0000000\0"),
                entry("x", b'L', format!("{long}\0").as_bytes()),
                file("x", "long"),
                pax(&[("path", "out/pax"), ("size", "4"), ("mtime", "1.5")]),
                file("x", "paxx"),
                file("elsewhere/x", ""),
            ]),
        );
        assert_eq!(place.read("out/a"), "abc");
        assert_eq!(place.read(&long), "long");
        assert_eq!(place.read("out/pax"), "paxx");
        let mode = |path: &str| fs::metadata(place.at(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("out/tool") & 0o7700, 0o700, "no set-uid, no set-gid");
        assert_eq!(mode("out/closed"), 0o600);
        assert_eq!(mode("out/empty"), 0o700);
        assert_eq!(receipt.missing, Vec::<String>::new());
        assert_eq!(receipt.skipped_count, 1, "{:?}", receipt.skipped);
        let first = &receipt.artifacts[0];
        assert_eq!(
            (first.path.as_str(), first.bytes),
            ("/workspace/src/out/a", 3)
        );
        assert_eq!(first.file, place.at("out/a").display().to_string());
        assert_eq!(
            first.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(receipt.artifacts.len(), 5);
    }

    #[test]
    fn names_that_lead_elsewhere_are_passed_over() {
        for name in [
            "../evil",
            "/evil",
            "out/../../evil",
            "out/./x",
            "out//x",
            "out/..",
            "..",
            "out/",
            "./out/x",
            "out/x/",
            "outer/x",
            "out/a\nb",
            "out/\x1b[2J",
            "out/a\\b",
            "",
        ] {
            let (all, skipped, fine) =
                Place::out(&archive(&[file(name, "evil"), file("out/good", "")]));
            assert_eq!(all, ["out", "out/good"], "{name:?}");
            assert_eq!((skipped.len(), fine), (1, true), "{name:?} {skipped:?}");
        }
        let mut latin = entry("out/x", b'0', b"");
        latin[4] = 0xe9;
        let fixed = summed(latin[..512].try_into().unwrap());
        latin[..512].copy_from_slice(&fixed);
        assert_eq!(Place::out(&archive(&[latin])).1, ["its name is not UTF-8"]);
        let long = format!("out/{}", "x".repeat(300));
        let deep = format!("out/{}", "d/".repeat(200));
        for (name, why) in [
            (long, "its name is too long"),
            (deep + "x", "it is too deep"),
        ] {
            let path = pax(&[("path", &name)]);
            assert_eq!(Place::out(&archive(&[path, file("x", "")])).1, [why]);
        }
    }

    #[test]
    fn links_devices_and_pipes_are_passed_over_and_reported() {
        for (kind, what) in [
            (b'1', "a hard link"),
            (b'2', "a symbolic link"),
            (b'3', "a character device"),
            (b'4', "a block device"),
            (b'6', "a named pipe"),
            (b'Q', "of an unknown kind"),
        ] {
            let mut link = entry("out/x", kind, b"");
            link[157..168].copy_from_slice(b"/etc/passwd");
            let fixed = summed(link[..512].try_into().unwrap());
            link[..512].copy_from_slice(&fixed);
            let (all, skipped, fine) = Place::out(&archive(&[link, file("out/x/y", "z")]));
            assert_eq!(
                all,
                ["out", "out/x", "out/x/y"],
                "a directory of ours is not a link of theirs"
            );
            assert_eq!((skipped, fine), (vec![what.to_owned()], true));
        }
    }

    #[test]
    fn links_that_are_there_already_are_not_followed() {
        let place = Place::new();
        symlink("..", place.at("out")).unwrap();
        let receipt = place.unpack("out", &archive(&[file("out/outside", "evil")]));
        assert!(receipt.error.unwrap().contains("in the way"));
        fs::remove_file(place.at("out")).unwrap();
        fs::create_dir(place.at("out")).unwrap();
        symlink("../../outside", place.at("out/link")).unwrap();
        fs::create_dir(place.at("out/directory")).unwrap();
        fs::write(place.at("out/file"), "old").unwrap();
        let receipt = place.unpack(
            "out",
            &archive(&[
                file("out/link", "evil"),
                file("out/directory", "x"),
                file("out/file", "new"),
                file("out/file/below", "x"),
            ]),
        );
        assert_eq!(place.read("out/file"), "new", "a regular file is replaced");
        assert_eq!((receipt.artifacts.len(), receipt.skipped_count), (1, 3));
        assert!(receipt.is_incomplete());
        assert_eq!(
            place.all(),
            ["out", "out/directory", "out/file", "out/link"]
        );
    }

    #[test]
    fn without_openat2_nothing_changes_outside_either() {
        let place = Place::new();
        symlink("..", place.at("link")).unwrap();
        let mut destination = Destination::open(&place.at("")).unwrap().without_openat2();
        let parts = |path: &str| -> Vec<String> { path.split('/').map(str::to_owned).collect() };
        assert!(destination.directory(&parts("link/x"), 0o755).is_err());
        assert!(destination.begin(&parts("link/outside"), 0o644).is_err());
        destination.directory(&parts("a/b"), 0o755).unwrap();
        destination
            .begin(&parts("a/b/c"), 0o644)
            .unwrap()
            .finish()
            .unwrap();
        drop(destination.begin(&parts("a/b/d"), 0o644).unwrap());
        assert_eq!(place.all(), ["a", "a/b", "a/b/c", "link"]);
    }

    #[test]
    fn of_two_entries_with_one_name_the_first_is_taken() {
        let place = Place::new();
        let receipt = place.unpack(
            "out",
            &archive(&[file("out/a", "first"), file("out/a", "second")]),
        );
        assert_eq!(place.read("out/a"), "first");
        assert_eq!((receipt.artifacts.len(), receipt.skipped_count), (1, 1));
    }

    #[test]
    fn a_limit_ends_it_and_leaves_only_whole_files() {
        let place = Place::new();
        let entries = archive(&[
            file("out/a", "12345"),
            file("out/b", "123456"),
            file("out/c", "1"),
        ]);
        let receipt = place.unpack_up_to("out", &entries, 10);
        assert!(receipt.error.unwrap().contains("limit"));
        assert_eq!(receipt.missing, ["out"]);
        assert_eq!(place.all(), ["out", "out/a"]);

        for size in [1 << 33, u64::MAX >> 1, 1 << 50] {
            let mut huge = header(b"out/huge", b'0', 0);
            huge[124..136].fill(0);
            huge[124] = 0x80;
            huge[128..136].copy_from_slice(&u64::to_be_bytes(size));
            for (wanted, path) in [(true, "out"), (size > MAX_STREAM, "other")] {
                let place = Place::new();
                let receipt = place.unpack(path, &archive(&[summed(huge).to_vec()]));
                let mut error = receipt.error.unwrap();
                assert_eq!(
                    error.contains("there is more"),
                    wanted,
                    "{path} {size} {error}"
                );
                error.clear();
                assert!(place.all().is_empty());
            }
        }
    }

    #[test]
    fn more_files_than_anybody_wants_are_a_limit() {
        let place = Place::new();
        let many: Vec<u8> = (0..=MAX_ENTRIES / 100)
            .flat_map(|n| with_mode(&format!("out/{n}/"), b'5', *b"0000755\0"))
            .collect();
        let mut collected = Collected::up_to(0);
        collected.entries /= 100;
        let mut one = ArtifactRequest {
            path: "out".into(),
            destination: Some(place.at("./")),
        }
        .open()
        .unwrap();
        let stopped =
            extract(&*many, &one.wanted, &mut one.destination, &mut collected).unwrap_err();
        assert!(
            stopped.message.contains("files and directories"),
            "{}",
            stopped.message
        );

        let skipped: Vec<u8> = (0..1000)
            .flat_map(|n| with_mode(&format!("out/{n}"), b'6', *b"0000755\0"))
            .collect();
        let receipt = place.unpack("out", &archive(&[skipped]));
        assert_eq!(
            (receipt.skipped.len(), receipt.skipped_count),
            (MAX_NAMED, 1000)
        );
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let good = || file("out/a", "");
        let mut bad_sum = good();
        bad_sum[0] = b'O';
        let mut negative = header(b"out/a", b'0', 0);
        negative[124..136].fill(0xff);
        let mut words = header(b"out/a", b'0', 0);
        words[124..135].copy_from_slice(b"00000000z00");
        for (what, entries) in [
            ("a sum", vec![bad_sum]),
            ("a negative size", vec![summed(negative).to_vec()]),
            ("a size that is none", vec![summed(words).to_vec()]),
            (
                "a global header",
                vec![entry("g", b'g', b"13 path=out/x\n"), good()],
            ),
            (
                "pax twice",
                vec![pax(&[("path", "out/x")]), pax(&[("path", "out/y")]), good()],
            ),
            (
                "a key twice",
                vec![pax(&[("path", "out/x"), ("path", "out/y")]), good()],
            ),
            (
                "a pax size that is none",
                vec![pax(&[("size", "-1")]), good()],
            ),
            (
                "a huge pax size",
                vec![pax(&[("size", "9999999999999999999")]), good()],
            ),
            (
                "a pax size beyond",
                vec![pax(&[("size", "99999999999999999999")]), good()],
            ),
            (
                "a wrong record",
                vec![entry("x", b'x', b"999 path=out/x\n"), good()],
            ),
            (
                "a record without end",
                vec![entry("x", b'x', b"13 path=out/xy"), good()],
            ),
            (
                "a short record",
                vec![entry("x", b'x', b"0 path=out/x\n"), good()],
            ),
            (
                "two long names",
                vec![
                    entry("x", b'L', b"out/x"),
                    entry("x", b'L', b"out/y"),
                    good(),
                ],
            ),
            ("a long name of nothing", vec![entry("x", b'L', b"out/x")]),
            ("a huge name", vec![header(b"x", b'L', 1 << 30).to_vec()]),
            (
                "a link with content",
                vec![entry("out/l", b'2', b"content"), good()],
            ),
            (
                "a directory with content",
                vec![entry("out/d", b'5', &good())],
            ),
            ("GNU sparse", vec![header(b"out/s", b'S', 1 << 20).to_vec()]),
        ] {
            let (all, skipped, fine) = Place::out(&archive(&entries));
            assert!(!fine, "{what}");
            assert_eq!(
                (all.len(), skipped.len()),
                (0, 0),
                "{what}: {all:?} {skipped:?}"
            );
        }
        let sparse = pax(&[
            ("GNU.sparse.realsize", "1125899906842624"),
            ("path", "out/s"),
        ]);
        let (all, skipped, fine) = Place::out(&archive(&[sparse, file("x", "1\n0\n"), good()]));
        assert_eq!((all.len(), fine), (2, true));
        assert_eq!(skipped, ["a sparse file in an extended form"]);
    }

    #[test]
    fn an_archive_that_is_cut_anywhere_leaves_whole_files_only() {
        let whole = archive(&[
            file("out/a", &"a".repeat(700)),
            pax(&[("path", "out/b")]),
            file("x", "bb"),
        ]);
        for cut in (0..whole.len() - 1023).step_by(37) {
            let place = Place::new();
            let receipt = place.unpack("out", &whole[..cut]);
            assert!(receipt.error.is_some(), "{cut}");
            for file in receipt.artifacts {
                let expected = if file.path.ends_with('a') { 700 } else { 2 };
                assert_eq!(fs::metadata(&file.file).unwrap().len(), expected);
            }
            let all = place.all();
            let names = ["out", "out/a", "out/b"];
            assert!(
                all.iter().all(|name| names.contains(&name.as_str())),
                "{cut} {all:?}"
            );
        }
    }

    #[test]
    fn patterns_and_destinations() {
        let archive = archive(&[
            with_mode("src/", b'5', *b"0000755\0"),
            file("src/a.txt", ""),
            file("src/b.bin", ""),
            file("src/sub/c.txt", ""),
        ]);
        for (pattern, expected) in [
            ("*.txt", vec!["a.txt"]),
            ("**/*.txt", vec!["a.txt", "sub", "sub/c.txt"]),
            ("sub*", vec!["sub", "sub/c.txt"]),
            (".", vec!["a.txt", "b.bin", "sub", "sub/c.txt"]),
        ] {
            let place = Place::new();
            let receipt = place.unpack(pattern, &archive);
            assert_eq!(
                (place.all(), receipt.missing.len()),
                (expected.iter().map(|s| (*s).to_owned()).collect(), 0),
                "{pattern}"
            );
        }
        let place = Place::new();
        assert_eq!(place.unpack("*.none", &archive).missing, ["*.none"]);
        let request = ArtifactRequest {
            path: "sub/c.txt".into(),
            destination: Some(place.at("new/name")),
        };
        let one = [file("c.txt", "c"), vec![0; 1024]].concat();
        assert!(!unpack(&*one, &request, 10).unwrap().is_incomplete());
        assert_eq!(place.all(), ["new", "new/name"]);
    }
}
