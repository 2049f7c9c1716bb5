//! What the wire can do: every fault at every call of a task's life, from a scripted engine on a real socket. Whatever happens, the answer comes in
//! time and nothing is left.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/scripted.rs"]
#[expect(dead_code, reason = "some faults are the matter of other tests")]
mod scripted;
#[path = "support/wire_faults.rs"]
mod wire_faults;

use std::time::{Duration, Instant};

use acode_rt::task::StartFailure;
use acode_rt::{Canceller, Code, Outcome, TaskIo};
use scripted::{Fault, Rule, Scripted, always, once, response, run, run_past_deadline, spec};
use wire_faults::faults;

#[tokio::test]
async fn without_a_fault_the_script_is_an_engine() {
    let scripted = Scripted::start(&[]);
    let (receipt, chunks) = run(&scripted).await;
    let receipt = receipt.unwrap();
    assert_eq!(receipt.outcome, Outcome::Exited { code: 7 });
    assert!(receipt.removed && receipt.output.complete);
    assert_eq!(
        chunks.iter().map(|c| c.data.as_slice()).collect::<Vec<_>>(),
        [b"out\n", b"err\n"]
    );
    assert_eq!(scripted.count("POST /v1.51/containers/create"), 1);
}

/// Calls as they stand in request lines.
const CALLS: [&str; 8] = [
    "/_ping",
    "/images/",
    "/containers/create",
    "/attach",
    "/wait",
    "c1/json",
    "/start",
    "DELETE ",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nfr_020a_20_any_fault_at_any_call_is_bounded_and_leaves_nothing() {
    let mut runs = tokio::task::JoinSet::new();
    for call in CALLS {
        for fault in faults() {
            runs.spawn(async move {
                let shown = format!(
                    "{call} {}",
                    format!("{fault:?}").chars().take(60).collect::<String>()
                );
                let scripted = Scripted::start(&once(call, fault));
                let begun = Instant::now();
                let (result, _) = tokio::time::timeout(Duration::from_secs(30), run(&scripted))
                    .await
                    .unwrap_or_else(|_| panic!("{shown}: it hangs"));
                assert!(
                    begun.elapsed() < Duration::from_secs(20),
                    "{shown}: {:?}",
                    begun.elapsed()
                );
                assert!(
                    !scripted.container_exists(),
                    "{shown}: left behind; {result:?}"
                );
                if let Ok(receipt) = result {
                    // The fault was overcome, or the end is not called a success.
                    assert!(receipt.removed, "{shown}");
                    assert!(receipt.status != 0, "{shown}: {:?}", receipt.outcome);
                    if receipt.status == 7 {
                        assert_eq!(receipt.outcome, Outcome::Exited { code: 7 }, "{shown}");
                    }
                }
            });
        }
    }
    while let Some(result) = runs.join_next().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn only_what_is_safe_to_repeat_is_repeated() {
    let lost = Scripted::start(&once("/containers/create", Fault::LoseReply));
    let (result, _) = run(&lost).await;
    assert_eq!(result.unwrap_err().code(), Code::CreateFailed);
    assert_eq!(
        lost.count("POST /v1.51/containers/create"),
        1,
        "create is never repeated"
    );
    assert!(!lost.container_exists(), "found by its name and operation");

    let started = Scripted::start(&once("/start", Fault::Close));
    let (result, _) = run(&started).await;
    assert!(matches!(
        result.unwrap().outcome,
        Outcome::StartFailed {
            reason: StartFailure::Other,
            ..
        }
    ));
    assert_eq!(started.count("/start"), 1);

    let read = Scripted::start(&once("/images/", Fault::Cut));
    let (result, _) = run(&read).await;
    assert_eq!(result.unwrap().status, 7);
    assert_eq!(read.count("/images/"), 2, "reading is repeated");
}

#[tokio::test]
async fn nfr_020a_14_repeats_are_bounded() {
    let scripted = Scripted::start(&always("/images/", Fault::Close));
    let (result, _) = run(&scripted).await;
    let error = result.unwrap_err();
    assert!(error.is_cut() && error.is_retryable(), "{error}");
    assert_eq!(scripted.count("/images/"), 4);
}

#[tokio::test]
async fn a_removal_that_keeps_failing_is_said_and_the_status_stands() {
    let refusal = Fault::Answer(response(
        "500 Internal Server Error",
        r#"{"message":"device busy"}"#,
    ));
    let scripted = Scripted::start(&always("DELETE ", refusal));
    let (result, _) = run(&scripted).await;
    let receipt = result.unwrap();
    assert_eq!((receipt.status, receipt.removed), (7, false));
    let error = receipt.remove_error.unwrap();
    assert_eq!(error["code"], "ACODE-CTN-004");
    assert!(error["message"].as_str().unwrap().contains("device busy"));
}

#[tokio::test]
async fn a_removal_that_lies_is_found_out() {
    let lie = Fault::Answer(response("204 No Content", ""));
    let scripted = Scripted::start(&once("DELETE ", lie));
    let (result, _) = run(&scripted).await;
    assert!(result.unwrap().removed);
    assert_eq!(scripted.count("DELETE "), 2);
    assert!(!scripted.container_exists());
}

#[tokio::test]
async fn a_kill_that_is_refused_is_repeated_until_it_works() {
    for (fault, times) in [
        (
            Fault::Answer(response("500 Internal Server Error", "{}")),
            2,
        ),
        (Fault::Close, 1),
        (Fault::Hang, 1),
    ] {
        let rule = Rule {
            call: "/kill",
            fault,
            times,
        };
        let scripted = Scripted::start_endless(&[rule]);
        let receipt = run_past_deadline(&scripted).await;
        assert_eq!(receipt.status, 124);
        assert!(receipt.removed && scripted.count("/kill") > 1);
    }
}

#[tokio::test]
async fn a_task_that_no_kill_ends_is_removed_by_force() {
    let refusal = Fault::Answer(response("500 Internal Server Error", "{}"));
    let scripted = Scripted::start_endless(&always("/kill", refusal));
    let receipt = run_past_deadline(&scripted).await;
    assert_eq!((receipt.status, receipt.removed), (124, true));
}

#[tokio::test]
async fn an_input_for_a_task_that_reads_none_is_refused() {
    let scripted = Scripted::start(&[]);
    let engine = scripted.connect().await.unwrap();
    let io = TaskIo {
        stdin: Some(Box::new(tokio::io::empty())),
        ..TaskIo::default()
    };
    let error = acode_rt::run(&engine, spec(), io, &Canceller::new())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Configuration);
    assert_eq!(scripted.count("create"), 0);
}

#[tokio::test]
async fn odd_exit_codes_in_wait_are_never_success() {
    for code in ["-1", "256", "4294967296", "\"0\"", "null", "0.5"] {
        let body = format!("{{\"StatusCode\":{code}}}");
        let scripted = Scripted::start(&once("/wait", Fault::Answer(response("200 OK", &body))));
        let (result, _) = run(&scripted).await;
        let receipt = result.unwrap();
        assert_eq!(receipt.evidence.wait_code, None, "{code}");
        assert_eq!(
            receipt.outcome,
            Outcome::Exited { code: 7 },
            "{code}: by inspect"
        );
    }
}

#[tokio::test]
async fn ids_that_are_none_are_not_believed() {
    for id in ["../../x", "", "c1c1", "c1c1\r\nDELETE /x", &"C1".repeat(32)] {
        let body = serde_json::json!({ "Id": id, "Warnings": [] }).to_string();
        let scripted = Scripted::start(&once(
            "/containers/create",
            Fault::Answer(response("201 Created", &body)),
        ));
        let (result, _) = run(&scripted).await;
        assert_eq!(result.unwrap_err().code(), Code::CreateFailed, "{id}");
        assert_eq!(scripted.count("x HTTP"), 0);
    }
}

#[tokio::test]
async fn a_limit_that_was_dropped_is_an_error_and_nothing_starts() {
    let dropped = serde_json::json!({
        "Id": scripted::ID, "Name": "/acode-s-t", "State": { "Status": "created" },
        "Config": { "User": "1000:1000" }, "HostConfig": { "Memory": 0 },
    });
    let answer = Fault::Answer(response("200 OK", &dropped.to_string()));
    let scripted = Scripted::start(&once("c1/json", answer));
    let (result, _) = run(&scripted).await;
    let error = result.unwrap_err();
    assert_eq!(error.code(), Code::LimitInvalid);
    assert!(error.to_string().contains("memory"), "{error}");
    assert_eq!(scripted.count("/start"), 0);
    assert!(!scripted.container_exists());
}

#[tokio::test]
async fn an_engine_that_is_too_old_or_too_new_is_named() {
    let old = b"HTTP/1.1 200 OK\r\nApi-Version: 1.40\r\nContent-Length: 2\r\n\r\nOK".to_vec();
    let error = Scripted::start(&once("/_ping", Fault::Answer(old)))
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::EngineUnavailable);
    assert!(
        error.to_string().contains("1.40") && error.to_string().contains("1.41"),
        "{error}"
    );

    let raised = response(
        "400 Bad Request",
        r#"{"message":"client version 1.51 is too old. Minimum supported API version is 1.60"}"#,
    );
    let scripted = Scripted::start(&always("/images/", Fault::Answer(raised)));
    let (result, _) = run(&scripted).await;
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("Minimum supported API version is 1.60")
    );

    let stranger = response("200 OK", "hello");
    let error = Scripted::start(&once("/_ping", Fault::Answer(stranger)))
        .connect()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no container engine"), "{error}");
}
