//! Process 1 of a task, run as an ordinary process: what it does with every order, signal and end of its client.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/process_1.rs"]
mod process_1;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use acode_rt::protocol::order::{Hello, MAX_PAYLOAD, Order, WINDOW};
use acode_rt::protocol::record::{Cause, End, How, Record};
use process_1::{
    ABANDONED, Init, Stream, hello, interactive, itself, lives, orders, read, until, whole,
};

#[test]
fn exit_codes_and_output_arrive_with_an_end_on_each_stream() {
    for code in [0, 1, 77, 255] {
        let init = Init::sh(hello(), &format!("echo out; echo err >&2; exit {code}"));
        let (end, stdout, stderr, status) = init.end();
        assert_eq!(end, itself(How::Exited(code)));
        assert_eq!(
            stdout,
            Stream {
                output: b"out\n".to_vec(),
                records: vec![Record::OutputEnd]
            }
        );
        assert_eq!(
            stderr,
            Stream {
                output: b"err\n".to_vec(),
                records: vec![Record::Started]
            }
        );
        assert_eq!(status, i32::from(code));
    }
}

#[test]
fn a_signal_that_ended_the_task_is_told_apart_from_its_code() {
    let (end, .., status) = Init::sh(hello(), "kill -SEGV $$").end();
    assert_eq!((end, status), (itself(How::Signaled(11)), 139));
    let (end, .., status) = Init::sh(hello(), "exit 139").end();
    assert_eq!((end, status), (itself(How::Exited(139)), 139));
}

#[test]
fn fr_020a_03_a_command_that_cannot_be_run_has_its_errno() {
    for (command, errno, code) in [
        ("/no/such", 2, 127),
        ("no-such", 2, 127),
        ("/etc/passwd", 13, 126),
        ("/etc", 13, 126),
    ] {
        let mut init = Init::start();
        init.send(&orders(hello(), &[command]));
        let (end, stdout, stderr, status) = init.end();
        assert_eq!(
            (end, status),
            (itself(How::Failed(errno)), code),
            "{command}"
        );
        assert!(
            stdout.output.is_empty() && stderr.output.is_empty(),
            "{command}"
        );
    }
}

#[test]
fn orders_are_understood_however_they_are_split() {
    let mut bytes = Vec::new();
    let mut all = orders(interactive(), &["cat"]);
    all.splice(1..1, [Order::Variable(b"A=b=c".to_vec())]);
    all.extend([Order::Input(b"hello".to_vec()), Order::InputEnd]);
    for order in &all {
        order.write(&mut bytes);
    }
    // One byte a write, and then every split in two.
    for split in std::iter::once(None).chain((1..bytes.len()).step_by(5).map(Some)) {
        let mut init = Init::start();
        let input = init.orders.as_mut().unwrap();
        match split {
            None => bytes
                .iter()
                .for_each(|byte| input.write_all(&[*byte]).unwrap()),
            Some(at) => {
                input.write_all(&bytes[..at]).unwrap();
                std::thread::sleep(Duration::from_millis(3));
                input.write_all(&bytes[at..]).unwrap();
            }
        }
        let (end, stdout, ..) = init.end();
        assert_eq!(
            (end, stdout.output.as_slice()),
            (itself(How::Exited(0)), &b"hello"[..]),
            "{split:?}"
        );
    }
}

#[test]
fn the_task_gets_its_environment_a_session_and_no_descriptor_of_ours() {
    let mut init = Init::start();
    let mut all = orders(
        hello(),
        &[
            "sh",
            "-c",
            "echo $A; ls /proc/$$/fd; cat /proc/$$/stat; exec grep Sig.*: /proc/self/status",
        ],
    );
    all.splice(1..1, [Order::Variable(b"A=b=c".to_vec())]);
    init.send(&all);
    let (end, stdout, ..) = init.end();
    assert_eq!(end, itself(How::Exited(0)));
    let text = String::from_utf8(stdout.output).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "b=c");
    assert_eq!(lines[1..4], ["0", "1", "2"], "{text}");
    let stat: Vec<&str> = lines[4].split(' ').collect();
    assert_eq!(stat[0], stat[5], "it leads a session of its own");
    let mask = |name: &str| {
        lines
            .iter()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(u64::from_str_radix(&mask("SigBlk:"), 16).unwrap(), 0);
    // 32 and 33 are the C library's own, which it ignores in whatever it spawns.
    let ignored = u64::from_str_radix(&mask("SigIgn:"), 16).unwrap();
    assert_eq!(ignored & !(0b11 << 31), 0);
}

