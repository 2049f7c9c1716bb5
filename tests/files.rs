//! Files in and out with an engine that lies, stalls or breaks, from a scripted one on a real socket. Nothing outside of the destination
//! changes, no half file has its final name, and nothing is left.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/scripted.rs"]
#[expect(dead_code, reason = "some faults are the matter of other tests")]
mod scripted;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use acode_rt::task::{ArtifactRequest, CopyIn, FilesReceipt, generated_id};
use acode_rt::{Cancel, Canceller, Code, Receipt, Result, TaskIo, TaskSpec};
use scripted::{Fault, Rule, Scripted, always, once, response, spec};

/// The call that an artifact is fetched by, and the one that files are sent by.
const OUT: &str = "/archive?path=%2Fworkspace%2Fsrc";
const IN: &str = "PUT ";

/// A directory for artifacts in one of the test's, where nothing else may change.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    fn below(dir: &Path) -> Self {
        let dir = dir.join(format!("acode-files-{}", generated_id().unwrap()));
        fs::create_dir_all(dir.join("in")).unwrap();
        fs::write(dir.join("outside"), "untouched").unwrap();
        Self(dir)
    }

    fn spec(&self) -> TaskSpec {
        let mut spec = spec();
        spec.files.artifacts = vec![ArtifactRequest {
            path: "out".into(),
            destination: Some(self.0.join("in/")),
        }];
        spec
    }

    /// What there is below the directory for artifacts.
    fn found(&self) -> Vec<String> {
        assert_eq!(fs::read(self.0.join("outside")).unwrap(), b"untouched");
        assert_eq!(fs::read_dir(&self.0).unwrap().count(), 2);
        let mut open = vec![self.0.join("in")];
        let mut found = Vec::new();
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                assert!(!path.is_symlink(), "{}", path.display());
                if path.is_dir() {
                    open.push(path.clone());
                }
                found.push(
                    path.strip_prefix(self.0.join("in"))
                        .unwrap()
                        .display()
                        .to_string(),
                );
            }
        }
        found.sort();
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn run(scripted: &Scripted, spec: TaskSpec) -> Result<Receipt> {
    let engine = scripted.connect().await?;
    acode_rt::run(&engine, spec, TaskIo::default(), &Canceller::new()).await
}

/// An archive, sent as engines do.
fn chunked(archive: &[u8]) -> Vec<u8> {
    let mut answer =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for chunk in archive.chunks(700) {
        answer.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        answer.extend(chunk);
        answer.extend(b"\r\n");
    }
    answer.extend(b"0\r\n\r\n");
    answer
}

fn archive(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().unwrap()
}

fn header(name: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    // Not by set_path, which would refuse what is to be sent.
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o6777);
    header.set_size(size);
    header.set_cksum();
    header
}

fn file(builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &str) {
    let header = header(name, tar::EntryType::Regular, content.len() as u64);
    builder.append(&header, content.as_bytes()).unwrap();
}

async fn collected(place: &Place, answer: Vec<u8>) -> FilesReceipt {
    let scripted = Scripted::start(&once(OUT, Fault::Answer(answer)));
    let receipt = run(&scripted, place.spec()).await.unwrap();
    assert!(receipt.removed && !scripted.container_exists());
    assert_eq!(receipt.status, 7, "a task that failed stays one");
    receipt.files.unwrap()
}

#[tokio::test]
async fn an_honest_archive_arrives() {
    let place = Place::new();
    let answer = chunked(&archive(|tar| {
        file(tar, "out/a", &"a".repeat(5000));
        file(tar, "out/b", "");
    }));
    let files = collected(&place, answer).await;
    assert_eq!((files.artifacts.len(), files.is_incomplete()), (2, false));
    assert_eq!(place.found(), ["out", "out/a", "out/b"]);
}

#[tokio::test]
async fn an_engine_that_lies_changes_nothing_outside() {
    let link = |tar: &mut tar::Builder<Vec<u8>>, name: &str, target: &str, kind| {
        let mut header = header(name, kind, 0);
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        tar.append(&header, std::io::empty()).unwrap();
    };
    let place = Place::new();
    let answer = chunked(&archive(|tar| {
        for name in [
            "../outside",
            "/etc/acode-evil",
            "out/../../outside",
            "outside",
        ] {
            file(tar, name, "evil");
        }
        link(tar, "out", "..", tar::EntryType::Symlink);
        link(tar, "out/l", "../../outside", tar::EntryType::Symlink);
        link(tar, "out/h", "../outside", tar::EntryType::Link);
        file(tar, "out/l", "evil");
        file(tar, "out/good", "good");
        file(tar, "out/good", "second");
    }));
    let files = collected(&place, answer).await;
    assert_eq!(place.found(), ["out", "out/good", "out/l"]);
    assert_eq!(fs::read(place.0.join("in/out/good")).unwrap(), b"good");
    assert_eq!(files.skipped_count, 8);
}

