use std::io::Write;

use acode_rt::engine::{Chunk, LogStream, LogsOptions};
use acode_rt::error::Result;
use acode_rt::model::Inspect;
use acode_rt::protocol::demux::Stream;
use acode_rt::protocol::labels::OPERATION;
use acode_rt::protocol::record::{Nonce, Strips};
use acode_rt::protocol::units::parse_duration;
use clap::Args;

use super::{Global, render, target};

/// Show the engine's log of one of our containers
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  acode-rt logs -f a1b2c3d4/build-001
  acode-rt logs --tail 20 --since 5m acode-a1b2c3d4-build-001")]
pub(crate) struct Logs {
    /// Container name, or SESSION/TASK
    name: String,
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only so many of the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
    /// Only what is not older than this, such as 5m, or seconds since 1970 as @1795253097
    #[arg(long, value_name = "AGE", value_parser = parse_since)]
    since: Option<Since>,
    /// Put the engine's time before each line
    #[arg(short = 'T', long)]
    timestamps: bool,
}

#[derive(Debug, Clone, Copy)]
enum Since {
    Ago(u64),
    At(u64),
}

fn parse_since(text: &str) -> Result<Since, String> {
    match text.strip_prefix('@') {
        Some(seconds) => seconds
            .parse()
            .map(Since::At)
            .map_err(|_| "write it like @1795253097".into()),
        None => parse_duration(text).map(|age| Since::Ago(age.as_secs())),
    }
}

impl Logs {
    pub(crate) async fn run(self, global: &Global) -> Result<i32> {
        let engine = global.engine().await?;
        let found = target::find(&engine, &self.name).await?;
        // Process 1 ends the log with a word on each stream, which the engine counts as lines.
        let ended = found.inspect.state.has_ended() && !found.inspect.host_config.init;
        let last_words = if ended { 2 } else { 0 };
        let options = LogsOptions {
            follow: self.follow,
            tail: self.tail.map(|lines| lines.saturating_add(last_words)),
            since: self.since.map(|since| match since {
                Since::Ago(seconds) => engine.now().saturating_sub(seconds),
                Since::At(seconds) => seconds,
            }),
            timestamps: self.timestamps,
            tty: found.inspect.config.tty,
        };
        let mut log = engine.container_logs(&found.inspect.id, &options).await?;
        let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
        let mut records = Records::of(&found.inspect);
        while let Some(chunk) = records.next(&mut log).await? {
            let written = if global.json {
                let text = String::from_utf8_lossy(&chunk.data);
                let lossy = matches!(text, std::borrow::Cow::Owned(_));
                writeln!(
                    out,
                    "{}",
                    serde_json::json!({"stream": chunk.stream.as_str(), "text": text, "lossy": lossy})
                )
            } else {
                match chunk.stream {
                    Stream::Stdout => out.write_all(&chunk.data),
                    Stream::Stderr => err.write_all(&chunk.data),
                }
            };
            match written.and_then(|()| out.flush()) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(0),
                Err(error) => return Err(render::output_error("the log", error)),
            }
        }
        Ok(0)
    }
}

/// Takes out of the log what process 1 says to its client, which stands there among the task's output.
struct Records {
    strips: Strips,
    rest: Vec<Chunk>,
    ended: bool,
}

impl Records {
    fn of(inspect: &Inspect) -> Self {
        let operation = inspect.config.labels.get(OPERATION);
        let nonce = Nonce::of(operation.map_or("", String::as_str));
        Self {
            strips: Strips::new(nonce),
            rest: Vec::new(),
            ended: false,
        }
    }

    async fn next(&mut self, log: &mut LogStream) -> Result<Option<Chunk>> {
        while !self.ended {
            let Some(mut chunk) = log.next().await? else {
                self.ended = true;
                let rest = self.strips.finish();
                self.rest = rest.map(|(stream, data)| Chunk { stream, data }).into();
                break;
            };
            self.strips
                .take(chunk.stream, &mut chunk.data, &mut Vec::new());
            if !chunk.data.is_empty() {
                return Ok(Some(chunk));
            }
        }
        self.rest.retain(|chunk| !chunk.data.is_empty());
        Ok(self.rest.pop())
    }
}
