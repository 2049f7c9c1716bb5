//! What real engines said, said again byte for byte over a real Unix socket: `api-fixtures/`, which
//! `scripts/record-fixtures` records.
//!
//! The clock stands still and jumps to the next timer when nothing else is left to do, so that pauses and deadlines cost no
//! time and are exact.

#[path = "support/fixture_calls.rs"]
mod calls;
#[path = "support/fixture_cases.rs"]
mod cases;
#[path = "support/fixture_expected.rs"]
mod expected;
#[path = "support/fixture_mask.rs"]
mod mask;
#[path = "support/fixture_recorded.rs"]
mod recorded;
#[path = "support/fixture_replay.rs"]
mod replay;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use acode_rt::engine::{Engine, EngineKind};
use acode_rt::{Code, Result};
use tokio::time::Instant;

use cases::{Before, CASES, Case, MISSING, Subject};
use mask::{CONTAINER, IMAGE, Known, SECONDS};
use recorded::{ENGINES, Recorded};
use replay::{Pieces, Script, Server, Then, head_len};

/// Calls that are made again after a cut or a 5xx, until they were made [`TRIES`] times.
const REPEATED: &[&str] = &[
    "ping",
    "version",
    "version_refused",
    "info",
    "container_stop",
    "container_inspect",
    "container_list",
    "image_inspect",
    "image_list",
    "volume_list",
    "network_list",
];
const TRIES: usize = 4;

/// What came of a call on a recording.
#[derive(Debug)]
struct Played {
    result: Result<String>,
    /// How often it was made.
    requests: usize,
    took: Duration,
}

async fn play(recorded: Recorded, case: &Case, script: Script) -> Played {
    let context = format!("{} {} {:?}", recorded.directory, case.name, script.pieces);
    let begun = Instant::now();
    let server = Server::start(script).expect("a socket in the temporary directory");
    let engine = Engine::connect(&server.host())
        .await
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let api = format!("v{}-", engine.api_version());
    assert!(
        recorded.directory.starts_with(&api) && recorded.kind == engine.kind(),
        "{context}: {engine:?}"
    );
    let id = if case.before == Before::Absent {
        MISSING
    } else {
        CONTAINER
    };
    let subject = Subject {
        id: id.to_owned(),
        since: SECONDS,
        until: SECONDS,
    };
    let result = calls::call(&engine, case, &subject, None).await;
    // Its connections end with it, and the server waits for that.
    drop(engine);
    let took = begun.elapsed();
    let requests = server
        .finish()
        .await
        .unwrap_or_else(|wrong| panic!("{context}: {wrong}"));
    Played {
        result,
        requests,
        took,
    }
}

/// How often `case` is made when its answer is no answer to keep.
fn tries(case: &Case) -> usize {
    let call = case.name.split('/').next().unwrap_or_default();
    if REPEATED.contains(&call) { TRIES } else { 1 }
}

async fn replay_call(call: &str) {
    for recorded in ENGINES {
        for case in recorded
            .cases()
            .filter(|case| case.name.split('/').next() == Some(call))
        {
            for pieces in [
                Pieces::Whole,
                Pieces::HeadThenBody,
                Pieces::Of(1),
                Pieces::Of(7),
            ] {
                let script = Script {
                    pieces,
                    ..recorded.script(case)
                };
                let requests = if script.call.resp.starts_with(b"HTTP/1.1 5") {
                    tries(case)
                } else {
                    1
                };
                let played = play(recorded, case, script).await;
                let context = format!("{} {} {pieces:?}", recorded.directory, case.name);
                assert_eq!(
                    calls::outcome(&played.result),
                    expected::expected(case.name, recorded.directory),
                    "{context}"
                );
                assert_eq!(played.requests, requests, "{context}");
            }
        }
    }
}

/// A test for each call, on all its cases, engines and ways to cut an answer into pieces.
macro_rules! replays {
    ($($test:ident: $call:literal,)*) => {
        const REPLAYED: &[&str] = &[$($call),*];
        $(
            #[tokio::test(start_paused = true)]
            async fn $test() {
                replay_call($call).await;
            }
        )*
    };
}

