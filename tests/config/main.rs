//! Configuration files, without an engine: what holds and who said it, and what a hostile repository tries.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;
mod found;
#[path = "../hostile-repo/mod.rs"]
mod hostile;
#[path = "../support/engine_untouched.rs"]
mod untouched;

use std::fs;
use std::path::Path;

use files::{Files, setting};
use serde_json::Value;
use untouched::Run;

#[test]
fn each_later_word_counts_more() {
    let operator = "docker: {resources: {memory: 3g, pids_limit: 700}, network: bridge}\ndefaults:\n  timeout: 90s\n  label: [a=1, b=2]\n  keep: true\n  sweep: before\n";
    let repository = "docker:\n  resources:\n    memory: 1g\n  network: none\n";
    let files = Files::new("order", Some(operator), Some(repository));
    let shown = files.show(&[]);
    for (name, expected) in [
        ("memory", "1g from repository:3"),
        ("pids", "700 from operator:1"),
        ("cpus", "2.0 from built-in"),
        ("network", "none from repository:4"),
        ("timeout", "90s from operator:3"),
        ("label", r#"["a=1","b=2"] from operator:4"#),
        ("keep", "true from operator:5"),
        ("sweep", "before from operator:6"),
        ("stop-timeout", "10s from built-in"),
        ("image", "null from built-in"),
    ] {
        assert_eq!(setting(&shown, name), expected);
    }
    // Options replace lists, and environment and options may go above what a repository lowered.
    let mut command = files.program_in("repository");
    let run = Run::of(
        command
            .env("ACODE_MEMORY", "2g")
            .env("ACODE_PIDS", "50")
            .env("ACODE_NETWORK", "other")
            .env("ACODE_TIMEOUT", "5s")
            .env("ACODE_CPUS", "1")
            .args([
                "config", "show", "--json", "--pids", "60", "--label", "c=3", "--sweep", "off",
            ]),
    );
    let shown = serde_json::from_str(&run.expect(0).stdout).unwrap();
    for (name, expected) in [
        ("memory", "2g from environment ACODE_MEMORY"),
        ("pids", "60 from option"),
        ("cpus", "1 from environment ACODE_CPUS"),
        ("network", "other from environment ACODE_NETWORK"),
        ("timeout", "5s from environment ACODE_TIMEOUT"),
        ("label", r#"["c=3"] from option"#),
        ("sweep", "off from option"),
    ] {
        assert_eq!(setting(&shown, name), expected);
    }
}

#[test]
fn the_table_says_where_each_value_comes_from() {
    let files = Files::new(
        "table",
        Some("policy:\n  max: {pids: 64}\n  deny: [root]\n"),
        Some("docker: {images: {node: team/node:1}}"),
    );
    let shown = files
        .run(&["config", "show", "--memory", "1g"])
        .expect(0)
        .stdout;
    let line = |start: &str| {
        let mut lines = shown.lines();
        lines
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("no {start}: {shown}"))
            .to_owned()
    };
    let operator = files.dir.file("operator/acode-rt/config.yml");
    assert!(line("memory").contains("1g") && line("memory").ends_with("option"));
    assert!(
        line("pids").contains("64")
            && line("pids").ends_with(&format!("{operator}:2 policy.max.pids"))
    );
    assert!(line("node").contains("team/node:1") && line("node").contains(".agent/config.yml:1"));
    assert!(line("python").contains("python:3.12-slim") && line("python").ends_with("built-in"));
    assert!(line("policy.deny").contains("root"));
    // What somebody said comes first.
    let at = |start: &str| shown.find(&format!("\n{start} ")).unwrap();
    assert!(at("memory") < at("BUILT-IN") && at("BUILT-IN") < at("timeout"));
    assert!(line("stop-timeout").ends_with(" 10s"));
}

#[test]
fn fr_020a_36_the_image_is_that_of_the_languages() {
    let repository = "docker: {images: {rust: 'rust:1.88', combined: [{languages: [node, python], image: 'both:1'}]}}";
    let files = Files::new(
        "languages",
        Some("defaults: {image: busybox}"),
        Some(repository),
    );
    for (options, expected) in [
        (&[][..], "busybox from operator:1"),
        (&["--language", "node"], "node:20-alpine from built-in"),
        (&["--language", "rust"], "rust:1.88 from repository:1"),
        (&["--language", "node,python"], "both:1 from repository:1"),
        (
            &["--language", "python", "--language", "node"],
            "both:1 from repository:1",
        ),
        (
            &["--language", "node", "--image", "mine"],
            "mine from option",
        ),
        (&["--language", "node,rust"], "null from built-in"),
    ] {
        assert_eq!(
            setting(&files.show(options), "image"),
            expected,
            "{options:?}"
        );
    }
    let with = |key: &str, value: &str| {
        let run = Run::of(
            files
                .program_in("repository")
                .env(key, value)
                .args(["config", "show", "--json"]),
        );
        setting(
            &serde_json::from_str(&run.expect(0).stdout).unwrap(),
            "image",
        )
    };
    assert_eq!(
        with("ACODE_LANGUAGE", "python"),
        "python:3.12-slim from built-in"
    );
    assert_eq!(
        with("ACODE_IMAGE", "mine"),
        "mine from environment ACODE_IMAGE"
    );
    let nothing = Files::new("no-image", None, None);
    let run = nothing
        .run(&["exec", "--", "true"])
        .expect_error("ACODE-CTN-015");
    for word in ["--image", "--language", "docker.images"] {
        assert!(run.stderr.contains(word), "{}", run.stderr);
    }
    let run = nothing
        .run(&["exec", "--language", "cobol"])
        .expect_error("ACODE-CTN-015");
    assert!(
        run.stderr.contains("cobol") && run.stderr.contains("dotnet, node, python"),
        "{}",
        run.stderr
    );
    nothing.run(&["exec", "--language", "../x"]).expect(2);
}

#[test]
fn a_default_that_is_wrong_is_said_with_its_line() {
    for (option, said) in [
        ("memory: lots", "'lots' is not a size"),
        ("pids: many", "many"),
        ("memroy: 1g", "is memory meant?"),
        ("Memory: 1g", "is memory meant?"),
        ("sweep: never", "possible values: beside, before, off"),
        ("log-level: loud", "possible values"),
        ("label: [acode.x=1]", "acode."),
        ("network: [a, b]", "one value, not a list"),
        ("keep: yes", "write true or false"),
        ("keep: 1", "has to be true or false"),
        ("timeout: true", "no truth value"),
        ("timeout:", "has no value"),
        ("label: []", "the list is empty"),
        ("config: /x", "an option only"),
        ("repo: /x", "an option only"),
        ("workspace: /x", "an option only"),
        ("command: [a]", "no such option"),
        ("help: true", "no such option"),
        ("tail: 5", "no such option"),
        ("pids: 010", "does not begin with 0"),
    ] {
        let files = Files::new(
            "default",
            Some(&format!("# ours\ndefaults:\n  {option}\n")),
            None,
        );
        let run = files
            .run(&["config", "check"])
            .expect_error("ACODE-CTN-015");
        assert!(
            run.stderr.contains(said) && run.stderr.contains("config.yml:3: "),
            "{option}: {}",
            run.stderr
        );
        // A value of another kind is found by the command that would use it, and that alone.
        let run = files
            .run(&["exec", "--image", "x"])
            .expect_error("ACODE-CTN-015");
        assert!(run.stderr.contains(said), "{option}: {}", run.stderr);
    }
    // What the environment says hides nothing from the check.
    let files = Files::new("hidden", Some("defaults: {memory: lots}"), None);
    Run::of(
        files
            .program_in("elsewhere")
            .env("ACODE_MEMORY", "1g")
            .args(["config", "check"]),
    )
    .expect_error("ACODE-CTN-015");
}

#[test]
fn the_check_refuses_what_exec_would_refuse() {
    for (line, said) in [
        ("defaults: {user: root}", "defaults.user: "),
        ("defaults: {user: 0}", "defaults.user: "),
        ("defaults: {network: host}", "defaults.network: "),
        ("docker: {network: host}", "docker.network: "),
        ("defaults: {cap-add: [SYS_ADMIN]}", "defaults.cap-add: "),
        ("defaults: {env: [A=1, =1]}", "defaults.env: "),
        ("defaults: {workdir: foo}", "defaults.workdir: "),
        ("defaults: {memory: 1}", "defaults.memory: "),
        ("defaults: {blkio-weight: 5}", "defaults.blkio-weight: "),
        ("defaults: {host: 'tcp://x'}", "defaults.host: "),
        ("defaults: {log-opt: [a=b]}", "defaults.log-opt: "),
        ("defaults: {audit-changes: [a]}", "defaults.audit-changes: "),
        (
            "defaults: {session: x, user: 0, keep: true}",
            "defaults.user: ",
        ),
        (
            "defaults: {require-disk-bound: true, artifact: [x]}",
            "defaults.artifact: ",
        ),
        (
            "policy: {capabilities: [CHOWN, SYS_ADMIN]}",
            "policy.capabilities[1]: ",
        ),
        ("policy: {capabilities: [FOO]}", "those that may are CHOWN"),
    ] {
        let files = Files::new("as-exec", Some(&format!("# ours\n{line}\n")), None);
        let run = files.run(&["config", "check"]).expect(125);
        assert!(
            run.stderr.contains(said) && run.stderr.contains("config.yml:2: "),
            "{line}: {}",
            run.stderr
        );
        let mut command = files.program_in("repository");
        if line.contains("host: 'tcp") {
            command.env_remove("DOCKER_HOST");
        }
        let run = Run::of(command.args(["exec", "--image", "x"])).expect(125);
        assert!(!run.stderr.contains("ACODE-CTN-008"), "{line}");
    }
    // Nothing but the files is looked at, and what is right together is fine.
    let fine = "defaults: {user: 0, allow-root: true, env-file: [/no/such], secret: ['a=file:/no/such'], language: rust}\npolicy: {capabilities: [cap_chown, KILL]}\n";
    let files = Files::new("fine", Some(fine), None);
    files.run(&["config", "check"]).expect(0);
}

#[test]
fn an_option_that_needs_another_finds_it_in_a_file_too() {
    let files = Files::new("needed", None, None);
    let operator = files.dir.file("operator/acode-rt/config.yml");
    let run = |options: &[&str]| {
        files.run(&[&["exec", "--image", "x"], options, &["--", "true"]].concat())
    };
    let (changes, option) = (&["--audit-changes", "/etc/**"], &["--log-opt", "a=b"]);
    run(changes).expect_error("ACODE-CTN-015");
    run(option).expect_error("ACODE-CTN-015");
    let log = files.dir.file("audit.jsonl");
    fs::write(
        &operator,
        format!("defaults: {{audit-log: {log}, log-driver: local}}"),
    )
    .unwrap();
    // Now it is the engine that is missing.
    run(changes).expect_error("ACODE-CTN-008");
    run(option).expect_error("ACODE-CTN-008");
}

#[test]
fn defaults_are_those_of_tasks_and_of_global_options_alone() {
    let files = Files::new(
        "scope",
        Some("defaults: {session: abc, cleanup-timeout: lots, json: true}"),
        Some("nonsense"),
    );
    // A session for `cleanup` would be removed; and a repository's nonsense is no matter of other commands.
    for command in [
        &["list"][..],
        &["images"],
        &["inspect", "x"],
        &["pull", "x"],
        &["logs", "x"],
        &["stop", "x"],
        &["rm", "x"],
        &["cleanup"],
        &["doctor"],
        &["doctor", "--leaks"],
    ] {
        let run = files.run(command).expect(125);
        let said = [run.stdout, run.stderr].concat();
        assert!(
            said.contains("ACODE-CTN-008") && !said.contains(".agent"),
            "{command:?}: {said}"
        );
    }
    let error: Value = serde_json::from_str(
        &files
            .run(&["exec", "--image", "x", "--json"])
            .expect(125)
            .stderr,
    )
    .unwrap();
    assert_eq!(error["code"], "ACODE-CTN-015");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains(".agent/config.yml:1: ")
    );
    // Help and completions need no file.
    let broken = Files::new("broken", Some("- nonsense"), None);
    broken.run(&["--help"]).expect(0);
    broken.run(&["exec", "--help"]).expect(0);
    broken.run(&["completions", "bash"]).expect(0);
    broken.run(&["list"]).expect_error("ACODE-CTN-015");
}

