//! Resource limits: asked for, applied, and refused where they are not.

use std::fs;
use std::path::Path;

use crate::scenarios::SHOW_LIMITS;
use crate::support::{Ctx, facts, tests};

tests![
    fr_020a_79_80_83_89_limits_arrive_in_the_cgroup,
    fr_020a_80_swap_is_given_where_it_is_asked_for,
    ulimits_arrive,
    fr_020a_82_a_network_bandwidth_is_refused_and_not_ignored,
    a_bound_of_the_disk_holds_or_is_refused,
    fr_020a_83_a_fork_bomb_meets_the_pids_limit,
    fr_020a_87_out_of_memory_is_137_and_said,
    fr_020a_87_a_childs_out_of_memory_is_a_warning,
    fr_020a_91_more_memory_than_the_host_has_is_a_warning,
    fr_020a_91_more_cpus_than_the_host_has,
    fr_020a_91_too_little_memory_is_refused_before_create,
    fr_020a_81_block_device_rates_arrive,
    fr_020a_81_a_block_device_that_is_not_there_is_an_error,
    fr_020a_85_a_limit_that_the_engine_ignored_is_an_error_unless_accepted,
];

fn fr_020a_79_80_83_89_limits_arrive_in_the_cgroup(ctx: &Ctx) {
    let run = ctx
        .sh(
            &["--memory", "64m", "--cpus", "0.5", "--pids", "77"],
            SHOW_LIMITS,
        )
        .expect(0);
    let limits = facts(run.out());
    assert_eq!((limits["memory"], limits["pids"]), ("67108864", "77"));
    // No swap: the second version counts it apart, the first together with the memory.
    assert!(
        ["67108864", "0", ""].contains(&limits["swap"]),
        "{limits:?}"
    );
    let [quota, period] = limits["cpu"].split(' ').collect::<Vec<_>>()[..] else {
        panic!("{limits:?}")
    };
    assert_eq!(
        quota.parse::<u64>().unwrap() * 2,
        period.parse::<u64>().unwrap()
    );
}

fn fr_020a_80_swap_is_given_where_it_is_asked_for(ctx: &Ctx) {
    let options = ["--memory", "64m", "--memory-swap", "96m"];
    let (run, receipt) = ctx.sh_receipt(&options, SHOW_LIMITS);
    let run = run.expect(0);
    let limits = facts(run.out());
    assert_eq!(limits["memory"], "67108864");
    // The second version counts it apart, the first together with the memory.
    assert!(
        ["100663296", "33554432"].contains(&limits["swap"]),
        "{limits:?}"
    );
    assert_eq!(receipt["limits"]["memory_swap"], 96 << 20);
    ctx.exec(&["--memory", "64m", "--memory-swap", "63m"], &["true"])
        .expect_error("ACODE-CTN-007");
}

fn fr_020a_82_a_network_bandwidth_is_refused_and_not_ignored(ctx: &Ctx) {
    let run = ctx
        .exec(&["-v", "--network-bandwidth", "1m"], &["true"])
        .expect_error("ACODE-CTN-007");
    for part in ["neither Docker on Linux nor Podman", "--network"] {
        assert!(run.err().contains(part), "{}", run.err());
    }
    assert!(!run.err().contains("creating"), "{}", run.err());
}

/// Where the engine's storage has no quotas it has to say so.
fn a_bound_of_the_disk_holds_or_is_refused(ctx: &Ctx) {
    let root = ["--writable-root", "--user", "0", "--allow-root"];
    let fill = "dd if=/dev/zero of=/big bs=1M count=20 2>/dev/null; wc -c < /big";
    let run = ctx.sh(&[&root[..], &["--disk", "8m"]].concat(), fill);
    if run.status == 125 {
        let run = run.expect_error("ACODE-CTN-007");
        for part in ["storage driver is", "pquota", "/workspace:size="] {
            assert!(run.err().contains(part), "{}", run.err());
        }
    } else {
        let written: u64 = run.expect(0).out().trim().parse().unwrap();
        assert!(written <= 9 << 20, "{written} bytes on a disk of 8 MiB");
    }
    ctx.exec(&["--disk", "8m"], &["true"])
        .expect_error("ACODE-CTN-007");
    let (_, receipt) = ctx.sh_receipt(&root, "true");
    assert!(
        receipt["unbounded_disk"].as_str().unwrap().contains("root"),
        "{receipt}"
    );
}

fn ulimits_arrive(ctx: &Ctx) {
    let options = [
        "--ulimit",
        "nofile=100:200",
        "--ulimit",
        "core=0",
        "--ulimit",
        "stack=1048576",
    ];
    let run = ctx
        .sh(&options, "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -s")
        .expect(0);
    assert_eq!(run.out(), "100\n200\n0\n1024\n");
}

fn fr_020a_83_a_fork_bomb_meets_the_pids_limit(ctx: &Ctx) {
    let script = "i=0; while [ $i -lt 50 ]; do sleep 60 & i=$((i+1)); echo $i; done";
    let run = ctx.sh(&["--pids", "20", "--timeout", "100s"], script);
    assert!(![0, 124, 125].contains(&run.status), "{}", run.status);
    assert!(run.err().contains("can't fork"), "{}", run.err());
    let started = run.out().lines().count();
    assert!((10..20).contains(&started), "{started} of 20 processes");
}

