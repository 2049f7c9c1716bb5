//! What can happen to any call on the wire.

use crate::scripted::{Fault, response};

pub(crate) fn faults() -> Vec<Fault> {
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