#[test]
fn the_environment_names_the_engine_before_the_operators_file_does() {
    let files = Files::new("host", Some("defaults: {host: /of-file.sock}"), None);
    let list = |variables: &[(&str, &str)], options: &[&str]| {
        let mut command = files.program_in("elsewhere");
        command.env_remove("DOCKER_HOST");
        command.envs(variables.iter().copied());
        Run::of(command.arg("list").args(options))
            .expect(125)
            .stderr
    };
    let variable = ("DOCKER_HOST", "unix:///of-variable.sock");
    assert!(list(&[], &[]).contains("/of-file.sock"));
    assert!(list(&[("DOCKER_HOST", "")], &[]).contains("/of-file.sock"));
    assert!(list(&[variable], &[]).contains("/of-variable.sock"));
    assert!(list(&[("DOCKER_CONTEXT", "no-such")], &[]).contains("'no-such'"));
    assert!(list(&[variable], &["--host", "/of-option.sock"]).contains("/of-option.sock"));
}

#[test]
fn files_are_checked_by_name() {
    let files = Files::new(
        "check",
        Some("defaults: {memory: 2g}"),
        Some("docker: {resources: {memory: 1g}}"),
    );
    let fine = files.run(&["config", "check"]).expect(0).stdout;
    assert!(
        fine.contains("config.yml: fine (operator)")
            && fine.contains("config.yml: fine (repository)"),
        "{fine}"
    );
    let draft = files.dir.file("draft.yml");
    fs::write(&draft, "docker: {resources: {memory: 3g}}").unwrap();
    let check = |options: &[&str]| files.run(&[&["config", "check", &draft], options].concat());
    let run = check(&[]).expect_error("ACODE-CTN-012");
    assert!(
        run.stderr.contains("draft.yml:1: ")
            && run.stderr.contains("2g holds (defaults.memory in "),
        "{}",
        run.stderr
    );
    check(&["--as", "operator"]).expect(0);
    let none = Files::new("none", None, None);
    assert_eq!(
        none.run(&["config", "check"]).expect(0).stdout,
        "there is no configuration file\n"
    );
    let json = files.run(&["config", "check", "--json"]).expect(0).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["files"][0]["of"], "operator");
    assert!(
        Path::new(json["files"][1]["file"].as_str().unwrap())
            .ends_with("repository/.agent/config.yml")
    );
}
