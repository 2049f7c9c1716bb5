//! Whose a container is: owners that a sweep cannot see, clocks that jump, engines that are away, and what `doctor` says of it all.

#[path = "../../examples/soak/owners.rs"]
mod owners;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use acode_rt::engine::{Engine, Host};
use acode_rt::protocol::labels::{DEADLINE, Labels, OWNER};
use acode_rt::protocol::owner::Owner;
use acode_rt::sweep::{Sweep, Sweeper, owner, sweep};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::orphans::{call, create, labels_of_the_dead, orphan, remove_all, undisturbed};
use crate::running::Running;
use crate::support::{Ctx, IMAGE, PATIENCE, tests};

tests![
    nfr_020a_13_no_sweep_takes_what_an_owner_elsewhere_holds,
    an_owner_is_not_looked_for_in_the_proc_of_another_namespace,
    no_clock_but_the_engines_says_what_is_late,
    fr_020a_77_a_sweeper_outlives_an_engine_that_is_away,
    doctor_lists_leaks_and_says_so_in_its_status,
    doctor_says_what_protects_tasks,
];

const NEEDS_ROOT: &str = "namespaces and other users need root";

fn nfr_020a_13_no_sweep_takes_what_an_owner_elsewhere_holds(ctx: &Ctx) {
    if !nix::unistd::geteuid().is_root() {
        return ctx.ignored.set(Some(NEEDS_ROOT));
    }
    let _alone = ctx.alone_with_orphans();
    let host = format!("unix://{}", ctx.target.host.socket().display());
    let figures = owners::run(&host, 5, 4, 1).unwrap();
    assert!(
        figures.contains("| 0 lost | 6 orphans, 0 left;"),
        "{figures}"
    );
}

/// Owner and sweep share a PID namespace; where `/proc` is not that namespace's, another process stands there under the owner's pid.
fn an_owner_is_not_looked_for_in_the_proc_of_another_namespace(ctx: &Ctx) {
    const SCRIPT: &str = r#"
        "$0" --host "$1" exec -q --session "$2" --task held --image "$3" -- sleep 1000 >&2 &
        until "$0" --host "$1" list --json --session "$2" | grep -q running; do :; done
        "$0" --host "$1" cleanup --json"#;
    if !nix::unistd::geteuid().is_root() {
        return ctx.ignored.set(Some(NEEDS_ROOT));
    }
    let _alone = ctx.alone_with_orphans();
    for (mount, owner) in [(&["--mount-proc"][..], "alive"), (&[], "unknown")] {
        let mut shell = Command::new("unshare");
        shell
            .args(["--kill-child", "--fork", "--pid"])
            .args(mount)
            .args(["sh", "-c", SCRIPT])
            .arg(ctx.program().get_program())
            .arg(ctx.target.host.socket())
            .args([&ctx.session, IMAGE]);
        let streams = shell.stdout(Stdio::piped()).stderr(Stdio::piped());
        let report = Running::start(streams.stdin(Stdio::null()))
            .finish()
            .expect(0)
            .json();
        let held = |entry: &&Value| entry["session"] == ctx.session;
        let entry = report["containers"]
            .as_array()
            .unwrap()
            .iter()
            .find(held)
            .unwrap();
        assert_eq!(
            (&entry["owner"], &entry["orphan"]),
            (&owner.into(), &false.into()),
            "{entry}"
        );
        ctx.run(&["cleanup", "--session", &ctx.session]).expect(0);
        assert_eq!(ctx.containers().len(), 0);
    }
}

