//! A program that tries to get out: what it can do in a task is what is pinned in `probe/*.txt`, and nothing else.
//!
//! It is a program in C, since raw system calls need what this crate forbids itself, and a task gets it over its standard input.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::running::Running;
use crate::support::{Ctx, tests};

tests![
    nfr_020a_27_what_a_probe_can_do_is_what_is_pinned,
    nfr_020a_27_a_probe_that_is_root_can_do_no_more_than_is_pinned,
    nfr_020a_27_our_filter_refuses_what_the_engines_lets_pass,
];

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/probe/probe.c");
const DOCKER: &str = include_str!("probe/docker.txt");
const ENGINE_INIT: &str = include_str!("probe/engine-init.txt");
const PODMAN: &str = include_str!("probe/podman.txt");
const PODMAN_FILTER: &str = include_str!("probe/podman-filter.txt");
const ROOT: &str = include_str!("probe/root.txt");
const AS_ROOT: [&str; 4] = ["-u", "0", "--allow-root", "--writable-root"];

fn nfr_020a_27_what_a_probe_can_do_is_what_is_pinned(ctx: &Ctx) {
    let Some((results, receipt)) = probe(ctx, &[]) else {
        return;
    };
    let mut pins = Pins::default().with(DOCKER);
    if ctx.target.is_podman() {
        pins = pins.with(PODMAN);
    }
    if receipt["helpers"]["init"] == "engine" {
        pins = pins.with(ENGINE_INIT);
    }
    if receipt["protections"]["seccomp"] == "engine" {
        assert!(ctx.target.is_podman(), "{receipt}");
        pins = pins.with(PODMAN_FILTER);
    }
    pins.hold(&results);
}

fn nfr_020a_27_a_probe_that_is_root_can_do_no_more_than_is_pinned(ctx: &Ctx) {
    if !ctx.has_own_init() {
        ctx.ignored.set(Some("it is pinned for our own process 1"));
        return;
    }
    if let Some((results, _)) = probe(ctx, &AS_ROOT) {
        Pins::default().with(DOCKER).with(ROOT).hold(&results);
    }
}

/// So that the pins can fail: without our filter the same program gets further, on the same kernel.
fn nfr_020a_27_our_filter_refuses_what_the_engines_lets_pass(ctx: &Ctx) {
    if ctx.target.is_podman() {
        ctx.ignored.set(Some("Podman's own filter is all there is"));
        return;
    }
    let (Some((ours, _)), Some((engines, receipt))) =
        (probe(ctx, &[]), probe(ctx, &["--seccomp", "engine"]))
    else {
        return;
    };
    assert_eq!(receipt["protections"]["seccomp"], "engine");
    for (name, refused) in [
        ("socket:vsock:upper-half", "EPERM"),
        ("socket:vsock:negative", "EPERM"),
        ("socket:alg:upper-half", "EPERM"),
    ] {
        assert_eq!(ours[name], refused, "{name}");
        assert_ne!(
            engines[name], refused,
            "{name}: this engine's own filter has learned it"
        );
    }
    if cfg!(target_arch = "x86_64") {
        for name in ["i386:getpid", "i386:socketcall:vsock"] {
            assert_eq!(ours[name], "SIGSYS", "{name}");
            assert_ne!(engines[name], "SIGSYS", "{name}");
        }
    }
    if ctx.target.name.starts_with("docker-20.10") {
        for name in ["socket:vsock", "socket:alg", "kernel:io_uring"] {
            assert_eq!(ours[name], "EPERM", "{name}");
            assert_ne!(engines[name], "EPERM", "{name}");
        }
    }
}

/// What the probe says of each attempt, and the receipt; `None` where it cannot be built.
fn probe(ctx: &Ctx, options: &[&str]) -> Option<(BTreeMap<String, String>, Value)> {
    let program = build(ctx)?;
    let script = "cat > probe && chmod +x probe && exec ./probe";
    let receipt = ctx.file("receipt.json");
    let common = ["-i", "--timeout", "100s", "--receipt", &receipt];
    let mut task = ctx.exec_program(&[&common, options].concat(), &["sh", "-c", script]);
    let mut running = Running::start(task.stdin(Stdio::piped()));
    let fed = running.feed(program);
    let run = running.wait().expect(0);
    fed.join().unwrap().unwrap();
    let pair = |line: &str| -> (String, String) {
        let (name, result) = line.rsplit_once('=').unwrap();
        (name.to_owned(), result.to_owned())
    };
    let results: BTreeMap<_, _> = run.out().lines().map(pair).collect();
    assert_eq!(
        results.len(),
        run.out().lines().count(),
        "a name stands twice"
    );
    let receipt = serde_json::from_str(&fs::read_to_string(receipt).unwrap()).unwrap();
    Some((results, receipt))
}

/// The probe, linked statically: nothing of it is in the image.
fn build(ctx: &Ctx) -> Option<Vec<u8>> {
    let program = ctx.file("probe");
    let cc = |arguments: &[&str]| {
        let mut command = Command::new("cc");
        command.args(arguments).arg(SOURCE).stdin(Stdio::null());
        command.output().ok()
    };
    let Some(checked) = cc(&["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]) else {
        ctx.ignored.set(Some("there is no cc"));
        return None;
    };
    let errors = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{errors}");
    let linked = cc(&["-static", "-no-pie", "-O1", "-o", &program]).unwrap();
    if !linked.status.success() {
        ctx.ignored.set(Some("cc cannot link statically here"));
        return None;
    }
    Some(fs::read(program).unwrap())
}

/// What is expected of an attempt.
#[derive(Debug, Default)]
struct Pins(BTreeMap<String, Pin>);

#[derive(Debug)]
struct Pin {
    optional: bool,
    results: Vec<String>,
}

impl Pins {
    /// Adds pins, each instead of an earlier one of its name; `-name` takes one away.
    fn with(mut self, text: &str) -> Self {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('-') {
                assert!(self.0.remove(name).is_some(), "{name} was not pinned");
                continue;
            }
            let (name, results) = line.rsplit_once('=').unwrap();
            let pin = Pin {
                optional: name.starts_with('?'),
                results: results.split('|').map(str::to_owned).collect(),
            };
            self.0.insert(name.trim_start_matches('?').to_owned(), pin);
        }
        self
    }

    fn find(&self, name: &str) -> Option<&Pin> {
        let exact = self.0.get(name);
        exact.or_else(|| {
            let fits = |pattern: &str| {
                pattern
                    .strip_suffix('*')
                    .is_some_and(|p| name.starts_with(p))
            };
            let longest = self.0.iter().rev().find(|(pattern, _)| fits(pattern));
            longest.map(|(_, pin)| pin)
        })
    }

    #[track_caller]
    fn hold(&self, results: &BTreeMap<String, String>) {
        let mut wrong: Vec<String> = Vec::new();
        for (name, result) in results {
            match self.find(name) {
                Some(pin) if pin.results.contains(result) => {}
                Some(pin) => wrong.push(format!(
                    "{name}={result}, pinned: {}",
                    pin.results.join("|")
                )),
                None => wrong.push(format!("{name}={result} is not pinned")),
            }
        }
        for (name, pin) in &self.0 {
            if !pin.optional && !results.contains_key(name) {
                wrong.push(format!("{name} was not tried"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
