//! Files of tasks that mean no good, and collecting that is cut off.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::files::{all, place, sh_in};
use crate::support::{Ctx, tests};

tests![
    a_hostile_task_changes_nothing_outside_the_destination,
    more_than_the_limits_is_an_error_and_leaves_no_half_file,
    paths_that_are_swapped_while_the_task_runs_lead_nowhere,
    collecting_ends_on_request,
    what_is_cut_off_never_has_its_name,
];

fn is_part(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "part")
}

fn a_hostile_task_changes_nothing_outside_the_destination(ctx: &Ctx) {
    let dir = place(
        ctx,
        &[
            ("outside", b"untouched"),
            ("to/keep", b"kept"),
            ("to/out/old", b"old"),
        ],
    );
    symlink("../outside", format!("{dir}/to/out/trap")).unwrap();
    let script = r#"set -e; mkdir out; cd out
        ln -s /etc passwd; ln -s ../../.. up; ln -s up/up chain; ln -s chain/x chain2; ln -s / root
        mkfifo fifo; echo new > old; echo evil > trap; ln old hard
        echo s > setuid; chmod 7777 setuid; touch "$(printf 'a\nb')" "$(printf 'c\033[31m')" 'back\slash' "$(printf '\351')"
        touch .. -- -rf '*' '$(id)' ' '; mkdir -p "$(printf '%0200d' 0)/$(printf '%0200d' 0)"
        mknod dev c 1 3 2>/dev/null || true
        ln -s . ../loop; ln -s /etc ../link"#;
    let options = [
        "--artifact",
        "out:to/",
        "--artifact",
        "link:to/",
        "--artifact",
        "link/passwd:to/inside",
        "--artifact",
        "loop/loop/loop/out/old:to/looped",
    ];
    let (run, receipt) = sh_in(ctx, &dir, &options, script);
    let run = run.expect(125);
    assert!(!run.err().contains('\x1b'), "{:?}", run.err());
    assert_eq!(fs::read(format!("{dir}/outside")).unwrap(), b"untouched");
    assert_eq!(fs::read(format!("{dir}/to/keep")).unwrap(), b"kept");
    let found = all(&dir);
    for path in found.iter().filter(|path| !path.ends_with("/trap")) {
        let meta = fs::symlink_metadata(format!("{dir}/{path}")).unwrap();
        assert!(meta.is_file() || meta.is_dir(), "{path}");
        assert_eq!(meta.mode() & 0o7000, 0, "{path}");
        assert!(
            !path.contains(['\n', '\x1b', '\\']) && !is_part(path),
            "{path:?}"
        );
    }
    for name in ["-rf", "*", "$(id)", " "] {
        assert!(
            found.contains(&format!("to/out/{name}")),
            "{name}: {found:?}"
        );
    }
    let skipped: Vec<&str> = receipt["files"]["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skipped| skipped["why"].as_str().unwrap())
        .collect();
    for why in [
        "a symbolic link",
        "a named pipe",
        "a hard link",
        "control characters",
        "backslash",
        "UTF-8",
        "in the way",
    ] {
        assert!(
            skipped.iter().any(|skipped| skipped.contains(why)),
            "{why}: {skipped:?}"
        );
    }
    // The engine follows links to the way of a path, inside: what is there is the container's own.
    if let Ok(passwd) = fs::read(format!("{dir}/to/inside")) {
        assert_ne!(passwd, fs::read("/etc/passwd").unwrap());
    }
}

fn more_than_the_limits_is_an_error_and_leaves_no_half_file(ctx: &Ctx) {
    for (script, options) in [
        (
            "mkdir out; dd if=/dev/zero of=out/big bs=1M count=3 2>/dev/null",
            &["--artifact-limit", "2m"][..],
        ),
        ("mkdir out; truncate -s 8000G out/big", &[]),
        (
            "mkdir out; truncate -s 8000G out/big; echo",
            &["--artifact", "o*/none"],
        ),
    ] {
        let dir = place(ctx, &[]);
        let (run, receipt) = sh_in(
            ctx,
            &dir,
            &[&["--artifact", "out"], options].concat(),
            script,
        );
        let run = run.expect(125);
        assert!(run.err().contains("ACODE-CTN-019"), "{}", run.err());
        assert_eq!(
            all(&dir).iter().filter(|path| *path != "out").count(),
            0,
            "{script}"
        );
        assert_eq!(receipt["removed"], true);
        assert!(receipt["phases_ms"]["artifacts"].as_f64().unwrap() < 30_000.0);
        fs::remove_dir_all(dir).unwrap();
    }
}

fn paths_that_are_swapped_while_the_task_runs_lead_nowhere(ctx: &Ctx) {
    let dir = place(ctx, &[("outside", b"untouched")]);
    let script = "mkdir -p a/etc; echo mine > a/passwd; while :; do mv a b; ln -s /etc a; rm a; mv b a; done";
    for _ in 0..3 {
        let (run, receipt) = sh_in(ctx, &dir, &["--artifact", "a", "--timeout", "1s"], script);
        run.expect(124);
        assert_eq!(fs::read(format!("{dir}/outside")).unwrap(), b"untouched");
        match fs::read(format!("{dir}/a/passwd")) {
            Ok(content) => assert_eq!(content, b"mine\n"),
            Err(_) => assert_eq!(receipt["files"]["missing"], json!(["a"])),
        }
        let _ = fs::remove_dir_all(format!("{dir}/a"));
    }
}

fn collecting_ends_on_request(ctx: &Ctx) {
    let file = ctx.file("receipt");
    // Nobody asked for it, and it would take a while to pass over.
    let options = ["--artifact", "*.none", "--receipt", &file];
    let running = ctx.start(&options, "truncate -s 60G sparse; echo ready");
    std::thread::sleep(std::time::Duration::from_secs(3));
    running.signal(Signal::SIGTERM);
    running.wait().expect(125);
    let receipt: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(receipt["removed"], true);
    let error = receipt["files"]["error"].as_str().unwrap();
    assert!(error.contains("on request"), "{error}");
}

fn what_is_cut_off_never_has_its_name(ctx: &Ctx) {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let dir = place(ctx, &[]);
        let artifact = format!("big:{dir}/");
        let running = ctx.start(&["--artifact", &artifact], "truncate -s 3G big; echo ready");
        let begun = std::time::Instant::now();
        while all(&dir).is_empty() {
            assert!(begun.elapsed() < crate::support::PATIENCE, "nothing comes");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        running.signal(signal);
        running.wait();
        let left = all(&dir);
        match signal {
            Signal::SIGTERM => assert_eq!(left, Vec::<String>::new()),
            _ => assert!(left.len() == 1 && is_part(&left[0]), "{left:?}"),
        }
        let begun = std::time::Instant::now();
        while !ctx.containers().is_empty() {
            assert!(
                begun.elapsed() < crate::support::PATIENCE,
                "the container is left"
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
