//! The library, step by step and in one call.

use std::io::{Cursor, Read};
use std::time::Duration;

use acode_rt::engine::{Chunk, LogsOptions};
use acode_rt::protocol::demux::Stream;
use acode_rt::protocol::labels::SESSION;
use acode_rt::protocol::target::Filters;
use acode_rt::task::{Cancel, Status};
use acode_rt::{Canceller, Code, Outcome, Receipt, TaskContainer, TaskIo, TaskSpec};
use tokio::sync::mpsc;

use crate::support::{Ctx, random_bytes, tests};

tests![
    fr_020a_02_to_06_14_15_20_step_by_step,
    fr_020a_11_78_remove_takes_a_container_in_any_state,
    fr_020a_54_many_removals_of_one_container_all_succeed,
    fr_020a_08_a_container_is_never_started_twice,
    fr_020a_17_a_canceller_stops_or_kills,
    a_task_cancelled_before_it_begins_leaves_nothing,
    a_receiver_that_is_dropped_ends_the_task,
    events_tell_the_life_of_a_task,
    archives_go_in_and_come_out_as_they_were,
];

fn fr_020a_02_to_06_14_15_20_step_by_step(ctx: &Ctx) {
    ctx.with_engine(async |engine| {
        let spec = ctx.spec("steps", "echo out; echo err >&2; exec sleep 1000");
        let container = TaskContainer::create(&engine, spec).await.unwrap();
        assert_eq!(container.id().as_str().len(), 64);
        assert_eq!(
            container.name().as_str(),
            format!("acode-{}-steps", ctx.session)
        );
        assert_eq!(container.status().await.unwrap(), Status::Created);
        container.start().await.unwrap();
        assert_eq!(container.status().await.unwrap(), Status::Running);
        let mut log = container
            .logs(&LogsOptions {
                follow: true,
                ..LogsOptions::default()
            })
            .await
            .unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while out != b"out\n" || err != b"err\n" {
            let chunk = log.next().await.unwrap().expect("the log goes on");
            if chunk.stream == Stream::Stdout {
                &mut out
            } else {
                &mut err
            }
            .extend(chunk.data);
        }
        container.stop(Duration::from_secs(60)).await.unwrap();
        assert_eq!(container.status().await.unwrap(), Status::Exited(143));
        container.stop(Duration::from_secs(60)).await.unwrap();
        container.remove().await.unwrap();
        assert_eq!(container.status().await.unwrap(), Status::Gone);
        container.remove().await.unwrap();
        assert_eq!(
            container.start().await.unwrap_err().code(),
            Code::StartFailed
        );
        assert!(
            container
                .stop(Duration::ZERO)
                .await
                .unwrap_err()
                .is_not_found()
        );
    });
}

fn fr_020a_11_78_remove_takes_a_container_in_any_state(ctx: &Ctx) {
    ctx.with_engine(async |engine| {
        for (task, script) in [
            ("created", None),
            ("running", Some("exec sleep 1000")),
            ("exited", Some("true")),
        ] {
            let container =
                TaskContainer::create(&engine, ctx.spec(task, script.unwrap_or("true")))
                    .await
                    .unwrap();
            if script.is_some() {
                let waiting = container.subscribe().await.unwrap().waiting;
                container.start().await.unwrap();
                if task == "exited" {
                    assert_eq!(waiting.exit_code().await.unwrap(), 0);
                }
            }
            container.remove().await.unwrap();
            assert_eq!(container.status().await.unwrap(), Status::Gone, "{task}");
        }
    });
}

fn fr_020a_54_many_removals_of_one_container_all_succeed(ctx: &Ctx) {
    ctx.with_engine(async |engine| {
        let container = TaskContainer::create(&engine, ctx.spec("t", "exec sleep 1000"))
            .await
            .unwrap();
        container.start().await.unwrap();
        let remove = || container.remove();
        let removed = tokio::join!(remove(), remove(), remove(), remove(), remove(), remove());
        for result in [
            removed.0, removed.1, removed.2, removed.3, removed.4, removed.5,
        ] {
            result.unwrap();
        }
        assert_eq!(container.status().await.unwrap(), Status::Gone);
    });
}

fn fr_020a_08_a_container_is_never_started_twice(ctx: &Ctx) {
    ctx.with_engine(async |engine| {
        let one = TaskContainer::create(&engine, ctx.spec("same", "true"))
            .await
            .unwrap();
        let taken = TaskContainer::create(&engine, ctx.spec("same", "true"))
            .await
            .unwrap_err();
        assert_eq!(taken.code(), Code::NameTaken);
        one.remove().await.unwrap();
        let two = TaskContainer::create(&engine, ctx.spec("same", "true"))
            .await
            .unwrap();
        assert_eq!(one.name(), two.name());
        assert_ne!(one.id(), two.id());
        two.remove().await.unwrap();
    });
}

