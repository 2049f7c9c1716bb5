//! The scenarios that a user would try first.

use acode_rt::protocol::units::{show_cpus, show_size};

use crate::support::{Ctx, facts, tests};

tests![
    scenario_1_fresh_container_per_task,
    scenario_2_container_naming,
    scenario_3_automatic_cleanup,
    scenario_5_resource_limits,
    scenario_8_cleanup_after_failure,
];

fn scenario_1_fresh_container_per_task(ctx: &Ctx) {
    let first = ctx
        .sh(&[], "echo 'test' > /tmp/marker.txt && cat /tmp/marker.txt")
        .expect(0);
    assert_eq!(first.out(), "test\n");
    let second = ctx
        .sh(&[], "cat /tmp/marker.txt || echo 'File does not exist'")
        .expect(0);
    assert_eq!(second.out(), "File does not exist\n");
}

fn scenario_2_container_naming(ctx: &Ctx) {
    let name = format!("acode-{}-build-001", ctx.session);
    let build = ctx.start(&["--task", "build-001", "-v"], "echo ready; cat");
    let table = ctx.run(&["list"]).expect(0);
    let rows: Vec<Vec<&str>> = table
        .out()
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0][..3], ["NAME", "STATUS", "AGE"]);
    let row = rows
        .iter()
        .find(|row| row[0] == name)
        .expect("a row for it");
    assert_eq!(row[1], "running");
    assert!(row[2].ends_with(['s', 'm']), "{row:?}");
    let build = build.finish().expect(0);
    let line = build
        .err()
        .lines()
        .find(|line| line.contains("creating container"))
        .unwrap();
    assert!(line.contains(&name), "{line}");
    assert_eq!(ctx.list().len(), 0);
}

fn scenario_3_automatic_cleanup(ctx: &Ctx) {
    assert_eq!(ctx.containers().len(), 0);
    let build = ctx.start(&[], "echo ready; cat");
    assert_eq!(ctx.containers().len(), 1);
    build.finish().expect(0);
    assert_eq!(ctx.containers().len(), 0);
}

fn scenario_5_resource_limits(ctx: &Ctx) {
    let info = ctx.with_engine(async |engine| engine.info().await.unwrap());
    let (memory, cpus) = (info.mem_total.min(4 << 30), info.ncpu.min(2));
    let run = ctx.sh(&["-v"], SHOW_LIMITS).expect(0);
    let limits = format!(
        "memory={}, cpus={}",
        show_size(memory),
        show_cpus(cpus * 1_000_000_000)
    );
    let line = run
        .err()
        .lines()
        .find(|line| line.contains("container resource limits"))
        .unwrap();
    assert!(line.contains("DEBUG") && line.contains(&limits), "{line}");
    if info.mem_total >= 4 << 30 && info.ncpu >= 2 {
        assert_eq!(limits, "memory=4g, cpus=2.0");
    }
    let applied = facts(run.out());
    assert_eq!(applied["memory"], memory.to_string());
    assert_eq!(applied["pids"], "1000");
    let [quota, period] = applied["cpu"].split(' ').collect::<Vec<_>>()[..] else {
        panic!("{applied:?}")
    };
    assert_eq!(
        quota.parse::<u64>().unwrap(),
        cpus * period.parse::<u64>().unwrap()
    );
}

fn scenario_8_cleanup_after_failure(ctx: &Ctx) {
    ctx.sh(&[], "exit 1").expect(1);
    assert_eq!(ctx.containers().len(), 0);
}

/// What the task's cgroup says, in its second version or its first.
pub(crate) const SHOW_LIMITS: &str = "cd /sys/fs/cgroup
    echo memory=$(cat memory.max 2>/dev/null || cat memory/memory.limit_in_bytes)
    echo swap=$(cat memory.swap.max 2>/dev/null || cat memory/memory.memsw.limit_in_bytes 2>/dev/null)
    echo pids=$(cat pids.max 2>/dev/null || cat pids/pids.max)
    echo cpu=$(cat cpu.max 2>/dev/null || cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us)";
