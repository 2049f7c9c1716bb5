//! Files in and out of a task: what arrives, what is kept out, and what is left of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use acode_rt::task::{ArtifactRequest, CopyIn};
use acode_rt::{Canceller, TaskIo};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::running::{Run, Running};
use crate::support::{Ctx, random_bytes, tests};

tests![
    fr_020a_74_files_go_in_and_come_out,
    sixty_four_mebibytes_arrive_as_they_are,
    fr_020a_74_artifacts_come_out_however_the_task_ended,
    an_artifact_that_is_missing_is_no_success,
    a_bound_on_disk_refuses_what_has_none,
    files_that_cannot_be_copied_in_stop_the_task_before_it_begins,
    the_volume_goes_with_its_container,
    the_library_has_the_same,
];

/// A directory of the test's, with this in it.
pub(crate) fn place(ctx: &Ctx, files: &[(&str, &[u8])]) -> String {
    let dir = ctx.file("place");
    for (name, content) in files {
        let path = Path::new(&dir).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// A shell script as a task that is started in `dir`, and its receipt.
pub(crate) fn sh_in(ctx: &Ctx, dir: &str, options: &[&str], script: &str) -> (Run, Value) {
    let receipt = ctx.file("receipt.json");
    let mut program = ctx.exec_program(
        &[&["--receipt", &receipt], options].concat(),
        &["sh", "-c", script],
    );
    let run = Running::start(program.current_dir(dir)).finish();
    let receipt = serde_json::from_slice(&fs::read(receipt).unwrap()).unwrap();
    (run, receipt)
}

/// Everything below `dir`, links as such.
pub(crate) fn all(dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(dir).to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            found.push(path.strip_prefix(dir).unwrap().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

fn fr_020a_74_files_go_in_and_come_out(ctx: &Ctx) {
    let dir = place(
        ctx,
        &[
            ("in/tool", b"#!/bin/sh\necho made > out/made\n"),
            ("in/sub/data", b"data"),
            ("one", b"1"),
        ],
    );
    let tool = format!("{dir}/in/tool");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o6755)).unwrap();
    symlink("/etc/passwd", format!("{dir}/in/link")).unwrap();
    let options = [
        "--copy-in",
        "in",
        "--copy-in",
        "one:two",
        "--copy-in",
        "in/sub/.:deep/er",
        "--artifact",
        "out",
        "--artifact",
        "*.log:logs",
        "--artifact",
        "two:back",
    ];
    let (run, receipt) = sh_in(
        ctx,
        &dir,
        &options,
        "set -e; pwd; echo $HOME; id -u; touch /x 2>/dev/null || echo read-only; stat -c '%n %u:%g %a' in in/tool two deep deep/er/data; \
         readlink in/link; mkdir -p out/empty; in/tool; echo log > a.log; chmod 6755 out/made",
    );
    let run = run.expect(0);
    let expected = "/workspace/src\n/workspace/src\n1000\nread-only\nin 1000:1000 755\nin/tool 1000:1000 755\ntwo 1000:1000 644\n\
                    deep 1000:1000 755\ndeep/er/data 1000:1000 644\n/etc/passwd\n";
    assert_eq!(run.out(), expected);
    assert_eq!(
        all(&dir),
        [
            "back",
            "in",
            "in/link",
            "in/sub",
            "in/sub/data",
            "in/tool",
            "logs",
            "logs/a.log",
            "one",
            "out",
            "out/empty",
            "out/made"
        ]
    );
    let made = fs::metadata(format!("{dir}/out/made")).unwrap();
    assert_eq!(
        (made.len(), made.mode() & 0o7077 & !0o055),
        (5, 0),
        "no set-uid, no set-gid"
    );
    assert_eq!(made.uid(), nix::unistd::geteuid().as_raw());
    assert!(
        run.err().contains("no engine bounds on disk"),
        "{}",
        run.err()
    );
    let files = &receipt["files"];
    assert_eq!(
        (&files["missing"], &files["error"], &files["skipped_count"]),
        (&json!([]), &Value::Null, &0.into())
    );
    assert_eq!(
        files["copied_in"]["bytes"].as_u64().unwrap(),
        31 + 4 + 1 + 4
    );
    let first = &files["artifacts"][0];
    assert_eq!(first["path"], "/workspace/src/out/made");
    assert_eq!(first["file"], format!("{dir}/out/made"));
    assert_eq!(first["sha256"].as_str().unwrap().len(), 64);
    assert!(receipt["phases_ms"]["copy_in"].as_f64().unwrap() > 0.0);
    assert!(receipt["phases_ms"]["artifacts"].as_f64().unwrap() > 0.0);
    // Without files the workspace is what it was.
    let plain = ctx
        .sh(&[], "pwd; grep -c ' /workspace tmpfs ' /proc/mounts")
        .expect(0);
    assert_eq!(plain.out(), "/workspace\n1\n");
}

fn sixty_four_mebibytes_arrive_as_they_are(ctx: &Ctx) {
    let bytes = random_bytes(64 << 20);
    let dir = place(ctx, &[("big", &bytes)]);
    let (run, receipt) = sh_in(
        ctx,
        &dir,
        &["--copy-in", "big", "--artifact", "big:copy"],
        "sha256sum big",
    );
    let run = run.expect(0);
    assert!(fs::read(format!("{dir}/copy")).unwrap() == bytes);
    let digest = receipt["files"]["artifacts"][0]["sha256"].as_str().unwrap();
    assert_eq!(run.out(), format!("{digest}  big\n"));
}

fn fr_020a_74_artifacts_come_out_however_the_task_ended(ctx: &Ctx) {
    for (options, script, status) in [
        (&[][..], "echo x > out; exit 3", 3),
        (&["--timeout", "1s"], "echo x > out; sleep 60", 124),
        (
            &["--memory", "32m"],
            "echo x > out; exec tail /dev/zero",
            137,
        ),
    ] {
        let dir = place(ctx, &[]);
        let (run, receipt) = sh_in(
            ctx,
            &dir,
            &[&["--artifact", "out"], options].concat(),
            script,
        );
        run.expect(status);
        assert_eq!(fs::read(format!("{dir}/out")).unwrap(), b"x\n", "{script}");
        assert_eq!(
            (&receipt["removed"], &receipt["files"]["error"]),
            (&true.into(), &Value::Null),
            "{script}"
        );
        fs::remove_dir_all(dir).unwrap();
    }
    let to = ctx.file("out");
    let artifact = format!("out:{to}");
    let running = ctx.start(
        &["--artifact", &artifact],
        "echo x > out; echo ready; sleep 60",
    );
    running.signal(Signal::SIGTERM);
    running.wait().expect(143);
    assert_eq!(fs::read(to).unwrap(), b"x\n");
}

fn an_artifact_that_is_missing_is_no_success(ctx: &Ctx) {
    let dir = place(ctx, &[]);
    let options = [
        "--artifact",
        "none/at/all",
        "--artifact",
        "*.txt",
        "--artifact",
        "there",
    ];
    let (run, receipt) = sh_in(ctx, &dir, &options, "touch there");
    let run = run.expect(125);
    assert!(
        run.err().contains("acode-rt: error: ACODE-CTN-019: ")
            && run.err().contains("none/at/all, *.txt\n")
            && run.err().contains("what to do"),
        "{}",
        run.err()
    );
    assert_eq!(run.err().matches("none/at/all").count(), 1);
    for quiet in [true, false] {
        let how = if quiet { "-q" } else { "--json" };
        let asked = [&options[..], &[how]].concat();
        let run = sh_in(ctx, &dir, &asked, "touch there").0.expect(125);
        let text = run.err();
        if quiet {
            assert!(
                text.starts_with("acode-rt: error: ACODE-CTN-019: "),
                "{text}"
            );
        } else {
            let errors: Vec<serde_json::Value> = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .filter(|line: &serde_json::Value| line["code"] == "ACODE-CTN-019")
                .collect();
            assert_eq!(errors.len(), 1, "{text}");
            assert!(
                !errors[0]["suggested_actions"]
                    .as_array()
                    .unwrap()
                    .is_empty()
            );
        }
    }
    assert_eq!(receipt["outcome"], json!({ "kind": "exited", "code": 0 }));
    assert_eq!(
        (&receipt["status"], &receipt["files"]["missing"]),
        (&125.into(), &json!(["none/at/all", "*.txt"]))
    );
    assert_eq!(all(&dir), ["there"]);
    let (run, receipt) = sh_in(ctx, &dir, &options, "exit 4");
    let run = run.expect(4);
    assert!(!run.err().contains("ACODE-CTN-019"), "{}", run.err());
    assert_eq!(receipt["files"]["missing"].as_array().unwrap().len(), 3);
}

fn a_bound_on_disk_refuses_what_has_none(ctx: &Ctx) {
    for option in [["--artifact", "x"], ["--copy-in", "/etc/hostname"]] {
        let run = ctx
            .sh(
                &["-v", "--require-disk-bound", option[0], option[1]],
                "true",
            )
            .expect_error("ACODE-CTN-012");
        assert!(!run.err().contains("creating container"), "{}", run.err());
    }
    ctx.sh(&["--require-disk-bound"], "true").expect(0);
}

fn files_that_cannot_be_copied_in_stop_the_task_before_it_begins(ctx: &Ctx) {
    let dir = place(ctx, &[]);
    let pipe = format!("{dir}/pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    for source in ["/no/such/file", &pipe] {
        let run = ctx
            .sh(&["--copy-in", source], "echo ran")
            .expect_error("ACODE-CTN-019");
        assert!(run.err().contains(source), "{}", run.err());
        assert_eq!(run.out(), "");
    }
    // Found out before anything is created.
    let run = ctx
        .sh(&["-v", "--copy-in", "/no/such/file"], "echo ran")
        .expect_error("ACODE-CTN-019");
    assert!(!run.err().contains("creating container"), "{}", run.err());
    let run = ctx
        .sh(&["--artifact", "x:/proc/none/x"], "echo ran")
        .expect_error("ACODE-CTN-018");
    assert_eq!(run.out(), "");
    assert_eq!(ctx.containers().len(), 0);
}

fn the_volume_goes_with_its_container(ctx: &Ctx) {
    for killed in [false, true] {
        let running = ctx.start(&["--artifact", "out"], "touch out; echo ready; sleep 60");
        let id = ctx.containers()[0].id.clone();
        let volumes = async |engine: acode_rt::engine::Engine| {
            let listed = engine
                .volume_list(&acode_rt::protocol::target::Filters::default())
                .await
                .unwrap();
            listed
                .into_iter()
                .map(|volume| volume.name)
                .collect::<Vec<_>>()
        };
        let name = ctx.with_engine(async |engine| {
            let ties = engine.container_ties(&id).await.unwrap();
            let volume = ties
                .mounts
                .iter()
                .find(|mount| mount.kind == "volume")
                .unwrap();
            assert!(volumes(engine.clone()).await.contains(&volume.name));
            volume.name.clone()
        });
        if killed {
            running.signal(Signal::SIGKILL);
            running.wait();
        } else {
            running.signal(Signal::SIGTERM);
            running.wait();
        }
        let begun = std::time::Instant::now();
        while ctx.with_engine(volumes).contains(&name) {
            assert!(
                begun.elapsed() < crate::support::PATIENCE,
                "the volume is left"
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(ctx.containers().len(), 0);
    }
    let _ = fs::remove_file("out");
}

fn the_library_has_the_same(ctx: &Ctx) {
    let dir = place(ctx, &[("in", b"hello")]);
    let mut spec = ctx.spec("t", "cat in > out; test $(cat in) = hello");
    spec.engine_init = true;
    spec.files.copy_in = vec![CopyIn {
        source: format!("{dir}/in").into(),
        destination: None,
    }];
    spec.files.artifacts = vec![ArtifactRequest {
        path: "out".into(),
        destination: Some(format!("{dir}/out").into()),
    }];
    let receipt = ctx.with_engine(async |engine| {
        acode_rt::run(&engine, spec.clone(), TaskIo::default(), &Canceller::new())
            .await
            .unwrap()
    });
    assert_eq!((receipt.status, receipt.removed), (0, true), "{receipt:?}");
    assert_eq!(fs::read(format!("{dir}/out")).unwrap(), b"hello");
    fs::remove_file(format!("{dir}/out")).unwrap();
    // Step by step.
    ctx.with_engine(async |engine| {
        let container = acode_rt::TaskContainer::create(&engine, spec.clone())
            .await
            .unwrap();
        assert_eq!(container.copy_in().await.unwrap().bytes, 5);
        container.start().await.unwrap();
        let files = container.collect().await.unwrap();
        assert!(!files.is_incomplete(), "{files:?}");
        container.remove().await.unwrap();
    });
    assert_eq!(fs::read(format!("{dir}/out")).unwrap(), b"hello");
}
