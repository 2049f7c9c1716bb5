//! `exec`: what is asked for, and what the task sees of it.

use std::fs;

use acode_rt::ImageRef;
use acode_rt::engine::ListOptions;
use acode_rt::protocol::labels::{SESSION, TASK};
use serde_json::Value;

use crate::running::{Run, Running};
use crate::support::{Ctx, IMAGE, facts, tests};

tests![
    exit_codes_are_the_tasks_own,
    environment_comes_from_files_then_options,
    fr_020a_18_workdir_user_and_entrypoint,
    the_defaults_are_uid_1000_in_a_workspace_that_is_its_home,
    fr_020a_19_31_labels_carry_the_exact_ids_and_the_users_own,
    commands_that_cannot_be_run_fail_as_in_a_shell,
    an_image_that_is_not_there_is_ctn_011,
    docker_host_names_the_engine_and_host_goes_before_it,
    session_and_task_come_from_the_environment_too,
    dry_run_shows_the_request_and_creates_nothing,
    fr_020a_73_log_file_has_the_output_as_well,
    fr_020a_46_the_receipt_says_what_ran_and_how_it_ended,
    a_receipt_that_cannot_be_written_stops_the_task_before_it_begins,
    fr_020a_13_every_log_line_carries_the_operation,
    fr_020a_59_keep_leaves_the_container_until_rm,
    a_failed_task_before_create_is_in_the_receipt_too,
];

fn exit_codes_are_the_tasks_own(ctx: &Ctx) {
    let exits = [0, 1, 2, 7, 126, 127, 137, 255].map(|code| {
        let mut program = ctx.exec_program(&[], &["sh", "-c", &format!("exit {code}")]);
        (code, Running::start(&mut program))
    });
    for (code, running) in exits {
        let run = running.finish().expect(code);
        assert_eq!(run.err().contains("137 may also mean"), code == 137, "{}", run.err());
    }
}

fn environment_comes_from_files_then_options(ctx: &Ctx) {
    let file = ctx.file("env");
    fs::write(&file, "# A=comment\n\nA=file\n  B=a=b c\nOURS\nMISSING_HERE\nEMPTY=\n").unwrap();
    let options = ["--env-file", &file, "-e", "A=option", "-e", "OURS_TOO", "-e", "ALSO_MISSING", "-e", "UTF=ü"];
    let mut program = ctx.exec_program(&options, &["env"]);
    program.env("OURS", "1").env("OURS_TOO", "2").env("NOT_ASKED_FOR", "3");
    let run = Running::start(&mut program).finish().expect(0);
    let env = facts(run.out());
    let wanted = [("A", "option"), ("B", "a=b c"), ("OURS", "1"), ("OURS_TOO", "2"), ("EMPTY", ""), ("UTF", "ü")];
    for (key, value) in wanted {
        assert_eq!(env.get(key), Some(&value), "{key}: {}", run.out());
    }
    for key in ["MISSING_HERE", "ALSO_MISSING", "NOT_ASKED_FOR", "# A"] {
        assert_eq!(env.get(key), None);
    }
    assert!(env["PATH"].contains("/bin"), "the image's own stays");
}

fn fr_020a_18_workdir_user_and_entrypoint(ctx: &Ctx) {
    let script = "pwd; id -u; id -g";
    let run = ctx.exec(&["-w", "/tmp", "-u", "1234:5678", "--entrypoint", "sh"], &["-c", script]).expect(0);
    assert_eq!(run.out(), "/tmp\n1234\n5678\n");
    let run = ctx.exec(&["--entrypoint", "", "-u", "77"], &["sh", "-c", script]).expect(0);
    assert_eq!(run.out(), "/workspace\n77\n77\n");
    let root = ctx.exec(&["-u", "0", "--allow-root"], &["id", "-u"]).expect(0);
    assert_eq!(root.out(), "0\n");
}

fn the_defaults_are_uid_1000_in_a_workspace_that_is_its_home(ctx: &Ctx) {
    let run = ctx.sh(&[], "id -u; id -g; pwd; echo $HOME; echo x > ~/file && cat ~/file").expect(0);
    assert_eq!(run.out(), "1000\n1000\n/workspace\n/workspace\nx\n");
}

