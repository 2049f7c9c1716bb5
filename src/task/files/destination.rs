//! A directory of ours that a task's files are written below, and nothing outside of it: every step goes from its open descriptor, and no
//! symbolic link is followed on the way, whoever made it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat, openat2, renameat,
    statat, unlinkat,
};
use rustix::io::Errno;

/// Of a directory that is only gone through.
const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

/// An open directory.
#[derive(Debug)]
pub(super) struct Destination {
    root: Arc<OwnedFd>,
    path: PathBuf,
    /// The directory that was last written to: an archive's files come together.
    last: Option<(Vec<String>, Arc<OwnedFd>)>,
    /// The kernel has no `openat2`.
    step_by_step: bool,
}

impl Destination {
    /// Opens `path`, which is our caller's, so that links in it are followed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::at(open(path, flags, Mode::empty())?, path))
    }

    /// An open directory, and what it is called.
    pub(super) fn at(root: OwnedFd, path: &Path) -> Self {
        Self {
            root: Arc::new(root),
            path: path.to_owned(),
            last: None,
            step_by_step: false,
        }
    }

    /// What it is called in receipts.
    pub(super) fn called(mut self, path: PathBuf) -> Self {
        self.path = path;
        self
    }

    /// What one of its files is called outside.
    pub(super) fn path_of(&self, parts: &[String]) -> PathBuf {
        let mut path = self.path.clone();
        path.extend(parts);
        path
    }

    /// Makes the directory and those above it, where they are not there.
    pub(super) fn directory(&mut self, parts: &[String], mode: u32) -> io::Result<()> {
        if let [above @ .., name] = parts {
            let above = self.enter(above)?;
            match mkdirat(&above, name.as_str(), permissions(mode | 0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.enter(parts).map(drop)
    }

    /// Begins a file under a temporary name beside its own.
    pub(super) fn begin(&mut self, parts: &[String], mode: u32) -> io::Result<Part> {
        let [above @ .., name] = parts else {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        };
        let above = self.enter(above)?;
        for _ in 0..16 {
            let temporary = temporary_name();
            let flags =
                OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(&above, &temporary, flags, permissions(mode | 0o600)) {
                Ok(file) => {
                    return Ok(Part {
                        above,
                        temporary: Some(temporary),
                        name: name.clone(),
                        file: File::from(file),
                    });
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// The open directory of these parts, made where it is not there.
    fn enter(&mut self, parts: &[String]) -> io::Result<Arc<OwnedFd>> {
        if let Some((last, directory)) = &self.last
            && last == parts
        {
            return Ok(Arc::clone(directory));
        }
        let found = match self.find(parts) {
            Err(Errno::NOENT) => self.make(parts),
            found => found,
        }?;
        self.last = Some((parts.to_vec(), Arc::clone(&found)));
        Ok(found)
    }

    fn make(&mut self, parts: &[String]) -> Result<Arc<OwnedFd>, Errno> {
        let mut directory = Arc::clone(&self.root);
        for part in parts {
            match mkdirat(&directory, part.as_str(), permissions(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            directory = Arc::new(openat(&directory, part.as_str(), DIRECTORY, Mode::empty())?);
        }
        Ok(directory)
    }

    fn find(&mut self, parts: &[String]) -> Result<Arc<OwnedFd>, Errno> {
        if parts.is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        if !self.step_by_step {
            let resolve =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            let path = parts.join("/");
            match openat2(&self.root, path, DIRECTORY, Mode::empty(), resolve) {
                // An old kernel, or a filter of system calls that does not know it.
                Err(Errno::NOSYS | Errno::PERM) => self.step_by_step = true,
                found => return found.map(Arc::new),
            }
        }
        let mut directory = Arc::clone(&self.root);
        for part in parts {
            directory = Arc::new(openat(&directory, part.as_str(), DIRECTORY, Mode::empty())?);
        }
        Ok(directory)
    }

    #[cfg(test)]
    pub(super) fn without_openat2(mut self) -> Self {
        self.step_by_step = true;
        self
    }
}

/// A file that is being written. Dropped unfinished it is gone.
#[derive(Debug)]
pub(super) struct Part {
    above: Arc<OwnedFd>,
    temporary: Option<String>,
    name: String,
    pub(super) file: File,
}

impl Part {
    /// Gives it its own name, in place of a regular file that has it. What it may be done with afterwards is returned.
    pub(super) fn finish(mut self) -> io::Result<u32> {
        match statat(&self.above, self.name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
            Ok(there) if FileType::from_raw_mode(there.st_mode) == FileType::RegularFile => {}
            Ok(_) => return Err(Errno::EXIST.into()),
        }
        let mode = fstat(&self.file)?.st_mode & 0o777;
        if let Some(temporary) = &self.temporary {
            renameat(&self.above, temporary, &self.above, self.name.as_str())?;
        }
        self.temporary = None;
        Ok(mode)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = unlinkat(&self.above, temporary, AtFlags::empty());
        }
    }
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o777)
}

/// Not to be foreseen by the task, whose archive could hold the same name.
fn temporary_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 8];
    // Without randomness it is only new, which EXCL sees to.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    let number = NUMBER.fetch_add(1, Ordering::Relaxed) ^ u64::from_ne_bytes(random);
    format!(".acode-{number:016x}.part")
}
