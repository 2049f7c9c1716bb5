//! What must come of each recorded answer.

#[path = "fixture_expected_container.rs"]
mod container;

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
    let rows: Vec<&str> = rows()
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
    rows().map(|(name, ..)| *name)
}

fn rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(container::ROWS)
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
    (
        "container_stats/running",
        DOCKER,
        "cpu true, memory true, its peak true, 2 processes, 0 block devices, 0 networks",
    ),
    (
        "container_stats/running",
        PODMAN,
        "cpu true, memory true, its peak false, 2 processes, 0 block devices, 0 networks",
    ),
    (
        "container_stats/exited",
        ALL,
        "cpu false, memory false, its peak false, 0 processes, 0 block devices, 0 networks",
    ),
    (
        "container_stats/missing",
        DOCKER,
        "ACODE-CTN-014 not-found: the engine answered 404 Not Found: No such container: acode-fixtures-missing",
    ),
    (
        "container_stats/missing",
        PODMAN,
        r#"ACODE-CTN-014 not-found: the engine answered 404 Not Found: no container with name or ID "acode-fixtures-missing" found: no such container"#,
    ),
    ("container_changes/some", ALL, "1: 1 /greeting.txt"),
    ("container_changes/none", ALL, "0: "),
    (
        "container_changes/missing",
        DOCKER,
        "ACODE-CTN-014 not-found: the engine answered 404 Not Found: No such container: acode-fixtures-missing",
    ),
    (
        "container_changes/missing",
        PODMAN,
        "ACODE-CTN-014 retryable: the engine answered 500 Internal Server Error: acode-fixtures-missing not found: layer not known",
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
        "image_pull/ok",
        DOCKER,
        "pulled, 1 of 1 layers, 2048 bytes, 99%",
    ),
    (
        "image_pull/missing",
        DOCKER,
        "ACODE-CTN-011 not-found: the engine answered 404 Not Found: manifest for localhost:25055/none/acode-fixtures:nope not found: manifest unknown: manifest unknown",
    ),
    (
        "image_pull/unreachable",
        DOCKER,
        "ACODE-CTN-006 retryable: the engine answered 500 Internal Server Error: Get \"http://localhost:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
    ),
    (
        "image_pull/unreachable",
        PODMAN,
        "ACODE-CTN-006 retryable: the engine answered 500 Internal Server Error: network is unreachable",
    ),
    (
        "volume_list/one",
        ALL,
        r#"1: acode-fixtures-case {"acode.managed": "true", "acode.session": "fixtures", "acode.task": "case"}"#,
    ),
    ("volume_list/empty", ALL, "0: "),
    (
        "network_list/one",
        ALL,
        r#"1: acode-fixtures-case <O> {"acode.managed": "true", "acode.session": "fixtures", "acode.task": "case"}"#,
    ),
    ("network_list/empty", ALL, "0: "),
];
