//! What a task leaves behind on our side: its receipt, its log file, our own log.

use std::fs;

use acode_rt::ImageRef;
use serde_json::Value;

use crate::support::{Ctx, IMAGE, tests};

tests![
    fr_020a_73_log_file_has_the_output_as_well,
    fr_020a_46_the_receipt_says_what_ran_and_how_it_ended,
    a_receipt_that_cannot_be_written_stops_the_task_before_it_begins,
    fr_020a_13_every_log_line_carries_the_operation,
    a_failed_task_before_create_is_in_the_receipt_too,
];

fn fr_020a_73_log_file_has_the_output_as_well(ctx: &Ctx) {
    let file = ctx.file("log");
    let run = ctx
        .sh(&["--log-file", &file], "echo out; printf 'err\\0' >&2")
        .expect(0);
    assert_eq!((run.out(), run.err()), ("out\n", "err\0"));
    let mut log = fs::read(&file).unwrap();
    log.sort_unstable();
    let mut both = b"out\nerr\0".to_vec();
    both.sort_unstable();
    assert_eq!(log, both);
}

fn fr_020a_46_the_receipt_says_what_ran_and_how_it_ended(ctx: &Ctx) {
    let (run, receipt) = ctx.sh_receipt(
        &["--task", "t", "--memory", "64m"],
        "echo out; echo error >&2; exit 7",
    );
    run.expect(7);
    let image = ctx.with_engine(async |engine| {
        engine
            .image_inspect(&ImageRef::parse(IMAGE).unwrap())
            .await
            .unwrap()
    });
    // One that was imported into Docker has none.
    let digest = image.repo_digests.first().map(|name| {
        let (_, digest) = name.split_once('@').unwrap();
        digest.to_owned()
    });
    let expected = serde_json::json!({
        "schema": 1, "session": ctx.session, "task": "t", "status": 7, "removed": true, "kept": false,
        "image": { "reference": IMAGE, "id": image.id, "digest": digest, "pulled": false },
        "outcome": { "kind": "exited", "code": 7 },
        "output": { "stdout_bytes": 4, "stderr_bytes": 6, "complete": true, "truncated": false, "recovered_bytes": 0 },
        "ignored": [], "warnings": [], "child_out_of_memory": false,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&receipt[key], value, "{key}");
    }
    assert_eq!(
        receipt["container"]["name"],
        format!("acode-{}-t", ctx.session)
    );
    assert_eq!(receipt["container"]["id"].as_str().unwrap().len(), 64);
    assert_eq!(receipt["operation"].as_str().unwrap().len(), 36);
    assert_eq!(
        (&receipt["limits"]["memory"], &receipt["limits"]["pids"]),
        (&(64 << 20).into(), &1000.into())
    );
    assert_eq!(receipt["evidence"]["inspect_code"], 7);
    assert_eq!(receipt["evidence"]["oom_killed"], false);
    assert_eq!(receipt["engine"]["server"], ctx.target.server);
    assert!(receipt["started_at"].as_str().unwrap().ends_with('Z'));
    let phases = &receipt["phases_ms"];
    let sum: f64 = [
        "prepare",
        "create",
        "copy_in",
        "subscribe",
        "start",
        "run",
        "artifacts",
        "remove",
    ]
    .map(|p| phases[p].as_f64().unwrap())
    .iter()
    .sum();
    assert!(
        (sum - phases["total"].as_f64().unwrap()).abs() < 1.0,
        "{phases}"
    );
}

fn a_receipt_that_cannot_be_written_stops_the_task_before_it_begins(ctx: &Ctx) {
    for path in ["/no/such/dir/receipt.json", "/"] {
        let run = ctx
            .sh(&["-v", "--receipt", path], "echo ran")
            .expect_error("ACODE-CTN-018");
        assert_eq!(run.out(), "");
        assert!(!run.err().contains("creating container"), "{}", run.err());
    }
}

fn fr_020a_13_every_log_line_carries_the_operation(ctx: &Ctx) {
    let run = ctx.sh(&["-v", "--log-format", "json"], "true").expect(0);
    let lines: Vec<Value> = run
        .err()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (connected, others) = lines.split_first().unwrap();
    assert_eq!(connected["message"], "connected");
    let operation = others[0]["operation"].as_str().unwrap();
    for line in others {
        assert_eq!(line["operation"], operation, "{line}");
    }
    for message in [
        "creating container",
        "created",
        "starting",
        "removing",
        "ended",
    ] {
        assert!(
            others.iter().any(|line| line["message"] == message),
            "{message}"
        );
    }
}

fn a_failed_task_before_create_is_in_the_receipt_too(ctx: &Ctx) {
    let receipt = ctx.file("receipt");
    let image = [
        "exec",
        "--image",
        "no.such/image",
        "--pull",
        "never",
        "--receipt",
        &receipt,
        "--",
        "true",
    ];
    ctx.run(&image).expect_error("ACODE-CTN-011");
    let receipt: Value = serde_json::from_str(&fs::read_to_string(&receipt).unwrap()).unwrap();
    assert_eq!(
        (&receipt["schema"], &receipt["status"]),
        (&1.into(), &125.into())
    );
    assert_eq!(receipt["outcome"]["kind"], "not_run");
    assert_eq!(receipt["outcome"]["error"]["code"], "ACODE-CTN-011");
}
