//! What must come of each recorded answer about containers.

use super::{ALL, D20, D26, D28, DOCKER, NEWER, PODMAN, Row};

pub(crate) const ROWS: &[Row] = &[
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
        "container_attach/command_not_found",
        PODMAN,
        r#"ACODE-CTN-014 retryable: the engine answered 500 Internal Server Error: preparing container <C> for attach: runc: runc create failed: unable to start container process: exec: "/nope": stat /nope: no such file or directory: OCI runtime attempted to invoke a command that was not found"#,
    ),
];
