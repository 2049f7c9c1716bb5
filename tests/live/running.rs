//! The program as a child process: its streams while it runs, and how it ended. Nothing is waited for without an end.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::PATIENCE;

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// Exit status, or minus the signal that ended it.
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Run {
    pub(crate) fn out(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn err(&self) -> &str {
        std::str::from_utf8(&self.stderr).unwrap()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: i32) -> Self {
        let shown =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned();
        assert_eq!(
            self.status,
            status,
            "stdout: {}\nstderr: {}",
            shown(&self.stdout),
            shown(&self.stderr)
        );
        self
    }

    /// It failed by our own doing, with this code.
    #[track_caller]
    pub(crate) fn expect_error(self, code: &str) -> Self {
        let run = self.expect(125);
        assert!(run.err().contains(code), "not {code}: {}", run.err());
        run
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap()
    }
}

/// The program while it runs. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Pipe,
    pub(crate) stderr: Pipe,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::watch(command.spawn().unwrap())
    }

    /// A child, of whose streams some may have been taken.
    pub(crate) fn watch(mut child: Child) -> Self {
        Self {
            stdin: child.stdin.take(),
            stdout: Pipe::read(child.stdout.take()),
            stderr: Pipe::read(child.stderr.take()),
            child,
        }
    }

    /// As the machine's death would: the client goes, and its guard with it.
    pub(crate) fn kill_with_guard(&self) {
        if let Some(guard) = self.guard() {
            kill(Pid::from_raw(guard), Signal::SIGKILL).unwrap();
        }
        self.signal(Signal::SIGKILL);
    }

    /// The process that stands guard for it.
    pub(crate) fn guard(&self) -> Option<i32> {
        let client = self.child.id().to_string();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = command.split(|&byte| byte == 0).collect();
            if words.get(1..3) == Some(&[b"__guard", client.as_bytes()]) {
                return Some(entry.file_name().to_str().unwrap().parse().unwrap());
            }
        }
        None
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    pub(crate) fn say(&mut self, text: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(text).unwrap();
    }

    /// Writes `bytes` to its input and closes it, beside the test.
    pub(crate) fn feed(&mut self, bytes: Vec<u8>) -> JoinHandle<std::io::Result<()>> {
        let mut stdin = self.stdin.take().unwrap();
        std::thread::spawn(move || stdin.write_all(&bytes))
    }

    /// Closes its input and waits for its end.
    pub(crate) fn finish(mut self) -> Run {
        drop(self.stdin.take());
        self.wait()
    }

    /// Waits for its end: it ends with its streams.
    pub(crate) fn wait(mut self) -> Run {
        let (stdout, stderr) = (self.stdout.until_end(), self.stderr.until_end());
        let status = self.child.wait().unwrap();
        Run {
            status: status.code().unwrap_or_else(|| -status.signal().unwrap()),
            stdout,
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of a test that failed; one that has ended is there no more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stream of the program as far as it was read.
pub(crate) struct Pipe(Arc<(Mutex<Progress>, Condvar)>);

#[derive(Default)]
struct Progress {
    bytes: Vec<u8>,
    ended: bool,
}

impl Pipe {
    fn read(stream: Option<impl Read + Send + 'static>) -> Self {
        let shared = Arc::new((Mutex::new(Progress::default()), Condvar::new()));
        let pipe = Self(Arc::clone(&shared));
        std::thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            let mut stream = stream;
            loop {
                let count = stream
                    .as_mut()
                    .map_or(0, |stream| stream.read(&mut buffer).unwrap());
                let mut read = shared.0.lock().unwrap();
                read.bytes.extend_from_slice(&buffer[..count]);
                read.ended = count == 0;
                shared.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        pipe
    }

    /// Waits until `text` was read.
    #[track_caller]
    pub(crate) fn until(&self, text: &[u8]) {
        let wanted = |read: &Progress| read.bytes.windows(text.len()).any(|window| window == text);
        let (read, _) = self
            .0
            .1
            .wait_timeout_while(self.0.0.lock().unwrap(), PATIENCE, |read| {
                !wanted(read) && !read.ended
            })
            .unwrap();
        assert!(
            wanted(&read),
            "no {} in: {}",
            text.escape_ascii(),
            read.bytes.escape_ascii()
        );
    }

    fn until_end(&self) -> Vec<u8> {
        let (mut read, time) = self
            .0
            .1
            .wait_timeout_while(self.0.0.lock().unwrap(), PATIENCE, |read| !read.ended)
            .unwrap();
        assert!(
            !time.timed_out(),
            "it does not end; so far: {}",
            read.bytes[..read.bytes.len().min(2000)].escape_ascii()
        );
        std::mem::take(&mut read.bytes)
    }
}
