//! Process 1 as a child process, with us as its client.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use acode_rt::protocol::order::{Hello, Order};
use acode_rt::protocol::record::{ABANDONED as CODE, Cause, End, How, Nonce, Record, Strip};

/// What process 1 ends with when it has no client.
pub(crate) const ABANDONED: i32 = CODE as i32;
/// Nothing here takes so long, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Init {
    pub(crate) child: Child,
    pub(crate) orders: Option<ChildStdin>,
    pub(crate) stdout: Receiver<Vec<u8>>,
    pub(crate) stderr: Receiver<Vec<u8>>,
}

/// What came of a stream: the task's bytes, and the records among them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) output: Vec<u8>,
    pub(crate) records: Vec<Record>,
}

impl Init {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_acode-rt"))
            .arg("__init")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            orders: child.stdin.take(),
            stdout: read(child.stdout.take().unwrap()),
            stderr: read(child.stderr.take().unwrap()),
            child,
        }
    }

    pub(crate) fn send(&mut self, orders: &[Order]) {
        let mut bytes = Vec::new();
        for order in orders {
            order.write(&mut bytes);
        }
        self.orders.as_mut().unwrap().write_all(&bytes).unwrap();
    }

    /// A shell script as the task.
    pub(crate) fn sh(hello: Hello, script: &str) -> Self {
        let mut init = Self::start();
        init.send(&orders(hello, &["sh", "-c", script]));
        init
    }

    /// Everything of standard error until `record` is there.
    pub(crate) fn until(&self, found: impl Fn(&Record) -> bool) -> Stream {
        let (mut strip, mut stream) = (
            Strip::new(nonce()),
            Stream {
                output: vec![],
                records: vec![],
            },
        );
        while !stream.records.iter().any(&found) {
            let mut piece = self.stderr.recv_timeout(PATIENCE).unwrap();
            strip.take(&mut piece, &mut stream.records);
            stream.output.extend(piece);
        }
        stream
    }

    /// Waits until the task has said so.
    pub(crate) fn is_ready(&self) {
        let (mut strip, mut output) = (Strip::new(nonce()), Vec::new());
        while output != b"ready\n" {
            let mut piece = self.stderr.recv_timeout(PATIENCE).unwrap();
            strip.take(&mut piece, &mut Vec::new());
            output.extend(piece);
        }
    }

    /// The end: what process 1 said of it, the rest of both streams, and its exit code once it was told that all has arrived.
    pub(crate) fn end(mut self) -> (End, Stream, Stream, i32) {
        let mut stderr = self.until(|record| matches!(record, Record::End(_)));
        if let Some(orders) = &mut self.orders {
            let mut bytes = Vec::new();
            Order::Done.write(&mut bytes);
            // It may have gone at its deadline.
            let _ = orders.write_all(&bytes);
        }
        let Some(Record::End(end)) = stderr.records.pop() else {
            panic!("the end is not last: {stderr:?}")
        };
        let status = self.wait();
        let stdout = whole(&self.stdout);
        (end, stdout, stderr, status)
    }

    pub(crate) fn wait(&mut self) -> i32 {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| -status.signal().unwrap());
            }
            assert!(since.elapsed() < PATIENCE, "process 1 does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn read(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

pub(crate) fn whole(pieces: &Receiver<Vec<u8>>) -> Stream {
    let (mut strip, mut stream) = (
        Strip::new(nonce()),
        Stream {
            output: vec![],
            records: vec![],
        },
    );
    while let Ok(mut piece) = pieces.recv_timeout(PATIENCE) {
        strip.take(&mut piece, &mut stream.records);
        stream.output.extend(piece);
    }
    stream.output.extend(strip.finish());
    stream
}

pub(crate) fn nonce() -> Nonce {
    Nonce::of("test")
}

pub(crate) fn hello() -> Hello {
    Hello {
        nonce: nonce(),
        interactive: false,
        terminal: None,
        deadline_ms: None,
    }
}

pub(crate) fn interactive() -> Hello {
    Hello {
        interactive: true,
        ..hello()
    }
}

pub(crate) fn orders(hello: Hello, command: &[&str]) -> Vec<Order> {
    let mut orders = vec![Order::Hello(hello)];
    orders.extend(
        command
            .iter()
            .map(|argument| Order::Argument(argument.as_bytes().to_vec())),
    );
    orders.push(Order::Start);
    orders
}

pub(crate) fn itself(how: How) -> End {
    End {
        how,
        cause: Cause::Itself,
    }
}

/// Whether a process with `word` in its command line lives.
pub(crate) fn lives(word: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().any(|entry| {
        let line = std::fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word) && !line.starts_with(b"grep")
    })
}

pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
