//! Files of the host inside a task: what may be mounted, as whom, and that it is what was looked at.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::behind::{Behind, Does, What};
use crate::fault_proxy::{Action, Call, Point};
use crate::support::{Ctx, tests};

tests![
    a_workspace_is_worked_in_as_its_owner,
    a_workspace_of_roots_needs_a_user,
    fr_020a_52_caches_are_shared_and_read_only,
    fr_020a_51_two_live_tasks_never_share_what_they_can_write,
    nfr_020a_24_the_hosts_own_and_the_engines_socket_are_refused,
    nfr_020a_24_a_source_that_is_swapped_is_never_seen,
    what_is_mounted_below_a_source_is_not_seen,
    a_mount_without_our_process_1_is_refused,
];

/// Nobody on this machine.
const OWNER: u32 = 54321;

fn directory(ctx: &Ctx, name: &str) -> PathBuf {
    let dir = PathBuf::from(ctx.file(name));
    fs::create_dir(&dir).unwrap();
    chown(&dir, Some(OWNER), Some(OWNER)).unwrap();
    dir
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Without our own process 1 nothing is mounted, which has a test of its own.
fn cannot_mount(ctx: &Ctx) -> bool {
    if !ctx.has_own_init() {
        ctx.ignored.set(Some("no process 1 of our own here"));
    }
    !ctx.has_own_init()
}

fn a_workspace_is_worked_in_as_its_owner(ctx: &Ctx) {
    if cannot_mount(ctx) {
        return;
    }
    let dir = directory(ctx, "work");
    fs::write(dir.join("given"), "from outside").unwrap();
    let script = "cat given; mkdir made; echo x > made/file; id -u; pwd; echo $HOME";
    let (run, receipt) = ctx.sh_receipt(&["--workspace", text(&dir)], script);
    assert_eq!(
        run.expect(0).out(),
        format!("from outside{OWNER}\n/workspace\n/tmp\n")
    );
    for made in ["made", "made/file"] {
        let found = fs::metadata(dir.join(made)).unwrap();
        assert_eq!((found.uid(), found.gid()), (OWNER, OWNER), "{made}");
    }
    assert_eq!(receipt["mounts"][0]["source"], text(&dir));
    assert_eq!(
        receipt["mounts"][0]["inode"],
        fs::metadata(&dir).unwrap().ino()
    );
    let read_only = format!("{}:ro", text(&dir));
    let run = ctx.sh(
        &["--workspace", &read_only],
        "touch x 2>/dev/null || cat given",
    );
    assert_eq!(run.expect(0).out(), "from outside");
    // The engine would make it, for root.
    ctx.sh(
        &["--workspace", text(&dir), "-w", "/workspace/none"],
        "true",
    )
    .expect_error("ACODE-CTN-015");
    let run = ctx.sh(&["--workspace", text(&dir), "-w", "/workspace/made"], "pwd");
    assert_eq!(run.expect(0).out(), "/workspace/made\n");
    let names: Vec<_> = fs::read_dir(&dir).unwrap().flatten().collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

fn a_workspace_of_roots_needs_a_user(ctx: &Ctx) {
    if cannot_mount(ctx) {
        return;
    }
    let dir = PathBuf::from(ctx.file("roots"));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("given"), "x").unwrap();
    let run = ctx.sh(&["--workspace", text(&dir)], "true");
    assert!(run.expect_error("ACODE-CTN-012").err().contains("--user"));
    let read_only = format!("{}:ro", text(&dir));
    ctx.sh(&["--workspace", &read_only], "cat given").expect(0);
    ctx.sh(&["--workspace", text(&dir), "-u", "1000"], "cat given")
        .expect(0);
}

fn fr_020a_52_caches_are_shared_and_read_only(ctx: &Ctx) {
    if cannot_mount(ctx) {
        return;
    }
    let dir = directory(ctx, "cache");
    fs::write(dir.join("entry"), "cached").unwrap();
    let cache = format!("{}:/cache", text(&dir));
    let other = ctx.start(&["--cache", &cache], "cat /cache/entry; echo ready; cat");
    let run = ctx.sh(
        &["--cache", &cache, "-u", &OWNER.to_string()],
        "cat /cache/entry; echo x > /cache/entry || echo refused; rm /cache/entry || echo kept",
    );
    assert_eq!(run.expect(0).out(), "cachedrefused\nkept\n");
    other.finish().expect(0);
    let writable = format!("{cache}:rw");
    assert_eq!(ctx.sh(&["--cache", &writable], "true").status, 2);
}

fn fr_020a_51_two_live_tasks_never_share_what_they_can_write(ctx: &Ctx) {
    if cannot_mount(ctx) {
        return;
    }
    let dir = directory(ctx, "shared");
    let inner = directory(ctx, "shared/inner");
    let beside = directory(ctx, "shared-not");
    let first = ctx.start(&["--workspace", text(&dir)], "echo ready; cat");
    for overlapping in [&dir, &inner, &inner.join("..")] {
        let run = ctx.sh(&["--workspace", text(overlapping)], "true");
        let run = run.expect_error("ACODE-CTN-012");
        assert!(run.err().contains("try again"), "{}", run.err());
    }
    ctx.sh(&["--workspace", text(&beside)], "true").expect(0);
    // Its client is killed, and its lock goes with it; as long as the container runs its label speaks for it.
    first.finish().expect(0);
    ctx.sh(&["--workspace", text(&inner)], "true").expect(0);
    let paused = ctx.start(&["--workspace", text(&dir)], "echo ready; cat");
    let id = ctx.containers()[0].id.clone();
    let socket = ctx.target.host.socket();
    let engine = |verb: &str| post(socket, &format!("/v1.41/containers/{id}/{verb}"));
    engine("pause");
    paused.kill_with_guard();
    drop(paused);
    let run = ctx.sh(&["--workspace", text(&dir)], "true");
    run.expect_error("ACODE-CTN-012");
    engine("unpause");
    ctx.with_engine(async |engine| {
        acode_rt::task::remove_confirmed(&engine, &id, crate::support::PATIENCE)
            .await
            .unwrap();
    });
}

/// A call that the library does not make.
fn post(socket: &Path, path: &str) {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
}

fn nfr_020a_24_the_hosts_own_and_the_engines_socket_are_refused(ctx: &Ctx) {
    if cannot_mount(ctx) {
        return;
    }
    let dir = directory(ctx, "sources");
    let socket = ctx.target.host.socket();
    let holder = socket.parent().unwrap();
    let link = dir.join("link");
    symlink(holder, &link).unwrap();
    let around = dir.join("..").join("sources/link");
    for source in [
        socket,
        holder,
        &link,
        &around,
        Path::new("/"),
        Path::new("/proc/1"),
        Path::new("/sys/fs/cgroup"),
        Path::new("/etc/shadow"),
        Path::new("/dev/shm"),
    ] {
        let mount = format!("{}:/x", text(source));
        ctx.sh(&["--mount", &mount], "true")
            .expect_error("ACODE-CTN-012");
    }
    let copy = directory(ctx, "copy");
    // A bind copy is the same directory under another name.
    if nix::unistd::geteuid().is_root() {
        let mounted = Bound::new(holder, &copy);
        let mount = format!("{}:/x", text(&copy));
        let run = ctx.sh(&["--mount", &mount], "true");
        drop(mounted);
        run.expect_error("ACODE-CTN-012");
    }
    let missing = format!("{}:/x", ctx.file("missing"));
    ctx.sh(&["--mount", &missing], "true")
        .expect_error("ACODE-CTN-015");
    assert!(!Path::new(&ctx.file("missing")).exists());
    assert!(ctx.containers().is_empty());
}

/// A bind copy, until it is dropped.
struct Bound(PathBuf);

impl Bound {
    fn new(source: &Path, target: &Path) -> Self {
        run("mount", &["--bind", text(source), text(target)]);
        Self(target.to_owned())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        run("umount", &["-l", text(&self.0)]);
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = std::process::Command::new(program)
        .args(arguments)
        .status()
        .unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

fn nfr_020a_24_a_source_that_is_swapped_is_never_seen(ctx: &Ctx) {
    if cannot_mount(ctx) {
        return;
    }
    let secret = directory(ctx, "secret");
    fs::write(secret.join("canary"), "canary").unwrap();
    for (number, what) in ["a symlink", "another directory", "nothing"]
        .iter()
        .enumerate()
    {
        let (dir, away) = (
            directory(ctx, &format!("dir{number}")),
            ctx.file(&format!("away{number}")),
        );
        let swap = {
            let (dir, secret) = (dir.clone(), secret.clone());
            move || {
                fs::rename(&dir, &away).unwrap();
                match number {
                    0 => symlink(&secret, &dir).unwrap(),
                    1 => {
                        fs::create_dir(&dir).unwrap();
                        fs::copy(secret.join("canary"), dir.join("canary")).unwrap();
                    }
                    _ => {}
                }
            }
        };
        // Everything has been checked, and the engine has not looked yet.
        let swapped = What::Just(Action::Run(Arc::new(swap)));
        let mut behind = Behind::new(
            ctx,
            &format!("swap{number}"),
            &["--workspace", text(&dir)],
            "cat /workspace/canary; echo started",
            Call::Create,
            Does(Point::Before, vec![swapped]),
        );
        let run = behind.run();
        assert_eq!(run.status, 125, "{what}: {}", run.err());
        assert_eq!(run.out(), "", "{what}");
        assert!(!run.err().contains("canary"), "{what}: {}", run.err());
    }
}

fn what_is_mounted_below_a_source_is_not_seen(ctx: &Ctx) {
    if cannot_mount(ctx) || !nix::unistd::geteuid().is_root() {
        return ctx
            .ignored
            .set(Some("needs root, and a process 1 of our own"));
    }
    let (dir, below, secret) = (
        directory(ctx, "dir"),
        directory(ctx, "dir/below"),
        directory(ctx, "hidden"),
    );
    fs::write(secret.join("canary"), "canary").unwrap();
    let mounted = Bound::new(&secret, &below);
    let mount = format!("{}:/x", text(&dir));
    let run = ctx.sh(&["--mount", &mount], "cat /x/below/canary; ls /x");
    drop(mounted);
    let run = run.expect(0);
    assert_eq!(run.out(), "below\n");
    assert!(run.err().contains("does not see"), "{}", run.err());
}

fn a_mount_without_our_process_1_is_refused(ctx: &Ctx) {
    let dir = directory(ctx, "dir");
    let mount = format!("{}:/x", text(&dir));
    for options in [&["--mount", &mount][..], &["--workspace", text(&dir)]] {
        let run = ctx.sh(&[options, ctx.engine_init()].concat(), "true");
        let run = run.expect_error("ACODE-CTN-015");
        assert!(run.err().contains("process 1"), "{}", run.err());
    }
    assert!(ctx.containers().is_empty());
}
