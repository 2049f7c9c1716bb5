//! The other commands: list, inspect, logs, stop, rm, cleanup.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::running::Running;
use crate::support::{Ctx, tests};

tests![
    fr_020a_06_inspect_says_what_a_container_is,
    list_filters_by_session,
    fr_020a_20_logs_of_a_kept_container,
    fr_020a_20_logs_follow_until_the_end,
    fr_020a_04_stop_lets_the_task_end_itself,
    fr_020a_62_stop_kills_what_does_not_end,
    fr_020a_05_12_rm_takes_a_running_container_only_by_force,
    what_is_not_there_is_ctn_016,
    fr_020a_64_to_67_75_76_cleanup_takes_orphans_and_no_other,
    fr_020a_58_cleanup_of_a_session_takes_all_of_it,
    a_reader_that_has_enough_is_no_error,
];

fn fr_020a_06_inspect_says_what_a_container_is(ctx: &Ctx) {
    let running = ctx.start(
        &["--task", "t", "--memory", "64m", "--timeout", "1h"],
        "echo ready; cat",
    );
    let name = format!("acode-{}-t", ctx.session);
    let by_ids = ctx
        .run(&["inspect", "--json", &format!("{}/t", ctx.session)])
        .expect(0)
        .json();
    let by_name = ctx.run(&["inspect", "--json", &name]).expect(0).json();
    assert_eq!(by_ids, by_name);
    let expected = serde_json::json!({
        "name": name, "session": ctx.session, "task": "t", "state": "running", "exit_code": null, "oom_killed": false,
        "user": "1000:1000", "network": "none", "memory": "64m", "pids": 1000, "read_only": true, "ephemeral": true, "owner": "alive",
        "command": if ctx.has_own_init() { Value::Null } else { serde_json::json!(["sh", "-c", "echo ready; cat"]) },
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&by_ids[key], value, "{key}");
    }
    let text = ctx.run(&["inspect", &name]).expect(0);
    let fields: Vec<&str> = text
        .out()
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(fields[0], "FIELD");
    assert!(
        ["name", "id", "owner", "deadline"]
            .iter()
            .all(|field| fields.contains(field)),
        "{fields:?}"
    );
    assert!(!fields.contains(&"exit_code"), "it has none yet");
    running.finish().expect(0);
}

fn list_filters_by_session(ctx: &Ctx) {
    let one = ctx.start(&["--task", "one"], "echo ready; cat");
    let mut other = ctx.program();
    let session = format!("{}b", ctx.session);
    other.args([
        "exec",
        "-i",
        "--session",
        &session,
        "--task",
        "two",
        "--image",
        "busybox",
        "--",
        "sh",
        "-c",
        "echo ready; cat",
    ]);
    let two = Running::start(other.stdin(std::process::Stdio::piped()));
    two.stdout.until(b"ready\n");
    let [row] = &ctx.list()[..] else {
        panic!("{:?}", ctx.list())
    };
    assert_eq!(
        (&row["task"], &row["state"], &row["session"]),
        (
            &"one".into(),
            &"running".into(),
            &ctx.session.as_str().into()
        )
    );
    assert!(row["age_seconds"].as_u64().unwrap() < 3600);
    let everybodys = ctx.run(&["list", "--json"]).expect(0).json();
    let tasks: Vec<&Value> = everybodys
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["session"] == session)
        .collect();
    assert_eq!((tasks.len(), &tasks[0]["task"]), (1, &"two".into()));
    for running in [one, two] {
        running.finish().expect(0);
    }
}

