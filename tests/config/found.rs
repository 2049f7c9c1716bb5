//! Which files are read.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::files::{Files, setting};
use crate::untouched::{self, Run, program_at};

#[test]
fn the_repository_is_that_of_the_option_or_around_the_working_directory() {
    let files = Files::new("where", None, Some("docker: {resources: {memory: 1g}}"));
    let memory = |directory: &str, options: &[&str]| {
        let mut command = files.program_in(directory);
        let run = Run::of(command.args(["config", "show", "--json"]).args(options));
        setting(
            &serde_json::from_str(&run.expect(0).stdout).unwrap(),
            "memory",
        )
    };
    let here = "1g from repository:1";
    let root = files.dir.file("repository");
    let link = files.dir.file("link");
    symlink(&root, &link).unwrap();
    assert_eq!(memory("repository", &[]), here);
    assert_eq!(memory("repository/src/deep", &[]), here);
    assert_eq!(memory("elsewhere", &[]), "4g from built-in");
    assert_eq!(memory("elsewhere", &["--repo", &root]), here);
    assert_eq!(memory("elsewhere", &["--repo", "../repository"]), here);
    assert_eq!(memory("elsewhere", &["--repo", &link]), here);
    assert_eq!(
        memory("repository", &["--repo", &files.dir.file("elsewhere")]),
        "4g from built-in"
    );
    for workspace in [
        root.clone(),
        format!("{root}:ro"),
        format!("{root}:rw"),
        "../repository:rw".into(),
    ] {
        assert_eq!(memory("elsewhere", &["--workspace", &workspace]), here);
    }
    let elsewhere = files.dir.file("elsewhere");
    let options = ["--workspace", &elsewhere, "--repo", &root];
    assert_eq!(memory("elsewhere", &options), here);
    assert_eq!(
        memory("repository", &["--workspace", &elsewhere]),
        "4g from built-in"
    );
    // What cannot be a workspace has no file; what is wrong with it is no matter of configuration.
    for workspace in [
        "no/such",
        "operator/acode-rt/none.yml",
        "link/.agent/config.yml",
    ] {
        let workspace = files.dir.file(workspace);
        assert_eq!(
            memory("repository", &["--workspace", &workspace]),
            "4g from built-in"
        );
        let run = files
            .run(&["exec", "--workspace", &workspace, "--image", "x"])
            .expect(125);
        assert!(!run.stderr.contains("config "), "{}", run.stderr);
    }
    // A worktree's .git is a file; a directory of the repository's is not its root.
    fs::remove_dir(files.dir.file("repository/.git")).unwrap();
    fs::write(files.dir.file("repository/.git"), "gitdir: /x").unwrap();
    assert_eq!(memory("repository/src", &[]), here);
    assert_eq!(
        memory("repository", &["--repo", &files.dir.file("repository/src")]),
        "4g from built-in"
    );
    for missing in ["no/such", "repository/.git"] {
        let missing = files.dir.file(missing);
        let run = files
            .run(&["exec", "--repo", &missing, "--image", "x"])
            .expect_error("ACODE-CTN-015");
        assert!(run.stderr.contains(&missing), "{}", run.stderr);
    }
}