#[test]
fn nfr_020a_17_when_its_client_is_gone_everything_is_killed() {
    let marker = format!("4{:09}", std::process::id());
    for script in [
        format!("echo ready >&2; exec sleep {marker}"),
        format!("trap '' TERM INT HUP; echo ready >&2; while :; do sleep {marker}; done"),
        format!("echo ready >&2; sleep {marker} & kill -STOP $$"),
        format!("echo ready >&2; sleep {marker} & exec yes"),
    ] {
        let mut init = Init::sh(interactive(), &script);
        until("it starts", || lives(&marker));
        let since = Instant::now();
        init.orders = None;
        assert_eq!(init.wait(), ABANDONED, "{script}");
        until("all are killed", || !lives(&marker));
        assert!(since.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn gigabytes_of_input_that_nobody_reads_hide_no_death() {
    let marker = format!("5{:09}", std::process::id());
    let mut init = Init::sh(interactive(), &format!("exec sleep {marker}"));
    // All that a client may send without having been told of anything.
    for _ in 0..WINDOW / MAX_PAYLOAD {
        init.send(&[Order::Input(vec![0; MAX_PAYLOAD])]);
    }
    until("it starts", || lives(&marker));
    init.orders = None;
    assert_eq!(init.wait(), ABANDONED);
    assert!(!lives(&marker));
}

#[test]
fn input_flows_as_far_as_it_is_taken_and_no_further() {
    let total: usize = 16 << 20;
    let mut init = Init::sh(interactive(), "wc -c");
    let (mut sent, mut told) = (0, 0);
    while sent < total {
        while sent - told >= WINDOW {
            let found = init.until(|record| matches!(record, Record::Credit(_)));
            for record in found.records {
                if let Record::Credit(bytes) = record {
                    told += bytes as usize;
                }
            }
        }
        let count = MAX_PAYLOAD.min(WINDOW - (sent - told)).min(total - sent);
        init.send(&[Order::Input(vec![7; count])]);
        sent += count;
    }
    init.send(&[Order::InputEnd]);
    let (end, stdout, ..) = init.end();
    assert_eq!(end, itself(How::Exited(0)));
    assert_eq!(
        String::from_utf8(stdout.output).unwrap().trim(),
        total.to_string()
    );
}

#[test]
fn a_task_that_closes_its_input_is_told_of() {
    let mut init = Init::sh(interactive(), "exec 0<&-; echo closed; exec sleep 1000");
    let found = init.until(|record| *record == Record::InputClosed);
    assert_eq!(found.records, [Record::Started, Record::InputClosed]);
    // More than the window is dropped, and hurts nobody.
    for _ in 0..2 * WINDOW / MAX_PAYLOAD {
        init.send(&[Order::Input(vec![0; MAX_PAYLOAD])]);
    }
    init.send(&[Order::Kill]);
    let (end, ..) = init.end();
    assert_eq!(
        end,
        End {
            how: How::Signaled(9),
            cause: Cause::Order
        }
    );
}

#[test]
fn fr_020a_71_signals_kill_and_the_deadline_say_who_sent_them() {
    let mut init = Init::sh(
        hello(),
        "trap 'echo term; exit 3' TERM; echo ready >&2; while :; do sleep 0.01; done",
    );
    init.is_ready();
    init.send(&[Order::Signal(15)]);
    let (end, stdout, _, status) = init.end();
    assert_eq!(
        (end, stdout.output.as_slice(), status),
        (itself(How::Exited(3)), &b"term\n"[..], 3)
    );

    let mut init = Init::sh(
        hello(),
        "trap '' TERM; echo ready >&2; while :; do sleep 0.01; done",
    );
    init.is_ready();
    init.send(&[Order::Signal(15), Order::Kill]);
    let (end, _, _, status) = init.end();
    assert_eq!(
        (end, status),
        (
            End {
                how: How::Signaled(9),
                cause: Cause::Order
            },
            137
        )
    );

    let late = Hello {
        deadline_ms: Some(50),
        ..hello()
    };
    let (end, _, _, status) = Init::sh(late, "exec sleep 1000").end();
    assert_eq!(
        (end, status),
        (
            End {
                how: How::Signaled(9),
                cause: Cause::Deadline
            },
            137
        )
    );
}

#[test]
fn a_signal_right_after_the_start_is_not_missed() {
    for _ in 0..50 {
        let mut init = Init::sh(hello(), "exec sleep 1000");
        init.send(&[Order::Signal(15)]);
        let (end, ..) = init.end();
        assert_eq!(end, itself(How::Signaled(15)));
    }
}

#[test]
fn a_client_that_breaks_the_protocol_is_no_client() {
    let start = orders(interactive(), &["sleep", "1000"]);
    let too_much: Vec<Order> = std::iter::repeat_with(|| Order::Input(vec![0; MAX_PAYLOAD]))
        .take(2 * WINDOW / MAX_PAYLOAD)
        .collect();
    for (what, wrong) in [
        ("too much input", too_much),
        ("two starts", vec![Order::Start]),
        ("two hellos", vec![Order::Hello(hello())]),
        ("a late argument", vec![Order::Argument(b"x".to_vec())]),
    ] {
        let mut init = Init::start();
        init.send(&start);
        let mut bytes = Vec::new();
        for order in &wrong {
            order.write(&mut bytes);
        }
        // It may be gone before it has read all of it.
        let _ = init.orders.as_mut().unwrap().write_all(&bytes);
        assert_eq!(init.wait(), ABANDONED, "{what}");
    }
    let mut init = Init::start();
    init.orders
        .as_mut()
        .unwrap()
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .unwrap();
    assert_eq!(init.wait(), ABANDONED);
}

#[test]
fn what_the_main_process_leaves_running_dies_with_it() {
    let marker = format!("6{:09}", std::process::id());
    let init = Init::sh(hello(), &format!("sleep {marker} & echo started"));
    let (end, stdout, ..) = init.end();
    assert_eq!(
        (end, stdout.output.as_slice()),
        (itself(How::Exited(0)), &b"started\n"[..])
    );
    assert!(!lives(&marker));
}

#[test]
fn nobody_who_reads_is_waited_for_but_everything_is_delivered() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_acode-rt"))
        .arg("__init")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut bytes = Vec::new();
    for order in orders(hello(), &["head", "-c", "65536", "/dev/zero"]) {
        order.write(&mut bytes);
    }
    let mut input = child.stdin.take().unwrap();
    input.write_all(&bytes).unwrap();
    // The pipe is full to its last byte, so that there is no room for the end of output: it has to wait for us, alive.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(child.try_wait().unwrap(), None);
    let (stdout, stderr) = (
        read(child.stdout.take().unwrap()),
        read(child.stderr.take().unwrap()),
    );
    std::thread::sleep(Duration::from_millis(100));
    drop(input);
    assert_eq!(
        whole(&stdout),
        Stream {
            output: vec![0; 65536],
            records: vec![Record::OutputEnd]
        }
    );
    assert_eq!(
        whole(&stderr).records,
        [Record::Started, Record::End(itself(How::Exited(0)))]
    );
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// What is blocked is queued, also for process 1, and a task could send queued signals for ever.
#[test]
fn no_signal_can_be_queued_to_it() {
    let init = Init::sh(hello(), "echo ready >&2; exec sleep 1000");
    init.is_ready();
    let blocked = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", init.child.id())).unwrap();
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigBlk:"))
            .unwrap()
            .to_owned();
        u64::from_str_radix(mask.trim(), 16).unwrap()
    };
    // While it starts a process the C library blocks all.
    until("real-time signals are not blocked", || blocked() >> 31 == 0);
}