/// The engine's clock is a year behind, as the labels say it is not, and is then set right: the local clock says all the time that the
/// deadline has passed. A year ahead, a living owner protects all the same, and nothing is older than the process that made it.
fn no_clock_but_the_engines_says_what_is_late(ctx: &Ctx) {
    let _alone = ctx.alone_with_orphans();
    let living = ctx.start(&["--task", "living"], "echo ready; cat");
    let (link, socket) = (ctx.file("engine.sock"), ctx.target.host.socket().to_owned());
    ctx.with_engine(async |direct| {
        // A process that started a moment ago, in a PID namespace that nobody can look into.
        let elsewhere = Owner {
            pid_namespace: 1,
            ..owner::current().unwrap()
        };
        let mut labels = labels_of_the_dead(&direct, ctx, "young");
        labels.insert(OWNER.into(), elsewhere.to_string());
        let name = format!("acode-{}-young", ctx.session);
        create(&direct, &name, &json!({ "Labels": labels })).await;

        let years = Arc::new(AtomicI64::new(-1));
        let _door = Door::open(&link, &socket, Arc::clone(&years));
        let host = Host::parse(&format!("unix://{link}")).unwrap();
        let engine = Engine::connect(&host).await.unwrap();
        let options = Sweep {
            session: None,
            dry_run: true,
            timeout: PATIENCE,
        };
        for (shift, expected) in [(-1, false), (0, true), (1, true), (-1, false)] {
            years.store(shift, Ordering::Relaxed);
            // Whoever sweeps by the true clock takes it.
            let late = async || {
                make_late(&direct, ctx).await;
                let entries = sweep(&engine, &options).await.unwrap();
                let orphan = |task: &str| {
                    let mut ours = entries.iter().filter(|entry| entry.session == ctx.session);
                    Some(ours.find(|entry| entry.task == task)?.orphan)
                };
                let others = (orphan("living"), orphan("young"));
                assert_eq!(others, (Some(false), Some(false)), "{shift} years");
                orphan("late")
            };
            let mut seen = None;
            while seen.is_none() {
                seen = late().await;
            }
            assert_eq!(seen, Some(expected), "{shift} years");
        }
    });
    living.finish().expect(0);
    remove_all(ctx);
}

/// One whose deadline has passed and of whose owner nothing is known, if it is not there.
async fn make_late(engine: &Engine, ctx: &Ctx) {
    let name = format!("acode-{}-late", ctx.session);
    if engine.container_inspect(&name).await.is_ok() {
        return;
    }
    let mut labels = labels_of_the_dead(engine, ctx, "late");
    labels.remove(OWNER);
    labels.insert(DEADLINE.into(), (engine.now() - 7200).to_string());
    create(engine, &name, &json!({ "Labels": labels })).await;
}

/// The engine is reached by a link, which is taken away for a while.
fn fr_020a_77_a_sweeper_outlives_an_engine_that_is_away(ctx: &Ctx) {
    let _alone = ctx.alone_with_orphans();
    let link = ctx.file("engine.sock");
    let socket = ctx.target.host.socket().to_owned();
    ctx.with_engine(async |direct| {
        let door = Door::open(&link, &socket, Arc::default());
        let host = Host::parse(&format!("unix://{link}")).unwrap();
        let engine = Engine::connect(&host).await.unwrap();
        let (sender, mut passes) = tokio::sync::mpsc::unbounded_channel();
        let options = Sweep {
            session: None,
            dry_run: false,
            timeout: PATIENCE,
        };
        let pause = Duration::from_millis(100);
        let report = move |pass: acode_rt::Result<Vec<_>>| {
            // It goes on to the test's end.
            let _ = sender.send(pass.is_ok());
        };
        let sweeper = Sweeper::start_with(engine, options, pause, report);
        assert!(passes.recv().await.unwrap());
        drop(door);
        while passes.recv().await.unwrap() {}
        let _door = Door::open(&link, &socket, Arc::default());
        let name = orphan(&direct, ctx, "orphan").await;
        while !passes.recv().await.unwrap() {}
        while direct.container_inspect(&name).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
        drop(sweeper);
        while passes.recv().await.is_some() {}
    });
}

