//! Stands before a registry, in the network of an engine, and does to its answers what networks and registries do.
//!
//! The first part of an image's name says what: `localhost:PORT/slow/NAME` is the registry's `NAME`, slowly.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Times that a fault that passes is there.
pub(crate) const PASSING: usize = 4;
/// What is larger is a layer, no description of one.
const LAYER: usize = 100_000;
const MAX_HEAD: usize = 64 * 1024;

/// What was asked for, by the image's name at the registry.
type Seen = Arc<Mutex<HashMap<String, Vec<String>>>>;

/// In front of one registry, for one engine. Its threads end with the process.
pub(crate) struct FaultyRegistry {
    pub(crate) port: u16,
    seen: Seen,
    /// A client that wants to encrypt.
    wants_tls: Arc<Mutex<bool>>,
}

impl FaultyRegistry {
    /// On the loopback of whoever listens on `engine`.
    pub(crate) fn start(engine: &Path, registry: u16) -> std::io::Result<Self> {
        Self::start_at(engine, registry, 0)
    }

    /// At this port.
    pub(crate) fn start_at(engine: &Path, registry: u16, port: u16) -> std::io::Result<Self> {
        let listener = listen_beside(engine, port)?;
        let proxy = Self {
            port: listener.local_addr()?.port(),
            seen: Seen::default(),
            wants_tls: Arc::default(),
        };
        let (seen, wants_tls) = (Arc::clone(&proxy.seen), Arc::clone(&proxy.wants_tls));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (seen, wants_tls) = (Arc::clone(&seen), Arc::clone(&wants_tls));
                thread::spawn(move || {
                    // A client may go away at any time.
                    let _ = serve(client, registry, &seen, &wants_tls);
                });
            }
        });
        Ok(proxy)
    }

    /// `localhost:PORT/FAULT/NAME`
    pub(crate) fn name(&self, fault: &str, name: &str) -> String {
        format!("localhost:{}/{fault}/{name}", self.port)
    }

    /// What was asked for of an image, as `METHOD KIND`.
    pub(crate) fn seen(&self, name: &str) -> Vec<String> {
        self.seen
            .lock()
            .unwrap()
            .get(name)
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn client_wants_tls(&self) -> bool {
        *self.wants_tls.lock().unwrap()
    }
}

/// A socket that is made where the engine's network is.
fn listen_beside(engine: &Path, port: u16) -> std::io::Result<TcpListener> {
    let peer = rustix::net::sockopt::socket_peercred(UnixStream::connect(engine)?)?;
    let pid = peer.pid.as_raw_nonzero();
    let theirs = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    let ours = std::fs::read_link("/proc/self/ns/net")?;
    let elsewhere = std::fs::read_link(format!("/proc/{pid}/ns/net"))? != ours;
    // The thread that goes there ends there.
    let made = thread::spawn(move || {
        if elsewhere {
            move_into_link_name_space(theirs.as_fd(), Some(LinkNameSpaceType::Network))?;
            // A loopback that is down takes sockets, and nobody reaches them.
            let listener = TcpListener::bind(("127.0.0.1", port))?;
            TcpStream::connect(listener.local_addr()?)?;
            listener.accept()?;
            return Ok(listener);
        }
        TcpListener::bind(("127.0.0.1", port))
    });
    made.join().expect("the thread ends")
}

fn serve(
    mut client: TcpStream,
    registry: u16,
    seen: &Seen,
    wants_tls: &Mutex<bool>,
) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    let head = read_head(&mut client)?;
    if head.first() == Some(&0x16) {
        *wants_tls.lock().unwrap() = true;
        return Ok(());
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (fault, rest) = path
        .strip_prefix("/v2/")
        .and_then(|path| path.split_once('/'))
        .unwrap_or(("none", ""));
    let name = rest.split('/').next().unwrap_or("").to_owned();
    let kind = rest.split('/').nth(1).unwrap_or("");
    let times = {
        let mut seen = seen.lock().unwrap();
        let requests = seen.entry(name).or_default();
        if !kind.is_empty() {
            requests.push(format!("{method} {kind}"));
        }
        requests.len()
    };
    if let Some(answer) = instead(fault, kind, times) {
        let with_body = method != "HEAD";
        return client.write_all(error(answer, with_body).as_bytes());
    }
    let upstream_path = if rest.is_empty() {
        path.to_owned()
    } else {
        format!("/v2/{rest}")
    };
    let answer = ask(registry, method, &upstream_path, &head)?;
    let body_at = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(answer.len(), |at| at + 4);
    let (head, body) = answer.split_at(body_at);
    client.write_all(head)?;
    pass_on(&mut client, fault, kind, body, times)?;
    client.shutdown(Shutdown::Both)
}

/// Status, code and message of an answer that is not the registry's.
fn instead(fault: &str, kind: &str, times: usize) -> Option<(&'static str, &'static str)> {
    if kind.is_empty() {
        return None;
    }
    match fault {
        "busy" if times <= PASSING => {
            Some(("429 Too Many Requests\r\nRetry-After: 1", "TOOMANYREQUESTS"))
        }
        "broken" if times <= PASSING => Some(("503 Service Unavailable", "UNAVAILABLE")),
        "denied" => Some(("403 Forbidden", "DENIED")),
        _ => None,
    }
}

fn error((status, code): (&str, &str), with_body: bool) -> String {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"as the test wants it"}}]}}"#);
    let length = body.len();
    let body = if with_body { body } else { String::new() };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

fn pass_on(
    client: &mut TcpStream,
    fault: &str,
    kind: &str,
    body: &[u8],
    times: usize,
) -> std::io::Result<()> {
    let layer = kind == "blobs" && body.len() > LAYER;
    let half = &body[..body.len() / 2];
    match fault {
        "slow" if layer => {
            for part in body.chunks(body.len() / 20 + 1) {
                client.write_all(part)?;
                thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        }
        "cut" if layer && times <= PASSING => client.write_all(half),
        "stall" if layer => {
            client.write_all(half)?;
            // Until the engine gives it up.
            client.set_read_timeout(Some(Duration::from_secs(90)))?;
            client.read(&mut [0]).map(|_| ())
        }
        "altered" if layer => {
            let mut body = body.to_vec();
            let at = body.len() - 600;
            body[at] ^= 1;
            client.write_all(&body)
        }
        "othermanifest" if kind == "manifests" && !body.is_empty() => {
            // As long, and as valid: another digest within it.
            let text = String::from_utf8_lossy(body);
            let at = text.find("sha256:").map_or(0, |at| at + 7);
            let mut other = body.to_vec();
            other[at] = if other[at] == b'a' { b'b' } else { b'a' };
            client.write_all(&other)
        }
        _ => client.write_all(body),
    }
}

fn ask(registry: u16, method: &str, path: &str, head: &str) -> std::io::Result<Vec<u8>> {
    let mut upstream = TcpStream::connect(("127.0.0.1", registry))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    for line in head.lines().skip(1).take_while(|line| !line.is_empty()) {
        let key = line.split(':').next().unwrap_or("").to_ascii_lowercase();
        if matches!(
            key.as_str(),
            "host" | "accept" | "authorization" | "range" | "user-agent"
        ) {
            request.push_str(line);
            request.push_str("\r\n");
        }
    }
    request.push_str("\r\n");
    upstream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn read_head(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD && head.first() != Some(&0x16) {
        if client.read(&mut byte)? == 0 {
            break;
        }
        head.push(byte[0]);
    }
    Ok(head)
}
