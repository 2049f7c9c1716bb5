//! What no task gets, whatever anybody admits: the engine's sockets, the kernel's files, the host's own directories. By device and inode,
//! so that another name or a bind copy of it is refused too.

use std::path::{Path, PathBuf};

use super::is_within;
use super::source::{Id, Source, real};
use crate::engine::usual_sockets;
use crate::error::Result;

/// Neither these nor anything below them.
const TREES: [&str; 9] = [
    "/proc",
    "/sys",
    "/dev",
    "/boot",
    "/etc",
    // Sockets of the host's services.
    "/run",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
];

/// As [`TREES`], below the home directory of whoever runs this.
const PRIVATE: [&str; 11] = [
    ".config/gcloud",
    ".git-credentials",
    ".netrc",
    ".password-store",
    ".ssh",
    ".gnupg",
    ".aws",
    ".kube",
    ".docker",
    ".config/acode-rt",
    ".local/share/containers",
];

/// Not these themselves; what lies below them may be somebody's own.
const PLACES: [&str; 17] = [
    "/", "/bin", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/root", "/sbin", "/srv",
    "/tmp", "/usr", "/var", "/var/lib", "/var/log", "/var/tmp",
];

/// What other engines and runtimes listen on.
const OTHER_SOCKETS: [&str; 5] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/buildkit/buildkitd.sock",
    "/run/docker/plugins",
    "/run/snapd.socket",
];

/// A label there would break the host.
const SYSTEM: [&str; 8] = [
    "/bin", "/lib", "/lib64", "/opt", "/sbin", "/usr", "/var/lib", "/var/log",
];

#[derive(Debug)]
pub(super) struct Forbidden {
    trees: Vec<(Id, PathBuf)>,
    places: Vec<(Id, PathBuf)>,
    /// Engines' sockets, and what is private.
    holds: Vec<PathBuf>,
}

impl Forbidden {
    /// `engine` is the socket in use.
    pub(super) fn of_this_host(engine: &Path) -> Self {
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        let trees = TREES.map(PathBuf::from).into_iter();
        let private = home
            .iter()
            .flat_map(|home| PRIVATE.map(|name| home.join(name)));
        let places = PLACES.map(PathBuf::from).into_iter().chain(home.clone());
        let private: Vec<PathBuf> = private.collect();
        let holds = usual_sockets()
            .into_iter()
            .chain(OTHER_SOCKETS.map(PathBuf::from))
            .chain([engine.to_owned()])
            .chain(private.iter().cloned())
            .filter_map(|path| real(&path))
            .collect();
        Self {
            trees: known(trees.chain(private)),
            places: known(places),
            holds,
        }
    }

    pub(super) fn check(&self, source: &Source, writable: bool) -> Result<()> {
        if let Some((_, tree)) = self.trees.iter().find(|(id, _)| source.chain.contains(id)) {
            return Err(source.refused(&format!(
                "nothing of {} is ever mounted; copy what the task needs to a directory of its own",
                tree.display()
            )));
        }
        if let Some((_, place)) = self.places.iter().find(|(id, _)| source.id == *id) {
            return Err(source.refused(&format!(
                "{} as a whole is never mounted; mount the directory that is needed",
                place.display()
            )));
        }
        let program = std::env::current_exe().ok().filter(|_| writable);
        if let Some(program) = program
            && program
                .ancestors()
                .any(|above| Id::of(above) == Some(source.id))
        {
            return Err(source.refused(&format!(
                "the task could replace {}, which you would run next; mount it read-only",
                program.display()
            )));
        }
        for holds in &self.holds {
            // It itself, and every directory above it.
            let is_in = holds
                .ancestors()
                .any(|above| Id::of(above) == Some(source.id));
            if is_in {
                return Err(source.refused(&format!(
                    "it is or holds {}, and whoever has that owns the host or your account",
                    holds.display()
                )));
            }
        }
        Ok(())
    }
}

/// # Errors
/// `ACODE-CTN-012` for what the host itself needs its labels on.
pub(super) fn check_relabel(source: &Source) -> Result<()> {
    match SYSTEM.iter().find(|system| is_within(&source.path, system)) {
        Some(system) => Err(source.refused(&format!("nothing below {system} is relabelled"))),
        None => Ok(()),
    }
}

fn known(paths: impl Iterator<Item = PathBuf>) -> Vec<(Id, PathBuf)> {
    paths
        .filter_map(|path| Some((Id::of(&path)?, path)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn check(path: &Path) -> Result<()> {
        Forbidden::of_this_host(Path::new("/nowhere.sock")).check(&Source::look(path)?, false)
    }

    #[test]
    fn nfr_020a_24_the_hosts_own_is_refused_under_any_name() {
        let dir = crate::task::mounts::test_dir("forbidden");
        let link = dir.join("link");
        for forbidden in [
            "/",
            "/proc",
            "/proc/self",
            "/sys/kernel",
            "/dev",
            "/dev/shm",
            "/dev/null",
            "/etc",
            "/etc/passwd",
            "/usr",
            "/tmp",
            "/tmp/../etc/./ssl",
            "/home",
        ] {
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(forbidden, &link).unwrap();
            for path in [Path::new(forbidden), &link] {
                assert_eq!(
                    check(path).unwrap_err().code(),
                    Code::PolicyRefused,
                    "{forbidden}"
                );
            }
        }
        check(&dir).unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn an_engines_socket_and_what_holds_it_is_refused() {
        let dir = crate::task::mounts::test_dir("socket");
        let (inner, beside) = (dir.join("a/b"), dir.join("a/c"));
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::create_dir(&beside).unwrap();
        let socket = inner.join("engine.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let check =
            |path: &Path| Forbidden::of_this_host(&socket).check(&Source::look(path)?, false);
        for holder in [&inner, &dir.join("a"), &dir.join("a/b/../../a"), &dir] {
            let error = check(holder).unwrap_err();
            assert!(error.to_string().contains("engine.sock"), "{error}");
        }
        assert!(check(&socket).is_err());
        check(&beside).unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn labels_of_the_hosts_own_stay() {
        let usr = Source::look(Path::new("/usr/lib")).unwrap();
        assert!(check_relabel(&usr).is_err());
        let dir = crate::task::mounts::test_dir("relabel");
        check_relabel(&Source::look(&dir).unwrap()).unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }
}