fn doctor_lists_leaks_and_says_so_in_its_status(ctx: &Ctx) {
    let _alone = ctx.alone_with_orphans();
    let living = ctx.start(&["--task", "living"], "echo ready; cat");
    let (volume, network, odd) = (
        format!("volume-{}", ctx.session),
        format!("network-{}", ctx.session),
        format!("odd-{}", ctx.session),
    );
    ctx.with_engine(async |engine| {
        let labels = labels_of_the_dead(&engine, ctx, "orphan");
        let named =
            |name: &str, labels: &Labels| json!({"Name": name, "Labels": labels, "Internal": true});
        call(&engine, "POST", "/volumes/create", &named(&volume, &labels)).await;
        call(
            &engine,
            "POST",
            "/networks/create",
            &named(&network, &labels),
        )
        .await;
        let odd_labels = json!({"Name": odd, "Labels": {"acode.managed": "true"}});
        call(&engine, "POST", "/volumes/create", &odd_labels).await;
    });
    let names = |ledger: &Value, kind: &str| -> Vec<String> {
        let ours = |entry: &&Value| entry["name"].as_str().unwrap().contains(&ctx.session);
        let all = ledger[kind].as_array().unwrap().iter().filter(ours);
        all.map(|entry| {
            format!(
                "{} {}",
                entry["kind"].as_str().unwrap(),
                entry["name"].as_str().unwrap()
            )
        })
        .collect()
    };
    undisturbed(|| {
        let name = ctx.with_engine(async |engine| orphan(&engine, ctx, "orphan").await);
        let run = ctx.run(&["doctor", "--leaks", "--json"]).expect(1).json();
        let mut leaks = names(&run, "leaks");
        assert_eq!(names(&run, "untold"), [format!("volume {odd}")]);
        assert!(run["owned"].as_u64().unwrap() >= 1);
        let others = leaks.split_off(leaks.len() - 2);
        assert_eq!(
            others,
            [format!("volume {volume}"), format!("network {network}")]
        );
        (leaks == [format!("container {name}")]).then_some(())
    });
    let table = ctx.run(&["doctor", "--leaks"]).expect(1);
    assert!(
        table.out().starts_with("leaked:\nKIND ") && table.out().contains("its owner is gone"),
        "{}",
        table.out()
    );

    ctx.run(&["cleanup"]).expect(0);
    ctx.with_engine(async |engine| {
        for path in [format!("/volumes/{volume}"), format!("/networks/{network}")] {
            call(&engine, "DELETE", &path, &Value::Null).await;
        }
    });
    let run = ctx.run(&["doctor", "--leaks", "--json"]);
    let ledger = run.json();
    assert_eq!(
        (
            names(&ledger, "leaks").len(),
            names(&ledger, "untold").len()
        ),
        (0, 1)
    );
    // Somebody else may have leaked something.
    let status = i32::from(!ledger["leaks"].as_array().unwrap().is_empty());
    run.expect(status);
    ctx.with_engine(async |engine| {
        call(&engine, "DELETE", &format!("/volumes/{odd}"), &Value::Null).await;
    });
    living.finish().expect(0);
}

fn doctor_says_what_protects_tasks(ctx: &Ctx) {
    let findings = ctx.run(&["doctor", "--json"]).expect(0).json();
    let finding = |what: &str| {
        let mut all = findings.as_array().unwrap().iter();
        all.find(|finding| finding["what"] == what).unwrap().clone()
    };
    let engine = finding("engine")["detail"].as_str().unwrap().to_owned();
    assert!(engine.contains(&ctx.target.server), "{engine}");
    assert_eq!(finding("ownership")["good"], true);
    assert!(
        finding("process 1")["detail"]
            .as_str()
            .unwrap()
            .ends_with(" is bound into tasks, where the engine sees it")
    );
    let table = ctx.run(&["doctor"]).expect(0);
    assert!(
        table.out().starts_with("WHAT ") && table.out().contains("hosts file"),
        "{}",
        table.out()
    );
}

/// A socket through which the engine is reached for as long as this is there.
struct Door {
    path: String,
    listening: JoinHandle<()>,
}

impl Door {
    /// `years` are added to what the engine says of its clock.
    fn open(path: &str, engine: &Path, years: Arc<AtomicI64>) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let engine = engine.to_owned();
        let listening = tokio::spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            while let Ok((inside, _)) = listener.accept().await {
                let outside = UnixStream::connect(&engine).await.unwrap();
                connections.spawn(pass(inside, outside, Arc::clone(&years)));
            }
        });
        Self {
            path: path.to_owned(),
            listening,
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.listening.abort();
        std::fs::remove_file(&self.path).unwrap();
    }
}

async fn pass(mut client: UnixStream, mut engine: UnixStream, years: Arc<AtomicI64>) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_engine, mut to_engine) = engine.split();
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_engine.read(&mut buffer).await.unwrap_or(0);
            if count == 0 {
                break;
            }
            shift(&mut buffer[..count], years.load(Ordering::Relaxed));
            if to_client.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_engine) => {}
        () = back => {}
    }
}

/// Changes the year in `Date: Sat, 21 Nov 2026 09:24:57 GMT`.
fn shift(answer: &mut [u8], years: i64) {
    const DATE: &[u8] = b"\r\nDate: ";
    let Some(at) = answer.windows(DATE.len()).position(|bytes| bytes == DATE) else {
        return;
    };
    let year = &mut answer[at + DATE.len() + 12..][..4];
    let number: i64 = std::str::from_utf8(year).unwrap().parse().unwrap();
    year.copy_from_slice((number + years).to_string().as_bytes());
}
