//! Files of ours as a tar stream, as they are read: uncompressed, owned by the task, with flat memory.
//!
//! What is packed is what the caller can read. A source that is named may be a link; below it no link is followed: links are packed as
//! links. Every file is opened without following and looked at through its descriptor, so that nothing can be swapped in between.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, readlinkat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use crate::error::shown;
use crate::task::user::User;

/// What goes in, all sources together.
const MAX_BYTES: u64 = 4 << 30;
const MAX_ENTRIES: u32 = 200_000;
/// A descriptor is open for each directory on the way.
const MAX_DEPTH: usize = 128;
/// What is left out is counted, and named so often.
const MAX_NAMED: usize = 20;
/// Read from a file at once.
const READ: u64 = 256 * 1024;

/// A source, and where it goes.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) from: PathBuf,
    /// Below the volume's root.
    pub(super) to: Vec<String>,
    /// A directory's content only.
    pub(super) content: bool,
}

/// What was packed.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) entries: u32,
    pub(super) bytes: u64,
    pub(super) left_out: Vec<String>,
    pub(super) left_out_count: u64,
}

/// Writes `first`, a directory of the task's, and then all `sources`.
pub(super) fn pack(
    out: impl Write,
    first: &str,
    sources: &[Source],
    owner: User,
    now: u64,
) -> io::Result<Packed> {
    let mut packing = Packing {
        tar: Builder::new(out),
        packed: Packed::default(),
        owner,
        now,
        made: Vec::new(),
    };
    packing.own_directory(Path::new(first), 0o700)?;
    for source in sources {
        packing.source(source).map_err(|error| {
            let kind = error.kind();
            let path = shown(&source.from.display().to_string());
            io::Error::new(kind, format!("'{path}' could not be copied in: {error}"))
        })?;
    }
    packing.tar.finish()?;
    packing.tar.get_mut().flush()?;
    Ok(packing.packed)
}

struct Packing<W: Write> {
    tar: Builder<W>,
    packed: Packed,
    owner: User,
    now: u64,
    /// Directories that were made on the way to a source.
    made: Vec<PathBuf>,
}