fn fr_020a_19_31_labels_carry_the_exact_ids_and_the_users_own(ctx: &Ctx) {
    let session = format!("{}-With/Ünusual", ctx.session);
    let mut program = ctx.program();
    program.args(["exec", "--session", &session, "--task", "Task 1", "--keep", "--image", IMAGE]);
    program.args(["--label", "team=a=b", "--label", "bare", "--", "true"]);
    Running::start(&mut program).finish().expect(0);
    let [container] = &ctx.containers()[..] else { panic!("{:?}", ctx.containers()) };
    assert_eq!((container.labels[SESSION].as_str(), container.labels[TASK].as_str()), (session.as_str(), "Task 1"));
    assert_eq!((container.labels["team"].as_str(), container.labels["bare"].as_str()), ("a=b", ""));
    let name = container.name();
    let (_, mark) = name.rsplit_once('-').unwrap();
    assert!(name.len() <= 63 && mark.len() == 17 && mark.starts_with('h'), "{name}");
    ctx.run(&["rm", &format!("{session}/Task 1")]).expect_error("ACODE-CTN-016");
    ctx.run(&["rm", name]).expect(0);
}

/// Its init finds no such command; Podman's says 1 for everything.
fn commands_that_cannot_be_run_fail_as_in_a_shell(ctx: &Ctx) {
    for (command, status) in [("/no/such", 127), ("no-such", 127), ("/etc/passwd", 126)] {
        let run = ctx.exec(&[], &[command]).expect(if ctx.target.is_podman() { 1 } else { status });
        assert!(run.err().contains(command) || ctx.target.is_podman(), "{}", run.err());
    }
}

fn an_image_that_is_not_there_is_ctn_011(ctx: &Ctx) {
    let missing = |image: &str| ctx.run(&["exec", "--session", &ctx.session, "--image", image, "--", "true"]);
    for image in ["no.such/image:1", "sha256:0000000000000000000000000000000000000000000000000000000000000000"] {
        let run = missing(image).expect_error("ACODE-CTN-011");
        assert!(run.err().contains(image), "{}", run.err());
    }
    let there = ctx.with_engine(async |engine| {
        assert!(engine.image_list().await.unwrap().iter().any(|image| {
            image.repo_tags.iter().any(|tag| tag.ends_with(IMAGE))
        }));
        engine.image_inspect(&ImageRef::parse(IMAGE).unwrap()).await.unwrap().id
    });
    missing(&there).expect(0);
}

fn docker_host_names_the_engine_and_host_goes_before_it(ctx: &Ctx) {
    let receipt = ctx.file("receipt");
    let exec = ["exec", "--session", &ctx.session, "--image", IMAGE, "--receipt", &receipt, "--", "true"];
    let uri = format!("unix://{}", ctx.target.host.socket().display());
    let mut by_variable = ctx.bare_program();
    let mut by_option = ctx.program();
    for program in [by_variable.env("DOCKER_HOST", &uri), by_option.env("DOCKER_HOST", "unix:///no/such.sock")] {
        Running::start(program.args(exec)).finish().expect(0);
        let receipt: Value = serde_json::from_str(&fs::read_to_string(&receipt).unwrap()).unwrap();
        assert_eq!(receipt["engine"]["server"], ctx.target.server);
    }
}

fn session_and_task_come_from_the_environment_too(ctx: &Ctx) {
    let mut program = ctx.program();
    program.env("ACODE_SESSION", &ctx.session).env("ACODE_TASK", "from-env");
    program.args(["exec", "--prefix", "other", "--image", IMAGE, "--dry-run", "--json", "--", "true"]);
    let plan = Running::start(&mut program).finish().expect(0).json();
    assert_eq!(plan["name"], format!("other-{}-from-env", ctx.session));
}

fn dry_run_shows_the_request_and_creates_nothing(ctx: &Ctx) {
    let plan = ctx.exec(&["--task", "t", "--dry-run", "--json", "--memory", "1g"], &["echo", "x"]).expect(0).json();
    assert_eq!(plan["name"], format!("acode-{}-t", ctx.session));
    assert_eq!(plan["create"]["Cmd"], serde_json::json!(["echo", "x"]));
    assert_eq!(plan["create"]["HostConfig"]["Memory"], 1 << 30);
    assert_eq!(plan["create"]["Labels"]["acode.session"], ctx.session);
    assert_eq!(plan["create"]["Image"], plan["image"]["id"]);
    let text = ctx.exec(&["--task", "t", "--dry-run"], &["echo", "x"]).expect(0);
    assert!(text.out().starts_with(&format!("would create acode-{}-t from {IMAGE}", ctx.session)), "{}", text.out());
    assert_eq!(ctx.containers().len(), 0);
}

fn fr_020a_73_log_file_has_the_output_as_well(ctx: &Ctx) {
    let file = ctx.file("log");
    let run = ctx.sh(&["--log-file", &file], "echo out; printf 'err\\0' >&2").expect(0);
    assert_eq!((run.out(), run.err()), ("out\n", "err\0"));
    let mut log = fs::read(&file).unwrap();
    log.sort_unstable();
    let mut both = b"out\nerr\0".to_vec();
    both.sort_unstable();
    assert_eq!(log, both);
}

