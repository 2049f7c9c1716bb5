//! What the wire can do: every fault at every call of a task's life, from a scripted engine on a real socket. Whatever happens, the answer comes in
//! time and nothing is left.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/scripted.rs"]
mod scripted;

use std::time::{Duration, Instant};

use acode_rt::engine::{Engine, PullStep};
use acode_rt::task::{Plan, StartFailure};
use acode_rt::{Canceller, Code, ImageRef, Outcome, TaskIo};
use scripted::{Fault, Rule, Scripted, always, once, response, run, run_past_deadline, spec};

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

fn faults() -> Vec<Fault> {
    let garbage = b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec();
    let redirect =
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_vec();
    let two_framings = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec();
    let endless_head = [
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        b"X-A: b\r\n".repeat(200_000),
    ]
    .concat();
    let huge_claim = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{".to_vec();
    vec![
        Fault::Close,
        Fault::LoseReply,
        Fault::Hang,
        Fault::Cut,
        Fault::Answer(garbage),
        Fault::Answer(redirect),
        Fault::Answer(two_framings),
        Fault::Answer(endless_head),
        Fault::Answer(huge_claim),
        Fault::Answer(response("200 OK", "{}")),
        Fault::Answer(response("200 OK", "not json")),
        Fault::Answer(response(
            "500 Internal Server Error",
            r#"{"message":"boom"}"#,
        )),
        Fault::Answer(response("503 Service Unavailable", &"x".repeat(200_000))),
    ]
}

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

/// A start that fails once, on an engine that says this of its host.
fn start_fails_once(security: &str) -> Vec<Rule> {
    let info = serde_json::json!({ "NCPU": 64, "SecurityOptions": [security] });
    let failed = response("500 Internal Server Error", r#"{"message":"seccomp"}"#);
    [
        once("/start", Fault::Answer(failed)),
        always(
            "/info",
            Fault::Answer(response("200 OK", &info.to_string())),
        ),
    ]
    .concat()
}

#[tokio::test]
async fn nfr_020a_27_an_engine_that_does_not_start_with_our_filter_keeps_its_own() {
    let scripted = Scripted::start(&start_fails_once("name=seccomp,profile=builtin"));
    let engine = scripted.connect().await.unwrap();
    let plan = || Plan::new(&engine, spec());
    let ours = |plan: &Plan| plan.create_body().host_config.security_opt.len() == 2;
    assert!(ours(&plan().await.unwrap()));
    let ran = acode_rt::run(&engine, spec(), TaskIo::default(), &Canceller::new()).await;
    let receipt = ran.unwrap();
    assert_eq!(receipt.outcome, Outcome::Exited { code: 7 });
    assert_eq!(receipt.protections.seccomp, "engine");
    assert!(receipt.protections.seccomp_because.is_some());
    assert!(receipt.warnings.iter().any(|text| text.contains("filter")));
    assert_eq!(scripted.count("/containers/create"), 2);
    assert!(!ours(&plan().await.unwrap()), "it is remembered");
}

/// The scripted engine is in our root directory, as a proxy would be, and is no Podman: it is asked for no file of ours.
#[tokio::test]
async fn nfr_020a_27_what_forwards_a_socket_is_not_taken_for_podman() {
    let podman = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nLibpod-Api-Version: 5.4.2\r\nServer: Libpod/5.4.2 (linux)\r\nContent-Length: 2\r\n\r\nOK";
    let scripted = Scripted::start(&always("/_ping", Fault::Answer(podman.to_vec())));
    let engine = scripted.connect().await.unwrap();
    assert!(engine.takes_our_filter().is_err());
    let plan = Plan::new(&engine, spec()).await.unwrap();
    assert_eq!(
        plan.create_body().host_config.security_opt,
        ["no-new-privileges"]
    );
    let ran = acode_rt::run(&engine, spec(), TaskIo::default(), &Canceller::new()).await;
    assert_eq!(ran.unwrap().protections.seccomp, "engine");
}

#[tokio::test]
async fn nfr_020a_27_nothing_runs_without_any_filter() {
    for security in ["name=seccomp,profile=unconfined", "name=apparmor"] {
        let scripted = Scripted::start(&start_fails_once(security));
        let (result, _) = run(&scripted).await;
        let error = result.unwrap_err();
        assert_eq!(error.code(), Code::LimitInvalid);
        assert!(error.to_string().contains("seccomp"), "{error}");
        assert_eq!(scripted.count("/start"), 1, "the one that failed");
        assert!(!scripted.container_exists());
    }
}

#[tokio::test]
async fn nfr_020a_27_the_engines_own_filter_has_to_be_there() {
    let info = response(
        "200 OK",
        r#"{"SecurityOptions":["name=seccomp,profile=unconfined"]}"#,
    );
    let scripted = Scripted::start(&always("/info", Fault::Answer(info)));
    let engine = scripted.connect().await.unwrap();
    let mut spec = spec();
    spec.engine_seccomp = true;
    let run =
        |spec| async { acode_rt::run(&engine, spec, TaskIo::default(), &Canceller::new()).await };
    let error = run(spec.clone()).await.unwrap_err();
    assert_eq!(error.code(), Code::LimitInvalid);
    assert!(error.to_string().contains("seccomp"), "{error}");
    assert_eq!(scripted.count("/start"), 0);
    spec.accept_ignored = vec!["seccomp".into()];
    let receipt = run(spec).await.unwrap();
    assert_eq!(receipt.protections.seccomp, "none");
    let ignored: Vec<&str> = receipt.ignored.iter().map(|ignored| ignored.name).collect();
    assert_eq!(ignored, ["seccomp"]);
}

#[tokio::test]
async fn what_was_not_asked_for_is_an_error_and_nothing_starts() {
    let scripted = Scripted::start(&[]);
    let engine = scripted.connect().await.unwrap();
    let plan = Plan::new(&engine, spec()).await.unwrap();
    let mut host = serde_json::to_value(&plan.create_body().host_config).unwrap();
    host["PidMode"] = "host".into();
    host["SecurityOpt"] = serde_json::json!(["no-new-privileges"]);
    let applied = serde_json::json!({
        "Id": scripted::ID, "Name": "/acode-s-t", "State": { "Status": "created" },
        "Config": { "User": "1000:1000" }, "HostConfig": host,
    });
    let answer = Fault::Answer(response("200 OK", &applied.to_string()));
    let scripted = Scripted::start(&once("c1/json", answer));
    let (result, _) = run(&scripted).await;
    let error = result.unwrap_err().to_string();
    for name in ["namespaces", "seccomp", "kernel-paths"] {
        assert!(error.contains(name), "{error}");
    }
    assert_eq!(scripted.count("/start"), 0);
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

/// A pull of which the first answers are these, and the next is good: how it ended, and how often it was waited.
async fn pull(first: Fault, times: u32) -> (acode_rt::Result<()>, usize, usize) {
    let chunk = "{\"status\":\"Pulling from x\",\"id\":\"1\"}\r\n";
    let good = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
        chunk.len()
    );
    let rules = [
        Rule {
            call: "fromImage",
            fault: first,
            times,
        },
        always("fromImage", Fault::Answer(good.into_bytes())).remove(0),
    ];
    let scripted = Scripted::start(&rules);
    let engine = Engine::connect(&scripted.host()).await.unwrap();
    let image = ImageRef::parse("localhost:1/x").unwrap();
    let mut waited = 0;
    let result = engine
        .image_pull_once(&image, |step| {
            waited += usize::from(matches!(step, PullStep::Waiting { .. }));
        })
        .await;
    let asked = "fromImage=localhost%3A1%2Fx%3Alatest ";
    (result, scripted.count(asked), waited)
}

#[tokio::test]
async fn fr_020a_39_a_pull_is_tried_again_after_the_time_that_is_said() {
    let busy = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n";
    let begun = Instant::now();
    let (result, asked, waited) = pull(Fault::Answer(busy.to_vec()), 1).await;
    result.unwrap();
    assert_eq!((asked, waited), (2, 1));
    assert!((2000..8000).contains(&begun.elapsed().as_millis()));
}

#[tokio::test]
async fn fr_020a_39_a_pull_that_is_cut_is_tried_again_and_one_that_is_refused_is_not() {
    let cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"sta\r\n";
    for fault in [Fault::Close, Fault::AnswerAndClose(cut.to_vec())] {
        let (result, asked, waited) = pull(fault, 1).await;
        result.unwrap();
        assert_eq!((asked, waited), (2, 1));
    }
    for (answer, code) in [
        (response("403 Forbidden", "denied"), Code::PullFailed),
        (
            response("500 Internal Server Error", r#"{"message":"denied: no"}"#),
            Code::PullFailed,
        ),
        (response("404 Not Found", "no"), Code::ImageNotFound),
        (
            response("200 OK", r#"{"error":"no space"}"#),
            Code::PullFailed,
        ),
        (response("200 OK", "[1]"), Code::PullFailed),
        (response("200 OK", "no JSON"), Code::PullFailed),
    ] {
        let (result, asked, waited) = pull(Fault::Answer(answer), u32::MAX).await;
        assert_eq!(result.unwrap_err().code(), code);
        assert_eq!((asked, waited), (1, 0));
    }
}