fn fr_020a_87_out_of_memory_is_137_and_said(ctx: &Ctx) {
    let (run, receipt) = {
        let file = ctx.file("oom.json");
        let run = ctx.exec(
            &["--memory", "32m", "--receipt", &file],
            &["tail", "/dev/zero"],
        );
        (
            run,
            serde_json::from_slice::<serde_json::Value>(&fs::read(file).unwrap()).unwrap(),
        )
    };
    let run = run.expect(137);
    assert!(
        run.err().contains("killed for memory; raise --memory"),
        "{}",
        run.err()
    );
    assert_eq!(receipt["outcome"]["kind"], "out_of_memory");
    assert_eq!(
        (
            &receipt["evidence"]["oom_killed"],
            &receipt["child_out_of_memory"]
        ),
        (&true.into(), &false.into())
    );
}

fn fr_020a_87_a_childs_out_of_memory_is_a_warning(ctx: &Ctx) {
    let (run, receipt) = ctx.sh_receipt(&["--memory", "32m"], "tail /dev/zero; echo $?");
    let run = run.expect(0);
    assert_eq!(run.out(), "137\n");
    assert!(
        run.err()
            .contains("warning: a process of the task was killed for memory"),
        "{}",
        run.err()
    );
    assert_eq!(
        receipt["outcome"],
        serde_json::json!({ "kind": "exited", "code": 0 })
    );
    assert_eq!(receipt["child_out_of_memory"], true);
}

fn fr_020a_91_more_memory_than_the_host_has_is_a_warning(ctx: &Ctx) {
    let run = ctx.exec(&["--memory", "64t"], &["echo", "works"]).expect(0);
    assert_eq!(run.out(), "works\n");
    assert!(
        run.err()
            .contains("warning: memory is limited to 64t, but this host has only"),
        "{}",
        run.err()
    );
    let quiet = ctx.exec(&["--memory", "64t", "-q"], &["true"]).expect(0);
    assert_eq!(quiet.err(), "");
}

/// Docker refuses them, Podman takes any number.
fn fr_020a_91_more_cpus_than_the_host_has(ctx: &Ctx) {
    let run = ctx.exec(&["--cpus", "100000"], &["echo", "works"]);
    if ctx.target.is_podman() {
        assert!(
            run.expect(0)
                .err()
                .contains("warning: 100000.0 CPUs are asked for, but this host has")
        );
    } else {
        let run = run.expect_error("ACODE-CTN-001");
        assert!(
            run.err().to_lowercase().contains("range of cpus"),
            "{}",
            run.err()
        );
    }
}

fn fr_020a_91_too_little_memory_is_refused_before_create(ctx: &Ctx) {
    for options in [
        ["--memory", "1k"],
        ["--cpus", "0.001"],
        ["--pids", "0"],
        ["--shm-size", "0"],
    ] {
        let run = ctx
            .exec(&[&options[..], &["-v"]].concat(), &["true"])
            .expect_error("ACODE-CTN-007");
        assert!(!run.err().contains("creating"), "{}", run.err());
    }
}

fn fr_020a_81_block_device_rates_arrive(ctx: &Ctx) {
    let Some(device) = block_device() else {
        return ctx.ignored.set(Some("this host has no block device"));
    };
    let rate = |amount: &str| format!("{device}:{amount}");
    let (bytes_in, bytes_out, reads, writes) = (rate("1m"), rate("2m"), rate("100"), rate("200"));
    let options = [
        "--device-read-bps",
        &bytes_in,
        "--device-write-bps",
        &bytes_out,
        "--device-read-iops",
        &reads,
        "--device-write-iops",
        &writes,
    ];
    let script = "cd /sys/fs/cgroup; cat io.max 2>/dev/null || for kind in read_bps write_bps read_iops write_iops; do
        cut -d' ' -f2 blkio/blkio.throttle.${kind}_device; done";
    let run = ctx.sh(&options, script).expect(0);
    let numbers: Vec<&str> = run
        .out()
        .split(|c: char| !c.is_ascii_digit())
        .filter(|word| word.len() > 2)
        .collect();
    let arrived = |wanted: &str| numbers.contains(&wanted);
    assert!(
        ["1048576", "2097152", "100", "200"]
            .into_iter()
            .all(arrived),
        "{}",
        run.out()
    );
}

fn fr_020a_81_a_block_device_that_is_not_there_is_an_error(ctx: &Ctx) {
    let run = ctx
        .exec(&["--device-read-bps", "/dev/no-such:1m"], &["true"])
        .expect(125);
    assert!(
        run.err().contains("ACODE-CTN-") && run.err().contains("/dev/no-such"),
        "{}",
        run.err()
    );
}

/// Whether the kernel has block-IO weights differs; that they are silently dropped must not happen.
fn fr_020a_85_a_limit_that_the_engine_ignored_is_an_error_unless_accepted(ctx: &Ctx) {
    let weight = ctx.exec(&["--blkio-weight", "300"], &["true"]);
    let file = ctx.file("receipt");
    let options = [
        "--blkio-weight",
        "300",
        "--accept-ignored",
        "blkio-weight",
        "--receipt",
        &file,
    ];
    ctx.exec(&options, &["true"]).expect(0);
    let receipt: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    if weight.status == 0 {
        assert_eq!(receipt["ignored"], serde_json::json!([]));
    } else {
        assert!(
            weight
                .expect_error("ACODE-CTN-007")
                .err()
                .contains("blkio-weight (asked for 300, applied 0)")
        );
        assert_eq!(receipt["ignored"][0]["name"], "blkio-weight");
    }
    ctx.exec(&["--accept-ignored", "no-such-limit"], &["true"])
        .expect_error("ACODE-CTN-015");
}

/// The first whole disk of this host.
fn block_device() -> Option<String> {
    let names = fs::read_dir("/sys/block")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let disks = names.filter(|name| {
        !["loop", "ram", "zram"]
            .iter()
            .any(|kind| name.starts_with(kind))
    });
    disks
        .map(|name| format!("/dev/{name}"))
        .find(|path| Path::new(path).exists())
}
