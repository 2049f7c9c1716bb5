//! The program without an engine: usage, help, sockets where nobody answers, and what is refused before anybody is asked.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/engine_untouched.rs"]
mod untouched;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::geteuid;
use serde_json::Value;
use untouched::{Dir, PROGRAM, Run, Untouched, program, program_at};

const COMMANDS: [&str; 12] = [
    "exec",
    "images",
    "pull",
    "list",
    "inspect",
    "logs",
    "stop",
    "rm",
    "cleanup",
    "doctor",
    "config",
    "completions",
];

fn list_at(host: &str) -> Run {
    Run::of(program().args(["list", "--host", host]))
}

#[test]
fn wrong_usage_exits_2() {
    let engine = Untouched::new("usage");
    let usages = [
        "bogus",
        "config",
        "exec --image UPPER -- true",
        "exec --image= -- true",
        "rm",
        "logs",
        "completions csh",
        "list -q -v",
    ];
    for usage in usages {
        let arguments: Vec<&str> = usage.split(' ').collect();
        let run = engine.run(&arguments).expect(2);
        assert!(!run.stderr.is_empty(), "{usage}");
    }
    let options = "--nope --memory=x --memory=-1 --cpus=many --pids=-1 --shm-size=1x --timeout=1x --timeout=-1s \
        --ulimit=bogus=1 --ulimit=nofile=2:1 --tmpfs=relative --tmpfs=/x:exec --tmpfs=/a,b --label=acode.session=x \
        --label=ACODE.x=1 --label==x --prefix=Bad-Prefix --prefix= --device-read-bps=sda:1m --blkio-weight=x \
        --device-write-iops=/dev/../x:1 --max-output=x --log-level=loud --log-format=xml \
        --copy-in= --copy-in=x:/etc --copy-in=x:../y --copy-in=/ --artifact= --artifact=/etc/passwd --artifact=../x --artifact=a[ \
        --artifact=x: --artifact-limit=x";
    for option in options.split_whitespace() {
        let run = engine.exec(option).expect(2);
        assert!(
            run.stderr.starts_with("error: "),
            "{option}: {}",
            run.stderr
        );
        assert_eq!(run.stdout, "");
    }
    Run::of(&mut program()).expect(2);
}

#[test]
fn help_has_examples() {
    for command in COMMANDS {
        for arguments in [[command, "--help"], ["help", command]] {
            let help = Run::of(program().args(arguments)).expect(0);
            assert!(
                help.stdout.contains("Example") && help.stdout.contains("acode-rt "),
                "{}",
                help.stdout
            );
        }
    }
    let help = Run::of(program().arg("--help")).expect(0).stdout;
    assert!(
        COMMANDS
            .iter()
            .all(|command| help.contains(&format!("\n  {command} "))),
        "{help}"
    );
    assert!(help.contains("Examples:") && help.contains("DOCKER_HOST") && help.contains("124"));
    let version = Run::of(program().arg("--version")).expect(0).stdout;
    assert_eq!(version, format!("acode-rt {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn where_no_engine_answers_each_reason_has_its_own_message() {
    let dir = Dir::new("sockets");
    drop(UnixListener::bind(dir.0.join("stale")).unwrap());
    fs::write(dir.0.join("file"), "").unwrap();
    let long = dir.file(&"x".repeat(108));
    let refused = |path: &str, code: &str| {
        list_at(path)
            .expect_error(code)
            .stderr
            .replace(path, "PATH")
    };
    let first_line = |text: String| text.lines().next().unwrap().to_owned();
    let mut messages = vec![
        refused(&dir.file("missing"), "ACODE-CTN-008"),
        refused(&dir.file("stale"), "ACODE-CTN-008"),
        refused(&dir.file("file"), "ACODE-CTN-008"),
        refused(&long, "ACODE-CTN-008"),
        no_permission(&dir).replace(&dir.file("locked"), "PATH"),
    ];
    for (message, word) in messages.iter().zip([
        "no such socket",
        "nobody listens",
        "not a socket",
        "107",
        "may not use",
    ]) {
        assert!(message.contains(word), "{word}: {message}");
    }
    messages = messages.into_iter().map(first_line).collect();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), 5, "{messages:?}");
    assert!(refused(dir.0.to_str().unwrap(), "ACODE-CTN-008").contains("directory"));
}

