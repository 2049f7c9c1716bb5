//! What can go wrong with an answer, in one table.

use std::time::Duration;

use crate::fault_proxy::{Action, Call, Cut, Point};

/// So often that it never ends.
pub(crate) const EVER: usize = usize::MAX;

#[derive(Clone)]
pub(crate) struct Fault {
    pub(crate) name: String,
    pub(crate) at: Point,
    pub(crate) actions: Vec<Action>,
    pub(crate) times: usize,
    /// A patient client sees nothing of it.
    pub(crate) harmless: bool,
    /// Only of this call.
    pub(crate) only: Option<Call>,
}

fn answer(status: &str, body: &str) -> Action {
    Action::Answer(format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

fn raw(bytes: &[u8]) -> Action {
    Action::Answer(bytes.to_vec())
}

fn flood(head: &str, count: u64) -> Action {
    Action::Flood {
        head: head.as_bytes().to_vec(),
        count,
    }
}

/// What would be said if all were well.
fn plausible(call: Call) -> &'static str {
    match call {
        Call::Ping => "OK",
        Call::Image => {
            r#"{"Id":"sha256:abababababababababababababababababababababababababababababababab","Config":{}}"#
        }
        Call::Create => {
            r#"{"Id":"c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1","Warnings":[]}"#
        }
        Call::Wait => r#"{"StatusCode":0}"#,
        Call::Inspect => {
            r#"{"State":{"Status":"exited","Running":false,"ExitCode":0,"OOMKilled":false}}"#
        }
        Call::Attach | Call::Start | Call::Kill | Call::Remove => "",
    }
}

/// Every fault, of every call unless it says which.
pub(crate) fn faults() -> Vec<Fault> {
    let fault = |name: &str, at: Point, actions: Vec<Action>| Fault {
        name: name.to_owned(),
        at,
        actions,
        times: 1,
        harmless: false,
        only: None,
    };
    let before = |name: &str, actions: Vec<Action>| fault(name, Point::Before, actions);
    let mut all = vec![
        before(
            "300 ms of delay",
            vec![Action::Delay(Duration::from_millis(300))],
        ),
        fault("byte by byte", Point::Answered, vec![Action::Trickle]),
    ];
    for harmless in &mut all {
        harmless.harmless = true;
    }
    all.extend([
        before("hang, not forwarded", vec![Action::Hang]),
        fault("hang, forwarded", Point::Forwarded, vec![Action::Hang]),
        before("close", vec![Action::Close]),
        fault("lost answer", Point::Answered, vec![Action::Close]),
        fault("close after the answer", Point::Passed, vec![Action::Close]),
        fault("cut after 1 byte", Point::Answered, vec![Action::Cut(Cut::After(1))]),
        fault("cut in the head", Point::Answered, vec![Action::Cut(Cut::Head)]),
        fault("cut in the body", Point::Answered, vec![Action::Cut(Cut::Body)]),
        before("garbage", vec![raw(b"\0\xff\x01 no HTTP\r\n\r\n"), Action::Close]),
        before("garbage as JSON", vec![answer("200 OK", "{\"Id\": [}")]),
        before("empty 200", vec![answer("200 OK", "")]),
        before("empty 201", vec![answer("201 Created", "")]),
        before("empty 204", vec![raw(b"HTTP/1.1 204 No Content\r\n\r\n")]),
        before("redirect", vec![raw(b"HTTP/1.1 302 Found\r\nLocation: http://d/_ping\r\nContent-Length: 0\r\n\r\n")]),
        before("length and chunks", vec![raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")]),
        before("bad chunks", vec![raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"), Action::Close]),
        before("huge length", vec![raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n{"), Action::Close]),
        before("endless header", vec![flood("HTTP/1.1 200 OK\r\nX-Long: ", u64::MAX)]),
        before("endless body", vec![flood("HTTP/1.1 200 OK\r\n\r\n", u64::MAX)]),
        before("64 MiB of error", vec![flood("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 67108864\r\n\r\n", 64 << 20)]),
    ]);
    for status in [
        "400 Bad Request",
        "404 Not Found",
        "409 Conflict",
        "500 Internal Server Error",
        "503 Service Unavailable",
    ] {
        let refused = || vec![answer(status, r#"{"message":"made up"}"#)];
        all.push(before(&status[..3], refused()));
        all.push(Fault {
            times: EVER,
            ..before(&format!("{} ever again", &status[..3]), refused())
        });
    }
    all.push(Fault {
        times: EVER,
        ..before("close ever again", vec![Action::Close])
    });
    all.extend(Call::ALL.into_iter().flat_map(lies));
    all
}

/// What a call's answer can say that is not so.
fn lies(call: Call) -> Vec<Fault> {
    let mut lies = vec![
        ("plausible 200", answer("200 OK", plausible(call))),
        ("plausible 201", answer("201 Created", plausible(call))),
    ];
    let frame = |bytes: &[u8]| {
        raw(&[
            b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
            bytes,
        ]
        .concat())
    };
    match call {
        Call::Attach => lies.extend([
            ("silent stream", frame(b"")),
            ("frame of 4 GiB", frame(b"\x01\0\0\0\xff\xff\xff\xffout")),
            ("unknown stream", frame(b"\x07\0\0\0\0\0\0\x04out\n")),
            ("bad padding", frame(b"\x01\x02\x03\x04\0\0\0\x04out\n")),
            ("cut frame header", frame(b"\x01\0\0\0\0")),
        ]),
        Call::Create => lies.extend([
            (
                "hostile id",
                answer(
                    "201 Created",
                    r#"{"Id":"../../containers/json?force=1","Warnings":[]}"#,
                ),
            ),
            (
                "short id",
                answer("201 Created", r#"{"Id":"abc","Warnings":[]}"#),
            ),
        ]),
        Call::Wait => lies.extend([
            ("code -1", answer("200 OK", r#"{"StatusCode":-1}"#)),
            (
                "code 2^32",
                answer("200 OK", r#"{"StatusCode":4294967296}"#),
            ),
            ("code as text", answer("200 OK", r#"{"StatusCode":"0"}"#)),
            ("code 256", answer("200 OK", r#"{"StatusCode":256}"#)),
        ]),
        _ => {}
    }
    let named = lies.into_iter().map(|(name, lie)| Fault {
        name: name.to_owned(),
        at: Point::Before,
        actions: vec![lie],
        times: 1,
        harmless: false,
        only: Some(call),
    });
    named.collect()
}
