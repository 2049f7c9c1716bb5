//! What a task can see and do of its surroundings.

use std::collections::BTreeSet;
use std::fs;

use acode_rt::engine::AttachOptions;
use acode_rt::model::{CreateBody, HostConfig};
use acode_rt::{ContainerName, Prefix};

use crate::support::{Ctx, IMAGE, facts, tests};

tests![
    nfr_020a_21_22_23_27_no_capabilities_no_new_privileges_a_filter_and_uid_1000,
    nfr_020a_24_no_device_of_the_host_and_no_engine_inside,
    the_defaults_are_what_the_engine_says_it_applied,
    namespaces_are_the_tasks_own,
    the_root_is_read_only_and_workspace_and_tmp_are_not,
    a_writable_root_is_writable,
    a_tmpfs_has_its_size_and_a_further_one_too,
    nfr_020a_25_only_a_loopback_that_works,
    the_network_is_what_the_engine_makes_of_none,
    fr_020a_51_nothing_written_outlives_the_task,
    added_capabilities_are_those_and_no_other,
];

fn nfr_020a_21_22_23_27_no_capabilities_no_new_privileges_a_filter_and_uid_1000(ctx: &Ctx) {
    for options in [&[][..], &["-u", "0", "--allow-root", "--writable-root"]] {
        let run = ctx
            .exec(options, &["sed", "s/:\t/=/", "/proc/self/status"])
            .expect(0);
        let status = facts(run.out());
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status[set], "0000000000000000", "{set} {options:?}");
        }
        assert_eq!((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"));
        let user = if options.is_empty() {
            "1000\t1000\t1000\t1000"
        } else {
            "0\t0\t0\t0"
        };
        assert_eq!((status["Uid"], status["Gid"]), (user, user));
    }
}

fn added_capabilities_are_those_and_no_other(ctx: &Ctx) {
    let options = [
        "-u",
        "0",
        "--allow-root",
        "--cap-add",
        "CHOWN",
        "--cap-add",
        "cap_kill",
    ];
    let run = ctx
        .exec(&options, &["sed", "s/:\t/=/", "/proc/self/status"])
        .expect(0);
    let status = facts(run.out());
    // CHOWN is bit 0 and KILL bit 5.
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(status[set], "0000000000000021", "{set}");
    }
}

fn nfr_020a_24_no_device_of_the_host_and_no_engine_inside(ctx: &Ctx) {
    let script = "find /dev -type b; find / -xdev -type s 2>/dev/null; grep -E ' /(dev/)?[a-z]+da?[0-9]* ' /proc/mounts; true";
    let run = ctx.sh(&[], script).expect(0);
    assert_eq!(run.out(), "");
    let mounts = ctx
        .exec(&[], &["cut", "-d ", "-f2", "/proc/mounts"])
        .expect(0);
    let bound: BTreeSet<&str> = mounts
        .out()
        .lines()
        .filter(|path| path.starts_with("/etc/"))
        .collect();
    let mut written = BTreeSet::from(["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"]);
    if ctx.target.is_podman() {
        written.extend(["/etc/passwd", "/etc/group"]);
    }
    assert!(
        bound.is_subset(&written),
        "only what the engine writes for the container: {bound:?}"
    );
}

/// Of the program's own task, with its process 1.
fn the_defaults_are_what_the_engine_says_it_applied(ctx: &Ctx) {
    let mut task = ctx.start(&[], "echo ready; cat");
    let id = ctx.containers().remove(0).id;
    let inspect = ctx.with_engine(async |engine| engine.container_inspect(&id).await.unwrap());
    let host = &inspect.host_config;
    assert_eq!(inspect.config.user, "1000:1000");
    assert_eq!(host.network_mode, "none");
    assert!(host.readonly_rootfs && !host.privileged && !host.publish_all_ports);
    assert_eq!(
        (
            host.memory,
            host.memory_swap,
            host.pids_limit,
            host.shm_size
        ),
        (4 << 30, 4 << 30, 1000, 64 << 20)
    );
    assert!((1..=2_000_000_000).contains(&host.nano_cpus));
    assert_eq!(host.ipc_mode, "private");
    assert_eq!(host.init, !ctx.has_own_init());
    let tmpfs: Vec<&str> = host.tmpfs.keys().map(String::as_str).collect();
    let (kept_by, paths) = if ctx.target.is_podman() {
        (
            ["json-file", "k8s-file"],
            vec!["/run", "/tmp", "/var/tmp", "/workspace"],
        )
    } else {
        assert_eq!(host.cap_drop, ["ALL"]);
        assert_eq!(host.cgroupns_mode, "private");
        (["local"; 2], vec!["/tmp", "/workspace"])
    };
    assert_eq!(tmpfs, paths);
    assert!(host.tmpfs.values().all(|options| {
        let has = |option: &str| options.split(',').any(|o| o.starts_with(option));
        has("nosuid") && has("nodev") && has("size=")
    }));
    assert!(kept_by.contains(&host.log_config.driver.as_str()));
    let nothing = host.devices.len() + host.binds.len() + host.volumes_from.len();
    assert!(nothing + host.group_add.len() + host.cap_add.len() == 0);
    task.say(b"end\n");
    task.finish().expect(0);
}