#[test]
fn a_repository_around_us_that_somebody_else_may_have_put_there_is_not_believed() {
    let files = Files::new("foreign", None, Some("docker: {images: {node: evil}}"));
    let root = files.dir.0.join("repository");
    let parts = ["", ".git", ".agent", ".agent/config.yml"].map(|part| root.join(part));
    let [top, git, agent, config] = &parts;
    let chmod = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let reset = || {
        for part in &parts {
            chmod(part, 0o755);
        }
    };
    let options = ["config", "show", "--language", "node"];
    let believed = |run: Run| assert!(run.expect(0).stdout.contains("evil"));
    let refused = |run: Run, path: &Path, why: &str| {
        let run = run.expect_error("ACODE-CTN-015");
        let path = path.display().to_string();
        let path = path.trim_end_matches('/');
        for word in [why, "--repo", &format!("{path}: ")] {
            assert!(run.stderr.contains(word), "no {word}: {}", run.stderr);
        }
    };
    reset();
    believed(files.run(&options));
    for path in [top, agent, config] {
        chmod(path, 0o777);
        refused(files.run(&options), path, "everybody may write it");
        refused(files.run(&["config", "check"]), path, "everybody may");
        chmod(path, 0o1777);
        refused(files.run(&options), path, "everybody may write it");
        believed(files.run(&[&options[..], &["--repo", "../.."]].concat()));
        // Ours, and a group's.
        chmod(path, 0o775);
        believed(files.run(&options));
        reset();
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can make another user's directory: the rest is not tested");
        return;
    }
    let copy = files.dir.0.join("program");
    Run::of(Command::new("cp").arg(untouched::PROGRAM).arg(&copy)).expect(0);
    chmod(&files.dir.0, 0o755);
    let run = |me: u32, more: &[&str]| {
        let mut command = program_at(&copy);
        std::os::unix::process::CommandExt::uid(&mut command, me);
        Run::of(
            command
                .current_dir(root.join("src"))
                .args(options)
                .args(more),
        )
    };
    let give = |path: &Path, owner: u32| {
        std::os::unix::fs::chown(path, Some(owner), Some(owner)).unwrap();
    };
    believed(run(65534, &[]));
    for path in [top, git, agent, config] {
        for me in [65534, 0] {
            give(path, 12345);
            refused(run(me, &[]), path, "another user's");
            believed(run(me, &["--repo", ".."]));
            believed(run(me, &["--workspace", "..:ro"]));
        }
        give(path, 65534);
        believed(run(65534, &[]));
        give(path, 0);
    }
    // As /tmp is, with somebody's repository in it; and a directory of root's that a group may write.
    for (mode, why) in [(0o1777, "everybody may write it"), (0o775, "a group may")] {
        chmod(top, mode);
        refused(run(65534, &[]), top, why);
    }
    // Without a file of that name nobody has to be believed.
    fs::remove_file(config).unwrap();
    run(65534, &[]).expect(0);
}

#[test]
fn the_operators_file_is_named_or_the_usual_one() {
    let files = Files::new("operator", Some("defaults: {memory: 1g}"), None);
    let other = files.dir.file("other.yml");
    fs::write(&other, "defaults: {memory: 2g}").unwrap();
    let link = files.dir.file("link.yml");
    symlink(&other, &link).unwrap();
    let memory = |shown: &Value| setting(shown, "memory");
    assert_eq!(memory(&files.show(&[])), "1g from operator:1");
    for path in [&other, &link] {
        assert_eq!(
            memory(&files.show(&["--config", path])),
            "2g from operator:1"
        );
    }
    let home = files.dir.file("home");
    fs::create_dir_all(format!("{home}/.config/acode-rt")).unwrap();
    fs::write(
        format!("{home}/.config/acode-rt/config.yml"),
        "defaults: {memory: 3g}",
    )
    .unwrap();
    for (variables, expected) in [
        (&[("ACODE_CONFIG", other.as_str())][..], "2g"),
        (&[("XDG_CONFIG_HOME", ""), ("HOME", home.as_str())], "3g"),
        (
            &[("XDG_CONFIG_HOME", "relative"), ("HOME", home.as_str())],
            "3g",
        ),
        (
            &[("XDG_CONFIG_HOME", "/nonexistent"), ("HOME", home.as_str())],
            "4g",
        ),
    ] {
        let mut command = files.program_in("elsewhere");
        let run = Run::of(
            command
                .envs(variables.iter().copied())
                .args(["config", "show", "--json"]),
        );
        assert!(
            memory(&serde_json::from_str(&run.expect(0).stdout).unwrap()).starts_with(expected)
        );
    }
    let missing = files.dir.file("missing.yml");
    let run = files
        .run(&["list", "--config", &missing])
        .expect_error("ACODE-CTN-015");
    assert!(run.stderr.contains(&missing), "{}", run.stderr);
    fs::set_permissions(&other, fs::Permissions::from_mode(0o666)).unwrap();
    let run = files
        .run(&["list", "--config", &other])
        .expect_error("ACODE-CTN-015");
    assert!(
        run.stderr.contains("everybody may write it"),
        "{}",
        run.stderr
    );
    files
        .run(&["list", "--config", &files.dir.file("elsewhere")])
        .expect_error("ACODE-CTN-015");
}
