//! The hosts file that is bound over `/etc/hosts` where Docker skips its network set-up and writes none; and our filter of system calls as a file, for Podman.
//!
//! One small file for all tasks of a user, in the runtime directory, which a reboot empties. It is made once and never changed; a
//! file there that is not exactly ours is not used.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What the engine itself writes for a container without a network.
const CONTENT: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// The hosts file's path, making it where it is missing; `None` where there is no place for it.
pub(crate) fn ensure() -> Option<String> {
    ensure_file("hosts", CONTENT)
}

/// The path of a file of ours with this content.
pub(super) fn ensure_file(name: &str, content: &str) -> Option<String> {
    ensure_in(
        &runtime_dir()?,
        nix::unistd::geteuid().as_raw(),
        name,
        content,
    )
}

/// Where files are kept that tasks see: `/run` for root, else `XDG_RUNTIME_DIR`, as far as it names one.
pub fn runtime_dir() -> Option<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Some("/run".into());
    }
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
}

/// Two tasks of one process may make one at once.
static MADE: AtomicU32 = AtomicU32::new(0);

fn ensure_in(base: &Path, user: u32, name: &str, content: &str) -> Option<String> {
    if !base.is_absolute() {
        return None;
    }
    let dir = base.join("acode-rt");
    let path = dir.join(name);
    let usable = || path.to_str().map(str::to_owned);
    if is_ours(&path, user, content) {
        return usable();
    }
    // Whoever loses a race here finds the winner's file.
    let _ = fs::DirBuilder::new().mode(0o755).create(&dir);
    let meta = fs::symlink_metadata(&dir).ok()?;
    if !meta.is_dir() || meta.uid() != user || meta.mode() & 0o022 != 0 {
        return None;
    }
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let fresh = dir.join(format!("{name}.{}.{number}", std::process::id()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&fresh)
        .and_then(|mut file| {
            // Whatever the umask: the task reads it as another user.
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.write_all(content.as_bytes())
        });
    if written.and_then(|()| fs::rename(&fresh, &path)).is_err() {
        let _ = fs::remove_file(&fresh);
    }
    is_ours(&path, user, content).then(usable).flatten()
}

fn is_ours(path: &Path, user: u32, content: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| {
        meta.is_file()
            && meta.uid() == user
            && meta.mode() & 0o022 == 0
            && meta.mode() & 0o444 == 0o444
            && meta.len() == content.len() as u64
    }) && fs::read(path).is_ok_and(|there| there == content.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_ours_is_replaced_or_not_used() {
        let user = nix::unistd::geteuid().as_raw();
        let base = std::env::temp_dir().join(format!("acode-hosts-{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        let path = ensure_in(&base, user, "hosts", CONTENT).unwrap();
        fs::write(&path, "6.6.6.6 localhost").unwrap();
        assert_eq!(
            ensure_in(&base, user, "hosts", CONTENT).as_deref(),
            Some(path.as_str())
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), CONTENT);
        let dir = base.join("acode-rt");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(&path, "6.6.6.6 localhost").unwrap();
        assert_eq!(
            ensure_in(&base, user, "hosts", CONTENT),
            None,
            "others could write the directory"
        );
        assert_eq!(
            ensure_in(Path::new("relative"), user, "hosts", CONTENT),
            None
        );
        fs::remove_dir_all(&base).unwrap();
    }
}
