//! What a sweep takes and what it leaves: containers without our labels, other people's, other sweepers beside it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::sync::mpsc::channel;
use std::time::Duration;

use acode_rt::engine::Engine;
use acode_rt::model::{CreateBody, HostConfig};
use acode_rt::protocol::labels::{Labels, TaskLabels};
use acode_rt::sweep::owner;
use acode_rt::task::remove_confirmed;
use acode_rt::{ContainerName, Prefix};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::running::Running;
use crate::support::{Ctx, IMAGE, PATIENCE, tests};

tests![
    fr_020a_64_to_67_an_unlabelled_orphan_goes_by_its_name,
    fr_020a_65_an_unlabelled_container_that_somebody_keeps_stays,
    nfr_020a_13_living_tasks_and_foreign_labels_are_untouched,
    fr_020a_76_two_sweepers_at_once_share_the_work,
    fr_020a_77_watch_takes_what_comes_and_ends_when_told,
];

fn fr_020a_64_to_67_an_unlabelled_orphan_goes_by_its_name(ctx: &Ctx) {
    let _alone = ctx.alone_with_orphans();
    let name = format!("acode-{}-test-123", ctx.session);
    undisturbed(|| {
        ctx.with_engine(async |engine| {
            let id = create(&engine, &name, &json!({})).await;
            // It may be gone by now.
            let _ = engine.container_start(&id).await;
        });
        let dry = ctx.run(&["cleanup", "--dry-run", "--json"]).expect(0);
        let run = ctx
            .run(&["cleanup", "--json", "--log-level", "warn"])
            .expect(0);
        assert_eq!(ctx.containers().len(), 0);
        let (dry, entry) = (entry(&dry.json(), &name)?, entry(&run.json(), &name)?);
        for (key, value) in [
            ("orphan", json!(true)),
            ("labelled", json!(false)),
            ("removed", json!(false)),
            ("session", json!(ctx.session)),
            ("task", json!("test-123")),
        ] {
            assert_eq!(dry[key], value, "{key}");
        }
        let warned = |line: &str| {
            line.contains("WARN") && line.contains("removing orphan") && line.contains(&name)
        };
        assert!(run.err().lines().any(warned), "{}", run.err());
        (entry["removed"] == true).then(|| {
            assert!(run.json()["totals"]["removed"].as_u64().unwrap() >= 1);
        })
    });
}

fn fr_020a_65_an_unlabelled_container_that_somebody_keeps_stays(ctx: &Ctx) {
    let _alone = ctx.alone_with_orphans();
    let volume = format!("data-{}", ctx.session);
    let mut cases = vec![
        (
            "restart",
            json!({"HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}}}),
            "it has a restart policy",
        ),
        (
            "bind",
            json!({"HostConfig": {"Binds": ["/etc/hostname:/x:ro"]}}),
            "it has a bind",
        ),
        (
            "mount",
            json!({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/x"}]}}),
            "it has a bind",
        ),
        (
            "volume",
            json!({"HostConfig": {"Binds": [format!("{volume}:/x")]}}),
            "it has a named volume",
        ),
        (
            "label",
            json!({"Labels": {"com.example": "1"}}),
            "it has labels of its own",
        ),
    ];
    if !ctx.target.is_podman() {
        // Podman forgets ports that there is no network for.
        let ports = json!({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "0"}]}}});
        cases.push(("ports", ports, "it publishes ports"));
    }
    let name = |case: &str| format!("acode-{}-{case}", ctx.session);
    // The engine finds the text of our prefix in these too.
    let others = [
        format!("my-acode-{}-x", ctx.session),
        format!("acode-{}_x", ctx.session),
    ];
    ctx.with_engine(async |engine| {
        for (case, extra, _) in &cases {
            create(&engine, &name(case), extra).await;
        }
        for other in &others {
            create(&engine, other, &json!({})).await;
        }
        // Anonymous volumes go with their container, and keep nothing.
        create(&engine, &name("anonymous"), &json!({"Volumes": {"/x": {}}})).await;
    });
    let report = ctx.run(&["cleanup", "--json"]).expect(0).json();
    for (case, _, reason) in &cases {
        let entry = entry(&report, &name(case)).unwrap();
        assert_eq!(
            (&entry["orphan"], &entry["reason"]),
            (&false.into(), &(*reason).into()),
            "{case}"
        );
    }
    let text = report.to_string();
    assert!(others.iter().all(|other| !text.contains(other)), "{text}");
    let listed: Vec<String> = ctx
        .containers()
        .iter()
        .map(|c| c.name().to_owned())
        .collect();
    assert_eq!(listed.len(), cases.len() + others.len(), "{listed:?}");
    assert!(
        others.iter().all(|other| listed.contains(other)),
        "{listed:?}"
    );
    remove_all(ctx);
    ctx.with_engine(async |engine| {
        call(
            &engine,
            "DELETE",
            &format!("/volumes/{volume}?force=1"),
            &Value::Null,
        )
        .await;
    });
}