fn fr_020a_46_the_receipt_says_what_ran_and_how_it_ended(ctx: &Ctx) {
    let (run, receipt) = ctx.sh_receipt(&["--task", "t", "--memory", "64m"], "echo out; echo error >&2; exit 7");
    run.expect(7);
    let image = ctx.with_engine(async |engine| engine.image_inspect(&ImageRef::parse(IMAGE).unwrap()).await.unwrap().id);
    let expected = serde_json::json!({
        "schema": 1, "session": ctx.session, "task": "t", "status": 7, "removed": true, "kept": false,
        "image": { "reference": IMAGE, "id": image },
        "outcome": { "kind": "exited", "code": 7 },
        "output": { "stdout_bytes": 4, "stderr_bytes": 6, "complete": true, "truncated": false },
        "ignored": [], "warnings": [], "child_out_of_memory": false,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&receipt[key], value, "{key}");
    }
    assert_eq!(receipt["container"]["name"], format!("acode-{}-t", ctx.session));
    assert_eq!(receipt["container"]["id"].as_str().unwrap().len(), 64);
    assert_eq!(receipt["operation"].as_str().unwrap().len(), 36);
    assert_eq!((&receipt["limits"]["memory"], &receipt["limits"]["pids"]), (&(64 << 20).into(), &1000.into()));
    assert_eq!(receipt["evidence"]["inspect_code"], 7);
    assert_eq!(receipt["evidence"]["oom_killed"], false);
    assert_eq!(receipt["engine"]["server"], ctx.target.server);
    assert!(receipt["started_at"].as_str().unwrap().ends_with('Z'));
    let phases = &receipt["phases_ms"];
    let sum: f64 = ["prepare", "create", "subscribe", "start", "run", "remove"].map(|p| phases[p].as_f64().unwrap()).iter().sum();
    assert!((sum - phases["total"].as_f64().unwrap()).abs() < 1.0, "{phases}");
}

fn a_receipt_that_cannot_be_written_stops_the_task_before_it_begins(ctx: &Ctx) {
    for path in ["/no/such/dir/receipt.json", "/"] {
        let run = ctx.sh(&["-v", "--receipt", path], "echo ran").expect_error("ACODE-CTN-018");
        assert_eq!(run.out(), "");
        assert!(!run.err().contains("creating container"), "{}", run.err());
    }
}

fn fr_020a_13_every_log_line_carries_the_operation(ctx: &Ctx) {
    let run = ctx.sh(&["-v", "--log-format", "json"], "true").expect(0);
    let lines: Vec<Value> = run.err().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (connected, others) = lines.split_first().unwrap();
    assert_eq!(connected["message"], "connected");
    let operation = others[0]["operation"].as_str().unwrap();
    for line in others {
        assert_eq!(line["operation"], operation, "{line}");
    }
    for message in ["creating container", "created", "starting", "removing", "ended"] {
        assert!(others.iter().any(|line| line["message"] == message), "{message}");
    }
}

fn fr_020a_59_keep_leaves_the_container_until_rm(ctx: &Ctx) {
    let (run, receipt) = ctx.sh_receipt(&["--keep", "--task", "kept"], "exit 3");
    run.expect(3);
    assert_eq!((&receipt["removed"], &receipt["kept"]), (&false.into(), &true.into()));
    let [kept] = &ctx.list()[..] else { panic!("{:?}", ctx.list()) };
    assert_eq!((&kept["task"], &kept["ephemeral"]), (&"kept".into(), &false.into()));
    ctx.exec(&["--task", "kept"], &["true"]).expect_error("ACODE-CTN-005");
    let again = Run::expect(ctx.run(&["rm", "--json", &format!("{}/kept", ctx.session)]), 0).json();
    assert_eq!((&again["id"], &again["action"]), (&kept["id"], &"removed".into()));
    ctx.run(&["rm", &format!("{}/kept", ctx.session)]).expect_error("ACODE-CTN-016");
    let running = ctx.with_engine(async |engine| engine.container_list(&ListOptions::managed()).await.unwrap());
    assert!(running.iter().all(|container| container.id != kept["id"]));
}

fn a_failed_task_before_create_is_in_the_receipt_too(ctx: &Ctx) {
    let receipt = ctx.file("receipt");
    let image = ["exec", "--image", "no.such/image", "--receipt", &receipt, "--", "true"];
    ctx.run(&image).expect_error("ACODE-CTN-011");
    let receipt: Value = serde_json::from_str(&fs::read_to_string(&receipt).unwrap()).unwrap();
    assert_eq!((&receipt["schema"], &receipt["status"]), (&1.into(), &125.into()));
    assert_eq!(receipt["outcome"]["kind"], "not_run");
    assert_eq!(receipt["outcome"]["error"]["code"], "ACODE-CTN-011");
}
