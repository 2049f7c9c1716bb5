//! Output that did not arrive: from a scripted engine that cuts it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/scripted.rs"]
#[expect(dead_code, reason = "other faults are the matter of other tests")]
mod scripted;

use acode_rt::protocol::demux::Stream;
use scripted::{Fault, Scripted, always, once, response, run, run_past_deadline};

#[tokio::test]
async fn output_that_is_cut_is_never_complete() {
    let upgraded = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".to_vec();
    for (odd, what) in [
        (&b"\x01\0\0\0\0\0\0\x08out\n"[..], "cut in a payload"),
        (&b"\x01\0\0\0\0\0"[..], "cut in a header"),
        (&b"\x09\0\0\0\0\0\0\x04out\n"[..], "no such stream"),
        (&b"\x01\0\0\x01\0\0\0\x04out\n"[..], "padding that is none"),
        (&b"\x01\0\0\0\xff\xff\xff\xffout\n"[..], "a claim of 4 GiB"),
    ] {
        // The script goes on with proper output behind what is odd, which must not help.
        let answer = Fault::Answer([upgraded.clone(), odd.to_vec()].concat());
        let mut rules = once("/attach", answer);
        rules.extend(always(
            "/logs",
            Fault::Answer(response("501 Not Implemented", "{}")),
        ));
        let scripted = Scripted::start(&rules);
        let (result, _) = run(&scripted).await;
        let receipt = result.unwrap();
        assert!(!receipt.output.complete, "{what}");
        assert!(receipt.output.incomplete_because.is_some(), "{what}");
        assert!(!scripted.container_exists());
    }
}

#[tokio::test]
async fn an_end_of_output_beside_a_lost_wait_is_a_cut() {
    // As when the engine goes away and comes back: both streams end, between frames, and the task has not.
    let upgraded = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".to_vec();
    let half = [upgraded, b"\x01\0\0\0\0\0\0\x04one\n".to_vec()].concat();
    let waiting = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let mut rules = once("/attach", Fault::AnswerAndClose(half));
    rules.extend(once("/wait", Fault::AnswerAndClose(waiting)));
    // The task goes on for a while, or its end would be known before the lost wait is noticed.
    let scripted = Scripted::start_endless(&rules);
    let receipt = run_past_deadline(&scripted).await;
    let lost = receipt.output.incomplete_because.unwrap();
    assert!(!receipt.output.complete && lost.contains("cut"), "{lost}");
}

#[tokio::test]
async fn output_that_was_cut_is_recovered_from_a_log_that_is_exact_and_from_no_other() {
    let upgraded = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".to_vec();
    let log = |bytes: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
        Fault::Answer([head.as_bytes(), bytes].concat())
    };
    // Of the output, `out` and `err` on their streams, so much arrives.
    for cut in 1..scripted::OUTPUT.len() - 1 {
        if cut == 12 {
            // Between two frames: nothing says that it is a cut.
            continue;
        }
        let half = [&upgraded, &scripted::OUTPUT[..cut]].concat();
        let rules = || once("/attach", Fault::AnswerAndClose(half.clone()));
        let scripted = Scripted::start(&rules());
        let (receipt, chunks) = run(&scripted).await;
        let output = receipt.unwrap().output;
        assert!(
            output.complete && output.incomplete_because.is_none(),
            "{cut}: {output:?}"
        );
        assert_eq!((output.stdout_bytes, output.stderr_bytes), (4, 4));
        let of = |stream| -> Vec<u8> {
            chunks
                .iter()
                .filter(|chunk| chunk.stream == stream)
                .flat_map(|chunk| chunk.data.clone())
                .collect()
        };
        assert_eq!(
            (of(Stream::Stdout), of(Stream::Stderr)),
            (b"out\n".to_vec(), b"err\n".to_vec()),
            "{cut}"
        );

        for (what, other) in [
            (
                "another beginning",
                &b"\x01\0\0\0\0\0\0\x04OUT\n\x02\0\0\0\0\0\0\x04ERR\n"[..],
            ),
            ("less than what arrived", b""),
            (
                "a cut of its own",
                &scripted::OUTPUT[..scripted::OUTPUT.len() - 1],
            ),
        ] {
            let mut rules = rules();
            rules.extend(once("/logs", log(other)));
            let arrived = cut > 8;
            if !arrived && what != "a cut of its own" {
                continue;
            }
            let output = run(&Scripted::start(&rules)).await.0.unwrap().output;
            assert!(
                !output.complete && output.recovered_bytes == 0,
                "{cut}, {what}: {output:?}"
            );
        }
    }
}
