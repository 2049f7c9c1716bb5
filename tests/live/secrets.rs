//! Secrets: the task has them, and nothing else that can be looked at.

use std::fs;
use std::process::Stdio;

use crate::running::Running;
use crate::support::{Ctx, random_bytes, tests};

tests![
    nfr_020a_26_a_secret_is_in_nothing_that_can_be_listed,
    a_secret_is_what_its_source_held_byte_for_byte,
    a_secret_that_cannot_be_had_is_an_error_before_anything_is_created,
    a_secret_without_our_process_1_is_refused,
];

fn cannot(ctx: &Ctx) -> bool {
    if !ctx.has_own_init() {
        ctx.ignored.set(Some("no process 1 of our own here"));
    }
    !ctx.has_own_init()
}

/// Everything of the host's processes that others may read.
fn processes() -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            // Our own environment is where a test's canary may stand, not a program's.
            if entry.file_name() != std::process::id().to_string().as_str() {
                all.extend(fs::read(entry.path().join(file)).unwrap_or_default());
            }
        }
    }
    all
}

fn nfr_020a_26_a_secret_is_in_nothing_that_can_be_listed(ctx: &Ctx) {
    if cannot(ctx) {
        return;
    }
    // The parts are put together only here, so that this very text is no hit.
    let canary = format!("canary-{}", acode_rt::task::generated_id().unwrap());
    let source = ctx.file("secret");
    fs::write(&source, &canary).unwrap();
    let receipt = ctx.file("receipt.json");
    let file = format!("token=file:{source}");
    let options = ["-vv", "--receipt", &receipt, "--secret", &file];
    let script = "grep -c canary /run/secrets/token; stat -c %a:%u /run/secrets/token; grep -c secrets.*tmpfs /proc/mounts; echo ready; cat";
    let mut program = ctx.exec_program(&[&["-i"], &options[..]].concat(), &["sh", "-c", script]);
    let task = Running::start(program.stdin(Stdio::piped()));
    task.stdout.until(b"ready\n");
    let container = ctx.containers()[0].clone();
    let id = container.id.as_str();
    let inspect = ctx.run(&["inspect", "--json", container.name()]).expect(0);
    let logs = ctx.run(&["logs", container.name()]).expect(0);
    let raw = get(ctx, &format!("/v1.41/containers/{id}/json"));
    let engine_logs = get(
        ctx,
        &format!("/v1.41/containers/{id}/logs?stdout=1&stderr=1"),
    );
    let list = get(ctx, "/v1.41/containers/json?all=1");
    let host = processes();
    let run = task.finish().expect(0);
    assert_eq!(run.out(), "1\n400:1000\n1\nready\n");
    for (what, text) in [
        ("inspect", inspect.stdout),
        ("logs", logs.stdout),
        ("the engine's inspect", raw),
        ("the engine's log", engine_logs),
        ("the engine's list", list),
        ("the host's processes", host),
        ("our log", run.stderr),
        ("the receipt", fs::read(&receipt).unwrap()),
    ] {
        assert!(!text.is_empty(), "{what}");
        assert!(!holds(&text, canary.as_bytes()), "{what}");
    }
    // As a variable it is seen by who may read the task's own process, which is root and the task.
    let variable = format!("TOKEN=file:{source}");
    let run = ctx.sh(
        &["-vv", "--secret-env", &variable],
        "env | sed -n s/^TOKEN=//p | wc -c",
    );
    let run = run.expect(0);
    assert_eq!(run.out().trim(), (canary.len() + 1).to_string());
    assert!(!run.err().contains(&canary));
    let plan = ctx.sh(
        &[
            "--secret-env",
            &variable,
            "--secret",
            &file,
            "--dry-run",
            "--json",
        ],
        "true",
    );
    assert!(!holds(&plan.expect(0).stdout, canary.as_bytes()));
}

fn holds(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

fn get(ctx: &Ctx, path: &str) -> Vec<u8> {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(ctx.target.host.socket()).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        answer.escape_ascii()
    );
    answer
}

fn a_secret_is_what_its_source_held_byte_for_byte(ctx: &Ctx) {
    if cannot(ctx) {
        return;
    }
    let bytes = random_bytes(64 * 1024);
    let (source, empty) = (ctx.file("bytes"), ctx.file("empty"));
    fs::write(&source, &bytes).unwrap();
    fs::write(&empty, "").unwrap();
    let (one, two) = (
        format!("one=file:{source}"),
        format!("two.pem=file:{empty}"),
    );
    let script =
        "cat /run/secrets/one; test -f /run/secrets/two.pem && ! test -s /run/secrets/two.pem";
    let run = ctx.sh(&["--secret", &one, "--secret", &two], script);
    assert!(run.expect(0).stdout == bytes);
    let mut program = ctx.exec_program(
        &["--secret", "a=env:GIVEN", "--secret-env", "B=env:GIVEN"],
        &[
            "sh",
            "-c",
            "cat /run/secrets/a; echo $B; env | grep -c GIVEN",
        ],
    );
    let run = Running::start(program.env("GIVEN", "from env ")).finish();
    assert_eq!(run.out(), "from env from env\n0\n");
    // A descriptor, as a shell passes it.
    let mut program = std::process::Command::new("sh");
    let exec = ctx.exec_program(&["--secret", "a=fd:3"], &["cat", "/run/secrets/a"]);
    program.args([
        "-c",
        "printf through-a-pipe | { exec 3<&0 </dev/null; exec \"$0\" \"$@\"; }",
    ]);
    program.arg(exec.get_program()).args(exec.get_args());
    let run = Running::start(program.stdout(Stdio::piped()).stderr(Stdio::piped())).finish();
    assert_eq!(run.expect(0).out(), "through-a-pipe");
}

fn a_secret_that_cannot_be_had_is_an_error_before_anything_is_created(ctx: &Ctx) {
    let big = ctx.file("big");
    fs::write(&big, vec![0; 64 * 1024 + 1]).unwrap();
    let (missing, big) = (
        format!("a=file:{}", ctx.file("missing")),
        format!("a=file:{big}"),
    );
    for source in [&missing, &big, "a=env:NOT_SET", "../x=env:PATH", "a=fd:999"] {
        ctx.sh(&["--secret", source], "true")
            .expect_error("ACODE-CTN-020");
    }
    // What was meant to be secret is not repeated.
    for source in ["a=canary", "canary", "a=b:canary", "a=fd:canary"] {
        for option in ["--secret", "--secret-env"] {
            for more in [&[][..], &["--json"], &["-vv"], &["--dry-run"]] {
                let run = ctx.sh(&[&[option, source], more].concat(), "true");
                let run = run.expect(125);
                let text = run.err();
                assert!(text.contains("ACODE-CTN-020"), "{text}");
                assert!(
                    text.contains("token=file:PATH") || text.contains("token=fd:3"),
                    "{text}"
                );
                assert!(!text.contains("canary") && run.out().is_empty(), "{text}");
            }
        }
    }
    assert!(ctx.containers().is_empty());
}

fn a_secret_without_our_process_1_is_refused(ctx: &Ctx) {
    let source = ctx.file("secret");
    fs::write(&source, "canary").unwrap();
    for option in ["--secret", "--secret-env"] {
        let file = format!("T=file:{source}");
        let run = ctx.sh(
            &[&[option, file.as_str()], ctx.engine_init()].concat(),
            "true",
        );
        let run = run.expect_error("ACODE-CTN-015");
        assert!(run.err().contains("process 1") && !run.err().contains("canary"));
    }
}