fn fr_020a_17_a_canceller_stops_or_kills(ctx: &Ctx) {
    ctx.with_engine(async |engine| {
        for (by, signals) in [(Cancel::Stop, &["TERM"][..]), (Cancel::Kill, &["KILL"])] {
            let (sender, mut output) = mpsc::channel(16);
            let canceller = Canceller::new();
            let io = TaskIo {
                output: Some(sender),
                ..TaskIo::default()
            };
            let run = acode_rt::run(
                &engine,
                ctx.spec("t", "echo ready; exec sleep 1000"),
                io,
                &canceller,
            );
            let cancel = async {
                assert_eq!(output.recv().await.unwrap().data, b"ready\n");
                canceller.cancel(by);
            };
            let receipt: Receipt = tokio::join!(run, cancel).0.unwrap();
            assert_eq!(receipt.outcome, Outcome::Cancelled { by });
            assert_eq!((receipt.status, receipt.removed), (143, true));
            assert_eq!(receipt.evidence.signals, signals);
        }
    });
}

fn a_task_cancelled_before_it_begins_leaves_nothing(ctx: &Ctx) {
    ctx.with_engine(async |engine| {
        let canceller = Canceller::new();
        canceller.cancel(Cancel::Stop);
        let error = acode_rt::run(
            &engine,
            ctx.spec("t", "true"),
            TaskIo::default(),
            &canceller,
        )
        .await
        .unwrap_err();
        assert!(error.is_cancelled(), "{error}");
    });
    assert_eq!(ctx.containers().len(), 0);
}

fn a_receiver_that_is_dropped_ends_the_task(ctx: &Ctx) {
    ctx.with_engine(async |engine| {
        let (sender, output) = mpsc::channel::<Chunk>(1);
        drop(output);
        let io = TaskIo {
            output: Some(sender),
            ..TaskIo::default()
        };
        let receipt = acode_rt::run(&engine, ctx.spec("t", "yes"), io, &Canceller::new())
            .await
            .unwrap();
        assert_eq!(
            receipt.outcome,
            Outcome::Cancelled {
                by: Cancel::OutputClosed
            }
        );
        assert_eq!(
            (receipt.status, receipt.removed, receipt.output.complete),
            (141, true, false)
        );
    });
}

fn events_tell_the_life_of_a_task(ctx: &Ctx) {
    let gone = if ctx.target.is_podman() {
        "remove"
    } else {
        "destroy"
    };
    ctx.with_engine(async |engine| {
        let filters = Filters::new()
            .with("type", "container")
            .with("label", format!("{SESSION}={}", ctx.session));
        // From a moment ago, since a stream that is just open need not have begun.
        let mut events = engine
            .events(&filters, Some(engine.now() - 1), None)
            .await
            .unwrap();
        let receipt = acode_rt::run(
            &engine,
            ctx.spec("t", "true"),
            TaskIo::default(),
            &Canceller::new(),
        )
        .await
        .unwrap();
        let mut actions = Vec::new();
        while !actions.iter().any(|action| action == gone) {
            let event = events.next().await.unwrap().expect("the stream goes on");
            assert_eq!(
                (event.kind.as_str(), &event.actor.id),
                ("container", &receipt.container.id)
            );
            actions.push(event.action);
        }
        let life: Vec<&str> = actions
            .iter()
            .map(String::as_str)
            .filter(|a| ["create", "start", "die", gone].contains(a))
            .collect();
        assert_eq!(life, ["create", "start", "die", gone]);
    });
}

fn archives_go_in_and_come_out_as_they_were(ctx: &Ctx) {
    let bytes = random_bytes(3 << 20);
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o640);
    tar.append_data(&mut header, "data.bin", bytes.as_slice())
        .unwrap();
    let tar = tar.into_inner().unwrap();
    ctx.with_engine(async |engine| {
        let mut spec: TaskSpec = ctx.spec("t", "true");
        spec.writable_root = true;
        let container = TaskContainer::create(&engine, spec).await.unwrap();
        let id = container.id().as_str();
        engine
            .archive_put(id, "/home", Cursor::new(tar.clone()))
            .await
            .unwrap();
        let mut archive = engine.archive_get(id, "/home/data.bin").await.unwrap();
        let mut back = Vec::new();
        while let Some(piece) = archive.next().await.unwrap() {
            back.extend_from_slice(&piece);
        }
        let mut back = tar::Archive::new(back.as_slice());
        let mut entry = back.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(
            (
                entry.path().unwrap().to_str().unwrap(),
                entry.header().mode().unwrap() & 0o777
            ),
            ("data.bin", 0o640)
        );
        let mut read = Vec::new();
        entry.read_to_end(&mut read).unwrap();
        assert!(read == bytes, "{} bytes", read.len());
        let missing = engine.archive_get(id, "/no/such").await.unwrap_err();
        assert!(
            missing.code() == Code::Artifact && missing.is_not_found(),
            "{missing}"
        );
        let nowhere = engine
            .archive_put(id, "/no/such", Cursor::new(tar.clone()))
            .await
            .map_err(|e| e.code());
        container.remove().await.unwrap();

        let read_only = TaskContainer::create(&engine, ctx.spec("t", "true"))
            .await
            .unwrap();
        let refused = engine
            .archive_put(read_only.id().as_str(), "/home", Cursor::new(tar))
            .await
            .map_err(|e| e.code());
        read_only.remove().await.unwrap();
        // Podman makes the directory, and its root is read-only for the task alone.
        let expected = if ctx.target.is_podman() {
            Ok(())
        } else {
            Err(Code::Artifact)
        };
        assert_eq!((nowhere, refused), (expected, expected));
    });
}