fn namespaces_are_the_tasks_own(ctx: &Ctx) {
    let cgroup_version =
        ctx.with_engine(async |engine| engine.info().await.unwrap().cgroup_version);
    let mut kinds = vec!["ipc", "mnt", "net", "pid", "uts"];
    // Podman's Docker-compatible API gives its default, whatever is asked for: the host's where cgroups are of version 1.
    if !ctx.target.is_podman() || cgroup_version != "1" {
        kinds.push("cgroup");
    }
    let script = "cd /proc/self/ns; for kind in *; do echo $kind=$(readlink $kind); done; cd /proc; echo pids=$(echo [0-9]*)";
    let run = ctx.sh(&[], script).expect(0);
    let inside = facts(run.out());
    for kind in kinds {
        let ours = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(ours.to_str().unwrap(), inside[kind], "{kind}");
    }
    // The engine's init, the shell and nothing of the host's; the shell may still be there twice.
    let pids: Vec<u32> = inside["pids"]
        .split(' ')
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert!(pids[0] == 1 && pids.len() <= 3, "{pids:?}");
}

fn the_root_is_read_only_and_workspace_and_tmp_are_not(ctx: &Ctx) {
    let script = "for dir in / /etc /bin /home; do touch $dir/x 2>&1; done
        for dir in /workspace /tmp; do
            printf '#!/bin/sh\\necho ran in '$dir > $dir/x && chmod +x $dir/x && $dir/x
        done";
    let run = ctx.sh(&[], script).expect(0);
    let (refused, ran): (Vec<&str>, Vec<&str>) =
        run.out().lines().partition(|line| line.contains("touch"));
    assert_eq!(ran, ["ran in /workspace", "ran in /tmp"]);
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert!(
        refused
            .iter()
            .all(|line| line.ends_with("Read-only file system")),
        "{refused:?}"
    );
    ctx.sh(&["-u", "0", "--allow-root"], "touch /x /etc/x")
        .expect(1);
}

fn a_writable_root_is_writable(ctx: &Ctx) {
    let run = ctx
        .sh(
            &["--writable-root", "-u", "0", "--allow-root"],
            "echo x > /etc/file && cat /etc/file",
        )
        .expect(0);
    assert_eq!(run.out(), "x\n");
    ctx.sh(&["--writable-root"], "touch /etc/file").expect(1);
}

fn a_tmpfs_has_its_size_and_a_further_one_too(ctx: &Ctx) {
    let script = "for dir in /dev/shm /scratch /tmp; do
            echo $dir=$(df -k $dir | awk 'END { print $2 }')
            head -c 3m /dev/zero > $dir/x 2>/dev/null && echo $dir/x=fits || echo $dir/x=full
        done";
    let options = [
        "--shm-size",
        "2m",
        "--tmpfs",
        "/scratch:size=1m",
        "--tmpfs",
        "/tmp:size=4m",
    ];
    let run = ctx.sh(&options, script).expect(0);
    let sizes = facts(run.out());
    assert_eq!((sizes["/dev/shm"], sizes["/dev/shm/x"]), ("2048", "full"));
    assert_eq!((sizes["/scratch"], sizes["/scratch/x"]), ("1024", "full"));
    assert_eq!((sizes["/tmp"], sizes["/tmp/x"]), ("4096", "fits"));
    let together = "df -k /tmp /workspace /dev/shm /run /var/tmp 2>/dev/null | awk '$1 ~ /tmpfs|shm/ { sum += $2 } END { print sum }'";
    let run = ctx.sh(&["--memory", "256m"], together).expect(0);
    let sum: u64 = run.out().trim().parse().unwrap();
    assert!(
        sum > 100 * 1024 && sum <= 128 * 1024,
        "{sum} KiB of at most half the memory limit"
    );
}

