//! What a caller asks for: one task. Everything is checked before the first call to the engine.

use std::collections::BTreeMap;
use std::time::Duration;

use super::applied;
use super::disk;
use super::files::Files;
use super::image::PullPolicy;
use super::limits::{HostCapacity, Limits};
use super::mounts::{self, BindMount, Workspace};
use super::secret::{self, Secret};
use super::tmpfs::{Tmpfs, check_inside_path, clean_inside_path};
use super::user::User;
use crate::error::{Code, Error, Result, shown};
use crate::model::LogConfig;
use crate::protocol::image_ref::ImageRef;
use crate::protocol::labels::parse_user_label;
use crate::protocol::name::{ContainerName, Prefix};
use crate::protocol::order::{MAX_PAYLOAD, TerminalSize};

/// Where a task runs and keeps its files unless said otherwise.
pub const WORKSPACE: &str = "/workspace";

/// Ten years: instants further away cannot be reckoned with.
const LONGEST: Duration = Duration::from_secs(3653 * 24 * 3600);

/// Capabilities that may be added by name. None of them reaches the host or another container.
const ADDABLE: [&str; 9] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETUID",
];

/// One task. [`TaskSpec::new`] gives the safe defaults; change what is needed.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use acode_rt::{ImageRef, TaskSpec};
/// let mut spec = TaskSpec::new("a1b2c3d4", "build-001", ImageRef::parse("busybox")?, ["sh", "-c", "make"]);
/// spec.limits.memory = Some(512 << 20);
/// spec.timeout = Some(std::time::Duration::from_secs(60));
/// # Ok(()) }
/// ```
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TaskSpec {
    /// Session id: 1 to 256 bytes without control characters.
    pub session: String,
    /// Task id within the session, likewise.
    pub task: String,
    /// First part of the container's name: `acode`.
    pub prefix: Prefix,
    /// A name that cannot be foreseen, instead of the deterministic one.
    pub random_name: bool,
    /// The image.
    pub image: ImageRef,
    /// When it is pulled: when it is missing.
    pub pull: PullPolicy,
    /// For pulling it, repeats among it: 5 min.
    pub pull_timeout: Duration,
    /// Arguments to the entrypoint, or the command itself where there is none; empty is the image's.
    pub command: Vec<String>,
    /// Replaces the image's entrypoint; an empty one switches it off.
    pub entrypoint: Option<Vec<String>>,
    /// Environment beside the image's, in order; `HOME` is the default working directory unless said.
    pub env: Vec<(String, String)>,
    /// Absolute working directory: `/workspace`, or `/workspace/src` where files go in or out.
    pub workdir: Option<String>,
    /// Who it runs as: 1000:1000.
    pub user: User,
    /// The task reads a standard input; otherwise that is empty.
    pub interactive: bool,
    /// The task has a terminal of this size, and its output is standard output only. Needs our own process 1.
    pub terminal: Option<TerminalSize>,
    /// The engine's init is process 1, also where our own could be.
    pub engine_init: bool,
    /// The engine's own filter of system calls, also where ours could be sent: for an engine whose operator has a stricter one.
    pub engine_seccomp: bool,
    /// Resource limits.
    pub limits: Limits,
    /// `none`, `bridge`, or a network's name.
    pub network: String,
    /// The root file system is writable; it is read-only otherwise.
    pub writable_root: bool,
    /// Capabilities to add, from an allow list; all are dropped otherwise.
    pub cap_add: Vec<String>,
    /// Further tmpfs mounts, or others for `/tmp` and `/workspace`.
    pub tmpfs: Vec<Tmpfs>,
    /// A directory of the host as `/workspace`, instead of memory. Needs our own process 1, as every mount does.
    pub workspace: Option<Workspace>,
    /// Other files and directories of the host.
    pub mounts: Vec<BindMount>,
    /// The engine gives what is mounted a label of SELinux that tasks can use: for writable ones one that this task alone can use.
    pub selinux_relabel: bool,
    /// What the task is told in secret. Needs our own process 1.
    pub secrets: Vec<Secret>,
    /// Where the engine keeps the output: `local`, 10m × 3, where it has that.
    pub log: Option<LogConfig>,
    /// Labels beside ours.
    pub labels: BTreeMap<String, String>,
    /// How long it may run, from its start. No limit by default.
    pub timeout: Option<Duration>,
    /// Between TERM and KILL when it is stopped: 10 s.
    pub stop_timeout: Duration,
    /// For removing the container: 30 s.
    pub cleanup_timeout: Duration,
    /// How many bytes of output are passed on, both streams together; the rest is read and dropped.
    pub max_output: Option<u64>,
    /// What is copied in before it starts, and brought out when it has ended.
    pub files: Files,
    /// Everything that the task can write to is bounded on disk: refuses what needs a volume.
    pub require_disk_bound: bool,
    /// Leave the container there when it has ended.
    pub keep: bool,
    /// Limits and protections whose absence is accepted, by name, where the engine ignores them.
    pub accept_ignored: Vec<String>,
}

