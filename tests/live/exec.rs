//! `exec`: what is asked for, and what the task sees of it.

use std::fs;

use acode_rt::ImageRef;
use acode_rt::engine::ListOptions;
use acode_rt::protocol::labels::{SESSION, TASK};
use serde_json::Value;

use crate::running::{Run, Running};
use crate::support::{Ctx, IMAGE, bare_program, facts, tests};

tests![
    exit_codes_are_the_tasks_own,
    environment_comes_from_files_then_options,
    fr_020a_18_workdir_user_and_entrypoint,
    what_follows_the_command_is_the_tasks,
    the_defaults_are_uid_1000_in_a_workspace_that_is_its_home,
    fr_020a_19_31_labels_carry_the_exact_ids_and_the_users_own,
    commands_that_cannot_be_run_fail_as_in_a_shell,
    an_image_that_is_not_there_is_ctn_011,
    docker_host_names_the_engine_and_host_goes_before_it,
    session_and_task_come_from_the_environment_too,
    dry_run_shows_the_request_and_creates_nothing,
    fr_020a_59_keep_leaves_the_container_until_rm,
];

fn exit_codes_are_the_tasks_own(ctx: &Ctx) {
    let exits = [0, 1, 2, 7, 126, 127, 137, 255].map(|code| {
        let mut program = ctx.exec_program(&[], &["sh", "-c", &format!("exit {code}")]);
        (code, Running::start(&mut program))
    });
    for (code, running) in exits {
        let run = running.finish().expect(code);
        assert_eq!(
            run.err().contains("137 may also mean"),
            code == 137,
            "{}",
            run.err()
        );
    }
}

fn environment_comes_from_files_then_options(ctx: &Ctx) {
    let file = ctx.file("env");
    fs::write(
        &file,
        "# A=comment\n\nA=file\n  B=a=b c\nOURS\nMISSING_HERE\nEMPTY=\n",
    )
    .unwrap();
    let options = [
        "--env-file",
        &file,
        "-e",
        "A=option",
        "-e",
        "OURS_TOO",
        "-e",
        "ALSO_MISSING",
        "-e",
        "UTF=ü",
    ];
    let mut program = ctx.exec_program(&options, &["env"]);
    program
        .env("OURS", "1")
        .env("OURS_TOO", "2")
        .env("NOT_ASKED_FOR", "3");
    let run = Running::start(&mut program).finish().expect(0);
    let env = facts(run.out());
    let wanted = [
        ("A", "option"),
        ("B", "a=b c"),
        ("OURS", "1"),
        ("OURS_TOO", "2"),
        ("EMPTY", ""),
        ("UTF", "ü"),
    ];
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
    let run = ctx
        .exec(
            &["-w", "/tmp", "-u", "1234:5678", "--entrypoint", "sh"],
            &["-c", script],
        )
        .expect(0);
    assert_eq!(run.out(), "/tmp\n1234\n5678\n");
    let run = ctx
        .exec(&["--entrypoint", "", "-u", "77"], &["sh", "-c", script])
        .expect(0);
    assert_eq!(run.out(), "/workspace\n77\n77\n");
    let root = ctx
        .exec(&["-u", "0", "--allow-root"], &["id", "-u"])
        .expect(0);
    assert_eq!(root.out(), "0\n");
}

fn what_follows_the_command_is_the_tasks(ctx: &Ctx) {
    let exec = ["exec", "--session", &ctx.session, "--image", IMAGE];
    let run = ctx
        .run(&[&exec[..], &["echo", "--json", "-v", "--", "--memory", "1"]].concat())
        .expect(0);
    assert_eq!(run.out(), "--json -v -- --memory 1\n");
}

fn the_defaults_are_uid_1000_in_a_workspace_that_is_its_home(ctx: &Ctx) {
    let run = ctx
        .sh(
            &[],
            "id -u; id -g; pwd; echo $HOME; echo x > ~/file && cat ~/file",
        )
        .expect(0);
    assert_eq!(run.out(), "1000\n1000\n/workspace\n/workspace\nx\n");
}

fn fr_020a_19_31_labels_carry_the_exact_ids_and_the_users_own(ctx: &Ctx) {
    let session = format!("{}-With/Ünusual", ctx.session);
    let mut program = ctx.program();
    program.args([
        "exec",
        "--session",
        &session,
        "--task",
        "Task 1",
        "--keep",
        "--image",
        IMAGE,
    ]);
    program.args(["--label", "team=a=b", "--label", "bare", "--", "true"]);
    Running::start(&mut program).finish().expect(0);
    let [container] = &ctx.containers()[..] else {
        panic!("{:?}", ctx.containers())
    };
    assert_eq!(
        (
            container.labels[SESSION].as_str(),
            container.labels[TASK].as_str()
        ),
        (session.as_str(), "Task 1")
    );
    assert_eq!(
        (
            container.labels["team"].as_str(),
            container.labels["bare"].as_str()
        ),
        ("a=b", "")
    );
    let name = container.name();
    let (_, mark) = name.rsplit_once('-').unwrap();
    assert!(
        name.len() <= 63 && mark.len() == 17 && mark.starts_with('h'),
        "{name}"
    );
    ctx.run(&["rm", &format!("{session}/Task 1")])
        .expect_error("ACODE-CTN-016");
    ctx.run(&["rm", name]).expect(0);
}

