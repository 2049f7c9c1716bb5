//! Directories and files of the host inside a task. What is mounted is decided by device and inode, not by name: a source is opened, looked at
//! and held; our own process 1 then compares what it finds inside before the task begins. So neither a symlink that is put in its place in
//! between nor an engine that sees other files gets a task started.

mod forbidden;
mod share;
mod source;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

pub(super) use share::{Share, label, refuse_shared};
pub(super) use source::Source;

use super::files::FILES_DIR;
use super::rules::MountRules;
use super::spec::{TaskSpec, WORKSPACE};
use super::tmpfs::clean_inside_path;
use super::user::User;
use crate::error::{Code, Error, Result, shown};
use crate::protocol::order::{MountCheck, SECRETS};
use forbidden::Forbidden;

/// So many mounts at most.
const MAX_COUNT: usize = 64;

/// A directory or file of the host inside a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// On the host; symlinks are followed once, when the task is planned.
    pub source: PathBuf,
    /// Absolute path inside.
    pub target: String,
    /// The task may write there.
    pub writable: bool,
}

impl BindMount {
    /// Reads `SOURCE:TARGET`, read-only, or `SOURCE:TARGET:rw`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{}' is not SOURCE:TARGET or SOURCE:TARGET:rw, such as /srv/data:/data",
                shown(text)
            )
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, writable) = match parts[..] {
            [source, target] | [source, target, "ro"] => (source, target, false),
            [source, target, "rw"] => (source, target, true),
            _ => return Err(wrong()),
        };
        if source.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            source: source.into(),
            target: clean_inside_path(target)?,
            writable,
        })
    }
}

/// A directory of the host as the task's `/workspace`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// On the host.
    pub source: PathBuf,
    /// The task may write there.
    pub writable: bool,
    /// The task runs as the directory's owner instead of [`TaskSpec::user`], so that all it makes belongs to them.
    pub as_owner: bool,
}

impl Workspace {
    /// Reads `DIR` or `DIR:ro`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (source, writable) = match text.rsplit_once(':') {
            Some((source, "ro")) => (source, false),
            Some((source, "rw")) => (source, true),
            Some(_) | None => (text, true),
        };
        if source.is_empty() {
            return Err(
                "a workspace is a directory, as in --workspace . or --workspace /srv/repo:ro"
                    .into(),
            );
        }
        Ok(Self {
            source: source.into(),
            writable,
            as_owner: true,
        })
    }
}

/// A mount whose source was looked at.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CheckedMount {
    /// Where it really is on the host.
    pub source: String,
    /// Where it is inside.
    pub target: String,
    /// Whether the task cannot write there.
    pub read_only: bool,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// As long as it is open, no other file can have its inode.
    #[serde(skip)]
    _held: Arc<OwnedFd>,
}

impl CheckedMount {
    fn new(source: &Source, target: &str, writable: bool) -> Self {
        Self {
            source: source.path.clone(),
            target: target.to_owned(),
            read_only: !writable,
            device: source.id.device,
            inode: source.id.inode,
            _held: Arc::clone(&source.fd),
        }
    }

    /// What process 1 compares.
    pub(super) fn check(&self) -> MountCheck {
        MountCheck {
            device: self.device,
            inode: self.inode,
            read_only: self.read_only,
            target: self.target.clone().into(),
        }
    }
}

/// What `spec` wants to have mounted, before anything of the host is looked at.
fn wanted(spec: &TaskSpec) -> impl Iterator<Item = BindMount> {
    let workspace = spec.workspace.as_ref().map(|workspace| BindMount {
        source: workspace.source.clone(),
        target: WORKSPACE.into(),
        writable: workspace.writable,
    });
    workspace.into_iter().chain(spec.mounts.iter().cloned())
}

/// Checks what can be known without the host's files.
///
/// # Errors
/// `ACODE-CTN-015`.
pub(super) fn check_targets(spec: &TaskSpec) -> Result<()> {
    let wrong = |message: String| Error::invalid(Code::Configuration, "mounts", message);
    let targets: Vec<String> = wanted(spec).map(|mount| mount.target).collect();
    if targets.len() > MAX_COUNT {
        return Err(wrong(format!("a task has at most {MAX_COUNT} mounts")));
    }
    if spec.has_files()
        && targets
            .iter()
            .any(|target| matches!(target.as_str(), WORKSPACE | FILES_DIR))
    {
        return Err(wrong(format!(
            "a mount at {WORKSPACE} and files that are copied in or out: with a directory of the host there, read and write that"
        )));
    }
    for (index, target) in targets.iter().enumerate() {
        if clean_inside_path(target).map_err(wrong)? != *target {
            return Err(wrong(format!(
                "write '{}' without extra '/' and '.'",
                shown(target)
            )));
        }
        let taken = ["/proc", "/sys", "/dev", SECRETS, super::policy::INIT_PATH];
        if let Some(taken) = taken.iter().find(|taken| is_within(target, taken)) {
            return Err(wrong(format!(
                "nothing can be mounted at {}: {taken} is not the caller's",
                shown(target)
            )));
        }
        // To mount inside of a mount, the engine would make files of root's in the host's directory.
        let ours = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", SECRETS];
        let others = targets[..index]
            .iter()
            .chain(&targets[index + 1..])
            .map(String::as_str);
        let tmpfs = spec.tmpfs.iter().map(|tmpfs| tmpfs.path.as_str());
        let inner = ours
            .into_iter()
            .chain(others)
            .chain(tmpfs)
            .find(|other| is_within(other, target));
        if let Some(inner) = inner {
            return Err(wrong(format!(
                "the mounts at {} and {} would lie upon each other",
                shown(target),
                shown(inner)
            )));
        }
    }
    Ok(())
}