impl TaskSpec {
    /// A task with all defaults.
    pub fn new(
        session: impl Into<String>,
        task: impl Into<String>,
        image: ImageRef,
        command: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            session: session.into(),
            task: task.into(),
            prefix: Prefix::default(),
            random_name: false,
            image,
            pull: PullPolicy::default(),
            pull_timeout: Duration::from_secs(300),
            command: command.into_iter().map(Into::into).collect(),
            entrypoint: None,
            env: Vec::new(),
            workdir: None,
            user: User::default(),
            interactive: false,
            terminal: None,
            engine_init: false,
            engine_seccomp: false,
            limits: Limits::default(),
            network: "none".into(),
            writable_root: false,
            cap_add: Vec::new(),
            tmpfs: Vec::new(),
            workspace: None,
            mounts: Vec::new(),
            selinux_relabel: false,
            secrets: Vec::new(),
            log: None,
            labels: BTreeMap::new(),
            timeout: None,
            stop_timeout: Duration::from_secs(10),
            cleanup_timeout: Duration::from_secs(30),
            max_output: None,
            files: Files::default(),
            require_disk_bound: false,
            keep: false,
            accept_ignored: Vec::new(),
        }
    }

    /// Checks everything that can be known without the engine.
    ///
    /// # Errors
    /// `ACODE-CTN-007` for limits, `ACODE-CTN-012` for what is never allowed, `ACODE-CTN-015` for what is not well-formed,
    /// `ACODE-CTN-016` for ids.
    pub fn check(&self) -> Result<()> {
        let wrong = |message: String| Error::invalid(Code::Configuration, "options", message);
        for (what, duration) in [
            ("timeout", self.timeout.unwrap_or_default()),
            ("stop timeout", self.stop_timeout),
            ("cleanup timeout", self.cleanup_timeout),
            ("pull timeout", self.pull_timeout),
        ] {
            if duration > LONGEST {
                return Err(wrong(format!(
                    "a {what} of more than ten years cannot be kept"
                )));
            }
        }
        if self.timeout == Some(Duration::ZERO) {
            return Err(wrong(
                "a timeout of 0 would end the task before it begins; leave it out for none".into(),
            ));
        }
        for text in self.command.iter().chain(self.entrypoint.iter().flatten()) {
            if text.contains('\0') {
                return Err(wrong("a command cannot contain a NUL character".into()));
            }
            check_length(text.len(), "an argument").map_err(wrong)?;
        }
        for (key, value) in &self.env {
            check_env(key, value).map_err(wrong)?;
            check_length(key.len() + 1 + value.len(), "a variable").map_err(wrong)?;
        }
        if let Some(workdir) = &self.workdir {
            check_inside_path(workdir).map_err(wrong)?;
        }
        for tmpfs in &self.tmpfs {
            if clean_inside_path(&tmpfs.path).map_err(wrong)? != tmpfs.path {
                return Err(wrong(format!(
                    "tmpfs '{}': write its path without extra '/' and '.'",
                    shown(&tmpfs.path)
                )));
            }
        }
        for (key, value) in &self.labels {
            parse_user_label(&format!("{key}={value}")).map_err(wrong)?;
        }
        let unknown = self
            .accept_ignored
            .iter()
            .find(|name| !applied::NAMES.contains(&name.as_str()));
        if let Some(name) = unknown {
            let names = applied::NAMES.join(", ");
            return Err(wrong(format!(
                "'{}' cannot be ignored; what can is {names}",
                shown(name)
            )));
        }
        ContainerName::new(&self.prefix, &self.session, &self.task)?;
        // What the host has is looked at where the task is planned: it makes warnings only.
        self.limits.resolve(HostCapacity::default())?;
        secret::check(self)?;
        mounts::check_targets(self)?;
        self.check_files()?;
        disk::check(self)?;
        self.check_policy()
    }

    fn check_policy(&self) -> Result<()> {
        let refused = |message: String| Error::invalid(Code::PolicyRefused, "options", message);
        let network = self.network.as_str();
        let forbidden = network == "host" || network.contains(':');
        if forbidden {
            return Err(refused(format!(
                "network '{}' would share another network namespace; use none, bridge or a network's name",
                shown(network)
            )));
        }
        if network.is_empty()
            || !network
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        {
            return Err(Error::invalid(
                Code::Configuration,
                "options",
                format!("'{}' is not a network's name", shown(network)),
            ));
        }
        for capability in &self.cap_add {
            check_capability(capability).map_err(refused)?;
        }
        Ok(())
    }
}