fn nfr_020a_13_living_tasks_and_foreign_labels_are_untouched(ctx: &Ctx) {
    let _alone = ctx.alone_with_orphans();
    let mut living = ctx.start(&["--task", "living"], "echo ready; cat");
    let foreign = format!("acode-{}-foreign", ctx.session);
    let compose = json!({"Labels": {"com.docker.compose.project": "acode"}});
    ctx.with_engine(async |engine| create(&engine, &foreign, &compose).await);
    for _ in 0..3 {
        let report = ctx.run(&["cleanup", "--json"]).expect(0).json();
        assert_eq!(
            entry(&report, &foreign).unwrap()["reason"],
            "it has labels of its own"
        );
        let ours = entry(&report, &format!("acode-{}-living", ctx.session)).unwrap();
        assert_eq!(
            (&ours["owner"], &ours["orphan"]),
            (&"alive".into(), &false.into())
        );
        assert!(ours["owner_pid"].as_u64().unwrap() > 0 && ours["age_seconds"].is_u64());
    }
    let table = ctx.run(&["cleanup", "--dry-run"]).expect(0);
    assert!(
        table.out().lines().next().unwrap().contains("OWNER"),
        "{}",
        table.out()
    );
    assert!(
        table
            .out()
            .lines()
            .last()
            .unwrap()
            .starts_with("to be removed: "),
        "{}",
        table.out()
    );
    living.say(b"unharmed\n");
    assert_eq!(living.finish().expect(0).out(), "ready\nunharmed\n");
    assert_eq!(ctx.containers().len(), 1);
    remove_all(ctx);
}

fn fr_020a_76_two_sweepers_at_once_share_the_work(ctx: &Ctx) {
    const ORPHANS: usize = 8;
    let _alone = ctx.alone_with_orphans();
    undisturbed(|| {
        ctx.with_engine(async |engine| {
            for number in 0..ORPHANS {
                orphan(&engine, ctx, &format!("orphan-{number}")).await;
            }
        });
        let sweepers = [(); 2].map(|()| {
            let mut program = ctx.program();
            Running::start(program.args(["cleanup", "--json"]))
        });
        let reports = sweepers.map(|sweeper| sweeper.wait().expect(0).json());
        assert_eq!(ctx.containers().len(), 0);
        let (mut removed, mut counted) = (BTreeSet::new(), 0);
        for entry in reports.iter().flat_map(|report| ours(report, ctx)) {
            let ended = (entry["removed"] == true, entry["gone_already"] == true);
            assert!(ended.0 != ended.1, "by us or by the other: {entry}");
            if ended.0 {
                removed.insert(entry["name"].as_str().unwrap());
                counted += 1;
            }
        }
        // In a narrow race Docker says yes to both, Podman always does.
        let told_apart = ctx.target.is_podman() || counted < 2 * ORPHANS;
        (removed.len() == ORPHANS && told_apart).then_some(())
    });
}

