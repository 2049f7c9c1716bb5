//! One source of a mount: opened once, and known by device and inode from then on.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, open, openat, openat2,
    statat,
};

use super::is_within;
use crate::error::{Code, Error, Result, shown};
use crate::task::rules::AllowedSource;
use crate::task::user::User;

/// Directories above a source, at most.
const MAX_DEPTH: usize = 256;

/// File systems that are windows into the kernel, by the numbers of statfs(2).
const KERNEL: [(u64, &str); 14] = [
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0xcafe_4a11, "bpf"),
    (0x1cd1, "devpts"),
    (0x1980_0202, "mqueue"),
    (0xde5e_81e4, "efivarfs"),
    (0x6265_6570, "configfs"),
    (0x6e73_6673, "nsfs"),
    (0x5846_5342, "rpc_pipefs"),
];

/// What a file or directory is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl From<&Stat> for Id {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

impl Id {
    /// Of what stands at `path`, symlinks followed.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

/// An opened source.
#[derive(Debug, Clone)]
pub(in crate::task) struct Source {
    pub(super) fd: Arc<OwnedFd>,
    /// Where it really is.
    pub(super) path: String,
    pub(super) id: Id,
    stat: Stat,
    /// Itself, then every directory above it up to the root.
    pub(super) chain: Vec<Id>,
}

impl Source {
    /// Opens `path` and looks at it.
    ///
    /// # Errors
    /// `ACODE-CTN-015` where there is none, `ACODE-CTN-012` where it is neither file nor directory, or one of the kernel's.
    pub(super) fn look(path: &Path) -> Result<Self> {
        let asked = shown(&path.display().to_string());
        let missing = |error: rustix::io::Errno| {
            Error::invalid(Code::Configuration, "mounts", "the source cannot be opened")
                .on(asked.clone())
                .because(std::io::Error::from(error))
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(missing)?;
        let stat = fstat(&fd).map_err(missing)?;
        let id = Id::from(&stat);
        let refused = |why: &str| {
            Error::invalid(Code::PolicyRefused, "mounts", why.to_owned()).on(asked.clone())
        };
        let real = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
            .map_err(|error| refused("where the source really is cannot be seen").because(error))?;
        if Id::of(&real) != Some(id) {
            return Err(refused("the source was replaced or deleted just now"));
        }
        let Some(text) = real.to_str().map(str::to_owned) else {
            return Err(refused("its path is not UTF-8, which the engine needs"));
        };
        let kernel = u64::try_from(fstatfs(&fd).map_err(missing)?.f_type).unwrap_or(0);
        if let Some((_, name)) = KERNEL.iter().find(|(magic, _)| *magic == kernel) {
            return Err(refused(&format!(
                "it is on {name}, a file system of the kernel's"
            )));
        }
        let chain = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => chain(&fd, id),
            FileType::RegularFile => chain_of_file(&real, id),
            _ => return Err(refused("it is neither a directory nor a regular file")),
        };
        Ok(Self {
            fd: Arc::new(fd),
            path: text,
            id,
            stat,
            chain: chain.map_err(missing)?,
        })
    }

    pub(super) fn refused(&self, why: &str) -> Error {
        Error::invalid(Code::PolicyRefused, "mounts", why.to_owned()).on(shown(&self.path))
    }

    /// Refuses what is not at or below one of `allowed`.
    pub(super) fn check_allowed(&self, allowed: &[AllowedSource], writable: bool) -> Result<()> {
        let mut read_only = false;
        for allowed in allowed {
            if Id::of(&allowed.path).is_some_and(|id| self.chain.contains(&id)) {
                if allowed.writable || !writable {
                    return Ok(());
                }
                read_only = true;
            }
        }
        Err(self.refused(if read_only {
            "the operator of this host admits it read-only"
        } else {
            "it is not among the directories that the operator of this host admits"
        }))
    }

    pub(super) fn check_directory(&self) -> Result<()> {
        match FileType::from_raw_mode(self.stat.st_mode) {
            FileType::Directory => Ok(()),
            _ => Err(
                Error::invalid(Code::Configuration, "mounts", "a workspace is a directory")
                    .on(shown(&self.path)),
            ),
        }
    }

    /// As whom a task works here; `None` where that makes no difference.
    pub(super) fn task_owner(&self, writable: bool) -> Result<Option<User>> {
        let (uid, gid) = (self.stat.st_uid, self.stat.st_gid);
        match uid {
            0 if writable => Err(self.refused(
                "it belongs to root, and no task runs as root by itself; say --user UID for a user who may write there, \
                 --user 0 --allow-root, or :ro",
            )),
            0 => Ok(None),
            _ => Ok(Some(User {
                uid,
                gid: if gid == 0 { uid } else { gid },
            })),
        }
    }

    /// Whether `inside` is a directory of it, without leaving it.
    pub(super) fn has_directory(&self, inside: &str) -> bool {
        openat2(
            &*self.fd,
            inside,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH,
        )
        .is_ok()
    }

    /// Whether another file system is mounted somewhere below it. What cannot be read has.
    pub(super) fn has_mounts_below(&self) -> bool {
        let Ok(table) = fs::read("/proc/self/mountinfo") else {
            return true;
        };
        table
            .split(|byte| *byte == b'\n')
            .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
            .any(|point| {
                let point = unescape(point);
                point != self.path && is_within(&point, &self.path)
            })
    }
}

/// From a directory up to the root, by `..` of what is open, so that nothing can be put between.
fn chain(directory: &OwnedFd, id: Id) -> rustix::io::Result<Vec<Id>> {
    let up = |fd: &OwnedFd| {
        openat(
            fd,
            "..",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    };
    let mut chain = vec![id];
    let mut current = up(directory)?;
    while chain.len() < MAX_DEPTH {
        let id = Id::from(&fstat(&current)?);
        if chain.last() == Some(&id) {
            return Ok(chain);
        }
        chain.push(id);
        current = up(&current)?;
    }
    Err(rustix::io::Errno::NAMETOOLONG)
}

/// The same of a file, which has no `..`: its directory must have it.
fn chain_of_file(real: &Path, id: Id) -> rustix::io::Result<Vec<Id>> {
    let (Some(directory), Some(name)) = (real.parent(), real.file_name()) else {
        return Err(rustix::io::Errno::NOENT);
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(directory, flags, Mode::empty())?;
    let found = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if Id::from(&found) != id {
        return Err(rustix::io::Errno::STALE);
    }
    let above = chain(&directory, Id::from(&fstat(&directory)?))?;
    Ok(std::iter::once(id).chain(above).collect())
}

/// A path as mountinfo writes it: `\040` is a space.
fn unescape(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        if let Some(byte) = octal {
            bytes.push(byte);
            rest = &tail[3..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where `path` leads, if it leads somewhere.
pub(super) fn real(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}
