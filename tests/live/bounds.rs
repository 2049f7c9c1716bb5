//! What a task tries to use up: processes, disk, the engine's log. And what it is said to have used.

use std::process::Command;

use acode_rt::engine::LogsOptions;

use crate::support::{Ctx, facts, tests};

tests![
    fr_020a_83_a_fork_bomb_leaves_the_host_usable,
    nothing_that_is_writable_can_be_filled_without_end,
    the_root_file_system_takes_nothing,
    the_engines_log_is_bounded,
    fr_020a_88_the_receipt_says_what_was_used,
    nfr_020a_43_what_went_over_the_network_is_counted,
    fr_020a_92_a_longer_task_is_sampled_and_logged,
];

fn fr_020a_83_a_fork_bomb_leaves_the_host_usable(ctx: &Ctx) {
    let receipt = ctx.file("receipt.json");
    let bomb = "echo ready; bomb() { bomb | bomb & }; while :; do bomb; done";
    let options = [
        "--pids",
        "40",
        "--cpus",
        "0.5",
        "--timeout",
        "5s",
        "--receipt",
        &receipt,
    ];
    let running = ctx.start(&options, bomb);
    assert!(Command::new("true").status().unwrap().success());
    ctx.exec(&[], &["true"]).expect(0);
    // The shell may give up by itself.
    let status = running.wait().status;
    assert!(![0, 125].contains(&status), "{status}");
    assert_eq!(ctx.containers().len(), 0);
    let receipt: serde_json::Value =
        serde_json::from_slice(&std::fs::read(receipt).unwrap()).unwrap();
    if ctx.has_own_init() {
        let peak = receipt["usage"]["pids_peak"].as_u64().unwrap();
        assert!((10..=40).contains(&peak), "{peak} of 40 processes");
    }
}

fn nothing_that_is_writable_can_be_filled_without_end(ctx: &Ctx) {
    let script = "for dir in /tmp /workspace /dev/shm /run /var/tmp /dev; do
        dd if=/dev/zero of=$dir/fill bs=1M count=200 2>/dev/null; echo $dir=$(wc -c < $dir/fill 2>/dev/null); done";
    let (run, receipt) = ctx.sh_receipt(&["--memory", "64m"], script);
    let run = run.expect(0);
    let written = facts(run.out());
    let bytes = |dir: &str| written[dir].parse::<u64>().unwrap_or(0);
    let all: u64 = written.keys().map(|dir| bytes(dir)).sum();
    assert!(all <= 32 << 20, "{written:?}");
    for dir in ["/tmp", "/workspace", "/dev/shm"] {
        assert!(bytes(dir) >= 4 << 20, "{written:?}");
    }
    // It met the end of its space, not of its memory.
    assert_eq!(receipt["outcome"]["kind"], "exited");
    assert_eq!(receipt["child_out_of_memory"], false);
    assert_eq!(receipt["unbounded_disk"], serde_json::Value::Null);
    let sized = ctx
        .sh(
            &["--tmpfs", "/workspace:size=1m"],
            "dd if=/dev/zero of=fill bs=64k count=200 2>/dev/null; wc -c < fill",
        )
        .expect(0);
    assert_eq!(sized.out(), "1048576\n");
}

fn the_root_file_system_takes_nothing(ctx: &Ctx) {
    let script = "for dir in / /bin /dev/pts /etc /home /root /sys /usr /var /proc; do touch $dir/x 2>/dev/null && echo $dir; done; true";
    let run = ctx.sh(&["--user", "0", "--allow-root"], script).expect(0);
    assert_eq!(run.out(), "");
}

