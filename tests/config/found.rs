//! Which files are read.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
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
    for workspace in [root.clone(), format!("{root}:ro")] {
        assert_eq!(memory("elsewhere", &["--workspace", &workspace]), here);
    }
    let elsewhere = files.dir.file("elsewhere");
    let options = ["--workspace", &elsewhere, "--repo", &root];
    assert_eq!(memory("elsewhere", &options), here);
    assert_eq!(
        memory("repository", &["--workspace", &elsewhere]),
        "4g from built-in"
    );
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
fn another_users_repository_around_us_is_not_believed() {
    let files = Files::new("foreign", None, Some("docker: {images: {node: evil}}"));
    let ours = files.show(&["--language", "node"]);
    assert_eq!(setting(&ours, "image"), "evil from repository:1");
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can make another user's directory: the rest is not tested");
        return;
    }
    let copy = files.dir.0.join("program");
    Run::of(Command::new("cp").arg(untouched::PROGRAM).arg(&copy)).expect(0);
    fs::set_permissions(&files.dir.0, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |owner: u32, options: &[&str]| {
        let root = files.dir.0.join("repository");
        std::os::unix::fs::chown(&root, Some(owner), Some(owner)).unwrap();
        let mut command = program_at(&copy);
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
        Run::of(
            command
                .current_dir(root.join("src"))
                .args(["config", "show", "--language", "node"])
                .args(options),
        )
    };
    let refused = run(12345, &[]).expect_error("ACODE-CTN-015");
    assert!(
        refused.stderr.contains("another user's") && refused.stderr.contains("--repo"),
        "{}",
        refused.stderr
    );
    for (owner, options) in [(65534, &[][..]), (0, &[]), (12345, &["--repo", ".."])] {
        assert!(
            run(owner, options).expect(0).stdout.contains("evil"),
            "{owner}"
        );
    }
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
