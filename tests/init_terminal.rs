//! Process 1 with a terminal for its task, run as an ordinary process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/process_1.rs"]
#[expect(dead_code, reason = "the other tests of process 1 use the rest")]
mod process_1;

use std::time::Duration;

use acode_rt::protocol::order::{Hello, Order, TerminalSize};
use acode_rt::protocol::record::How;
use process_1::{Init, PATIENCE, interactive, itself, orders};

#[test]
fn a_terminal_has_its_size_echoes_and_ends_with_the_task() {
    let size = TerminalSize {
        rows: 33,
        columns: 99,
    };
    let terminal = Hello {
        terminal: Some(size),
        ..interactive()
    };
    let mut init = Init::sh(
        terminal,
        "stty size; tty; read line; stty size; echo got $line >&2; exit 4",
    );
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("/dev/pts/") {
        seen.extend(init.stdout.recv_timeout(PATIENCE).unwrap());
    }
    let resized = TerminalSize {
        rows: 11,
        columns: 22,
    };
    init.send(&[Order::Resize(resized), Order::Input(b"hey\r".to_vec())]);
    let (end, stdout, stderr, status) = init.end();
    seen.extend(stdout.output);
    let text = String::from_utf8_lossy(&seen).replace("\r\n", "\n");
    assert!(text.starts_with("33 99\n/dev/pts/"), "{text}");
    assert!(text.ends_with("hey\n11 22\ngot hey\n"), "{text}");
    assert_eq!((end, status), (itself(How::Exited(4)), 4));
    assert!(stderr.output.is_empty());
}

#[test]
fn the_end_of_input_ends_a_terminals_input_too() {
    for typed in [&b"abc"[..], b"abc\n", b"", &[b'x'; 3000]] {
        let size = TerminalSize {
            rows: 24,
            columns: 80,
        };
        let terminal = Hello {
            terminal: Some(size),
            ..interactive()
        };
        let mut init = Init::start();
        init.send(&orders(terminal, &["sh", "-c", "stty -echo; wc -c"]));
        std::thread::sleep(Duration::from_millis(100));
        init.send(&[Order::Input(typed.to_vec()), Order::InputEnd]);
        let (end, stdout, ..) = init.end();
        assert_eq!(end, itself(How::Exited(0)));
        let text = String::from_utf8_lossy(&stdout.output).trim().to_owned();
        assert!(text.ends_with(&typed.len().to_string()), "{text}");
    }
}
