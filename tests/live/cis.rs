//! Section 5 of the CIS Docker Benchmark 1.6.0, container runtime: one test for each item that `docs/security.md` says is held, by its number. What is asked here
//! is what a check of the benchmark asks: the engine's inspect, or the look of things from inside.

use std::collections::BTreeSet;
use std::fs;

use acode_rt::TaskContainer;
use acode_rt::model::Inspect;

use crate::support::{Ctx, facts, tests};

tests![
    cis_5_02_apparmor_where_the_host_has_it,
    cis_5_03_selinux_where_the_host_has_it,
    cis_5_04_capabilities_are_none,
    cis_5_05_nothing_is_privileged,
    cis_5_06_no_directory_of_the_host_is_mounted,
    cis_5_07_no_sshd_and_nothing_else_beside_the_task,
    cis_5_08_no_privileged_port_is_mapped,
    cis_5_09_no_port_is_open,
    cis_5_10_the_hosts_network_is_not_shared,
    cis_5_11_memory_is_limited,
    cis_5_12_processors_are_limited,
    cis_5_13_the_root_file_system_is_read_only,
    cis_5_14_no_incoming_traffic_is_bound,
    cis_5_15_nothing_is_restarted,
    cis_5_16_the_hosts_processes_are_not_shared,
    cis_5_17_the_hosts_ipc_is_not_shared,
    cis_5_18_no_device_of_the_host,
    cis_5_19_ulimits_are_those_that_were_asked_for,
    cis_5_20_no_mount_is_shared,
    cis_5_21_the_hosts_uts_is_not_shared,
    cis_5_22_system_calls_are_filtered,
    cis_5_25_the_cgroup_is_the_engines,
    cis_5_26_no_new_privileges,
    cis_5_29_processes_are_limited,
    cis_5_30_the_default_bridge_is_not_used,
    cis_5_31_the_hosts_user_namespace_is_not_asked_for,
    cis_5_32_the_engines_socket_is_not_inside,
];

/// What the engine says of a container with all defaults, while it runs.
fn applied(ctx: &Ctx) -> Inspect {
    ctx.with_engine(async |engine| {
        let spec = ctx.spec("cis", "sleep 60");
        let container = TaskContainer::create(&engine, spec).await.unwrap();
        container.start().await.unwrap();
        let inspect = engine.container_inspect(container.id().as_str()).await;
        container.remove().await.unwrap();
        inspect.unwrap()
    })
}

/// What a script says of things from inside.
fn inside(ctx: &Ctx, script: &str) -> String {
    ctx.sh(&[], script).expect(0).out().trim().to_owned()
}

/// One line of `/proc/self/status`.
fn status(ctx: &Ctx, key: &str) -> String {
    let text = inside(ctx, "sed 's/:\t/=/' /proc/self/status");
    facts(&text)[key].to_owned()
}

/// The host has such a module, or the test is ignored.
fn host_has(ctx: &Ctx, module: &str) -> bool {
    let info = ctx.with_engine(async |engine| engine.info().await.unwrap());
    let name = format!("name={module}");
    let has = info.security_options.iter().any(|o| o.starts_with(&name));
    if !has {
        ctx.ignored.set(Some("the host does not have it"));
    }
    has
}

fn cis_5_02_apparmor_where_the_host_has_it(ctx: &Ctx) {
    if host_has(ctx, "apparmor") {
        let profile = applied(ctx).apparmor_profile;
        assert!(!matches!(profile.as_str(), "" | "unconfined"), "{profile}");
        let (_, receipt) = ctx.sh_receipt(&[], "true");
        assert_eq!(receipt["protections"]["apparmor"], profile);
    }
}

fn cis_5_03_selinux_where_the_host_has_it(ctx: &Ctx) {
    if host_has(ctx, "selinux") {
        let label = applied(ctx).process_label;
        assert!(label.contains("container"), "{label}");
    }
}

fn cis_5_04_capabilities_are_none(ctx: &Ctx) {
    for set in ["CapBnd", "CapEff", "CapPrm"] {
        assert_eq!(status(ctx, set), "0000000000000000", "{set}");
    }
    assert_eq!(applied(ctx).host_config.cap_add, [""; 0]);
}

fn cis_5_05_nothing_is_privileged(ctx: &Ctx) {
    assert!(!applied(ctx).host_config.privileged);
}