impl<W: Write> Packing<W> {
    fn source(&mut self, source: &Source) -> io::Result<()> {
        let to: PathBuf = source.to.iter().collect();
        let above = if source.content {
            Some(to.as_path())
        } else {
            to.parent()
        };
        let mut above: Vec<&Path> = above.into_iter().flat_map(Path::ancestors).collect();
        above.reverse();
        for directory in above {
            if !directory.as_os_str().is_empty() && !self.made.iter().any(|made| made == directory)
            {
                self.own_directory(directory, 0o755)?;
            }
        }
        // Not blocking: it may be a pipe.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let opened = open(&source.from, flags, Mode::empty())?;
        let stat = fstat(&opened)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if source.content => self.content(&opened, &to, 0),
            FileType::Directory => self.directory(&opened, &stat, &to, 0),
            _ if source.content => Err(Errno::NOTDIR.into()),
            FileType::RegularFile => self.file(opened, &stat, &to),
            _ => Err(io::Error::other("it is no file and no directory")),
        }
    }

    fn entry(&mut self, from: &OwnedFd, name: &OsStr, to: &Path, depth: usize) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // A path first: opening a device may do something.
        let path = openat(
            from,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let stat = fstat(&path)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::RegularFile | FileType::Directory => {
                let opened = openat(from, name, flags, Mode::empty())?;
                let stat = fstat(&opened)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile => self.file(opened, &stat, to),
                    FileType::Directory => self.directory(&opened, &stat, to, depth),
                    _ => Err(io::Error::other("it was replaced while it was read")),
                }
            }
            FileType::Symlink => self.link(path.as_fd(), &stat, to),
            _ => {
                self.packed.left_out_count += 1;
                if self.packed.left_out.len() < MAX_NAMED {
                    let path = shown(&to.display().to_string());
                    self.packed
                        .left_out
                        .push(format!("{path} ({})", name_of(kind)));
                }
                Ok(())
            }
        }
    }

    fn directory(
        &mut self,
        opened: &OwnedFd,
        stat: &Stat,
        to: &Path,
        depth: usize,
    ) -> io::Result<()> {
        let mut header = self.header(EntryType::Directory, stat)?;
        header.set_size(0);
        self.tar.append_data(&mut header, to, io::empty())?;
        self.content(opened, to, depth)
    }

    fn content(&mut self, opened: &OwnedFd, to: &Path, depth: usize) -> io::Result<()> {
        if depth >= MAX_DEPTH {
            return Err(io::Error::other("its directories are too deep"));
        }
        let mut entries = Dir::read_from(opened)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            match self.entry(opened, name, &to.join(name), depth + 1) {
                // It went away while we looked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(|error| in_entry(&error, name))?,
            }
        }
        Ok(())
    }

    fn file(&mut self, opened: OwnedFd, stat: &Stat, to: &Path) -> io::Result<()> {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        self.packed.bytes += size;
        if self.packed.bytes > MAX_BYTES {
            return Err(io::Error::other(format!(
                "there is more than {} GiB to copy",
                MAX_BYTES >> 30
            )));
        }
        let mut header = self.header(EntryType::Regular, stat)?;
        header.set_size(size);
        let capacity = usize::try_from(size.clamp(1, READ)).unwrap_or(1);
        // What is appended meanwhile is left out; what is cut off makes the archive wrong.
        let mut content =
            BufReader::with_capacity(capacity, Counted(File::from(opened).take(size), 0));
        self.tar.append_data(&mut header, to, &mut content)?;
        if content.get_ref().1 == size {
            Ok(())
        } else {
            Err(io::Error::other("it became shorter while it was read"))
        }
    }

    fn link(&mut self, path: impl AsFd, stat: &Stat, to: &Path) -> io::Result<()> {
        let target = readlinkat(path, c"", Vec::new())?;
        let mut header = self.header(EntryType::Symlink, stat)?;
        header.set_size(0);
        self.tar
            .append_link(&mut header, to, OsStr::from_bytes(target.to_bytes()))
    }

    fn own_directory(&mut self, to: &Path, mode: u32) -> io::Result<()> {
        let mut header = self.blank(EntryType::Directory)?;
        header.set_mode(mode);
        header.set_mtime(self.now);
        header.set_size(0);
        self.made.push(to.to_owned());
        self.tar.append_data(&mut header, to, io::empty())
    }

    fn header(&mut self, kind: EntryType, stat: &Stat) -> io::Result<Header> {
        let mut header = self.blank(kind)?;
        // No set-uid, set-gid or sticky bit goes in.
        header.set_mode(stat.st_mode & 0o777);
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
        Ok(header)
    }

    fn blank(&mut self, kind: EntryType) -> io::Result<Header> {
        self.packed.entries += 1;
        if self.packed.entries > MAX_ENTRIES {
            return Err(io::Error::other(format!(
                "there are more than {MAX_ENTRIES} files to copy"
            )));
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_uid(self.owner.uid.into());
        header.set_gid(self.owner.gid.into());
        Ok(header)
    }
}

/// Names the file, once.
fn in_entry(error: &io::Error, name: &OsStr) -> io::Error {
    let said = error.to_string();
    if said.starts_with("in ") || error.kind() == io::ErrorKind::BrokenPipe {
        return io::Error::new(error.kind(), said);
    }
    let name = shown(&name.to_string_lossy());
    io::Error::new(error.kind(), format!("in '{name}': {said}"))
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        _ => "a device",
    }
}

