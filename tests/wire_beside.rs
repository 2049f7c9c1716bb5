//! What is beside a task's life on the wire: samples of its usage, the list of changed files, a bound of the disk that is refused. No fault of
//! these holds a task up.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/scripted.rs"]
#[expect(dead_code, reason = "some faults are the matter of other tests")]
mod scripted;
#[path = "support/wire_faults.rs"]
mod wire_faults;

use std::time::{Duration, Instant};

use acode_rt::protocol::glob::Glob;
use acode_rt::task::{Audit, Usage};
use acode_rt::{Canceller, Code, Runner, TaskIo};
use scripted::{Fault, Scripted, always, response, spec};
use wire_faults::faults;

/// Samples are beside the matter: whatever the engine does to them, the task's deadline and removal come in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fr_020a_88_no_fault_of_a_sample_holds_a_task_up() {
    let mut runs = tokio::task::JoinSet::new();
    for fault in faults() {
        runs.spawn(async move {
            let scripted = Scripted::start_endless(&always("/stats", fault.clone()));
            let engine = scripted.connect().await.unwrap();
            let mut spec = spec();
            spec.timeout = Some(Duration::from_millis(2500));
            let begun = Instant::now();
            let canceller = Canceller::new();
            let run = acode_rt::run(&engine, spec, TaskIo::default(), &canceller);
            let receipt = run.await.unwrap();
            assert!(begun.elapsed() < Duration::from_secs(10), "{fault:?}");
            assert_eq!((receipt.status, receipt.removed), (124, true), "{fault:?}");
            assert_eq!(receipt.usage, Usage::default(), "{fault:?}");
            assert_eq!(scripted.count("/stats"), 1, "{fault:?}");
        });
    }
    while let Some(run) = runs.join_next().await {
        run.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_fault_of_the_list_of_changed_files_holds_a_task_up() {
    let mut runs = tokio::task::JoinSet::new();
    for (number, fault) in faults().into_iter().enumerate() {
        runs.spawn(async move {
            let scripted = Scripted::start(&always("/changes", fault.clone()));
            let path =
                std::env::temp_dir().join(format!("acode-wire-{}-{number}", std::process::id()));
            let audit = Audit::append(&path)
                .unwrap()
                .with_changes(vec![Glob::parse("/**").unwrap()]);
            let runner = Runner::new(scripted.connect().await.unwrap()).with_audit(audit);
            let mut spec = spec();
            spec.writable_root = true;
            let receipt = runner
                .run(spec, TaskIo::default(), &Canceller::new())
                .await
                .unwrap();
            assert_eq!((receipt.status, receipt.removed), (7, true), "{fault:?}");
            let log = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            assert!(log.contains(r#""seen":false"#), "{fault:?}: {log}");
            assert!(
                log.ends_with("\"detail\":{}}\n") && log.contains("\"removed\""),
                "{log}"
            );
        });
    }
    while let Some(run) = runs.join_next().await {
        run.unwrap();
    }
}

#[tokio::test]
async fn a_bound_of_the_disk_that_is_refused_is_a_limit_that_cannot_be_had() {
    let refusal = response(
        "500 Internal Server Error",
        r#"{"message":"no quotas here"}"#,
    );
    for info in [
        Fault::Answer(response("200 OK", r#"{"Driver":"over\u001blay"}"#)),
        Fault::Hang,
    ] {
        let rules = [
            always("/containers/create", Fault::Answer(refusal.clone())),
            always("/info", info),
        ]
        .concat();
        let scripted = Scripted::start(&rules);
        let mut spec = spec();
        spec.writable_root = true;
        spec.limits.disk = Some(8 << 20);
        let engine = scripted.connect().await.unwrap();
        let canceller = Canceller::new();
        let run = acode_rt::run(&engine, spec, TaskIo::default(), &canceller);
        let error = run.await.unwrap_err();
        assert_eq!(error.code(), Code::LimitInvalid);
        let text = error.to_string();
        assert!(
            text.contains("no quotas here") && text.contains("pquota"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
