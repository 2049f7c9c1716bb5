//! Configuration files on real engines: what a repository lowers arrives, and what the operator denies is denied.

use std::fs;

use serde_json::Value;

use crate::running::{Run, Running};
use crate::scenarios::SHOW_LIMITS;
use crate::support::{Ctx, IMAGE, facts, tests};

tests![
    fr_020a_80_a_repositorys_limits_hold,
    fr_020a_47_what_the_operator_denies_is_denied_to_all,
    fr_020a_47_the_operator_decides_on_a_repositorys_images,
    fr_020a_47_neither_ids_nor_spellings_get_round_a_denial,
    fr_020a_33_38_a_task_runs_in_the_image_of_its_language,
    an_operators_defaults_reach_the_task,
    a_hostile_repository_gets_no_container,
];

/// The operator's file and a repository with its own; gives their paths.
fn files(ctx: &Ctx, operator: &str, repository: &str) -> (String, String) {
    let (file, root) = (ctx.file("operator.yml"), ctx.file("repository"));
    fs::write(&file, operator).unwrap();
    fs::create_dir_all(format!("{root}/.agent")).unwrap();
    fs::write(format!("{root}/.agent/config.yml"), repository).unwrap();
    (file, root)
}

fn fr_020a_80_a_repositorys_limits_hold(ctx: &Ctx) {
    let (operator, root) = files(
        ctx,
        "docker: {resources: {pids_limit: 300}}\n",
        "docker: {resources: {memory: 64m, cpus: 0.5, pids_limit: 77, shm_size: 1m}}\n",
    );
    let files = ["--config", &operator, "--repo", &root];
    let (run, receipt) = ctx.sh_receipt(&files, SHOW_LIMITS);
    let run = run.expect(0);
    let shown = facts(run.out());
    assert_eq!((shown["memory"], shown["pids"]), ("67108864", "77"));
    let limits = &receipt["limits"];
    assert_eq!(limits["memory"], 64 << 20, "{limits}");
    assert_eq!(limits["nano_cpus"], 500_000_000, "{limits}");
    assert_eq!(limits["pids"], 77, "{limits}");
    assert_eq!(limits["shm_size"], 1 << 20, "{limits}");
    // An option may go above what the repository chose.
    let (run, receipt) = ctx.sh_receipt(&[&files[..], &["--memory", "128m"]].concat(), "true");
    run.expect(0);
    assert_eq!(receipt["limits"]["memory"], 128 << 20);
    let plan = ctx.exec(&[&files[..], &["--dry-run", "--json"]].concat(), &["true"]);
    assert_eq!(plan.expect(0).json()["limits"]["memory"], 64 << 20);
}

fn fr_020a_47_what_the_operator_denies_is_denied_to_all(ctx: &Ctx) {
    let (operator, root) = files(
        ctx,
        "policy:\n  max: {memory: 96m, cpus: 1, pids: 90, timeout: 1m}\n  networks: [none]\n  capabilities: []\n  \
         deny: [root, writable-root, keep, ignored]\n",
        "docker: {resources: {memory: 80m}}\n",
    );
    let with = |options: &[&str]| {
        ctx.sh(
            &[&["--config", &operator, "--repo", &root], options].concat(),
            "true",
        )
    };
    for options in [
        &["--memory", "97m"][..],
        &["--cpus", "1.1"],
        &["--pids", "91"],
        &["--timeout", "61s"],
        &["--network", "bridge"],
        &["--cap-add", "CHOWN"],
        &["-u", "0", "--allow-root"],
        &["--writable-root"],
        &["--keep"],
        &["--accept-ignored", "memory"],
        &["--accept-ignored", "memory", "--dry-run"],
    ] {
        let run = with(options).expect(125);
        assert!(
            run.err().contains("ACODE-CTN-012"),
            "{options:?}: {}",
            run.err()
        );
    }
    assert!(ctx.containers().is_empty());
    with(&["--memory", "96m", "--pids", "90"]).expect(0);
    // What is left open is no more than the most, also where no repository says less.
    let (run, receipt) = ctx.sh_receipt(&["--config", &operator], "true");
    run.expect(0);
    let limits = &receipt["limits"];
    assert_eq!(limits["memory"], 96 << 20, "{limits}");
    assert_eq!(limits["pids"], 90, "{limits}");
}

/// Without `--image`.
fn exec(ctx: &Ctx, options: &[&str]) -> (Run, Value) {
    let file = ctx.file("receipt.json");
    let mut program = ctx.program();
    program.args([
        "exec",
        "--session",
        &ctx.session,
        "--sweep",
        "off",
        "--pull",
        "never",
        "--receipt",
        &file,
    ]);
    if ctx.target.plain {
        program.args(["--init", "engine"]);
    }
    let run = Running::start(program.args(options).args(["--", "true"])).finish();
    let receipt =
        fs::read_to_string(&file).map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
    (run, receipt)
}