replays! {
    ping: "ping",
    version: "version",
    info: "info",
    an_engine_that_refuses_the_version_is_unavailable: "version_refused",
    fr_020a_02_create: "container_create",
    fr_020a_03_start: "container_start",
    fr_020a_04_stop: "container_stop",
    fr_020a_05_remove: "container_remove",
    fr_020a_06_inspect: "container_inspect",
    fr_020a_20_logs: "container_logs",
    fr_020a_46_image_inspect: "image_inspect",
    fr_020a_48_image_list: "image_list",
    attach: "container_attach",
    wait: "container_wait",
    kill: "container_kill",
    list: "container_list",
    fr_020a_88_stats: "container_stats",
    changes: "container_changes",
    archive_get: "archive_get",
    archive_put: "archive_put",
    image_import: "image_import",
    fr_020a_39_image_pull: "image_pull",
    events: "events",
    volume_list: "volume_list",
    network_list: "network_list",
}

#[test]
fn every_case_is_replayed_and_has_an_expectation() {
    let cases: BTreeSet<&str> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(cases.len(), CASES.len(), "a name is there twice");
    assert_eq!(cases, expected::names().collect());
    let calls: BTreeSet<&str> = cases
        .iter()
        .filter_map(|name| name.split('/').next())
        .collect();
    assert_eq!(calls, REPLAYED.iter().copied().collect());
}

#[test]
fn every_recorded_file_is_used_and_its_masks_are_listed() {
    for recorded in ENGINES {
        let manifest = String::from_utf8(recorded.read("MANIFEST")).expect("the manifest is text");
        let mut listed = manifest
            .split("\n[files]\n")
            .nth(1)
            .expect("the manifest has files")
            .lines();
        assert!(
            manifest.contains(&mask::legend()),
            "{}: the masks are others now",
            recorded.directory
        );
        let mut files = BTreeSet::from([recorded.path().join("MANIFEST")]);
        for case in recorded.cases() {
            for side in ["req", "resp"] {
                let file = format!("{}.{side}", case.name);
                let bytes = recorded.read(&file);
                let known = Known {
                    container: CONTAINER,
                    image: IMAGE,
                };
                let masked = mask::mask(case.name, &bytes, known)
                    .unwrap_or_else(|error| panic!("{file}: {error}"));
                assert_eq!(
                    masked.bytes.escape_ascii().to_string(),
                    bytes.escape_ascii().to_string(),
                    "{}/{file} is not masked",
                    recorded.directory
                );
                let masks: Vec<&str> = masked.masks.iter().map(String::as_str).collect();
                let masks = if masks.is_empty() {
                    "none".to_owned()
                } else {
                    masks.join(", ")
                };
                assert_eq!(
                    listed.next(),
                    Some(format!("{file}: {masks}").as_str()),
                    "{}",
                    recorded.directory
                );
                files.insert(recorded.path().join(file));
            }
        }
        assert_eq!(listed.next(), None, "{}", recorded.directory);
        assert_eq!(files_below(&recorded.path()), files);
    }
    let directories =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("api-fixtures")).expect("fixtures");
    assert_eq!(
        directories.count(),
        ENGINES.len(),
        "a directory is not replayed"
    );
}

fn files_below(directory: &Path) -> BTreeSet<PathBuf> {
    let paths = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                BTreeSet::from([path])
            }
        })
        .collect()
}