fn fr_020a_20_logs_of_a_kept_container(ctx: &Ctx) {
    ctx.sh(
        &["--keep", "--task", "t"],
        "echo one; echo two; echo err >&2; printf 'three\\377\\n'",
    )
    .expect(0);
    let name = format!("{}/t", ctx.session);
    let logs = |options: &[&str]| ctx.run(&[&["logs", &name], options].concat()).expect(0);
    let all = logs(&[]);
    assert_eq!(
        (all.stdout.as_slice(), all.err()),
        (&b"one\ntwo\nthree\xff\n"[..], "err\n")
    );
    let tail = logs(&["--tail", "1"]);
    assert_eq!(
        tail.stdout.len() + tail.stderr.len(),
        if tail.stderr.is_empty() { 7 } else { 4 },
        "one line, whichever came last"
    );
    assert_eq!(logs(&["--since", "1h"]).stdout, all.stdout);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert_eq!(
        logs(&["--since", &format!("@{}", now - 3600)]).stdout,
        all.stdout
    );
    let later = logs(&["--since", &format!("@{}", now + 3600)]);
    assert_eq!((later.out(), later.err()), ("", ""));
    let stamped = String::from_utf8_lossy(&logs(&["-T"]).stdout).into_owned();
    for (line, text) in stamped.lines().zip(["one", "two", "three"]) {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(
            time.contains('T') && time.len() >= 20 && rest.starts_with(text),
            "{line}"
        );
    }
    let json = logs(&["--json"]);
    let mut streams = [String::new(), String::new()];
    for line in json.out().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = line["text"].as_str().unwrap();
        assert_eq!(line["lossy"], text.contains('\u{fffd}'));
        streams[usize::from(line["stream"] == "stderr")].push_str(text);
    }
    assert_eq!(streams, ["one\ntwo\nthree\u{fffd}\n", "err\n"]);
    ctx.run(&["rm", &name]).expect(0);
}

fn fr_020a_20_logs_follow_until_the_end(ctx: &Ctx) {
    let mut task = ctx.start(&["--keep", "--task", "t"], "echo ready; cat; echo end");
    let name = format!("{}/t", ctx.session);
    let follow = Running::start(ctx.program().args(["logs", "-f", &name]));
    follow.stdout.until(b"ready\n");
    task.say(b"more\n");
    follow.stdout.until(b"more\n");
    task.finish().expect(0);
    assert_eq!(follow.finish().expect(0).out(), "ready\nmore\nend\n");
    ctx.run(&["rm", &name]).expect(0);
}

fn fr_020a_04_stop_lets_the_task_end_itself(ctx: &Ctx) {
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let task = ctx.start(&["--task", "t"], script);
    let stopped = ctx.run(&[
        "stop",
        "--json",
        "--stop-timeout",
        "60s",
        &format!("{}/t", ctx.session),
    ]);
    assert_eq!(task.wait().expect(3).out(), "ready\nbye\n");
    assert_eq!(stopped.expect(0).json()["action"], "stopped");
}

fn fr_020a_62_stop_kills_what_does_not_end(ctx: &Ctx) {
    let task = ctx.start(
        &["--task", "t", "--keep"],
        "trap '' TERM; echo ready; while :; do sleep 1; done",
    );
    let name = format!("{}/t", ctx.session);
    ctx.run(&["stop", "--stop-timeout", "1s", &name]).expect(0);
    task.wait().expect(137);
    ctx.run(&["stop", &name]).expect(0);
    assert_eq!(
        ctx.run(&["inspect", "--json", &name]).expect(0).json()["exit_code"],
        137
    );
    ctx.run(&["rm", &name]).expect(0);
}

fn fr_020a_05_12_rm_takes_a_running_container_only_by_force(ctx: &Ctx) {
    let mut task = ctx.start(&["--task", "t"], "echo ready; cat");
    let name = format!("acode-{}-t", ctx.session);
    let refused = ctx
        .run(&["rm", &name, &format!("{}/none", ctx.session)])
        .expect_error("ACODE-CTN-004");
    assert!(
        refused.err().contains("--force") && refused.err().contains("ACODE-CTN-016"),
        "each of both: {}",
        refused.err()
    );
    task.say(b"alive\n");
    task.stdout.until(b"alive\n");
    let removed = ctx.run(&["rm", "--force", &name]).expect(0);
    assert_eq!(removed.out(), format!("removed {name}\n"));
    assert_eq!(ctx.containers().len(), 0);
    assert_ne!(task.wait().status, 0);
}

