//! What must come of each recorded answer.

use super::mask::{CONTAINER, IMAGE, OTHER};

/// A case, the engines that the row is about (what their directories' names contain), and what [`super::calls::outcome`]
/// says; `<C>`, `<I>` and `<O>` are the masked ids of the container, the image and anything else.
type Row = (&'static str, &'static [&'static str], &'static str);

const ALL: &[&str] = &["docker", "podman"];
const DOCKER: &[&str] = &["docker"];
const PODMAN: &[&str] = &["podman"];
const D20: &[&str] = &["docker-20.10"];
const D26: &[&str] = &["docker-26.1"];
const D28: &[&str] = &["docker-28.5"];
/// 20.10 and 26.1.
const OLDER: &[&str] = &["docker-20.10", "docker-26.1"];
/// 26.1 and 28.5.
const NEWER: &[&str] = &["docker-26.1", "docker-28.5"];

/// The one row for `case` of the engine that was recorded in `directory`.
///
/// # Panics
/// There is none, or more than one.
pub(crate) fn expected(case: &str, directory: &str) -> String {
    let rows: Vec<&str> = ROWS
        .iter()
        .filter(|(name, engines, _)| {
            *name == case && engines.iter().any(|engine| directory.contains(engine))
        })
        .map(|(_, _, text)| *text)
        .collect();
    let [text] = rows[..] else {
        panic!("{directory} {case} has {} rows", rows.len())
    };
    text.replace("<C>", CONTAINER)
        .replace("<I>", IMAGE)
        .replace("<O>", OTHER)
}

/// The cases that the table knows.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|(name, ..)| *name)
}

