//! One connection of the fault proxy: requests and answers in turn, and what the rules say in between.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Action, Call, Cut, LIMIT, Point, Rule, Seen, Shared, lock};

/// How often a connection is looked at whose client may be gone.
const LOOK: Duration = Duration::from_millis(2);

/// Serves a client until one side has ended.
pub(super) fn serve(client: UnixStream, engine: &Path, shared: &Arc<Shared>) -> io::Result<()> {
    let engine = UnixStream::connect(engine)?;
    let number = {
        let mut state = lock(&shared.state);
        state.connections += 1;
        let number = state.connections;
        state
            .open
            .insert(number, [client.try_clone()?, engine.try_clone()?]);
        number
    };
    let connection = Connection {
        number,
        shared: Arc::clone(shared),
        held: Arc::default(),
        over: Arc::default(),
        from_client: BufReader::new(client.try_clone()?),
        from_engine: BufReader::new(engine.try_clone()?),
        client,
        engine,
    };
    connection.watch()?;
    connection.serve()
}

/// A client's connection and ours to the engine.
struct Connection {
    number: usize,
    shared: Arc<Shared>,
    /// The request is on its way and goes on without its client.
    held: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    from_client: BufReader<UnixStream>,
    from_engine: BufReader<UnixStream>,
    client: UnixStream,
    engine: UnixStream,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.engine.shutdown(Shutdown::Both);
        lock(&self.shared.state).open.remove(&self.number);
    }
}

/// Whether the other side is closed altogether, and not for writing only: then even nothing cannot be sent.
fn is_gone(mut client: &UnixStream) -> bool {
    client.write(&[]).is_err()
}

enum Next {
    GoOn,
    Answered,
    End,
}

