//! What a task is to find when it starts: the mounts that were checked outside, and its secrets.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags, fstat, fstatvfs, open};

use crate::protocol::order::{MountCheck, SECRETS, Secret};

/// Whether `mount` is there, is the very file or directory that was checked outside, and is not writable if it is not to be.
pub(super) fn is_mounted(mount: &MountCheck) -> bool {
    let look = || -> rustix::io::Result<bool> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = open(OsStr::from_bytes(&mount.target), flags, Mode::empty())?;
        let found = fstat(&root)?;
        let is_read_only = fstatvfs(&root)?.f_flag.contains(StatVfsMountFlags::RDONLY);
        Ok((found.st_dev, found.st_ino) == (mount.device, mount.inode)
            && (is_read_only || !mount.read_only))
    };
    look().unwrap_or(false)
}

/// Writes a file that only the task can read.
pub(super) fn write_secret(secret: &Secret) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(Path::new(SECRETS).join(OsStr::from_bytes(&secret.name)))?
        .write_all(&secret.value)
}