const ROWS: &[Row] = &[
    (
        "ping/ok",
        D20,
        "Docker, Docker/20.10.24+dfsg1 (linux), API 1.41, at 1000000000",
    ),
    (
        "ping/ok",
        D26,
        "Docker, Docker/26.1.5+dfsg1 (linux), API 1.45, at 1000000000",
    ),
    (
        "ping/ok",
        D28,
        "Docker, Docker/28.5.2+dfsg4 (linux), API 1.51, at 1000000000",
    ),
    (
        "ping/ok",
        PODMAN,
        "Podman, Libpod/5.4.2 (linux), API 1.41, at 1000000000",
    ),
    (
        "version/ok",
        D20,
        "20.10.24+dfsg1 API 1.12 to 1.41, linux/amd64, kernel 6.1.0",
    ),
    (
        "version/ok",
        D26,
        "26.1.5+dfsg1 API 1.24 to 1.45, linux/amd64, kernel 6.1.0",
    ),
    (
        "version/ok",
        D28,
        "28.5.2+dfsg4 API 1.24 to 1.51, linux/amd64, kernel 6.1.0",
    ),
    (
        "version/ok",
        PODMAN,
        "5.4.2 API 1.24 to 1.41, linux/amd64, kernel 6.1.0",
    ),
    (
        "info/ok",
        D20,
        r#"20.10.24+dfsg1 with 4 CPUs, 8589934592 bytes, fuse-overlayfs, cgroup 1, swap limit true, ["name=seccomp,profile=default"]"#,
    ),
    (
        "info/ok",
        D26,
        r#"26.1.5+dfsg1 with 4 CPUs, 8589934592 bytes, overlay2, cgroup 1, swap limit true, ["name=seccomp,profile=builtin"]"#,
    ),
    (
        "info/ok",
        D28,
        r#"28.5.2+dfsg4 with 4 CPUs, 8589934592 bytes, overlay2, cgroup 1, swap limit true, ["name=seccomp,profile=builtin"]"#,
    ),
    (
        "info/ok",
        PODMAN,
        r#"5.4.2 with 4 CPUs, 8589934592 bytes, overlay, cgroup 1, swap limit true, ["name=seccomp,profile=default"]"#,
    ),
    (
        "version_refused/too_old",
        D20,
        "ACODE-CTN-008 invalid: the engine answered 400 Bad Request: client version 1.10 is too old. Minimum supported API version is 1.12, please upgrade your client to a newer version",
    ),
    (
        "version_refused/too_old",
        NEWER,
        "ACODE-CTN-008 invalid: the engine answered 400 Bad Request: client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
    ),
    (
        "version_refused/too_new",
        D20,
        "ACODE-CTN-008 invalid: the engine answered 400 Bad Request: client version 1.99 is too new. Maximum supported API version is 1.41",
    ),
    (
        "version_refused/too_new",
        D26,
        "ACODE-CTN-008 invalid: the engine answered 400 Bad Request: client version 1.99 is too new. Maximum supported API version is 1.45",
    ),
    (
        "version_refused/too_new",
        D28,
        "ACODE-CTN-008 invalid: the engine answered 400 Bad Request: client version 1.99 is too new. Maximum supported API version is 1.51",
    ),
    ("container_create/ok", ALL, "<C>, warnings []"),
    (
        "container_create/name_taken",
        DOCKER,
        r#"ACODE-CTN-005 conflict: the engine answered 409 Conflict: Conflict. The container name "/acode-fixtures-case" is already in use by container "<C>". You have to remove (or rename) that container to be able to reuse that name."#,
    ),
    (
        "container_create/name_taken",
        PODMAN,
        r#"ACODE-CTN-001 retryable: the engine answered 500 Internal Server Error: container create: creating container storage: the container name "acode-fixtures-case" is already in use by <C>. You have to remove that container to be able to reuse that name: that name is already in use"#,
    ),
    (
        "container_create/image_missing",
        DOCKER,
        "ACODE-CTN-011 not-found: the engine answered 404 Not Found: No such image: acode-fixtures:missing",
    ),
    (
        "container_create/image_missing",
        PODMAN,
        "ACODE-CTN-011 not-found: the engine answered 404 Not Found: no such image: docker.io/library/acode-fixtures:missing: image not known",
    ),
    (
        "container_create/bad_request",
        DOCKER,
        r#"ACODE-CTN-001 invalid: the engine answered 400 Bad Request: invalid CapAdd: unknown capability: "CAP_NOPE""#,
    ),
    (
        "container_create/bad_request",
        PODMAN,
        r#"ACODE-CTN-001 retryable: the engine answered 500 Internal Server Error: container create: "CAP_NOPE": unknown capability"#,
    ),
    ("container_start/ok", ALL, "started"),
    ("container_start/already_started", ALL, "started"),
    (
        "container_start/command_not_found",
        D20,
        r#"ACODE-CTN-002 invalid: the engine answered 400 Bad Request: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/nope": stat /nope: no such file or directory: unknown"#,
    ),
    (
        "container_start/command_not_found",
        D26,
        r#"ACODE-CTN-002 invalid: the engine answered 400 Bad Request: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/nope": stat /nope: no such file or directory: unknown"#,
    ),
    (
        "container_start/command_not_found",
        D28,
        r#"ACODE-CTN-002 invalid: the engine answered 400 Bad Request: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/nope": stat /nope: no such file or directory"#,
    ),
    (
        "container_start/command_not_found",
        PODMAN,
        r#"ACODE-CTN-002 retryable: the engine answered 500 Internal Server Error: runc: runc create failed: unable to start container process: exec: "/nope": stat /nope: no such file or directory: OCI runtime attempted to invoke a command that was not found"#,
    ),
    (
        "container_attach/output",
        ALL,
        r"stdout 'out\nno newline', stderr 'err\n'",
    ),
    (
        "container_attach/stdin",
        ALL,
        r"stdout 'to the task\n', stderr ''",
    ),
    (
        "container_attach/missing",
        DOCKER,
        "ACODE-CTN-014 not-found: the engine answered 404 Not Found: No such container: acode-fixtures-missing",
    ),
    (
        "container_attach/missing",
        PODMAN,
        r#"ACODE-CTN-014 not-found: the engine answered 404 Not Found: no container with name or ID "acode-fixtures-missing" found: no such container"#,
    ),
    ("container_wait/exit_0", ALL, "exit code 0"),
    ("container_wait/exit_7", ALL, "exit code 7"),
    (
        "container_wait/missing",
        DOCKER,
        "ACODE-CTN-014 not-found: the engine answered 404 Not Found: No such container: acode-fixtures-missing",
    ),
    (
        "container_wait/missing",
        PODMAN,
        "ACODE-CTN-014 not-found: the engine answered 404 Not Found: no such container",
    ),
    ("container_kill/ok", ALL, "killed"),
    (
        "container_kill/not_running",
        D20,
        "ACODE-CTN-003 conflict: the engine answered 409 Conflict: Cannot kill container: <C>: Container <C> is not running",
    ),
    (
        "container_kill/not_running",
        NEWER,
        "ACODE-CTN-003 conflict: the engine answered 409 Conflict: cannot kill container: <C>: container <C> is not running",
    ),
    (
        "container_kill/not_running",
        PODMAN,
        "ACODE-CTN-003 conflict: the engine answered 409 Conflict: can only kill running containers. <C> is in state exited: container state improper",
    ),
    ("container_stop/ok", ALL, "stopped"),
    ("container_stop/already_stopped", ALL, "stopped"),
    (
        "container_inspect/created",
        ALL,
        r#"/acode-fixtures-case <C> of sha256:<I>: created, ended false, exit code 0, out of memory false, from 0001-01-01T00:00:00Z to 0001-01-01T00:00:00Z, error """#,
    ),
    (
        "container_inspect/applied",
        DOCKER,
        r#"image busybox:latest user 1000:1000 tty false cmd ["true"] labels {"acode.managed": "true", "acode.session": "fixtures", "acode.task": "case"} net none init true read-only true drop ["ALL"] security ["no-new-privileges"] ipc private cgroupns private memory 67108864 swap 67108864 cpus 500000000 pids 64 shm 1048576 tmpfs {"/tmp": "rw,noexec,nosuid,nodev,size=1m"} log json-file"#,
    ),
    (
        "container_inspect/applied",
        PODMAN,
        r#"image docker.io/library/busybox:latest user 1000:1000 tty false cmd ["true"] labels {"acode.managed": "true", "acode.session": "fixtures", "acode.task": "case"} net none init true read-only true drop ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"] security ["no-new-privileges"] ipc private cgroupns  memory 67108864 swap 67108864 cpus 500000000 pids 64 shm 1048576 tmpfs {"/tmp": "rw,noexec,nosuid,nodev,size=1m,rprivate,tmpcopyup"} log json-file"#,
    ),
    (
        "container_inspect/running",
        ALL,
        r#"/acode-fixtures-case <C> of sha256:<I>: running, ended false, exit code 0, out of memory false, from 2001-09-09T01:46:40.000000000Z to 0001-01-01T00:00:00Z, error """#,
    ),
    (
        "container_inspect/exited",
        ALL,
        r#"/acode-fixtures-case <C> of sha256:<I>: exited, ended true, exit code 7, out of memory false, from 2001-09-09T01:46:40.000000000Z to 2001-09-09T01:46:40.000000000Z, error """#,
    ),
    (
        "container_inspect/oom_killed",
        ALL,
        r#"/acode-fixtures-case <C> of sha256:<I>: exited, ended true, exit code 137, out of memory true, from 2001-09-09T01:46:40.000000000Z to 2001-09-09T01:46:40.000000000Z, error """#,
    ),
    (
        "container_inspect/missing",
        DOCKER,
        "ACODE-CTN-014 not-found: the engine answered 404 Not Found: No such container: acode-fixtures-missing",
    ),
    (
        "container_inspect/missing",
        PODMAN,
        r#"ACODE-CTN-014 not-found: the engine answered 404 Not Found: no container with name or ID "acode-fixtures-missing" found: no such container"#,
    ),
    ("container_list/empty", ALL, "0: "),
    (
        "container_list/one",
        ALL,
        r#"1: acode-fixtures-case <C> of sha256:<I> at 1000000000: exited, 'Exited (0) 1 second ago', {"acode.managed": "true", "acode.session": "fixtures", "acode.task": "case"}"#,
    ),
    (
        "container_list/by_name",
        ALL,
        r#"1: acode-fixtures-case <C> of sha256:<I> at 1000000000: running, 'Up 1 second', {"acode.managed": "true", "acode.session": "fixtures", "acode.task": "case"}"#,
    ),
    (
        "container_logs/plain",
        ALL,
        r"stdout 'out\nno newline', stderr 'err\n'",
    ),
    (
        "container_logs/tail",
        ALL,
        r"stdout 'two\nthree\n', stderr ''",
    ),
    (
        "container_logs/timestamps",
        DOCKER,
        r"stdout '2001-09-09T01:46:40.000000000Z one\n2001-09-09T01:46:40.000000000Z two\n2001-09-09T01:46:40.000000000Z three\n', stderr ''",
    ),
    (
        "container_logs/timestamps",
        PODMAN,
        r"stdout '2001-09-09T01:46:40Z one\n2001-09-09T01:46:40Z two\n2001-09-09T01:46:40Z three\n', stderr ''",
    ),
    ("container_remove/ok", ALL, "removed"),
    ("container_remove/missing", ALL, "was not there"),
    (
        "container_remove/running",
        D20,
        "ACODE-CTN-004 conflict: the engine answered 409 Conflict: You cannot remove a running container <C>. Stop the container before attempting removal or force remove",
    ),
    (
        "container_remove/running",
        D26,
        r#"ACODE-CTN-004 conflict: the engine answered 409 Conflict: cannot remove container "/acode-fixtures-case": container is running: stop the container before removing or force remove"#,
    ),
    (
        "container_remove/running",
        D28,
        r#"ACODE-CTN-004 conflict: the engine answered 409 Conflict: cannot remove container "<C>": container is running: stop the container before removing or force remove"#,
    ),
    (
        "container_remove/running",
        PODMAN,
        "ACODE-CTN-004 retryable: the engine answered 500 Internal Server Error: cannot remove container <C> as it is running - running or paused containers cannot be removed without force: container state improper",
    ),
    (
        "archive_get/file",
        ALL,
        r#"greeting.txt "hello\n" of 1000000000"#,
    ),
    (
        "archive_get/missing",
        DOCKER,
        "ACODE-CTN-019 not-found: the engine answered 404 Not Found: Could not find the file /no such file in container <C>",
    ),
    (
        "archive_get/missing",
        PODMAN,
        "ACODE-CTN-019 not-found: the engine answered 404 Not Found: no such file or directory",
    ),
    ("archive_put/ok", ALL, "unpacked"),
    (
        "archive_put/read_only",
        OLDER,
        "ACODE-CTN-019 retryable: the engine answered 500 Internal Server Error: container rootfs is marked read-only",
    ),
    (
        "archive_put/read_only",
        D28,
        "ACODE-CTN-019 invalid: the engine answered 400 Bad Request: container rootfs is marked read-only",
    ),
    ("archive_put/read_only", PODMAN, "unpacked"),
    (
        "image_inspect/ok",
        DOCKER,
        r#"sha256:<I> ["busybox:latest"] [] 2000000 bytes, runs [] ["sh"] with ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], volumes 0, labels {}"#,
    ),
    (
        "image_inspect/ok",
        PODMAN,
        r#"sha256:<I> ["docker.io/library/busybox:latest"] ["docker.io/library/busybox@sha256:<O>"] 2000000 bytes, runs [] ["sh"] with ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], volumes 0, labels {}"#,
    ),
    (
        "image_inspect/missing",
        D20,
        "ACODE-CTN-011 not-found: the engine answered 404 Not Found: no such image: acode-fixtures:missing: No such image: acode-fixtures:missing",
    ),
    (
        "image_inspect/missing",
        NEWER,
        "ACODE-CTN-011 not-found: the engine answered 404 Not Found: No such image: acode-fixtures:missing",
    ),
    (
        "image_inspect/missing",
        PODMAN,
        "ACODE-CTN-011 not-found: the engine answered 404 Not Found: failed to find image acode-fixtures:missing: docker.io/library/acode-fixtures:missing: No such image",
    ),
    (
        "image_list/ok",
        DOCKER,
        r#"1: sha256:<I> ["busybox:latest"] [] 2000000 bytes at 1000000000"#,
    ),
    (
        "image_list/ok",
        PODMAN,
        r#"1: sha256:<I> ["docker.io/library/busybox:latest"] ["docker.io/library/busybox@sha256:<O>"] 2000000 bytes at 1000000000"#,
    ),
    ("image_import/ok", ALL, "imported"),
    (
        "image_import/garbage",
        D20,
        "ACODE-CTN-006 retryable: the engine answered 500 Internal Server Error: Error processing tar file(exit status 1): unexpected EOF",
    ),
    (
        "image_import/garbage",
        NEWER,
        "ACODE-CTN-006 retryable: the engine answered 500 Internal Server Error: unexpected EOF",
    ),
    (
        "image_import/garbage",
        PODMAN,
        r#"ACODE-CTN-006 retryable: the engine answered 500 Internal Server Error: unable to import tarball: writing blob: adding layer with blob "sha256:<O>"/""/"sha256:<O>": unpacking failed (error: exit status 1; output: unexpected EOF)\nexhausting input failed (error: unexpected EOF)"#,
    ),
    (
        "events/window",
        DOCKER,
        "3: container create of <C> at 1000000000 with no exit code; container start of <C> at 1000000000 with no exit code; container die of <C> at 1000000000 with 0 exit code",
    ),
    (
        "events/window",
        PODMAN,
        "5: container create of <C> at 1000000000 with no exit code; container init of <C> at 1000000000 with no exit code; container start of <C> at 1000000000 with no exit code; container die of <C> at 1000000000 with 0 exit code; container cleanup of <C> at 1000000000 with no exit code",
    ),
    (
        "container_attach/command_not_found",
        PODMAN,
        r#"ACODE-CTN-014 retryable: the engine answered 500 Internal Server Error: preparing container <C> for attach: runc: runc create failed: unable to start container process: exec: "/nope": stat /nope: no such file or directory: OCI runtime attempted to invoke a command that was not found"#,
    ),
];
