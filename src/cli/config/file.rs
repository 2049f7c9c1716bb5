//! Where the files are, and how they are read: once, a regular file, no more bytes than are allowed, and of a repository nothing that a
//! symbolic link leads to.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use acode_rt::error::{Code, Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use super::yaml::MAX_BYTES;

/// Where a repository keeps its file.
const DIRECTORY: &str = ".agent";
const NAME: &str = "config.yml";
const GIT: &str = ".git";

/// A file's bytes.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// The operator's file: `path`, which has to be there, or the usual one, which need not.
///
/// # Errors
/// `ACODE-CTN-015`.
pub(super) fn operator(path: Option<&Path>) -> Result<Option<Found>> {
    let usual = path.is_none();
    let Some(path) = path.map(Path::to_path_buf).or_else(usual_path) else {
        return Ok(None);
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(rustix::fs::CWD, &path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) if usual => return Ok(None),
        opened => opened.map_err(|error| unreadable(&path, error))?,
    };
    let others_write = fstat(&file)
        .map_err(|error| unreadable(&path, error))?
        .st_mode
        & 0o002
        != 0;
    let bytes = read(file, &path)?;
    if others_write {
        let message = "everybody may write it, so that it is nobody's word; chmod o-w it";
        return Err(wrong(&path, message));
    }
    Ok(Some(Found {
        name: path.display().to_string(),
        bytes,
    }))
}

fn usual_path() -> Option<PathBuf> {
    let absolute = |key: &str| {
        let path = PathBuf::from(env::var_os(key)?);
        path.is_absolute().then_some(path)
    };
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(base.join("acode-rt/config.yml"))
}

/// The file of a repository that somebody named, whoever's it is. Neither it nor its directory may be a symbolic link; `root` may.
///
/// # Errors
/// `ACODE-CTN-015`.
pub(super) fn repository(root: &Path) -> Result<Option<Found>> {
    below(root, &open_root(root)?, |_| Ok(()))
}

/// The file of the repository that the working directory is in, whose root is the first directory upward that has `.git`.
///
/// # Errors
/// `ACODE-CTN-015`, also where somebody else may have put it there: whoever may write above our directory could otherwise choose our images.
pub(super) fn around() -> Result<Option<Found>> {
    let Ok(here) = env::current_dir() else {
        return Ok(None);
    };
    let has_git = |dir: &&Path| fs::symlink_metadata(dir.join(GIT)).is_ok();
    let Some(root) = here.ancestors().find(has_git) else {
        return Ok(None);
    };
    let me = nix::unistd::geteuid().as_raw();
    let at_root = open_root(root)?;
    let git = statat(&at_root, GIT, AtFlags::SYMLINK_NOFOLLOW);
    let git = git.map_err(|error| unreadable(&root.join(GIT), error))?;
    let of_root = fstat(&at_root).map_err(|error| unreadable(root, error))?;
    below(root, &at_root, |opened| {
        believe(&root.join(GIT), git.st_uid, 0, me)?;
        believe(root, of_root.st_uid, of_root.st_mode, me)?;
        let mut path = root.to_path_buf();
        for (name, file) in [DIRECTORY, NAME].into_iter().zip(opened) {
            path.push(name);
            let found = fstat(file).map_err(|error| unreadable(&path, error))?;
            believe(&path, found.st_uid, found.st_mode, me)?;
        }
        Ok(())
    })
}

/// What was found and not named is believed where it is ours or root's, and where nobody else may write. In a directory of our own a group
/// may: many systems give each user one.
fn believe(path: &Path, owner: u32, mode: u32, me: u32) -> Result<()> {
    let why = if owner != me && owner != 0 {
        "it is another user's"
    } else if mode & 0o002 != 0 {
        "everybody may write it"
    } else if mode & 0o020 != 0 && owner != me {
        "it is not ours, and a group may write it"
    } else {
        return Ok(());
    };
    let message = format!(
        "{why}, and the working directory is in that repository: name it with --repo if its configuration is to be read, or another directory if not"
    );
    Err(wrong(path, &message))
}

fn open_root(root: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(rustix::fs::CWD, root, flags, Mode::empty()).map_err(|error| unreadable(root, error))
}

/// The file below `at_root`, read once `believed` has looked at its directory and at itself.
fn below(
    root: &Path,
    at_root: &OwnedFd,
    believed: impl FnOnce([&OwnedFd; 2]) -> Result<()>,
) -> Result<Option<Found>> {
    let path = root.join(DIRECTORY).join(NAME);
    let Some(kind) = kind_at(at_root, DIRECTORY, &path)? else {
        return Ok(None);
    };
    if kind != FileType::Directory {
        let message = format!("{DIRECTORY} has to be a directory, and is {}", a(kind));
        return Err(wrong(&path, &message));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let agent = openat(at_root, DIRECTORY, flags, Mode::empty())
        .map_err(|error| unreadable(&path, error))?;
    // Looked at before it is opened: to open some devices has an effect.
    let Some(kind) = kind_at(&agent, NAME, &path)? else {
        return Ok(None);
    };
    regular(kind, &path)?;
    let flags =
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file =
        openat(&agent, NAME, flags, Mode::empty()).map_err(|error| unreadable(&path, error))?;
    believed([&agent, &file])?;
    Ok(Some(Found {
        name: path.display().to_string(),
        bytes: read(file, &path)?,
    }))
}

/// A file that is named to be checked.
///
/// # Errors
/// `ACODE-CTN-015`.
pub(super) fn named(path: &Path) -> Result<Found> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(rustix::fs::CWD, path, flags, Mode::empty())
        .map_err(|error| unreadable(path, error))?;
    Ok(Found {
        name: path.display().to_string(),
        bytes: read(file, path)?,
    })
}

fn kind_at(directory: &OwnedFd, name: &str, path: &Path) -> Result<Option<FileType>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(FileType::from_raw_mode(found.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(unreadable(path, error)),
    }
}

fn read(file: OwnedFd, path: &Path) -> Result<Vec<u8>> {
    let found = fstat(&file).map_err(|error| unreadable(path, error))?;
    regular(FileType::from_raw_mode(found.st_mode), path)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX) + 1;
    File::from(file)
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, error))?;
    Ok(bytes)
}

fn regular(kind: FileType, path: &Path) -> Result<()> {
    if kind == FileType::RegularFile {
        return Ok(());
    }
    let message = format!("it has to be a regular file, and is {}", a(kind));
    Err(wrong(path, &message))
}

fn a(kind: FileType) -> &'static str {
    match kind {
        FileType::Symlink => "a symbolic link",
        FileType::Directory => "a directory",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::RegularFile => "a file",
        FileType::Unknown => "something else",
    }
}

fn unreadable(path: &Path, error: impl Into<std::io::Error>) -> Error {
    wrong(path, "it cannot be read").because(error.into())
}

fn wrong(path: &Path, message: &str) -> Error {
    Error::invalid(Code::Configuration, "config", message).on(path.display().to_string())
}
