//! A scripted engine on a real socket: it knows one container, and does to chosen calls what no healthy engine would.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use acode_rt::engine::{Chunk, Engine, Host, Timeouts};
use acode_rt::{Canceller, ImageRef, Receipt, Result, TaskIo, TaskSpec};
use tokio::sync::mpsc;

pub(crate) const ID: &str = "c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1";

/// What is done to a call.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The connection is closed without an answer, and nothing was done.
    Close,
    /// It is done, and the connection is closed without an answer.
    LoseReply,
    /// There is no answer, for as long as the test runs.
    Hang,
    /// Half of the answer, then the end.
    Cut,
    /// These bytes instead of an answer; nothing was done.
    Answer(Vec<u8>),
    /// The same, and then the end.
    AnswerAndClose(Vec<u8>),
}

/// One rule: calls whose request line contains `call` meet `fault`, so many times.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) call: &'static str,
    pub(crate) fault: Fault,
    pub(crate) times: u32,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    body: String,
    exists: bool,
    started: bool,
    /// The task ends by KILL only.
    endless: bool,
    killed: bool,
    requests: Vec<String>,
}

pub(crate) struct Scripted {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

/// What of the kernel's every Docker hides, and what it makes read-only.
const MASKED: [&str; 4] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/sys/firmware",
];
const READ_ONLY: [&str; 4] = ["/proc/bus", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the task writes and how it ends.
pub(crate) const OUTPUT: &[u8] = b"\x01\0\0\0\0\0\0\x04out\n\x02\0\0\0\0\0\0\x04err\n";
pub(crate) const EXIT_CODE: i64 = 7;

pub(crate) fn response(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl State {
    fn has_ended(&self) -> bool {
        self.killed || (self.started && !self.endless)
    }
}

impl Scripted {
    /// A task that ends at once.
    pub(crate) fn start(rules: &[Rule]) -> Self {
        Self::start_task(rules, false)
    }

    /// A task that ends when it is killed.
    pub(crate) fn start_endless(rules: &[Rule]) -> Self {
        Self::start_task(rules, true)
    }

    fn start_task(rules: &[Rule], endless: bool) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("acode-wire-{}-{number}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let state = Arc::new(Mutex::new(State {
            rules: rules.to_vec(),
            endless,
            ..State::default()
        }));
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&served);
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { path, state }
    }

    pub(crate) fn host(&self) -> Host {
        Host::from_socket(&self.path)
    }

    pub(crate) async fn connect(&self) -> acode_rt::Result<Engine> {
        let timeouts = Timeouts {
            ask: Duration::from_millis(400),
            act: Duration::from_millis(400),
        };
        Engine::connect_with(&self.host(), timeouts).await
    }

    pub(crate) fn container_exists(&self) -> bool {
        self.state.lock().unwrap().exists
    }

    /// How many requests had `call` in their first line.
    pub(crate) fn count(&self, call: &str) -> usize {
        self.state
            .lock()
            .unwrap()
            .requests
            .iter()
            .filter(|line| line.contains(call))
            .count()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve(stream: UnixStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some((line, body)) = read_request(&mut reader) {
        let fault = {
            let mut state = state.lock().unwrap();
            state.requests.push(line.clone());
            let rule = state
                .rules
                .iter_mut()
                .find(|rule| rule.times > 0 && line.contains(rule.call));
            rule.map(|rule| {
                rule.times -= 1;
                rule.fault.clone()
            })
        };
        let whole = match fault {
            None => act(state, &line, &body),
            Some(Fault::Close) => return,
            Some(Fault::LoseReply) => {
                act(state, &line, &body);
                return;
            }
            Some(Fault::Hang) => {
                // Until the client gives up and closes.
                let _ = reader.read(&mut [0]);
                return;
            }
            Some(Fault::Cut) => {
                let whole = act(state, &line, &body);
                let _ = writer.write_all(&whole[..whole.len() / 2]);
                return;
            }
            Some(Fault::Answer(bytes)) => bytes,
            Some(Fault::AnswerAndClose(bytes)) => {
                let _ = writer.write_all(&bytes);
                wait_for(state, |state| state.started);
                return;
            }
        };
        if writer.write_all(&whole).is_err() {
            return;
        }
        if line.contains("/attach") {
            wait_for(state, |state| state.started);
            let _ = writer.write_all(OUTPUT);
            wait_for(state, State::has_ended);
            return;
        }
        if line.contains("/wait") {
            wait_for(state, State::has_ended);
            let code = if state.lock().unwrap().killed {
                137
            } else {
                EXIT_CODE
            };
            let body = format!("{{\"StatusCode\":{code}}}");
            let _ = write!(writer, "{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            return;
        }
    }
}

/// Polls, since the script has no other way to be told; gives up after a while so that no thread outlives its test for long.
fn wait_for(state: &Mutex<State>, done: impl Fn(&State) -> bool) {
    for _ in 0..5000 {
        if done(&state.lock().unwrap()) {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn read_request(reader: &mut BufReader<UnixStream>) -> Option<(String, String)> {
    let mut first = String::new();
    reader
        .read_line(&mut first)
        .ok()
        .filter(|count| *count > 0)?;
    let mut length = 0;
    let mut chunked = false;
    loop {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|count| *count > 0)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding:");
        if line == "\r\n" {
            break;
        }
    }
    if chunked {
        // What is uploaded is looked at by nobody here.
        let mut size = String::new();
        while reader.read_line(&mut size).ok()? > 0 {
            let count = usize::from_str_radix(size.trim(), 16).unwrap();
            reader.read_exact(&mut vec![0; count + 2]).ok()?;
            if count == 0 {
                return Some((first.trim().to_owned(), String::new()));
            }
            size.clear();
        }
        return None;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first.trim().to_owned(), String::from_utf8(body).unwrap()))
}

fn act(state: &Mutex<State>, line: &str, body: &str) -> Vec<u8> {
    let mut state = state.lock().unwrap();
    let missing = || response("404 Not Found", r#"{"message":"No such container"}"#);
    if line.contains("/_ping") {
        return b"HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nServer: Docker/28.5 (linux)\r\nDate: Sat, 21 Nov 2026 09:24:57 GMT\r\nContent-Length: 2\r\n\r\nOK".to_vec();
    }
    if line.contains("/images/") {
        return response(
            "200 OK",
            &format!(r#"{{"Id":"sha256:{}","Config":{{}}}}"#, "ab".repeat(32)),
        );
    }
    if line.contains("/containers/create") {
        if state.exists {
            return response("409 Conflict", r#"{"message":"name in use"}"#);
        }
        state.exists = true;
        body.clone_into(&mut state.body);
        return response("201 Created", &format!(r#"{{"Id":"{ID}","Warnings":[]}}"#));
    }
    if !state.exists {
        return missing();
    }
    if line.starts_with("DELETE") {
        state.exists = false;
        return response("204 No Content", "");
    }
    if line.contains("/attach") {
        return b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".to_vec();
    }
    if line.contains("/wait") {
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    }
    if line.contains("/start") {
        state.started = true;
        return response("204 No Content", "");
    }
    if line.contains("/kill") {
        state.killed = true;
        return response("204 No Content", "");
    }
    if line.contains("/archive") {
        return if line.starts_with("PUT") {
            response("200 OK", "")
        } else {
            missing()
        };
    }
    if line.contains("/logs") {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            OUTPUT.len()
        );
        return [head.as_bytes(), OUTPUT].concat();
    }
    inspect(&state)
}

/// Echoes what create was sent, as Docker does.
fn inspect(state: &State) -> Vec<u8> {
    let sent: serde_json::Value = serde_json::from_str(&state.body).unwrap();
    let (status, code) = match (state.has_ended(), state.started) {
        (true, _) if state.killed => ("exited", 137),
        (true, _) => ("exited", EXIT_CODE),
        (false, true) => ("running", 0),
        (false, false) => ("created", 0),
    };
    let mut host_config = sent["HostConfig"].clone();
    host_config["MaskedPaths"] = serde_json::json!(MASKED);
    host_config["ReadonlyPaths"] = serde_json::json!(READ_ONLY);
    let asked = sent["HostConfig"]["Mounts"].as_array();
    let mounts: Vec<serde_json::Value> = asked
        .into_iter()
        .flatten()
        .map(|mount| serde_json::json!({ "Type": mount["Type"], "Destination": mount["Target"] }))
        .collect();
    let body = serde_json::json!({
        "Id": ID,
        "Name": "/acode-s-t",
        "Mounts": mounts,
        "Image": sent["Image"],
        "State": { "Status": status, "ExitCode": code, "OOMKilled": false },
        "Config": { "User": sent["User"], "Labels": sent["Labels"] },
        "HostConfig": host_config,
    });
    response("200 OK", &body.to_string())
}

pub(crate) fn once(call: &'static str, fault: Fault) -> Vec<Rule> {
    vec![Rule {
        call,
        fault,
        times: 1,
    }]
}

pub(crate) fn always(call: &'static str, fault: Fault) -> Vec<Rule> {
    vec![Rule {
        call,
        fault,
        times: u32::MAX,
    }]
}

pub(crate) fn spec() -> TaskSpec {
    let mut spec = TaskSpec::new("s", "t", ImageRef::parse("busybox").unwrap(), ["true"]);
    spec.cleanup_timeout = Duration::from_secs(3);
    spec
}

/// Runs one task and gives back what it wrote, too.
pub(crate) async fn run(scripted: &Scripted) -> (Result<Receipt>, Vec<Chunk>) {
    let engine = match scripted.connect().await {
        Ok(engine) => engine,
        Err(error) => return (Err(error), Vec::new()),
    };
    let (sender, mut receiver) = mpsc::channel(64);
    let io = TaskIo {
        output: Some(sender),
        ..TaskIo::default()
    };
    let result = acode_rt::run(&engine, spec(), io, &Canceller::new()).await;
    let mut chunks = Vec::new();
    while let Some(chunk) = receiver.recv().await {
        chunks.push(chunk);
    }
    (result, chunks)
}

pub(crate) async fn run_past_deadline(scripted: &Scripted) -> Receipt {
    let engine = scripted.connect().await.unwrap();
    let mut spec = spec();
    spec.timeout = Some(Duration::from_millis(50));
    acode_rt::run(&engine, spec, TaskIo::default(), &Canceller::new())
        .await
        .unwrap()
}