/// Whether `path` is `directory` or below it. Both are in their shortest form.
pub(super) fn is_within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || directory == "/")
}

/// What was looked at, and what follows from it for the task.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) mounts: Vec<CheckedMount>,
    /// What the task may write to.
    pub(super) writable: Vec<Source>,
    /// Who owns the workspace.
    pub(super) owner: Option<User>,
    pub(super) warnings: Vec<String>,
}

impl Looked {
    /// Whether the task may write to any of it.
    pub(super) fn is_writable(&self) -> bool {
        !self.writable.is_empty()
    }
}

/// Looks at every source: what it is, and that it may be mounted.
///
/// # Errors
/// `ACODE-CTN-012` for what may not be mounted, `ACODE-CTN-015` for what is not there.
pub(super) fn look(spec: &TaskSpec, rules: &MountRules, engine: &Path) -> Result<Looked> {
    let mut looked = Looked::default();
    if spec.workspace.is_none() && spec.mounts.is_empty() {
        return Ok(looked);
    }
    let forbidden = Forbidden::of_this_host(engine);
    for (number, mount) in wanted(spec).enumerate() {
        let source = Source::look(&mount.source)?;
        forbidden.check(&source, mount.writable)?;
        if let Some(allowed) = &rules.allow {
            source.check_allowed(allowed, mount.writable)?;
        }
        if spec.selinux_relabel {
            forbidden::check_relabel(&source)?;
        }
        if source.has_mounts_below() {
            if spec.selinux_relabel {
                return Err(source.refused(
                    "other file systems are mounted below it, and would be relabelled too",
                ));
            }
            looked.warnings.push(format!(
                "the task does not see what else is mounted below {}",
                shown(&source.path)
            ));
        }
        if number == 0
            && let Some(workspace) = &spec.workspace
        {
            source.check_directory()?;
            check_workdir(spec, &source)?;
            if workspace.as_owner {
                looked.owner = source.task_owner(workspace.writable)?;
            }
        }
        looked
            .mounts
            .push(CheckedMount::new(&source, &mount.target, mount.writable));
        if mount.writable && looked.writable.iter().all(|other| other.id != source.id) {
            looked.writable.push(source);
        }
    }
    Ok(looked)
}

/// The engine would make a working directory that is not there, for root.
fn check_workdir(spec: &TaskSpec, workspace: &Source) -> Result<()> {
    let Some(workdir) = &spec.workdir else {
        return Ok(());
    };
    let workdir = clean_inside_path(workdir)
        .map_err(|message| Error::invalid(Code::Configuration, "workdir", message))?;
    let Some(inside) = workdir.strip_prefix("/workspace/") else {
        return Ok(());
    };
    if workspace.has_directory(inside) {
        return Ok(());
    }
    Err(Error::invalid(
        Code::Configuration,
        "workdir",
        format!("the workspace has no directory '{}'", shown(inside)),
    )
    .on(shown(&workspace.path)))
}

/// A directory of a test's own.
#[cfg(test)]
fn test_dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("acode-mounts-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).unwrap();
    dir
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::image_ref::ImageRef;
    use crate::task::Tmpfs;

    #[test]
    fn mounts_are_read_only_unless_said() {
        let mount = BindMount::parse("/a b:/data/./x/").unwrap();
        assert_eq!(
            (mount.source.to_str(), mount.target.as_str(), mount.writable),
            (Some("/a b"), "/data/x", false)
        );
        assert!(BindMount::parse("a:/b:rw").unwrap().writable);
        assert!(!BindMount::parse("a:/b:ro").unwrap().writable);
        for wrong in [
            "",
            "/a",
            ":/b",
            "/a:b",
            "/a:/b:rx",
            "/a:/b:rw:z",
            "/a:/",
            "/a:/b/../c",
            "type=bind,source=/a,target=/b",
        ] {
            assert!(BindMount::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Workspace::parse(".").unwrap().writable);
        assert!(!Workspace::parse("/a:b:ro").unwrap().writable);
        assert!(Workspace::parse(":ro").is_err());
    }

    fn spec(mounts: &[&str]) -> TaskSpec {
        let mut spec = TaskSpec::new("s", "t", ImageRef::parse("busybox").unwrap(), ["true"]);
        spec.mounts = mounts
            .iter()
            .map(|text| BindMount::parse(text).unwrap())
            .collect();
        spec
    }

    #[test]
    fn targets_that_hide_or_hold_what_is_ours_are_refused() {
        check_targets(&spec(&["/a:/data", "/a:/data2", "/a:/tmp", "/a:/etc/ssl"])).unwrap();
        for wrong in [
            &["/a:/proc"][..],
            &["/a:/proc/sys"],
            &["/a:/sys/fs"],
            &["/a:/dev/shm"],
            &["/a:/etc"],
            &["/a:/etc/hosts"],
            &["/a:/run"],
            &["/a:/run/secrets/x"],
            &["/a:/.acode-init"],
            &["/a:/data", "/b:/data"],
            &["/a:/data", "/b:/data/x"],
        ] {
            assert_eq!(
                check_targets(&spec(wrong)).unwrap_err().code(),
                Code::Configuration,
                "{wrong:?}"
            );
        }
        let mut inner = spec(&["/a:/data"]);
        inner.tmpfs = vec![Tmpfs::parse("/data/cache").unwrap()];
        assert!(check_targets(&inner).is_err());
    }
}
