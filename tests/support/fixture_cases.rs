//! What is recorded from each engine.

use std::collections::BTreeMap;

use acode_rt::engine::EngineKind;
use acode_rt::model::{CreateBody, HostConfig, LogConfig};
use acode_rt::protocol::labels::{MANAGED, SESSION, TASK};
use acode_rt::{ContainerName, Prefix};

/// The session of every container that is made for a recording.
pub(crate) const SESSION_ID: &str = "fixtures";
/// The image that an import makes, until the recorder removes it.
pub(crate) const IMPORTED: &str = "acode-fixtures:imported";

/// The image in the registry of a recording, without its tag.
pub(crate) const PULLED: &str = "localhost:25055/none/acode-fixtures";

/// One request and its answer, byte for byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) req: Vec<u8>,
    pub(crate) resp: Vec<u8>,
}

/// How far the container of a case is before the call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// There is none.
    Absent,
    Created,
    Running,
    Exited,
}

/// One exchange to record.
#[derive(Debug)]
pub(crate) struct Case {
    /// `call/case`, which is also where it is kept.
    pub(crate) name: &'static str,
    pub(crate) before: Before,
    /// What the container runs.
    pub(crate) cmd: &'static [&'static str],
    /// Sent as it stands, where the call is one that our client would not make.
    pub(crate) raw: Option<&'static str>,
    /// Where not every engine has it.
    pub(crate) only: Option<EngineKind>,
}

const fn case(name: &'static str, before: Before, cmd: &'static [&'static str]) -> Case {
    Case {
        name,
        before,
        cmd,
        raw: None,
        only: None,
    }
}

const SLEEP: &[&str] = &["sleep", "60"];
const TRUE: &[&str] = &["true"];
const TWO_STREAMS: &[&str] = &[
    "sh",
    "-c",
    "echo out; sleep 0.1; echo err >&2; sleep 0.1; printf 'no newline'",
];
const THREE_LINES: &[&str] = &["sh", "-c", "echo one; echo two; echo three"];
const HUNGRY: &[&str] = &["sh", "-c", "x=$(head -c 99000000 /dev/zero | tr '\\0' x)"];
const NOPE: &[&str] = &["/nope"];

pub(crate) const CASES: &[Case] = &[
    case("ping/ok", Before::Absent, &[]),
    case("version/ok", Before::Absent, &[]),
    case("info/ok", Before::Absent, &[]),
    // Podman answers whatever version is asked for.
    Case {
        raw: Some("GET /v1.10/version HTTP/1.1\r\nhost: acode-rt\r\n\r\n"),
        only: Some(EngineKind::Docker),
        ..case("version_refused/too_old", Before::Absent, &[])
    },
    Case {
        raw: Some("GET /v1.99/version HTTP/1.1\r\nhost: acode-rt\r\n\r\n"),
        only: Some(EngineKind::Docker),
        ..case("version_refused/too_new", Before::Absent, &[])
    },
    case("container_create/ok", Before::Absent, TRUE),
    case("container_create/name_taken", Before::Created, TRUE),
    case("container_create/image_missing", Before::Absent, TRUE),
    case("container_create/bad_request", Before::Absent, TRUE),
    case("container_start/ok", Before::Created, SLEEP),
    case("container_start/already_started", Before::Running, SLEEP),
    case("container_start/command_not_found", Before::Created, NOPE),
    case("container_attach/output", Before::Created, TWO_STREAMS),
    case("container_attach/stdin", Before::Created, &["cat"]),
    case("container_attach/missing", Before::Absent, &[]),
    Case {
        only: Some(EngineKind::Podman),
        ..case("container_attach/command_not_found", Before::Created, NOPE)
    },
    case("container_wait/exit_0", Before::Created, TRUE),
    case(
        "container_wait/exit_7",
        Before::Created,
        &["sh", "-c", "exit 7"],
    ),
    case("container_wait/missing", Before::Absent, &[]),
    case("container_kill/ok", Before::Running, SLEEP),
    case("container_kill/not_running", Before::Exited, TRUE),
    case("container_stop/ok", Before::Running, SLEEP),
    case("container_stop/already_stopped", Before::Exited, TRUE),
    case("container_inspect/created", Before::Created, TRUE),
    case("container_inspect/applied", Before::Created, TRUE),
    case("container_inspect/running", Before::Running, SLEEP),
    case(
        "container_inspect/exited",
        Before::Exited,
        &["sh", "-c", "exit 7"],
    ),
    case("container_inspect/oom_killed", Before::Exited, HUNGRY),
    case("container_inspect/missing", Before::Absent, &[]),
    case("container_list/empty", Before::Absent, &[]),
    case("container_list/one", Before::Exited, TRUE),
    case("container_list/by_name", Before::Running, SLEEP),
    case("container_logs/plain", Before::Exited, TWO_STREAMS),
    case("container_logs/tail", Before::Exited, THREE_LINES),
    case("container_logs/timestamps", Before::Exited, THREE_LINES),
    case("container_remove/ok", Before::Exited, TRUE),
    case("container_remove/missing", Before::Absent, &[]),
    case("container_remove/running", Before::Running, SLEEP),
    case("container_stats/running", Before::Running, SLEEP),
    case("container_stats/exited", Before::Exited, TRUE),
    case("container_stats/missing", Before::Absent, &[]),
    case("container_changes/some", Before::Created, TRUE),
    case("container_changes/none", Before::Created, TRUE),
    case("container_changes/missing", Before::Absent, &[]),
    case("archive_get/file", Before::Created, TRUE),
    case("archive_get/missing", Before::Created, TRUE),
    case("archive_put/ok", Before::Created, TRUE),
    case("archive_put/read_only", Before::Created, TRUE),
    case("image_inspect/ok", Before::Absent, &[]),
    case("image_inspect/missing", Before::Absent, &[]),
    case("image_list/ok", Before::Absent, &[]),
    case("image_import/ok", Before::Absent, &[]),
    case("image_import/garbage", Before::Absent, &[]),
    // Podman wants an encrypted registry.
    Case {
        only: Some(EngineKind::Docker),
        ..case("image_pull/ok", Before::Absent, &[])
    },
    Case {
        only: Some(EngineKind::Docker),
        ..case("image_pull/missing", Before::Absent, &[])
    },
    case("image_pull/unreachable", Before::Absent, &[]),
    case("events/window", Before::Exited, TRUE),
    case("volume_list/one", Before::Absent, &[]),
    case("volume_list/empty", Before::Absent, &[]),
    case("network_list/one", Before::Absent, &[]),
    case("network_list/empty", Before::Absent, &[]),
];

/// The name of a container that is not there.
pub(crate) const MISSING: &str = "acode-fixtures-missing";

/// What differs between one making of a call and the next.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// The container's id, or [`MISSING`].
    pub(crate) id: String,
    /// The window of events, seconds since 1970.
    pub(crate) since: u64,
    pub(crate) until: u64,
}