fn nfr_020a_25_only_a_loopback_that_works(ctx: &Ctx) {
    let script = "echo interfaces=$(ls /sys/class/net)
        ifconfig lo | grep -q 'UP LOOPBACK RUNNING' && echo lo=up
        echo address=$(ifconfig lo | awk -F'[: ]+' '/inet addr/ { print $4 }')
        sleep 50 | nc -l -p 8080 >/tmp/got & until [ -s /tmp/got ]; do echo hello | nc -w 1 localhost 8080 2>/dev/null; usleep 10000; done
        echo localhost=$(cat /tmp/got)
        echo outside=$(nc -w 3 192.0.2.1 80 2>&1)
        echo routes=$(ip route)
        echo hostname=$(hostname)
        [ -e /etc/resolv.conf ]; echo resolv=$(grep -c . /etc/resolv.conf 2>/dev/null)";
    let (run, receipt) = ctx.sh_receipt(&["--timeout", "60s"], script);
    let run = run.expect(0);
    let seen = facts(run.out());
    assert_eq!(
        (seen["interfaces"], seen["lo"], seen["address"]),
        ("lo", "up", "127.0.0.1")
    );
    assert_eq!((seen["localhost"], seen["routes"]), ("hello", ""));
    assert!(
        seen["outside"].contains("unreachable"),
        "{}",
        seen["outside"]
    );
    assert_eq!(
        seen["hostname"],
        &receipt["container"]["id"].as_str().unwrap()[..12]
    );
}

/// Where the engine's own way is slow there is a faster one; nothing inside may tell them apart, but for an `::1` that Docker 20.10
/// takes away and we leave.
fn the_network_is_what_the_engine_makes_of_none(ctx: &Ctx) {
    let script = "cat /proc/net/dev /proc/net/route; ip -4 addr | sed 's/qlen.*//'; ls /sys/class/net; \
        grep -v $(hostname) /etc/hosts; ls -l /etc/hosts | cut -c1-10; ulimit -a";
    let ours = ctx.sh(&[], script).expect(0);
    let plain = ctx.with_engine(async |engine| {
        let name = ContainerName::new(&Prefix::new("plain").unwrap(), &ctx.session, "net").unwrap();
        let body = CreateBody {
            image: IMAGE.into(),
            cmd: Some(["sh", "-c", script].map(str::to_owned).into()),
            user: "1000:1000".into(),
            host_config: HostConfig {
                network_mode: "none".into(),
                init: true,
                readonly_rootfs: true,
                ..HostConfig::default()
            },
            ..CreateBody::default()
        };
        let (id, _) = engine.container_create(&name, &body).await.unwrap();
        let mut attached = engine
            .container_attach(id.as_str(), AttachOptions::default())
            .await
            .unwrap();
        engine.container_start(id.as_str()).await.unwrap();
        let mut output = Vec::new();
        while let Some(chunk) = attached.output.next().await.unwrap() {
            output.extend(chunk.data);
        }
        acode_rt::task::remove_confirmed(&engine, id.as_str(), crate::support::PATIENCE)
            .await
            .unwrap();
        String::from_utf8(output).unwrap()
    });
    assert!(
        plain.contains("LOOPBACK,UP") && plain.contains("localhost"),
        "{plain}"
    );
    assert_eq!(ours.out(), plain);
}

fn fr_020a_51_nothing_written_outlives_the_task(ctx: &Ctx) {
    let places = "/tmp /workspace /dev/shm";
    ctx.sh(
        &[],
        &format!("for dir in {places}; do echo x > $dir/left; done"),
    )
    .expect(0);
    let run = ctx.sh(&[], &format!("find {places} -type f")).expect(0);
    assert_eq!(run.out(), "");
}