/// Its init finds no such command; Podman's says 1 for everything.
fn commands_that_cannot_be_run_fail_as_in_a_shell(ctx: &Ctx) {
    for (command, status) in [("/no/such", 127), ("no-such", 127), ("/etc/passwd", 126)] {
        let run = ctx
            .exec(&[], &[command])
            .expect(if ctx.target.is_podman() { 1 } else { status });
        assert!(
            run.err().contains(command) || ctx.target.is_podman(),
            "{}",
            run.err()
        );
    }
}

fn an_image_that_is_not_there_is_ctn_011(ctx: &Ctx) {
    let missing = |image: &str| {
        ctx.run(&[
            "exec",
            "--session",
            &ctx.session,
            "--pull",
            "never",
            "--image",
            image,
            "--",
            "true",
        ])
    };
    for image in [
        "no.such/image:1",
        "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        let run = missing(image).expect_error("ACODE-CTN-011");
        assert!(run.err().contains(image), "{}", run.err());
    }
    let there = ctx.with_engine(async |engine| {
        assert!(
            engine
                .image_list()
                .await
                .unwrap()
                .iter()
                .any(|image| { image.repo_tags.iter().any(|tag| tag.ends_with(IMAGE)) })
        );
        engine
            .image_inspect(&ImageRef::parse(IMAGE).unwrap())
            .await
            .unwrap()
            .id
    });
    missing(&there).expect(0);
}

fn docker_host_names_the_engine_and_host_goes_before_it(ctx: &Ctx) {
    let receipt = ctx.file("receipt");
    let exec = [
        "exec",
        "--session",
        &ctx.session,
        "--image",
        IMAGE,
        "--receipt",
        &receipt,
        "--",
        "true",
    ];
    let uri = format!("unix://{}", ctx.target.host.socket().display());
    let mut by_variable = bare_program();
    let mut by_option = ctx.program();
    for program in [
        by_variable.env("DOCKER_HOST", &uri),
        by_option.env("DOCKER_HOST", "unix:///no/such.sock"),
    ] {
        Running::start(program.args(exec)).finish().expect(0);
        let receipt: Value = serde_json::from_str(&fs::read_to_string(&receipt).unwrap()).unwrap();
        assert_eq!(receipt["engine"]["server"], ctx.target.server);
    }
}

fn session_and_task_come_from_the_environment_too(ctx: &Ctx) {
    let mut program = ctx.program();
    program
        .env("ACODE_SESSION", &ctx.session)
        .env("ACODE_TASK", "from-env");
    program.args([
        "exec",
        "--prefix",
        "other",
        "--image",
        IMAGE,
        "--dry-run",
        "--json",
        "--",
        "true",
    ]);
    let plan = Running::start(&mut program).finish().expect(0).json();
    assert_eq!(plan["name"], format!("other-{}-from-env", ctx.session));
}

fn dry_run_shows_the_request_and_creates_nothing(ctx: &Ctx) {
    let plan = ctx
        .exec(
            &["--task", "t", "--dry-run", "--json", "--memory", "1g"],
            &["echo", "x"],
        )
        .expect(0)
        .json();
    assert_eq!(plan["name"], format!("acode-{}-t", ctx.session));
    assert_eq!(plan["command"], serde_json::json!(["echo", "x"]));
    assert_eq!(plan["create"]["HostConfig"]["Memory"], 1 << 30);
    assert_eq!(plan["create"]["Labels"]["acode.session"], ctx.session);
    assert_eq!(plan["create"]["Image"], plan["image"]["id"]);
    let text = ctx
        .exec(&["--task", "t", "--dry-run"], &["echo", "x"])
        .expect(0);
    assert!(
        text.out().starts_with(&format!(
            "would create acode-{}-t from {IMAGE}",
            ctx.session
        )),
        "{}",
        text.out()
    );
    assert_eq!(ctx.containers().len(), 0);
}

fn fr_020a_59_keep_leaves_the_container_until_rm(ctx: &Ctx) {
    let (run, receipt) = ctx.sh_receipt(&["--keep", "--task", "kept"], "exit 3");
    run.expect(3);
    assert_eq!(
        (&receipt["removed"], &receipt["kept"]),
        (&false.into(), &true.into())
    );
    let [kept] = &ctx.list()[..] else {
        panic!("{:?}", ctx.list())
    };
    assert_eq!(
        (&kept["task"], &kept["ephemeral"]),
        (&"kept".into(), &false.into())
    );
    ctx.exec(&["--task", "kept"], &["true"])
        .expect_error("ACODE-CTN-005");
    let again = Run::expect(
        ctx.run(&["rm", "--json", &format!("{}/kept", ctx.session)]),
        0,
    )
    .json();
    assert_eq!(
        (&again["id"], &again["action"]),
        (&kept["id"], &"removed".into())
    );
    ctx.run(&["rm", &format!("{}/kept", ctx.session)])
        .expect_error("ACODE-CTN-016");
    let running = ctx.with_engine(async |engine| {
        engine
            .container_list(&ListOptions::managed())
            .await
            .unwrap()
    });
    assert!(running.iter().all(|container| container.id != kept["id"]));
}