impl Case {
    /// Whether it is recorded from engines of this kind.
    pub(crate) fn is_for(&self, kind: EngineKind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }
}

/// The name of the one container that there is at a time.
pub(crate) fn container_name() -> ContainerName {
    ContainerName::new(&Prefix::default(), SESSION_ID, "case").expect("the ids are valid")
}

/// The labels of all that is made for a recording.
pub(crate) fn labels() -> BTreeMap<String, String> {
    [(MANAGED, "true"), (SESSION, SESSION_ID), (TASK, "case")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// What the container of `case` is made of.
pub(crate) fn create_body(case: &Case) -> CreateBody {
    let stdin = case.name == "container_attach/stdin";
    let memory = 64 << 20;
    CreateBody {
        image: if case.name == "container_create/image_missing" {
            "acode-fixtures:missing"
        } else {
            "busybox:latest"
        }
        .to_owned(),
        cmd: Some(case.cmd.iter().map(|&word| word.to_owned()).collect()),
        env: vec!["LANG=C.UTF-8".to_owned()],
        user: "1000:1000".to_owned(),
        working_dir: "/".to_owned(),
        labels: labels(),
        attach_stdin: stdin,
        attach_stdout: true,
        attach_stderr: true,
        open_stdin: stdin,
        stdin_once: stdin,
        host_config: HostConfig {
            network_mode: "none".to_owned(),
            // With an init the engine finds the init, and only the init finds out that there is no such command.
            init: case.cmd != NOPE,
            readonly_rootfs: !matches!(
                case.name,
                "archive_get/file" | "archive_put/ok" | "container_changes/some"
            ),
            cap_drop: vec!["ALL".to_owned()],
            cap_add: if case.name == "container_create/bad_request" {
                vec!["NOPE".to_owned()]
            } else {
                Vec::new()
            },
            security_opt: vec!["no-new-privileges".to_owned()],
            ipc_mode: "private".to_owned(),
            cgroupns_mode: "private".to_owned(),
            memory,
            memory_swap: memory,
            nano_cpus: 500_000_000,
            pids_limit: 64,
            shm_size: 1 << 20,
            tmpfs: [(
                "/tmp".to_owned(),
                "rw,noexec,nosuid,nodev,size=1m".to_owned(),
            )]
            .into(),
            log_config: LogConfig {
                driver: "json-file".to_owned(),
                ..LogConfig::default()
            },
            ..HostConfig::default()
        },
        ..CreateBody::default()
    }
}

/// A tar with the one file `greeting.txt`, always the same bytes.
pub(crate) fn greeting_tar() -> Vec<u8> {
    let text = b"hello\n";
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(1_000_000_000);
    let mut builder = tar::Builder::new(Vec::new());
    builder
        .append_data(&mut header, "greeting.txt", &text[..])
        .expect("a vector takes everything");
    builder.into_inner().expect("a vector takes everything")
}