fn fr_020a_33_38_a_task_runs_in_the_image_of_its_language(ctx: &Ctx) {
    let (operator, root) = files(
        ctx,
        "docker: {images: {shell: 'no-such-image:1'}}\n",
        &format!(
            "docker: {{images: {{shell: '{IMAGE}', combined: [{{languages: [shell, awk], image: busybox}}]}}}}\n"
        ),
    );
    let files = ["--config", &operator, "--repo", &root];
    for (languages, image) in [("shell", IMAGE), ("awk,shell", "busybox")] {
        let (run, receipt) = exec(ctx, &[&files[..], &["--language", languages]].concat());
        run.expect(0);
        assert_eq!(receipt["image"]["reference"], image);
    }
    let (run, _) = exec(ctx, &["--config", &operator, "--language", "shell"]);
    assert!(run.expect(125).err().contains("no-such-image:1"));
}

fn fr_020a_47_the_operator_decides_on_a_repositorys_images(ctx: &Ctx) {
    let repository =
        format!("docker: {{images: {{shell: '{IMAGE}', other: 'evil.example.com/x:1'}}}}\n");
    for (policy, language, status) in [
        ("allow: [docker.io/library/busybox]", "shell", 0),
        ("allow: [docker.io/library/node]", "shell", 125),
        ("deny: [docker.io/library/*]", "shell", 125),
        ("pinned: true", "shell", 125),
        ("allow: [docker.io/library/busybox]", "other", 125),
        ("local_only: true", "shell", 0),
    ] {
        let operator = format!("policy: {{images: {{{policy}}}}}\n");
        let (operator, root) = files(ctx, &operator, &repository);
        let options = [
            "--config",
            &operator,
            "--repo",
            &root,
            "--language",
            language,
        ];
        let (run, _) = exec(ctx, &options);
        let run = run.expect(status);
        assert!(
            status == 0 || run.err().contains("ACODE-CTN-012"),
            "{policy}: {}",
            run.err()
        );
    }
}

fn fr_020a_47_neither_ids_nor_spellings_get_round_a_denial(ctx: &Ctx) {
    let image = acode_rt::ImageRef::parse(IMAGE).unwrap();
    let id = ctx
        .with_engine(async |engine| engine.image_inspect(&image).await)
        .unwrap()
        .id;
    let part = &id["sha256:".len()..][..12];
    for policy in [
        "deny: ['docker.io/library/busybox']",
        "deny: ['registry-1.docker.io/library/busybox']",
        "deny: ['busybox*']",
        "deny: ['*']",
        "deny: ['**']",
        "allow: ['docker.io/library/*'], deny: ['docker.io/library/busybox']",
    ] {
        let operator = format!("policy: {{images: {{{policy}}}}}\n");
        let (operator, _) = files(ctx, &operator, "");
        for image in [
            IMAGE,
            &id,
            part,
            &format!("sha256:{part}"),
            "docker.io/busybox",
            "index.docker.io/library/busybox",
            "registry-1.docker.io/library/busybox:latest",
        ] {
            let (run, _) = exec(ctx, &["--config", &operator, "--image", image]);
            run.expect_error("ACODE-CTN-012");
        }
    }
    let (operator, _) = files(ctx, "policy: {images: {allow: ['*']}}\n", "");
    exec(ctx, &["--config", &operator, "--image", IMAGE])
        .0
        .expect(0);
    let (run, _) = exec(
        ctx,
        &["--config", &operator, "--image", &format!("sha256:{part}")],
    );
    run.expect_error("ACODE-CTN-012");
    assert!(ctx.containers().is_empty());
    // Without rules the first digits of an id will do; Podman wants them bare.
    let part = if ctx.target.is_podman() {
        part.to_owned()
    } else {
        format!("sha256:{part}")
    };
    exec(ctx, &["--image", &part]).0.expect(0);
}

fn an_operators_defaults_reach_the_task(ctx: &Ctx) {
    let text = format!(
        "defaults:\n  image: {IMAGE}\n  env: [GREETING=hello]\n  workdir: /tmp\n  timeout: 300\n"
    );
    let (operator, root) = files(ctx, &text, "docker: {}\n");
    let mut program = ctx.program();
    program.args([
        "exec",
        "--session",
        &ctx.session,
        "--sweep",
        "off",
        "--config",
        &operator,
        "--repo",
        &root,
    ]);
    program.args(["--", "sh", "-c", "echo $GREETING; pwd"]);
    let run = Running::start(&mut program).finish().expect(0);
    assert_eq!(run.out(), "hello\n/tmp\n");
}

fn a_hostile_repository_gets_no_container(ctx: &Ctx) {
    for text in [
        "docker: {privileged: true}\n",
        "docker: {resources: {memory: 1t}}\n",
        "docker: {enabled: false}\n",
        "docker: {network: host}\n",
        "docker: {mounts: [/:/host]}\n",
        "x: &a [*a]\n",
    ] {
        let (operator, root) = files(ctx, "", text);
        let run = ctx
            .sh(&["--config", &operator, "--repo", &root], "true")
            .expect(125);
        assert!(
            run.err().contains(".agent/config.yml:1: "),
            "{text}: {}",
            run.err()
        );
    }
    assert!(ctx.containers().is_empty());
}
