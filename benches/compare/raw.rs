//! One task through the engine's API, with nothing but `std`: the floor that `acode-rt exec` is held
//! against. It makes the same calls in the same order and overlap, with the same create body.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long one look at the wait answer lasts between two inspects.
const POLL: Duration = Duration::from_millis(3);

/// The newest API version that `acode-rt` speaks; an older engine is spoken to in its own.
const NEWEST_API: (u32, u32) = (1, 51);

/// One HTTP/1.1 connection to the engine.
struct Connection(BufReader<UnixStream>);

/// Status line and header fields of one answer, as received.
struct Head(String);

impl Connection {
    fn open(socket: &str) -> io::Result<Self> {
        Ok(Self(BufReader::new(UnixStream::connect(socket)?)))
    }

    fn send(&mut self, method: &str, path: &str, fields: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes())
    }

    fn head(&mut self) -> io::Result<Head> {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut text)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Head(text))
    }

    fn body(&mut self, head: &Head) -> io::Result<String> {
        let mut body = Vec::new();
        if head.field("transfer-encoding") == Some("chunked") {
            loop {
                let mut size = String::new();
                self.0.read_line(&mut size)?;
                let size = u64::from_str_radix(size.trim_end(), 16).map_err(io::Error::other)?;
                (&mut self.0).take(size).read_to_end(&mut body)?;
                self.0.read_line(&mut String::new())?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = head.field("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            (&mut self.0).take(length).read_to_end(&mut body)?;
        }
        String::from_utf8(body).map_err(io::Error::other)
    }

    /// Reads one whole answer, which has to have this status.
    fn answer(&mut self, status: u16) -> io::Result<(Head, String)> {
        let head = self.head()?;
        let body = self.body(&head)?;
        head.expect(status, &body)?;
        Ok((head, body))
    }

    fn call(&mut self, method: &str, path: &str, body: &str, status: u16) -> io::Result<String> {
        let fields = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/json\r\n"
        };
        self.send(method, path, fields, body)?;
        self.answer(status).map(|(_, body)| body)
    }

    /// Copies an attached container's standard output and error, until the engine closes the stream.
    fn copy_frames(&mut self) -> io::Result<()> {
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        while !self.0.fill_buf()?.is_empty() {
            let mut frame = [0; 8];
            self.0.read_exact(&mut frame)?;
            let length = u32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
            let payload = &mut (&mut self.0).take(length.into());
            match frame[0] {
                2 => io::copy(payload, &mut err)?,
                _ => io::copy(payload, &mut out)?,
            };
        }
        out.flush()
    }

    /// Whether an answer begins to arrive within `POLL`.
    fn arrives(&mut self) -> io::Result<bool> {
        self.0.get_ref().set_read_timeout(Some(POLL))?;
        let arrived = match self.0.fill_buf() {
            Ok(bytes) => Ok(!bytes.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        };
        self.0.get_ref().set_read_timeout(None)?;
        arrived
    }
}

impl Head {
    fn status(&self) -> Option<u16> {
        self.0.split(' ').nth(1)?.parse().ok()
    }

    fn expect(&self, status: u16, body: &str) -> io::Result<()> {
        if self.status() == Some(status) {
            return Ok(());
        }
        let line = self.0.lines().next().unwrap_or_default();
        Err(io::Error::other(format!(
            "expected status {status}, got {line}: {}",
            body.trim_end()
        )))
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self
            .0
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        fields
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The prefix of every path for the version that both sides speak.
    fn api(&self) -> io::Result<String> {
        let (major, minor) = self
            .field("api-version")
            .and_then(|version| version.split_once('.'))
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
            .ok_or_else(|| io::Error::other("the engine told no API version"))?;
        let (major, minor) = NEWEST_API.min((major, minor));
        Ok(format!("/v{major}.{minor}"))
    }
}

/// What the engine says about itself.
pub(crate) struct Engine {
    /// Such as `Engine` or `Podman Engine`.
    pub(crate) name: String,
    /// Such as `28.5.2`.
    pub(crate) version: String,
    /// The newest API version that it speaks, such as `1.51`.
    pub(crate) api: String,
}

impl Engine {
    /// Asks the engine behind `socket`.
    pub(crate) fn ask(socket: &str) -> io::Result<Self> {
        let version = Connection::open(socket)?.call("GET", "/version", "", 200)?;
        // The first component is the engine itself; the others are its helpers.
        let component = version
            .split_once("\"Components\":")
            .map_or("", |(_, rest)| rest);
        Ok(Self {
            name: text_of(component, "Name").unwrap_or("unknown").to_owned(),
            version: text_of(&version, "Version").unwrap_or("unknown").to_owned(),
            api: text_of(&version, "ApiVersion").unwrap_or("0").to_owned(),
        })
    }

    /// The minor number of the API version, for there is but one major.
    pub(crate) fn api_minor(&self) -> u32 {
        self.api
            .split_once('.')
            .and_then(|(_, minor)| minor.parse().ok())
            .unwrap_or(0)
    }
}

/// The first string value of `key` in `json`.
pub(crate) fn text_of<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{key}\":\""))?;
    rest.split_once('"').map(|(text, _)| text)
}

/// Runs the task of the create `body` and returns its exit status after the container is gone.
///
/// # Errors
/// When the engine cannot be reached or answers with another status than on the straight way.
pub(crate) fn run(socket: &str, image: &str, body: &str) -> io::Result<u8> {
    let mut short = Connection::open(socket)?;
    short.send("GET", "/_ping", "", "")?;
    let api = short.answer(200)?.0.api()?;
    short.call("GET", &format!("{api}/images/{image}/json"), "", 200)?;

    let create = format!(
        "{api}/containers/create?name=acode-compare-{}",
        std::process::id()
    );
    let created = short.call("POST", &create, body, 201)?;
    let id = text_of(&created, "Id").ok_or_else(|| io::Error::other("created without an id"))?;
    let container = format!("{api}/containers/{id}");

    let outcome = follow(&mut short, socket, &container);
    // Also after a failure, so that no container is left behind.
    short.call("DELETE", &format!("{container}?force=1&v=1"), "", 204)?;
    short.call("GET", &format!("{container}/json"), "", 404)?;
    outcome
}

/// Starts the created container and reads its output to the end and its exit status.
fn follow(short: &mut Connection, socket: &str, container: &str) -> io::Result<u8> {
    let inspect = format!("{container}/json");
    // All three are sent before the first answer is read: they overlap in the engine.
    short.send("GET", &inspect, "", "")?;
    let mut wait = Connection::open(socket)?;
    let path = format!("{container}/wait?condition=next-exit");
    wait.send("POST", &path, "", "")?;
    let mut attach = Connection::open(socket)?;
    let path = format!("{container}/attach?stream=1&stdin=0&stdout=1&stderr=1");
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    attach.send("POST", &path, upgrade, "")?;
    attach.head()?.expect(101, "")?;
    let waited = wait.head()?;
    short.answer(200)?;

    short.call("POST", &format!("{container}/start"), "", 204)?;
    attach.copy_frames()?;
    loop {
        let state = short.call("GET", &inspect, "", 200)?;
        if text_of(&state, "Status") == Some("exited") {
            return number_of(&state, "ExitCode");
        }
        if wait.arrives()? {
            return number_of(&wait.body(&waited)?, "StatusCode");
        }
    }
}

/// The first number of `key` in `json`, as an exit status.
fn number_of(json: &str, key: &str) -> io::Result<u8> {
    json.split_once(&format!("\"{key}\":"))
        .and_then(|(_, rest)| {
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .ok_or_else(|| io::Error::other(format!("no {key} in {json}")))
}