fn cis_5_06_no_directory_of_the_host_is_mounted(ctx: &Ctx) {
    let inspect = applied(ctx);
    let mounted = inspect.mounts.iter().filter(|mount| mount.kind != "tmpfs");
    let mounted: BTreeSet<&str> = mounted.map(|mount| mount.destination.as_str()).collect();
    // Our own small files, read-only: see the program's task too.
    assert!(mounted.is_subset(&["/etc/hosts"].into()), "{mounted:?}");
    assert!(
        inspect
            .host_config
            .mounts
            .iter()
            .all(|mount| mount.read_only)
    );
    let mut task = ctx.start(&[], "echo ready; cat");
    let id = ctx.containers().remove(0).id;
    let inspect = ctx.with_engine(async |engine| engine.container_inspect(&id).await.unwrap());
    let mounted = inspect.mounts.iter().filter(|mount| mount.kind != "tmpfs");
    let mounted: BTreeSet<&str> = mounted.map(|mount| mount.destination.as_str()).collect();
    assert!(
        mounted.is_subset(&["/etc/hosts", "/.acode-init"].into()),
        "{mounted:?}"
    );
    assert!(
        inspect
            .host_config
            .mounts
            .iter()
            .all(|mount| mount.read_only)
    );
    task.say(b"end\n");
    task.finish().expect(0);
}

fn cis_5_07_no_sshd_and_nothing_else_beside_the_task(ctx: &Ctx) {
    let script =
        "for dir in /proc/[0-9]*; do read -r name < $dir/comm && echo $name; done 2>/dev/null";
    let text = inside(ctx, script);
    let names: BTreeSet<&str> = text.lines().collect();
    let init = [
        ".acode-init",
        "docker-init",
        "catatonit",
        "podman-init",
        "tini",
        "sh",
    ];
    assert!(names.is_subset(&init.into()), "{names:?}");
}

fn no_port(ctx: &Ctx) {
    let host = applied(ctx).host_config;
    assert!(host.port_bindings.is_empty() && !host.publish_all_ports);
}

fn cis_5_08_no_privileged_port_is_mapped(ctx: &Ctx) {
    no_port(ctx);
}

fn cis_5_09_no_port_is_open(ctx: &Ctx) {
    let listening = inside(
        ctx,
        "cat /proc/net/tcp /proc/net/udp | grep -v local_address; true",
    );
    assert_eq!(listening, "");
}

fn cis_5_10_the_hosts_network_is_not_shared(ctx: &Ctx) {
    assert_ne!(applied(ctx).host_config.network_mode, "host");
    for network in ["host", "container:x"] {
        ctx.sh(&["--network", network], "true")
            .expect_error("ACODE-CTN-012");
    }
    own_namespace(ctx, "net");
}

fn cis_5_11_memory_is_limited(ctx: &Ctx) {
    let host = applied(ctx).host_config;
    assert!(host.memory > 0 && host.memory_swap == host.memory && !host.oom_kill_disable);
}

fn cis_5_12_processors_are_limited(ctx: &Ctx) {
    assert!(applied(ctx).host_config.nano_cpus > 0);
}

fn cis_5_13_the_root_file_system_is_read_only(ctx: &Ctx) {
    assert!(applied(ctx).host_config.readonly_rootfs);
    let root = inside(ctx, "awk '$5 == \"/\" { print $6 }' /proc/self/mountinfo");
    assert!(root.split(',').any(|option| option == "ro"), "{root}");
}

fn cis_5_14_no_incoming_traffic_is_bound(ctx: &Ctx) {
    no_port(ctx);
    assert_eq!(inside(ctx, "ls /sys/class/net"), "lo");
}

fn cis_5_15_nothing_is_restarted(ctx: &Ctx) {
    let policy = applied(ctx).host_config.restart_policy.name;
    assert!(matches!(policy.as_str(), "" | "no"), "{policy}");
}

fn own_namespace(ctx: &Ctx, kind: &str) {
    let theirs = inside(ctx, &format!("readlink /proc/self/ns/{kind}"));
    let ours = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    assert_ne!(ours.to_str().unwrap(), theirs);
}

fn not_of_somebody_else(mode: &str) {
    assert!(matches!(mode, "" | "private"), "{mode}");
}