/// Whether a task may be given this capability at all, with or without `CAP_`.
///
/// # Errors
/// A sentence that names those that may be added.
pub fn check_capability(name: &str) -> Result<(), String> {
    if ADDABLE.contains(&bare_capability(name).as_str()) {
        return Ok(());
    }
    Err(format!(
        "capability '{}' may not be added; those that may are {}",
        shown(name),
        ADDABLE.join(", ")
    ))
}

/// A capability as the engine compares it: upper case, without `CAP_`.
pub(crate) fn bare_capability(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper
        .strip_prefix("CAP_")
        .map_or(upper.clone(), str::to_owned)
}

/// The kernel's `MAX_ARG_STRLEN`, which counts a final NUL.
fn check_length(bytes: usize, what: &str) -> Result<(), String> {
    if bytes < MAX_PAYLOAD {
        return Ok(());
    }
    Err(format!(
        "{what} has {bytes} bytes, and the kernel takes {} at most; pass it on standard input or in a file",
        MAX_PAYLOAD - 1
    ))
}

fn check_env(key: &str, value: &str) -> Result<(), String> {
    if key.is_empty() || key.contains(['=', '\0']) || key.chars().any(char::is_control) {
        return Err(format!(
            "'{}' is not the name of an environment variable",
            shown(key)
        ));
    }
    if value.contains('\0') {
        return Err(format!(
            "the value of {} contains a NUL character",
            shown(key)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> TaskSpec {
        TaskSpec::new("s", "t", ImageRef::parse("busybox").unwrap(), ["true"])
    }

    #[test]
    fn what_would_share_a_namespace_or_a_strong_capability_is_refused() {
        for network in ["host", "container:x", "ns:/proc/1/ns/net"] {
            let error = TaskSpec {
                network: network.into(),
                ..spec()
            }
            .check()
            .unwrap_err();
            assert_eq!(error.code(), Code::PolicyRefused, "{network}");
        }
        for capability in [
            "SYS_ADMIN",
            "cap_sys_admin",
            "ALL",
            "NET_ADMIN",
            "NET_RAW",
            "",
        ] {
            let error = TaskSpec {
                cap_add: vec![capability.into()],
                ..spec()
            }
            .check()
            .unwrap_err();
            assert_eq!(error.code(), Code::PolicyRefused, "{capability}");
        }
        TaskSpec {
            cap_add: vec!["cap_chown".into()],
            network: "my_net-1.x".into(),
            ..spec()
        }
        .check()
        .unwrap();
    }

    #[test]
    fn odd_paths_environment_and_labels_are_refused() {
        for path in ["", "x", "/a/../b", "/a\nb"] {
            assert!(
                TaskSpec {
                    workdir: Some(path.into()),
                    ..spec()
                }
                .check()
                .is_err(),
                "{path:?}"
            );
            assert!(Tmpfs::parse(path).is_err(), "{path:?}");
        }
        for key in ["", "A=B", "A\0", "A\n"] {
            assert!(
                TaskSpec {
                    env: vec![(key.into(), String::new())],
                    ..spec()
                }
                .check()
                .is_err(),
                "{key:?}"
            );
        }
        let reserved = [("acode.session".to_owned(), "x".to_owned())].into();
        assert!(
            TaskSpec {
                labels: reserved,
                ..spec()
            }
            .check()
            .is_err()
        );
        assert_eq!(Tmpfs::parse("//x/./y/").unwrap().path, "/x/y");
        let forever = Some(Duration::MAX);
        assert!(
            TaskSpec {
                timeout: forever,
                ..spec()
            }
            .check()
            .is_err()
        );
        assert!(
            TaskSpec {
                command: vec!["a\0b".into()],
                ..spec()
            }
            .check()
            .is_err()
        );
        assert_eq!(
            Tmpfs::parse("/x:size=1m").unwrap(),
            Tmpfs {
                path: "/x".into(),
                size: Some(1 << 20)
            }
        );
        for wrong in [
            "/",
            "//.",
            "/a,b",
            "/x:",
            "/x:exec",
            "/x:size=0",
            "/x:size=1m,exec",
        ] {
            assert!(Tmpfs::parse(wrong).is_err(), "{wrong}");
        }
    }
}