/// Three files of 10 MiB on Docker, one on Podman, and a rest that is being written.
fn the_engines_log_is_bounded(ctx: &Ctx) {
    let mut program = ctx.exec_program(
        &["--keep", "--task", "log"],
        &[
            "sh",
            "-c",
            "yes 0123456789012345678901234567890123456789 | head -c 42000000",
        ],
    );
    let run = crate::running::Running::start(&mut program).finish();
    assert_eq!(run.expect(0).stdout.len(), 42_000_000);
    let kept = ctx.with_engine(async |engine| {
        let name = format!("acode-{}-log", ctx.session);
        let mut log = engine
            .container_logs(&name, &LogsOptions::default())
            .await
            .unwrap();
        let mut bytes = 0;
        while let Some(chunk) = log.next().await.unwrap() {
            bytes += chunk.data.len();
        }
        bytes
    });
    assert!(kept <= 35 << 20, "{kept} bytes");
    ctx.run(&["rm", "--force", &format!("{}/log", ctx.session)])
        .expect(0);
}

fn fr_020a_88_the_receipt_says_what_was_used(ctx: &Ctx) {
    let script = "for i in 1 2 3 4 5; do sleep 0.3 & done; dd if=/dev/zero of=/tmp/fill bs=1M count=30 2>/dev/null; wait";
    let (run, receipt) = ctx.sh_receipt(&["--memory", "128m", "--tmpfs", "/tmp:size=40m"], script);
    run.expect(0);
    let usage = &receipt["usage"];
    let number = |key: &str| usage[key].as_u64();
    if ctx.has_own_init() {
        assert_eq!(usage["source"], "process_one", "{usage}");
        let memory = number("memory_peak_bytes").unwrap();
        assert!((30 << 20..=128 << 20).contains(&memory), "{usage}");
        assert!((7..100).contains(&number("pids_peak").unwrap()), "{usage}");
        assert!((1..60_000).contains(&number("cpu_ms").unwrap()), "{usage}");
    } else if number("samples") == Some(0) {
        assert_eq!(usage["source"], "none", "{usage}");
        assert_eq!(number("memory_peak_bytes"), None, "{usage}");
    }
}

fn nfr_020a_43_what_went_over_the_network_is_counted(ctx: &Ctx) {
    if !ctx.has_own_init() {
        return ctx.ignored.set(Some(
            "a short task's network is counted by our own process 1",
        ));
    }
    let script = "ip route; nc -w 1 $(ip route | awk '/default/ { print $3 }') 9 </dev/null; true";
    for (network, sends) in [("none", false), ("bridge", true)] {
        let (run, receipt) = ctx.sh_receipt(&["--network", network], script);
        let run = run.expect(0);
        let usage = &receipt["usage"];
        if sends && run.out().is_empty() {
            return ctx.ignored.set(Some("this engine's bridge leads nowhere"));
        }
        let sent = usage["network_tx_bytes"].as_u64().unwrap();
        assert_eq!(sent > 0, sends, "{network}: {usage} {}", run.out());
        assert!(usage["network_rx_bytes"].is_u64(), "{usage}");
    }
}

fn fr_020a_92_a_longer_task_is_sampled_and_logged(ctx: &Ctx) {
    let script = "dd if=/dev/zero of=/tmp/fill bs=1M count=30 2>/dev/null; sleep 4";
    let (run, receipt) = ctx.sh_receipt(
        &["-v", "--memory", "128m", "--tmpfs", "/tmp:size=40m"],
        script,
    );
    let run = run.expect(0);
    let usage = &receipt["usage"];
    assert!(usage["samples"].as_u64().unwrap() >= 1, "{usage}");
    assert!(usage["cpu_ms"].as_u64().unwrap() > 0, "{usage}");
    let memory = usage["memory_peak_bytes"].as_u64().unwrap();
    assert!((30 << 20..=128 << 20).contains(&memory), "{usage}");
    let source = if ctx.has_own_init() {
        "process_one"
    } else {
        "samples"
    };
    assert_eq!(usage["source"], source);
    let operation = receipt["operation"].as_str().unwrap();
    for word in [" usage ", " used "] {
        let line = run.err().lines().find(|line| line.contains(word));
        let line = line.unwrap_or_else(|| panic!("no{word}in {}", run.err()));
        assert!(
            line.contains(operation) && line.contains("cpu_ms="),
            "{line}"
        );
    }
}