fn cis_5_16_the_hosts_processes_are_not_shared(ctx: &Ctx) {
    not_of_somebody_else(&applied(ctx).host_config.pid_mode);
    own_namespace(ctx, "pid");
}

fn cis_5_17_the_hosts_ipc_is_not_shared(ctx: &Ctx) {
    not_of_somebody_else(&applied(ctx).host_config.ipc_mode);
    own_namespace(ctx, "ipc");
}

fn cis_5_18_no_device_of_the_host(ctx: &Ctx) {
    let host = applied(ctx).host_config;
    assert!(host.devices.is_empty() && host.device_cgroup_rules.is_empty());
    let devices = inside(ctx, "find /dev -type b -o -type c | sort");
    let plain = [
        "full", "null", "random", "tty", "urandom", "zero", "pts/ptmx",
    ];
    let plain: BTreeSet<String> = plain.map(|name| format!("/dev/{name}")).into();
    let devices: BTreeSet<String> = devices.lines().map(str::to_owned).collect();
    assert!(devices.is_subset(&plain), "{devices:?}");
}

fn cis_5_19_ulimits_are_those_that_were_asked_for(ctx: &Ctx) {
    let run = ctx.sh(&["--ulimit", "nofile=64:65"], "ulimit -Sn; ulimit -Hn");
    assert_eq!(run.expect(0).out(), "64\n65\n");
}

fn cis_5_20_no_mount_is_shared(ctx: &Ctx) {
    let shared = inside(ctx, "grep -c shared: /proc/self/mountinfo; true");
    assert_eq!(shared, "0");
}

fn cis_5_21_the_hosts_uts_is_not_shared(ctx: &Ctx) {
    not_of_somebody_else(&applied(ctx).host_config.uts_mode);
    own_namespace(ctx, "uts");
}

fn cis_5_22_system_calls_are_filtered(ctx: &Ctx) {
    assert_eq!(status(ctx, "Seccomp"), "2");
    let options = applied(ctx).host_config.security_opt;
    assert!(
        !options.iter().any(|o| o.contains("unconfined")),
        "{options:?}"
    );
    let ours = options.iter().any(|option| option.starts_with("seccomp="));
    // Podman may not see our files.
    assert!(ours || ctx.target.is_podman());
    let (run, receipt) = ctx.sh_receipt(&[], "true");
    run.expect(0);
    let whose = if ours { "acode-rt" } else { "engine" };
    assert_eq!(receipt["protections"]["seccomp"], whose);
    let (run, receipt) =
        ctx.sh_receipt(&["--seccomp", "engine"], "grep Seccomp: /proc/self/status");
    assert_eq!(run.expect(0).out(), "Seccomp:\t2\n", "and never none");
    assert_eq!(receipt["protections"]["seccomp"], "engine");
}

fn cis_5_25_the_cgroup_is_the_engines(ctx: &Ctx) {
    let parent = applied(ctx).host_config.cgroup_parent;
    assert!(ctx.target.is_podman() || parent.is_empty(), "{parent}");
}

fn cis_5_26_no_new_privileges(ctx: &Ctx) {
    let options = applied(ctx).host_config.security_opt;
    assert!(options.iter().any(|option| option == "no-new-privileges"));
    assert_eq!(status(ctx, "NoNewPrivs"), "1");
}

fn cis_5_29_processes_are_limited(ctx: &Ctx) {
    assert_eq!(applied(ctx).host_config.pids_limit, 1000);
}

fn cis_5_30_the_default_bridge_is_not_used(ctx: &Ctx) {
    assert_eq!(applied(ctx).host_config.network_mode, "none");
}

fn cis_5_31_the_hosts_user_namespace_is_not_asked_for(ctx: &Ctx) {
    let mode = applied(ctx).host_config.userns_mode;
    assert!(!matches!(mode.as_str(), "host"), "{mode}");
}

fn cis_5_32_the_engines_socket_is_not_inside(ctx: &Ctx) {
    let sockets = inside(ctx, "find / -type s 2>/dev/null; true");
    assert_eq!(sockets, "");
    let named = inside(
        ctx,
        "grep -E 'docker.sock|podman.sock|containerd.sock' /proc/self/mountinfo; true",
    );
    assert_eq!(named, "");
}