/// Attach has no end of its own: what is cut between two frames is whole.
fn is_between_frames(answer: &[u8], at: usize) -> bool {
    let mut frame = head_len(answer);
    while frame < at {
        let size: [u8; 4] = answer[frame + 4..frame + 8].try_into().expect("four bytes");
        frame += 8 + u32::from_be_bytes(size) as usize;
    }
    frame == at
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_is_an_error_and_never_a_result() {
    for recorded in ENGINES {
        for case in recorded.cases() {
            for sixteenth in 0..16 {
                let mut script = Script {
                    then: Then::Close,
                    ..recorded.script(case)
                };
                let whole = std::mem::take(&mut script.call.resp);
                let at = whole.len() * sixteenth / 16;
                script.call.resp = whole[..at].to_vec();
                let played = play(recorded, case, script).await;
                let context = format!(
                    "{} {} cut at {at} of {}: {played:?}",
                    recorded.directory,
                    case.name,
                    whole.len()
                );
                assert!(played.took < Duration::from_secs(1), "{context}");
                if whole.starts_with(b"HTTP/1.1 101 ") && is_between_frames(&whole, at) {
                    assert!(played.result.is_ok(), "{context}");
                    continue;
                }
                let error = played.result.as_ref().expect_err(&context);
                if whole.starts_with(b"HTTP/1.1 2") || at < head_len(&whole) {
                    assert!(
                        error.is_cut() && error.is_unreachable() && error.is_retryable(),
                        "{context}"
                    );
                    assert_eq!(played.requests, tries(case), "{context}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_safe_to_repeat_is_repeated_after_a_500_and_no_other_is() {
    for recorded in ENGINES {
        for case in recorded.cases() {
            let mut script = Script {
                then: Then::Close,
                ..recorded.script(case)
            };
            let line = script
                .call
                .resp
                .iter()
                .position(|b| *b == b'\r')
                .expect("a status line");
            script
                .call
                .resp
                .splice(..line, *b"HTTP/1.1 500 Internal Server Error");
            let played = play(recorded, case, script).await;
            let context = format!("{} {}: {played:?}", recorded.directory, case.name);
            let error = played.result.as_ref().expect_err(&context);
            assert_eq!(error.status(), Some(500), "{context}");
            assert_eq!(played.requests, tries(case), "{context}");
            assert!(played.took < Duration::from_secs(1), "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_inside_a_good_answer_to_an_import_is_an_error() {
    let case = CASES
        .iter()
        .find(|case| case.name == "image_import/ok")
        .expect("the case");
    for recorded in ENGINES
        .into_iter()
        .filter(|recorded| recorded.kind == EngineKind::Docker)
    {
        let mut script = recorded.script(case);
        let end = script.call.resp.len() - b"0\r\n\r\n".len();
        let error =
            "{\"errorDetail\":{\"message\":\"no space left\"},\"error\":\"no space left\"}\r\n";
        script.call.resp.splice(
            end..end,
            format!("{:x}\r\n{error}\r\n", error.len()).into_bytes(),
        );
        let played = play(recorded, case, script).await;
        let error = played.result.expect_err("the engine reported an error");
        assert_eq!(
            (error.code(), error.message().as_str()),
            (Code::PullFailed, "no space left")
        );
        assert!(!error.is_retryable());
    }
}

#[tokio::test(start_paused = true)]
async fn fr_020a_42_an_error_inside_a_good_answer_to_a_pull_is_an_error() {
    let case = CASES
        .iter()
        .find(|case| case.name == "image_pull/ok")
        .expect("the case");
    for recorded in ENGINES
        .into_iter()
        .filter(|recorded| recorded.kind == EngineKind::Docker)
    {
        for (error, code, retryable) in [
            (
                r#"{"errorDetail":{"message":"m"},"error":"m"}"#,
                Code::PullFailed,
                false,
            ),
            (
                r#"{"errorDetail":{"code":429,"message":"m"}}"#,
                Code::PullFailed,
                true,
            ),
            (
                r#"{"errorDetail":{"code":404,"message":"m"}}"#,
                Code::ImageNotFound,
                false,
            ),
        ] {
            let mut script = recorded.script(case);
            let end = script.call.resp.len() - b"0\r\n\r\n".len();
            let chunk = format!("{:x}\r\n{error}\r\n", error.len());
            script.call.resp.splice(end..end, chunk.into_bytes());
            let played = play(recorded, case, script).await;
            let failed = played.result.expect_err("the engine reported an error");
            assert_eq!((failed.code(), failed.message().as_str()), (code, "m"));
            assert_eq!(failed.is_retryable(), retryable, "{error}");
        }
    }
}