fn what_is_not_there_is_ctn_016(ctx: &Ctx) {
    let missing = format!("{}/none", ctx.session);
    for command in [
        &["inspect"][..],
        &["logs"],
        &["stop"],
        &["rm"],
        &["rm", "--force"],
    ] {
        let error = ctx
            .run(&[command, &["--json", &missing]].concat())
            .expect_error("ACODE-CTN-016");
        let error: Value = serde_json::from_str(error.err()).unwrap();
        assert_eq!(error["relevant_state"]["subject"], missing, "{command:?}");
        for name in ["acode-no-such", "a?force=1", "a%2fb", "..", "a b", "", "ü"] {
            ctx.run(&[command, &[name]].concat())
                .expect_error("ACODE-CTN-016");
        }
    }
    assert_eq!(ctx.list().len(), 0);
    ctx.run(&["cleanup", "--session", &ctx.session]).expect(0);
}

fn fr_020a_64_to_67_75_76_cleanup_takes_orphans_and_no_other(ctx: &Ctx) {
    let _alone = ctx.alone_with_orphans();
    ctx.exec(&["--task", "kept", "--keep"], &["true"]).expect(0);
    let mut live = ctx.start(&["--task", "live"], "echo ready; cat");
    let killed = ctx.start(&["--task", "orphan"], "echo ready; exec sleep 1000");
    killed.kill_with_guard();
    killed.wait();
    assert_eq!(
        ctx.run(&["inspect", "--json", &format!("{}/orphan", ctx.session)])
            .expect(0)
            .json()["owner"],
        "gone"
    );
    for (dry_run, left) in [(true, 3), (false, 2)] {
        let options: &[&str] = if dry_run {
            &["cleanup", "--json", "--dry-run"]
        } else {
            &["cleanup", "--json", "-v"]
        };
        let run = ctx.run(options).expect(0);
        let entries = run.json();
        let entry = |task: &str| {
            let ours = |entry: &&Value| entry["session"] == ctx.session && entry["task"] == task;
            entries["containers"]
                .as_array()
                .unwrap()
                .iter()
                .find(ours)
                .unwrap()
                .clone()
        };
        let orphan = entry("orphan");
        assert_eq!(
            (&orphan["orphan"], &orphan["reason"]),
            (&true.into(), &"its owner is gone".into())
        );
        assert_eq!(orphan["removed"], !dry_run);
        for (task, reason) in [
            ("live", "its owner lives"),
            ("kept", "it is meant to be kept until its deadline"),
        ] {
            let entry = entry(task);
            assert_eq!(
                (&entry["orphan"], &entry["removed"]),
                (&false.into(), &false.into()),
                "{entry}"
            );
            assert_eq!(entry["reason"], reason);
        }
        let logged = run.err().contains("removing orphan")
            && run.err().contains(orphan["name"].as_str().unwrap());
        assert_eq!(logged, !dry_run, "{}", run.err());
        assert_eq!(ctx.containers().len(), left);
    }
    live.say(b"unharmed\n");
    assert_eq!(live.finish().expect(0).out(), "ready\nunharmed\n");
    ctx.run(&["rm", &format!("{}/kept", ctx.session)]).expect(0);
}

fn fr_020a_58_cleanup_of_a_session_takes_all_of_it(ctx: &Ctx) {
    ctx.exec(&["--task", "kept", "--keep"], &["true"]).expect(0);
    let live = ctx.start(&["--task", "live"], "echo ready; cat");
    let cleanup = ["cleanup", "--session", &ctx.session];
    let dry = ctx.run(&[&cleanup[..], &["--dry-run"]].concat()).expect(0);
    assert_eq!(dry.out().matches("would go").count(), 2, "{}", dry.out());
    assert_eq!(ctx.containers().len(), 2);
    let table = ctx.run(&cleanup).expect(0);
    let rows: Vec<&str> = table.out().lines().collect();
    assert!(
        rows[0].starts_with("NAME") && rows[0].contains("DECISION"),
        "{rows:?}"
    );
    assert!(
        rows.len() == 4 && rows[1..3].iter().all(|row| row.contains("removed")),
        "{rows:?}"
    );
    assert_eq!(ctx.containers().len(), 0);
    assert_ne!(live.wait().status, 0);
}

fn a_reader_that_has_enough_is_no_error(ctx: &Ctx) {
    for command in ["list", "cleanup --dry-run", "completions bash"] {
        let mut program = ctx.program();
        let mut child = program.args(command.split(' ')).spawn().unwrap();
        drop(child.stdout.take());
        let run = Running::watch(child).wait().expect(0);
        assert_eq!(run.err(), "", "{command}");
    }
}