fn fr_020a_77_watch_takes_what_comes_and_ends_when_told(ctx: &Ctx) {
    let _alone = ctx.alone_with_orphans();
    for (signal, json) in [(Signal::SIGTERM, true), (Signal::SIGINT, false)] {
        let mut program = ctx.program();
        program.args(["cleanup", "--watch", "--every", "200ms"]);
        let mut child = program.args(json.then_some("--json")).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let watch = Running::watch(child);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut lines = stdout.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        for _ in 0..2 {
            undisturbed(|| {
                let name = ctx.with_engine(async |engine| orphan(&engine, ctx, "orphan").await);
                let line = loop {
                    let line = lines.recv_timeout(Duration::from_secs(5)).ok()?;
                    if line.contains(&name) {
                        break line;
                    }
                };
                if json {
                    let line: Value = serde_json::from_str(&line).unwrap();
                    assert_eq!(line["owner"], "gone");
                    (line["removed"] == true).then_some(())
                } else {
                    (line == format!("removed {name}: its owner is gone")).then_some(())
                }
            });
        }
        watch.signal(signal);
        assert_eq!(watch.wait().expect(0).err(), "");
        assert_eq!(ctx.containers().len(), 0);
    }
}

/// What was made on purpose to stay.
pub(crate) fn remove_all(ctx: &Ctx) {
    let containers = ctx.containers();
    ctx.with_engine(async |engine| {
        for container in containers {
            remove_confirmed(&engine, &container.id, PATIENCE)
                .await
                .unwrap();
        }
    });
}

/// A container that we did not make, never started.
pub(crate) async fn create(engine: &Engine, name: &str, extra: &Value) -> String {
    let mut body = json!({"Image": IMAGE, "Cmd": ["sleep", "1000"]});
    let into = body.as_object_mut().unwrap();
    into.extend(extra.as_object().unwrap().clone());
    into.entry("HostConfig").or_insert(json!({}))["NetworkMode"] = "none".into();
    let created = call(
        engine,
        "POST",
        &format!("/containers/create?name={name}"),
        &body,
    )
    .await;
    created["Id"].as_str().unwrap().to_owned()
}

/// One of ours whose owner is gone; its name.
pub(crate) async fn orphan(engine: &Engine, ctx: &Ctx, task: &str) -> String {
    let name = ContainerName::new(&Prefix::default(), &ctx.session, task).unwrap();
    let body = CreateBody {
        image: IMAGE.into(),
        cmd: Some(vec!["true".into()]),
        labels: labels_of_the_dead(engine, ctx, task),
        host_config: HostConfig {
            network_mode: "none".into(),
            ..HostConfig::default()
        },
        ..CreateBody::default()
    };
    engine.container_create(&name, &body).await.unwrap();
    name.to_string()
}

/// As if this process had got the pid of the one that made it.
pub(crate) fn labels_of_the_dead(engine: &Engine, ctx: &Ctx, task: &str) -> Labels {
    let mut owner = owner::current().unwrap();
    owner.start -= 1;
    let now = engine.now();
    TaskLabels {
        session: ctx.session.clone(),
        task: task.into(),
        created: now,
        ephemeral: true,
        operation: format!("{}-{task}", ctx.session),
        owner: Some(owner),
        deadline: Some(now + 86_400),
    }
    .to_map()
}

/// What the library has no call for: the path and the answer's JSON.
pub(crate) async fn call(engine: &Engine, method: &str, path: &str, body: &Value) -> Value {
    let mut stream = UnixStream::connect(engine.socket()).await.unwrap();
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = format!(
        "{method} /v1.41{path} HTTP/1.0\r\nHost: tests\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.split(' ').nth(1).unwrap().starts_with('2'),
        "{method} {path}: {answer}"
    );
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1.trim()).unwrap_or_default()
}

fn entry(report: &Value, name: &str) -> Option<Value> {
    let mut all = report["containers"].as_array().unwrap().iter();
    all.find(|entry| entry["name"] == name).cloned()
}

/// Other programs on this engine sweep too, as every `exec` does: where one of them was faster, it is tried again.
pub(crate) fn undisturbed(mut attempt: impl FnMut() -> Option<()>) {
    let done = (0..10).any(|_| attempt().is_some());
    assert!(done, "somebody else is faster each time");
}

fn ours<'a>(report: &'a Value, ctx: &'a Ctx) -> impl Iterator<Item = &'a Value> {
    let all = report["containers"].as_array().unwrap().iter();
    all.filter(|entry| entry["session"] == ctx.session)
}
