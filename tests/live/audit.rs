//! The audit log: what it says, what it does not, and that nothing starts without it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use acode_rt::task::{Audit, Rules};
use acode_rt::{Canceller, Code, Program, Runner, TaskIo};
use serde_json::{Value, json};

use crate::running::{Run, Running};
use crate::support::{Ctx, PROGRAM, tests};

tests![
    a_task_leaves_a_line_for_each_step,
    no_secret_is_in_the_audit_log,
    why_a_task_was_stopped_is_in_the_audit_log,
    what_is_refused_is_in_the_audit_log,
    what_the_operator_refuses_is_in_the_audit_log,
    an_audit_log_that_cannot_be_opened_stops_the_task_before_it_begins,
    a_task_that_cannot_be_audited_does_not_start,
    an_audit_log_that_ends_early_is_a_warning,
    changed_files_are_listed_where_they_match,
    artifacts_are_in_the_audit_log,
    mounts_are_in_the_audit_log,
    a_future_that_is_dropped_is_said_to_be_abandoned,
    swept_orphans_are_in_the_audit_log,
];

fn lines(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn events(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect()
}

fn audited(ctx: &Ctx, options: &[&str], script: &str) -> (Run, Vec<Value>) {
    let file = ctx.file("audit");
    let run = ctx.sh(&[&["--audit-log", &file], options].concat(), script);
    (run, lines(&file))
}

fn a_task_leaves_a_line_for_each_step(ctx: &Ctx) {
    let receipt = ctx.file("receipt");
    let options = ["--task", "t", "--memory", "64m", "--receipt", &receipt];
    let (run, lines) = audited(ctx, &options, "echo out; exit 3");
    run.expect(3);
    assert_eq!(
        events(&lines),
        ["admitted", "created", "started", "ended", "removed"]
    );
    let receipt: Value = serde_json::from_slice(&fs::read(receipt).unwrap()).unwrap();
    for line in &lines {
        assert_eq!(line["operation"], receipt["operation"], "{line}");
        assert_eq!(line["session"], ctx.session.as_str(), "{line}");
        assert_eq!(line["task"], "t", "{line}");
        assert_eq!(line["container"], receipt["container"]["name"], "{line}");
        let time = line["time"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
    }
    assert!(
        lines[1..]
            .iter()
            .all(|line| line["container_id"] == receipt["container"]["id"])
    );
    let admitted = &lines[0]["detail"];
    assert_eq!(admitted["image"], receipt["image"]);
    assert_eq!(admitted["limits"], receipt["limits"]);
    assert_eq!(admitted["user"], "1000:1000");
    assert_eq!(admitted["network"], "none");
    assert_eq!(admitted["protections"]["read_only_root"], true);
    assert_eq!(admitted["protections"]["no_new_privileges"], true);
    assert_eq!(
        (&admitted["program"], &admitted["arguments"]),
        (&json!("sh"), &json!(2))
    );
    let ended = &lines[3]["detail"];
    assert_eq!(ended["outcome"], json!({ "kind": "exited", "code": 3 }));
    assert_eq!(
        (&ended["status"], &ended["stdout_bytes"]),
        (&json!(3), &json!(4))
    );
    let (_, more) = audited(ctx, &["--task", "t", "--keep"], "true");
    assert_eq!(more.len(), 10, "the file is appended to");
    assert_eq!(more[9]["event"], "kept");
    ctx.run(&["rm", "--force", &format!("{}/t", ctx.session)])
        .expect(0);
}

fn no_secret_is_in_the_audit_log(ctx: &Ctx) {
    let (run, lines) = audited(
        ctx,
        &["-e", "TOKEN=hush-value", "--entrypoint", "sh"],
        "echo hush-argument",
    );
    // `sh sh -c …` cannot open the second one.
    assert_ne!(run.status, 125);
    assert_eq!(lines[0]["detail"]["variables"], 1);
    let nothing = ctx.exec(
        &["--audit-log", &ctx.file("audit")],
        &["/no/such", "hush-too"],
    );
    assert_ne!(nothing.status, 0);
    let text = fs::read_to_string(ctx.file("audit")).unwrap();
    assert!(!text.contains("hush") && !text.contains("TOKEN"), "{text}");
}

fn why_a_task_was_stopped_is_in_the_audit_log(ctx: &Ctx) {
    let (run, lines) = audited(ctx, &["--timeout", "1s"], "sleep 100");
    run.expect(124);
    assert_eq!(events(&lines)[3..5], ["stopping", "ended"]);
    assert_eq!(
        lines[3]["detail"],
        json!({ "signal": "KILL", "why": "deadline" })
    );
    let file = ctx.file("stopped");
    let running = ctx.start(
        &["--audit-log", &file],
        "echo ready; while :; do sleep 1; done",
    );
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait().expect(143);
    let lines = self::lines(&file);
    assert_eq!(
        lines[3]["detail"],
        json!({ "signal": "TERM", "why": "stop" })
    );
}

fn what_is_refused_is_in_the_audit_log(ctx: &Ctx) {
    let (run, _) = audited(ctx, &["--task", "t", "--network", "host"], "true");
    run.expect_error("ACODE-CTN-012");
    let file = ctx.file("audit");
    let missing = [
        "exec",
        "--session",
        &ctx.session,
        "--image",
        "no.such/image",
        "--pull",
        "never",
        "--audit-log",
        &file,
        "--",
        "true",
    ];
    ctx.run(&missing).expect_error("ACODE-CTN-011");
    let lines = lines(&file);
    assert_eq!(events(&lines), ["refused", "refused"]);
    assert_eq!(lines[0]["task"], "t");
    assert_eq!(lines[0]["detail"]["code"], "ACODE-CTN-012");
    assert_eq!(lines[1]["detail"]["code"], "ACODE-CTN-011");
}

fn what_the_operator_refuses_is_in_the_audit_log(ctx: &Ctx) {
    let file = ctx.file("audit");
    ctx.with_engine(async |engine| {
        let mut rules = Rules::default();
        rules.deny_keep = true;
        let runner = Runner::new(engine)
            .with_rules(rules)
            .with_audit(Audit::append(&file).unwrap());
        let canceller = Canceller::new();
        let mut spec = ctx.spec("kept", "true");
        spec.keep = true;
        let refused = runner.run(spec, TaskIo::default(), &canceller).await;
        assert_eq!(refused.unwrap_err().code(), Code::PolicyRefused);
        let admitted = ctx.spec("not-kept", "true");
        let receipt = runner.run(admitted, TaskIo::default(), &canceller).await;
        assert_eq!(receipt.unwrap().status, 0);
    });
    let lines = lines(&file);
    assert_eq!(events(&lines)[..2], ["refused", "admitted"]);
    assert_eq!(
        (&lines[0]["task"], &lines[0]["detail"]["code"]),
        (&json!("kept"), &json!("ACODE-CTN-012"))
    );
    assert_eq!(lines[1]["detail"]["rules"], "operator");
}

fn an_audit_log_that_cannot_be_opened_stops_the_task_before_it_begins(ctx: &Ctx) {
    std::os::unix::fs::symlink(ctx.file("target"), ctx.file("link")).unwrap();
    for path in ["/no/such/dir/audit", "/dev/full", "/", &ctx.file("link")] {
        let run = ctx
            .sh(&["-v", "--audit-log", path], "echo ran")
            .expect_error("ACODE-CTN-018");
        assert_eq!(run.out(), "");
        assert!(!run.err().contains("creating container"), "{}", run.err());
    }
}

/// A run whose files may have only so many bytes, as on a disk that is full; the audit log has been filled so far that `room` is left.
fn with_room(ctx: &Ctx, room: usize) -> (Run, Vec<Value>) {
    let file = ctx.file("short");
    let blocks = 64;
    let filler = blocks * 512 - room - 1;
    fs::write(&file, " ".repeat(filler) + "\n").unwrap();
    let program = ctx.exec_program(&["--audit-log", &file], &["echo", "ran"]);
    let mut limited = Command::new("/bin/sh");
    limited
        .args([
            "-c",
            &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""),
            "sh",
            PROGRAM,
        ])
        .args(program.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let run = Running::start(&mut limited).finish();
    let text = fs::read_to_string(&file).unwrap();
    let whole = text[filler + 1..]
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    (run, whole.collect())
}

/// How long the first lines of a task are, each with its end.
fn lengths(ctx: &Ctx) -> Vec<usize> {
    let file = ctx.file("lengths");
    ctx.exec(&["--audit-log", &file], &["echo", "ran"])
        .expect(0);
    let text = fs::read_to_string(&file).unwrap();
    text.lines().map(|line| line.len() + 1).collect()
}

fn a_task_that_cannot_be_audited_does_not_start(ctx: &Ctx) {
    let lengths = lengths(ctx);
    for (room, told) in [(20, &[][..]), (lengths[0] + 20, &["admitted"][..])] {
        let (run, lines) = with_room(ctx, room);
        let run = run.expect_error("ACODE-CTN-018");
        assert_eq!(run.out(), "");
        assert!(
            run.err().contains("without it no task starts"),
            "{}",
            run.err()
        );
        assert_eq!(events(&lines), told);
        assert_eq!(ctx.containers().len(), 0);
    }
}

fn an_audit_log_that_ends_early_is_a_warning(ctx: &Ctx) {
    let lengths = lengths(ctx);
    let (run, lines) = with_room(ctx, lengths[..3].iter().sum::<usize>() + 20);
    let run = run.expect(0);
    assert_eq!(run.out(), "ran\n");
    assert!(
        run.err()
            .contains("warning: the audit log could not be written to its end"),
        "{}",
        run.err()
    );
    assert_eq!(events(&lines), ["admitted", "created", "started"]);
}

fn changed_files_are_listed_where_they_match(ctx: &Ctx) {
    let root = [
        "--user",
        "0",
        "--allow-root",
        "--writable-root",
        "--cap-add",
        "DAC_OVERRIDE",
    ];
    let patterns = ["--audit-changes", "/etc/**", "--audit-changes", "**/*.so"];
    let script = "echo new > /etc/new; rm /etc/passwd; echo > /lib.so; echo > /other; echo > /tmp/unseen.so
        mkdir /many; for i in $(seq 300); do echo > /many/a-longer-name-for-each-of-them-$i.so; done";
    let (run, lines) = audited(ctx, &[&root[..], &patterns[..]].concat(), script);
    run.expect(0);
    let changes: Vec<&Value> = lines
        .iter()
        .filter(|line| line["event"] == "changes")
        .collect();
    assert!(changes.len() > 1, "so many do not fit into one line");
    let paths: Vec<&Value> = changes
        .iter()
        .flat_map(|line| line["detail"]["paths"].as_array().unwrap())
        .collect();
    for expected in [
        json!({ "path": "/etc/new", "kind": "added" }),
        json!({ "path": "/etc/passwd", "kind": "deleted" }),
        json!({ "path": "/lib.so", "kind": "added" }),
        json!({ "path": "/many/a-longer-name-for-each-of-them-300.so", "kind": "added" }),
    ] {
        assert!(paths.contains(&&expected), "{expected}");
    }
    // The directory itself has changed too.
    assert_eq!(paths.len(), 304);
    assert_eq!(changes[0]["detail"]["matching"], 304);
    let order = events(&lines);
    assert_eq!(order.last(), Some(&"removed"));
    let (run, lines) = audited(ctx, &["--audit-changes", "/**"], "true");
    run.expect(0);
    let last = lines
        .iter()
        .rfind(|line| line["event"] == "changes")
        .unwrap();
    assert_eq!(last["detail"]["seen"], false);
    assert!(
        last["detail"]["why"]
            .as_str()
            .unwrap()
            .contains("read-only")
    );
}

fn artifacts_are_in_the_audit_log(ctx: &Ctx) {
    let file = ctx.file("artifact");
    let (run, lines) = audited(
        ctx,
        &["--artifact", &format!("out:{file}")],
        "echo made > out",
    );
    run.expect(0);
    assert_eq!(
        events(&lines)[3..],
        ["ended", "artifacts", "removed"],
        "{lines:?}"
    );
    let detail = &lines[4]["detail"];
    assert_eq!(
        (&detail["brought_out"], &detail["missing"]),
        (&json!(1), &json!(0))
    );
    let listed = detail["files"].as_array().unwrap();
    assert_eq!((listed.len(), &listed[0]["bytes"]), (1, &json!(5)));
    // Of `made` and the end of its line.
    assert_eq!(
        listed[0]["sha256"],
        "9ccbd3f1b19a1cdfd8d7c6ae48e9e822e2345f5be1a6187b19e41486c6941004"
    );
}

fn mounts_are_in_the_audit_log(ctx: &Ctx) {
    let source = ctx.file("source");
    fs::create_dir(&source).unwrap();
    let mount = format!("{source}:/data");
    let (run, lines) = audited(ctx, &["--mount", &mount], "true");
    if !ctx.has_own_init() {
        // What is mounted has to be looked at from inside.
        assert_eq!(events(&lines), ["refused"]);
        return drop(run.expect(125));
    }
    run.expect(0);
    assert_eq!(events(&lines)[..3], ["admitted", "mounts", "created"]);
    let mount = &lines[1]["detail"]["mounts"][0];
    assert_eq!(
        (&mount["target"], &mount["read_only"]),
        (&json!("/data"), &json!(true))
    );
    assert!(mount["source"].as_str().unwrap().ends_with("/source"));
}

fn a_future_that_is_dropped_is_said_to_be_abandoned(ctx: &Ctx) {
    let file = ctx.file("audit");
    ctx.with_engine(async |engine| {
        let program = Program::at(PROGRAM).unwrap();
        let runner = Runner::with_program(engine, &program).await.unwrap();
        let runner = runner.with_audit(Audit::append(&file).unwrap());
        let canceller = Canceller::new();
        let run = runner.run(ctx.spec("t", "sleep 1000"), TaskIo::default(), &canceller);
        let ended = tokio::time::timeout(Duration::from_secs(2), run).await;
        assert!(ended.is_err(), "{ended:?}");
    });
    let lines = lines(&file);
    assert_eq!(
        events(&lines),
        ["admitted", "created", "started", "abandoned"]
    );
    let since = std::time::Instant::now();
    while !ctx.containers().is_empty() {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "it is not removed"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn swept_orphans_are_in_the_audit_log(ctx: &Ctx) {
    let _alone = ctx.alone_with_orphans();
    let running = ctx.start(
        &["--task", "orphan"],
        "echo ready; while :; do sleep 1; done",
    );
    running.kill_with_guard();
    running.wait();
    let file = ctx.file("audit");
    ctx.run(&["cleanup", "--audit-log", &file]).expect(0);
    let lines = lines(&file);
    let line = lines
        .iter()
        .find(|line| line["session"] == ctx.session.as_str())
        .expect("a line for it");
    assert_eq!(
        (&line["event"], &line["task"]),
        (&json!("swept"), &json!("orphan"))
    );
    assert_eq!(line["detail"]["removed"], true, "{line}");
    assert_eq!(line["operation"].as_str().unwrap().len(), 36);
    assert_eq!(ctx.containers().len(), 0);
}