#[tokio::test]
async fn an_archive_that_breaks_leaves_no_half_file() {
    let whole = archive(|tar| file(tar, "out/a", &"a".repeat(100_000)));
    let chunked_whole = chunked(&whole);
    let huge = header("out/huge", tar::EntryType::Regular, 1 << 50);
    let endless = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n".to_vec(),
        header("out/a", tar::EntryType::Regular, 1 << 20)
            .as_bytes()
            .to_vec(),
    ]
    .concat();
    for (what, fault) in [
        ("the connection ends", Fault::AnswerAndClose(chunked_whole[..50_000].to_vec())),
        ("the archive ends", Fault::Answer(chunked(&whole[..50_000]))),
        ("it is none", Fault::Answer(chunked(&b"not a tar ".repeat(200)))),
        ("it is empty", Fault::Answer(chunked(b""))),
        ("a size of 2^50", Fault::Answer(chunked(huge.as_bytes()))),
        ("it stalls", Fault::Answer(endless)),
        ("there is no answer", Fault::Hang),
        ("an error", Fault::Answer(response("500 Internal Server Error", r#"{"message":"boom"}"#))),
        ("two framings", Fault::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec())),
    ] {
        let place = Place::new();
        let scripted = Scripted::start(&always(OUT, fault));
        let begun = Instant::now();
        let receipt = run(&scripted, place.spec()).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {:?}", begun.elapsed());
        let files = receipt.files.unwrap();
        assert!(files.error.is_some(), "{what}");
        assert_eq!(files.missing, ["out"], "{what}");
        assert!(place.found().iter().all(|name| name == "out"), "{what}: {:?}", place.found());
        assert!(receipt.removed && !scripted.container_exists(), "{what}");
        assert!(receipt.warnings.iter().any(|text| text.contains("ACODE-CTN-019")), "{what}");
    }
}

#[tokio::test]
async fn nothing_is_read_of_a_container_that_did_not_stop() {
    let place = Place::new();
    let refusal = Fault::Answer(response("500 Internal Server Error", "{}"));
    let scripted = Scripted::start_endless(&always("/kill", refusal));
    let mut spec = place.spec();
    spec.timeout = Some(Duration::from_millis(50));
    let receipt = run(&scripted, spec).await.unwrap();
    assert_eq!((receipt.status, receipt.removed), (124, true));
    assert!(
        receipt
            .files
            .unwrap()
            .error
            .unwrap()
            .contains("did not stop")
    );
    assert_eq!(scripted.count(OUT), 0);
}

#[tokio::test]
async fn collecting_that_is_given_up_ends_at_once() {
    let place = Place::new();
    let scripted = Scripted::start(&once(OUT, Fault::Hang));
    // Longer than the test is patient.
    let engine = acode_rt::engine::Engine::connect(&scripted.host())
        .await
        .unwrap();
    let canceller = Canceller::new();
    let begun = Instant::now();
    let (receipt, ()) = tokio::join!(
        acode_rt::run(&engine, place.spec(), TaskIo::default(), &canceller),
        async {
            while scripted.count(OUT) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            canceller.cancel(Cancel::Stop);
        }
    );
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    let receipt = receipt.unwrap();
    assert!(receipt.removed && receipt.files.unwrap().error.unwrap().contains("on request"));
}

#[tokio::test]
async fn files_that_the_engine_does_not_take_stop_the_task_before_it_begins() {
    let refusal = response("403 Forbidden", r#"{"message":"marked read-only"}"#);
    for fault in [Fault::Answer(refusal), Fault::Close, Fault::LoseReply] {
        let scripted = Scripted::start(&once(IN, fault));
        let mut spec = spec();
        spec.files.copy_in = vec![CopyIn {
            source: "/etc/hostname".into(),
            destination: None,
        }];
        let error = run(&scripted, spec).await.unwrap_err();
        assert_eq!(error.code(), Code::Artifact, "{error}");
        assert_eq!(
            (scripted.count("/start"), scripted.container_exists()),
            (0, false)
        );
        assert_eq!(scripted.count(IN), 1);
    }
}

#[tokio::test]
async fn copying_in_that_is_given_up_ends_at_once() {
    let rule = Rule {
        call: IN,
        fault: Fault::Hang,
        times: 1,
    };
    let scripted = Scripted::start(&[rule]);
    let engine = scripted.connect().await.unwrap();
    let canceller = Canceller::new();
    let mut spec = spec();
    spec.files.copy_in = vec![CopyIn {
        source: "/etc/hostname".into(),
        destination: None,
    }];
    let begun = Instant::now();
    let (result, ()) = tokio::join!(
        acode_rt::run(&engine, spec, TaskIo::default(), &canceller),
        async {
            while scripted.count(IN) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            canceller.cancel(Cancel::Kill);
        }
    );
    assert!(result.unwrap_err().is_cancelled());
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        (scripted.count("/start"), scripted.container_exists()),
        (0, false)
    );
}

#[test]
fn a_hundred_thousand_files_are_a_limit() {
    // A disk takes half a minute for so many.
    let place = Place::below(Path::new("/dev/shm"));
    let many = archive(|tar| {
        for number in 0..=100_000 {
            file(tar, &format!("out/{number}"), "");
        }
    });
    let request = &place.spec().files.artifacts[0];
    let files = acode_rt::task::unpack(&*many, request, 1).unwrap();
    assert_eq!(files.artifacts.len(), 100_000);
    assert!(files.error.unwrap().contains("more than 100000"));
    assert_eq!(place.found().len(), 100_001);
}