/// How much was read.
struct Counted<R>(R, u64);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1 += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::task::generated_id;

    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            let dir = std::env::temp_dir().join(format!("acode-pack-{}", generated_id().unwrap()));
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }

        fn source(&self, from: &str, to: &str, content: bool) -> Source {
            Source {
                from: self.0.join(from),
                to: to
                    .split('/')
                    .filter(|part| !part.is_empty())
                    .map(str::to_owned)
                    .collect(),
                content,
            }
        }

        fn write(&self, path: &str, content: &[u8]) -> PathBuf {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            path
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const OWNER: User = User {
        uid: 1000,
        gid: 2_000_000_000,
    };

    /// Kind, mode, size and link target, by name.
    type Found = BTreeMap<String, (EntryType, u32, u64, String)>;

    fn packed(sources: &[Source]) -> io::Result<(Found, Packed)> {
        let mut archive = Vec::new();
        let packed = pack(&mut archive, "src", sources, OWNER, 1)?;
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(&*archive).entries()? {
            let mut entry = entry?;
            let header = entry.header();
            assert_eq!((header.uid()?, header.gid()?), (1000, 2_000_000_000));
            let (kind, mode, size) = (header.entry_type(), header.mode()?, header.size()?);
            let link = entry.link_name()?.map(|link| link.display().to_string());
            let name = entry.path()?.display().to_string();
            assert_eq!(io::copy(&mut entry, &mut io::sink())?, size);
            found.insert(name, (kind, mode, size, link.unwrap_or_default()));
        }
        Ok((found, packed))
    }

    #[test]
    fn files_are_packed_for_the_task_and_links_as_links() {
        let place = Place::new();
        let tool = place.write("in/tool", b"12345");
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o6755)).unwrap();
        let long = "n".repeat(200);
        place.write(&format!("in/sub/{long}"), b"");
        place.write("secret", b"not for the task");
        symlink("../secret", place.0.join("in/link")).unwrap();
        symlink("..", place.0.join("in/up")).unwrap();
        let pipe = place.0.join("in/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let (found, report) = packed(&[
            place.source("in", "src/a/b", false),
            place.source("in/link", "src/followed", false),
        ])
        .unwrap();
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        let long = format!("src/a/b/sub/{long}");
        assert_eq!(
            names,
            [
                "src",
                "src/a",
                "src/a/b",
                "src/a/b/link",
                "src/a/b/sub",
                &long,
                "src/a/b/tool",
                "src/a/b/up",
                "src/followed"
            ]
        );
        assert_eq!(found["src"].1, 0o700);
        assert_eq!(
            found["src/a/b/tool"],
            (EntryType::Regular, 0o755, 5, String::new())
        );
        assert_eq!(found["src/a/b/link"].3, "../secret");
        assert_eq!(found["src/a/b/up"].3, "..");
        assert_eq!(found["src/followed"].2, 16, "the caller named it");
        assert_eq!(
            (report.entries, report.bytes, report.left_out_count),
            (9, 21, 1)
        );
        assert_eq!(report.left_out, ["src/a/b/pipe (a named pipe)"]);
    }

    #[test]
    fn the_content_of_a_directory_goes_without_its_name() {
        let place = Place::new();
        place.write("in/a", b"");
        let (found, _) = packed(&[place.source("in", "src", true)]).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["src", "src/a"]);
        for (from, content) in [("in/a", true), ("none", false), ("in/none", true)] {
            let error = packed(&[place.source(from, "src/x", content)]).unwrap_err();
            assert!(error.to_string().contains(from), "{error}");
        }
    }

    #[test]
    fn a_file_that_becomes_shorter_is_an_error_and_one_that_grows_is_cut() {
        /// Changes the file when its header has been written.
        struct Meanwhile<'a> {
            file: &'a Path,
            to: u64,
            out: &'a mut Vec<u8>,
        }
        impl Write for Meanwhile<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.out.extend_from_slice(bytes);
                if self.out.len() > 1024 {
                    fs::OpenOptions::new()
                        .write(true)
                        .open(self.file)?
                        .set_len(self.to)?;
                }
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let place = Place::new();
        for (to, fine) in [(1 << 20, true), (10, false)] {
            let file = place.write("in/file", &vec![b'x'; 600_000]);
            let sources = [place.source("in/file", "src/file", false)];
            let mut out = Vec::new();
            let meanwhile = Meanwhile {
                file: &file,
                to,
                out: &mut out,
            };
            let result = pack(meanwhile, "src", &sources, OWNER, 1);
            assert_eq!(result.is_ok(), fine, "{to}");
            match result {
                Ok(_) => {
                    let mut archive = tar::Archive::new(&*out);
                    let sizes = archive
                        .entries()
                        .unwrap()
                        .map(|entry| entry.unwrap().size());
                    assert_eq!(sizes.collect::<Vec<_>>(), [0, 600_000]);
                }
                Err(error) => assert!(error.to_string().contains("shorter"), "{error}"),
            }
        }
    }

    #[test]
    fn directories_that_are_too_deep_are_an_error() {
        let place = Place::new();
        fs::create_dir_all(place.0.join("in").join("d/".repeat(MAX_DEPTH + 2))).unwrap();
        let error = packed(&[place.source("in", "src/in", false)]).unwrap_err();
        assert!(error.to_string().contains("too deep"), "{error}");
    }
}