impl Connection {
    /// Takes the engine's side down with the client's.
    fn watch(&self) -> io::Result<()> {
        let (client, engine) = (self.client.try_clone()?, self.engine.try_clone()?);
        let (held, over) = (Arc::clone(&self.held), Arc::clone(&self.over));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if is_gone(&client) && !held.load(Ordering::Relaxed) {
                    let _ = engine.shutdown(Shutdown::Both);
                    return;
                }
                thread::sleep(LOOK);
            }
        });
        Ok(())
    }

    fn serve(mut self) -> io::Result<()> {
        loop {
            let Some((mut request, body)) = read_head(&mut self.from_client)? else {
                return Ok(());
            };
            if matches!(body, Body::Chunks) {
                self.engine.write_all(&request)?;
                return self.tunnel(false, false);
            }
            self.held.store(true, Ordering::Relaxed);
            if let Body::Length(length) = body {
                let head = request.len();
                request.resize(head + length, 0);
                self.from_client.read_exact(&mut request[head..])?;
            }
            let (index, rule) = self.note(&request);
            match self.act(rule.as_ref(), Point::Before)? {
                Next::GoOn => {}
                Next::Answered => {
                    self.held.store(false, Ordering::Relaxed);
                    continue;
                }
                Next::End => return Ok(()),
            }
            self.engine.write_all(&request)?;
            self.held.store(false, Ordering::Relaxed);
            lock(&self.shared.state).seen[index].forwarded = Some(Instant::now());
            if !matches!(self.act(rule.as_ref(), Point::Forwarded)?, Next::GoOn) {
                return Ok(());
            }
            let head_only = request.starts_with(b"HEAD ");
            if !self.reply(rule.as_ref(), head_only)? {
                return Ok(());
            }
        }
    }

    fn note(&self, request: &[u8]) -> (usize, Option<Rule>) {
        let line = request.split(|&byte| byte == b'\r').next();
        let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
        let call = Call::of(&line);
        let mut state = lock(&self.shared.state);
        state.seen.push(Seen {
            connection: self.number,
            line,
            call,
            at: Instant::now(),
            forwarded: None,
        });
        let number = state.seen.iter().filter(|seen| seen.call == call).count();
        let meets = |rule: &&Rule| {
            Some(rule.call) == call && number >= rule.nth && number - rule.nth < rule.times
        };
        let rule = state.rules.iter().find(meets).cloned();
        (state.seen.len() - 1, rule)
    }

    /// Does what `rule` says for this point. How an answer is passed on is not done here.
    fn act(&mut self, rule: Option<&Rule>, point: Point) -> io::Result<Next> {
        let mut next = Next::GoOn;
        let Some(rule) = rule.filter(|rule| rule.at == point) else {
            return Ok(next);
        };
        lock(&self.shared.state).hits += 1;
        for action in &rule.actions {
            match action {
                Action::Run(work) => work(),
                Action::Delay(time) => thread::sleep(*time),
                Action::Hang => {
                    self.hang();
                    return Ok(Next::End);
                }
                Action::Close => return Ok(Next::End),
                Action::Answer(bytes) => {
                    self.client.write_all(bytes)?;
                    next = Next::Answered;
                }
                Action::Flood { head, count } => {
                    self.client.write_all(head)?;
                    let begun = Instant::now();
                    io::copy(
                        &mut io::repeat(b'x').take(*count),
                        &mut Until(&self.client, begun),
                    )?;
                    return Ok(Next::End);
                }
                Action::Cut(_) | Action::Trickle => {}
            }
        }
        Ok(next)
    }

    fn hang(&self) {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT
            && !is_gone(&self.client)
            && !self.shared.stopped.load(Ordering::Relaxed)
        {
            thread::sleep(LOOK);
        }
    }

    /// Passes an answer on; false when the connection is over.
    fn reply(&mut self, rule: Option<&Rule>, head_only: bool) -> io::Result<bool> {
        let Some((mut reply, body)) = read_head(&mut self.from_engine)? else {
            return Ok(false);
        };
        let head = reply.len();
        let bare =
            head_only || [&b"204"[..], b"304"].contains(&reply.get(9..12).unwrap_or_default());
        let body = if bare { Body::Length(0) } else { body };
        if let Body::Length(length) = body {
            reply.resize(head + length, 0);
            self.from_engine.read_exact(&mut reply[head..])?;
        }
        if !matches!(self.act(rule, Point::Answered)?, Next::GoOn) {
            return Ok(false);
        }
        let mut trickle = false;
        for action in rule.iter().flat_map(|rule| &rule.actions) {
            match action {
                Action::Trickle => trickle = true,
                Action::Cut(Cut::Body) if matches!(body, Body::Stream) => {
                    self.client.write_all(&reply)?;
                    return self.tunnel(false, true).map(|()| false);
                }
                Action::Cut(cut) => return self.cut(&reply, head, *cut).map(|()| false),
                _ => {}
            }
        }
        pass(&self.client, &reply, trickle)?;
        if !matches!(self.act(rule, Point::Passed)?, Next::GoOn) {
            return Ok(false);
        }
        match body {
            Body::Length(_) => Ok(true),
            Body::Chunks => self.chunks(trickle),
            Body::Stream => self.tunnel(trickle, false).map(|()| false),
        }
    }

    fn cut(&mut self, reply: &[u8], head: usize, cut: Cut) -> io::Result<()> {
        let mut client = &self.client;
        match cut {
            Cut::After(count) => client.write_all(&reply[..count.min(reply.len())]),
            Cut::Head => client.write_all(&reply[..head / 2]),
            Cut::Body if reply.len() > head => {
                client.write_all(&reply[..head.midpoint(reply.len())])
            }
            Cut::Body => {
                client.write_all(reply)?;
                let first = self.from_engine.fill_buf()?;
                client.write_all(&first[..first.len() / 2])
            }
        }
    }

    /// Chunks up to the last, which is empty; false when the engine ends before.
    fn chunks(&mut self, trickle: bool) -> io::Result<bool> {
        loop {
            let mut chunk = Vec::new();
            self.from_engine.read_until(b'\n', &mut chunk)?;
            let size = str::from_utf8(&chunk).unwrap_or_default().trim();
            let Ok(size) = usize::from_str_radix(size, 16) else {
                return Ok(false);
            };
            let head = chunk.len();
            chunk.resize(head + size + 2, 0);
            self.from_engine.read_exact(&mut chunk[head..])?;
            pass(&self.client, &chunk, trickle)?;
            if size == 0 {
                return Ok(true);
            }
        }
    }

    /// Both ways until both have ended, or with `cut` until half of the first bytes were passed on.
    fn tunnel(&mut self, trickle: bool, cut: bool) -> io::Result<()> {
        let (mut from, mut to) = (
            self.from_client.get_ref().try_clone()?,
            self.engine.try_clone()?,
        );
        to.write_all(self.from_client.buffer())?;
        let up = thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        loop {
            let bytes = self.from_engine.fill_buf()?;
            let count = bytes.len();
            if count == 0 {
                break;
            }
            if cut {
                return pass(&self.client, &bytes[..count / 2], false);
            }
            pass(&self.client, bytes, trickle)?;
            self.from_engine.consume(count);
        }
        self.client.shutdown(Shutdown::Write)?;
        let _ = up.join();
        Ok(())
    }
}

fn pass(mut client: &UnixStream, bytes: &[u8], trickle: bool) -> io::Result<()> {
    let size = if trickle { 1 } else { bytes.len().max(1) };
    bytes
        .chunks(size)
        .try_for_each(|bytes| client.write_all(bytes))
}

/// Takes bytes for as long as the proxy may.
struct Until<'a>(&'a UnixStream, Instant);

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.1.elapsed() > LIMIT {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What follows a head.
#[derive(Clone, Copy)]
enum Body {
    Length(usize),
    Chunks,
    /// Whatever comes until the end.
    Stream,
}

/// A head with its empty line. None at the end of the stream.
fn read_head(from: &mut impl BufRead) -> io::Result<Option<(Vec<u8>, Body)>> {
    let (mut head, mut body) = (Vec::new(), Body::Stream);
    loop {
        let begin = head.len();
        if from.by_ref().take(1 << 20).read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&head[begin..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            body = value.trim().parse().map_or(body, Body::Length);
        }
        if line.trim() == "transfer-encoding: chunked" {
            body = Body::Chunks;
        }
        if line.trim().is_empty() {
            return Ok(Some((head, body)));
        }
    }
}
