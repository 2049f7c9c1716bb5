//! What an engine refuses, drops or adds, from a scripted engine on a real socket: our filter of system calls, what was not asked for, images.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/scripted.rs"]
#[expect(dead_code, reason = "some faults are the matter of other tests")]
mod scripted;

use std::time::Instant;

use acode_rt::engine::{Engine, PullStep};
use acode_rt::task::Plan;
use acode_rt::{Canceller, Code, ImageRef, Outcome, TaskIo};
use scripted::{Fault, Rule, Scripted, always, once, response, run, spec};

/// An engine that says this of its host, and refuses our filter the first time that it sees it.
fn filter_refused_once(security: &str) -> Vec<Rule> {
    let info = serde_json::json!({ "NCPU": 64, "SecurityOptions": [security] });
    let refused = response("400 Bad Request", r#"{"message":"seccomp"}"#);
    [
        once("/containers/create", Fault::Answer(refused)),
        always(
            "/info",
            Fault::Answer(response("200 OK", &info.to_string())),
        ),
    ]
    .concat()
}

#[tokio::test]
async fn nfr_020a_27_an_engine_that_refuses_our_filter_keeps_its_own() {
    let scripted = Scripted::start(&filter_refused_once("name=seccomp,profile=builtin"));
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
    assert!(!ours(&plan().await.unwrap()), "it is remembered");
}

/// An image, or another task, can make a start fail: it must not choose the filter by that.
#[tokio::test]
async fn nfr_020a_27_a_start_that_fails_costs_no_protection() {
    let failed = response("500 Internal Server Error", r#"{"message":"seccomp"}"#);
    let scripted = Scripted::start(&once("/start", Fault::Answer(failed)));
    let engine = scripted.connect().await.unwrap();
    let run = async || {
        acode_rt::run(&engine, spec(), TaskIo::default(), &Canceller::new())
            .await
            .unwrap()
    };
    let receipt = run().await;
    assert!(matches!(receipt.outcome, Outcome::StartFailed { .. }));
    assert_eq!(scripted.count("/containers/create"), 1);
    let receipt = run().await;
    assert_eq!(receipt.outcome, Outcome::Exited { code: 7 });
    assert_eq!(receipt.protections.seccomp, "acode-rt");
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
        let scripted = Scripted::start(&filter_refused_once(security));
        let (result, _) = run(&scripted).await;
        let error = result.unwrap_err();
        assert_eq!(error.code(), Code::LimitInvalid);
        assert!(error.to_string().contains("seccomp"), "{error}");
        assert_eq!(scripted.count("/start"), 0);
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