/// What the program says of a socket that it may not use; root may use any, so that somebody else has to try.
fn no_permission(dir: &Dir) -> String {
    let socket = dir.file("locked");
    let _listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).unwrap();
    let copy = dir.0.join("program");
    // By another process: a file that ours has just written cannot be executed while another thread spawns something.
    Run::of(Command::new("cp").arg(PROGRAM).arg(&copy)).expect(0);
    fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = program_at(&copy);
    if geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    Run::of(command.current_dir("/").args(["list", "--host", &socket]))
        .expect_error("ACODE-CTN-017")
        .stderr
}

#[test]
fn other_hosts_are_refused_with_the_way_round() {
    for host in ["tcp://127.0.0.1:2375", "ssh://root@host", "https://host"] {
        let run = list_at(host).expect_error("ACODE-CTN-015");
        assert!(
            run.stderr.contains(host) && run.stderr.contains("ssh -nNT -L"),
            "{}",
            run.stderr
        );
    }
    for host in [
        "",
        "docker.sock",
        "unix://",
        "unix://relative",
        "npipe:////./pipe/x",
    ] {
        list_at(host).expect_error("ACODE-CTN-015");
    }
}

#[test]
fn the_host_comes_from_the_option_then_docker_host_then_the_context() {
    let dir = Dir::new("hosts");
    let missing = |name: &str| format!("unix://{}", dir.file(name));
    // The docker command keeps a context under the SHA-256 of its name.
    let hash = Command::new("sh")
        .args(["-c", "printf away | sha256sum | cut -c1-64"])
        .output()
        .unwrap()
        .stdout;
    let meta = dir
        .0
        .join("contexts/meta")
        .join(String::from_utf8(hash).unwrap().trim());
    fs::create_dir_all(&meta).unwrap();
    let context = serde_json::json!({ "Name": "away", "Endpoints": { "docker": { "Host": missing("of-context") } } });
    fs::write(meta.join("meta.json"), context.to_string()).unwrap();
    fs::write(dir.0.join("config.json"), r#"{"currentContext":"away"}"#).unwrap();
    let list = |variables: &[(&str, &str)], options: &[&str]| {
        let mut command = program();
        command
            .env("DOCKER_CONFIG", &dir.0)
            .envs(variables.iter().copied());
        Run::of(command.arg("list").args(options))
    };
    let (option, variable) = (missing("of-option"), missing("of-variable"));
    let runs = [
        (
            list(&[("DOCKER_HOST", &variable)], &["--host", &option]),
            "of-option",
        ),
        (list(&[("DOCKER_HOST", &variable)], &[]), "of-variable"),
        (list(&[("DOCKER_HOST", "")], &[]), "of-context"),
        (list(&[], &[]), "of-context"),
    ];
    for (run, expected) in runs {
        let run = run.expect_error("ACODE-CTN-008");
        assert!(
            run.stderr.contains(&dir.file(expected)),
            "{expected}: {}",
            run.stderr
        );
    }
    let unknown = list(&[("DOCKER_CONTEXT", "no-such")], &[]).expect_error("ACODE-CTN-015");
    assert!(unknown.stderr.contains("'no-such'"), "{}", unknown.stderr);
}

#[test]
fn fr_020a_91_what_cannot_be_right_is_refused_before_anybody_is_asked() {
    let engine = Untouched::new("refused");
    let missing = engine.dir.file("no/such/file");
    let refusals = [
        (
            "ACODE-CTN-012",
            "-u 0|-u root|-u 0:1000|--network host|--network container:x|--network ns:/proc/1/ns/net|--cap-add SYS_ADMIN|\
             --cap-add ALL|--cap-add cap_net_raw|--dry-run -u 0|--require-disk-bound --artifact x|--require-disk-bound --copy-in x",
        ),
        (
            "ACODE-CTN-015",
            "-u nobody|--user=-1|-u 1:x|--network=|--network a/b|-w relative|-w /a/../b|-e =x|-e A\nB=x|--env-file MISSING|--env-file /dev/zero|\
             --env-file /proc/self/exe|--accept-ignored no-such|--log-driver local --log-opt odd|--log-opt a=b|--audit-changes /etc/**|--dry-run --audit-changes /etc/**|\
             --tmpfs /workspace --artifact x|--tmpfs /workspace/src --copy-in x",
        ),
        (
            "ACODE-CTN-007",
            "--memory 1k|--memory 0|--cpus 0|--cpus 0.001|--pids 0|--shm-size 0|--blkio-weight 5|--blkio-weight 1001|\
             --device-read-bps /dev/sda:0",
        ),
        (
            "ACODE-CTN-016",
            "--session=|--task=|--task a\tb|--session LONG",
        ),
        (
            "ACODE-CTN-018",
            "--receipt MISSING|--receipt /|--log-file MISSING",
        ),
    ];
    for (code, cases) in refusals {
        for case in cases.split('|') {
            let options = case
                .replace("MISSING", &missing)
                .replace("LONG", &"x".repeat(257));
            let run = engine.exec(&options);
            assert!(
                run.stderr.contains(code),
                "{case:?} is not {code}: {}",
                run.stderr
            );
            run.expect_error(code);
        }
    }
}

#[test]
fn errors_are_json_where_that_is_asked_for() {
    let engine = Untouched::new("json");
    let missing = format!("--host={}", engine.dir.file("missing"));
    let runs = [
        Run::of(program().args(["list", "--json", &missing])),
        engine.exec("--json --network host"),
        engine.exec("--json --memory 1k"),
        engine.exec("--json -w escape\u{1b}[31m"),
    ];
    let wrong_usage = [
        engine.run(&["list", "--json", "--nope"]),
        engine.run(&["--json", "bogus"]),
        engine.exec("--json --memory=x\u{1b}[31m"),
        engine.exec("--json --copy-in=x:/etc"),
        engine.run(&["--json", "rm"]),
    ];
    let runs = runs.into_iter().map(|run| run.expect(125));
    let wrong_usage = wrong_usage.into_iter().map(|run| run.expect(2));
    for run in runs.chain(wrong_usage) {
        let error: Value = serde_json::from_str(&run.stderr).unwrap();
        let text = |key: &str| {
            error[key]
                .as_str()
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| panic!("{key}: {error}"))
        };
        assert!(text("code").starts_with("ACODE-CTN-"));
        assert!(
            text("error_type")
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_')
        );
        assert!(!text("message").contains(['\n', '\u{1b}']) && text("explanation").ends_with('.'));
        for key in ["possible_causes", "suggested_actions"] {
            let lines = error[key].as_array().unwrap();
            assert!(
                !lines.is_empty() && lines.iter().all(Value::is_string),
                "{key}"
            );
        }
        assert!(
            error["relevant_state"]["operation"].is_string() && error["recoverable"].is_boolean()
        );
        assert_eq!(error["recoverable"], error["code"] == "ACODE-CTN-008");
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn completions_know_every_command() {
    let engine = Untouched::new("completions");
    let scripts =
        ["bash", "zsh", "fish"].map(|shell| engine.run(&["completions", shell]).expect(0).stdout);
    for script in &scripts {
        assert!(
            COMMANDS.iter().all(|command| script.contains(command))
                && script.contains("stop-timeout"),
            "{script}"
        );
    }
    assert_ne!(scripts[0], scripts[1]);
    assert_ne!(scripts[1], scripts[2]);
}

/// Neither what we say nor what somebody else wrote colours a pipe.
#[test]
fn bash_completes_the_options_of_a_command() {
    let script = Run::of(program().args(["completions", "bash"])).expect(0);
    let complete = "COMP_WORDS=(acode-rt exec --art); COMP_CWORD=2; _acode__rt acode-rt --art exec; echo ${COMPREPLY[*]}";
    let output = Command::new("bash")
        .args(["-c", &format!("{}\n{complete}", script.stdout)])
        .output()
        .unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    assert_eq!(found.trim(), "--artifact --artifact-limit");
}

#[test]
fn there_are_no_escape_codes_where_there_is_no_terminal() {
    let host = "/no/such/\u{1b}[31mred.sock";
    for no_colour in [None, Some("1"), Some("")] {
        for arguments in [
            &["list", "-vv", "--host", host][..],
            &["--help"],
            &["exec", "--help"],
            &["exec", "--nope"],
            &["completions", "bash"],
        ] {
            let mut command = program();
            command
                .envs(no_colour.map(|value| ("NO_COLOR", value)))
                .env("TERM", "xterm-256color")
                .args(arguments);
            let run = Run::of(&mut command);
            assert!(
                !run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'),
                "{arguments:?}: {}",
                run.stderr
            );
            assert!(!run.stdout.is_empty() || !run.stderr.is_empty());
        }
    }
}
