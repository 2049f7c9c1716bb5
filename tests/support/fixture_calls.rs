//! Makes the call of a case, on an engine or on its recording, and says what came of it.

#[path = "fixture_made.rs"]
mod made;

use std::fmt;
use std::io::{Cursor, Read};
use std::time::Duration;

use acode_rt::engine::{
    AttachOptions, Chunk, Engine, ListOptions, LogStream, LogsOptions, RemoveOptions,
};
use acode_rt::model::{Change, Event, ImageListed, Inspect, Listed, Network, Volume};
use acode_rt::protocol::demux::Stream;
use acode_rt::protocol::image_ref::ImageRef;
use acode_rt::protocol::pull_progress::PullProgress;
use acode_rt::protocol::target::Filters;
use acode_rt::{Error, Result};

use crate::cases::{Case, IMPORTED, PULLED, Subject, container_name, create_body, greeting_tar};
use made::Made;

/// Makes the call of `case` and says in one line what came of it. Where something must happen on the engine during the
/// call, `engine_itself` does it; a recording needs none.
#[expect(clippy::too_many_lines, reason = "one short arm for each call")]
pub(crate) async fn call(
    engine: &Engine,
    case: &Case,
    subject: &Subject,
    engine_itself: Option<&Engine>,
) -> Result<String> {
    let id = subject.id.as_str();
    let image = |text: &str| ImageRef::parse(text).expect("the reference is valid");
    let start = async || match engine_itself {
        Some(engine) => engine.container_start(id).await,
        None => Ok(()),
    };
    let managed = |key: &'static str, value: &str| ListOptions {
        filters: ListOptions::managed().filters.with(key, value),
        ..ListOptions::managed()
    };
    let (called, which) = case.name.split_once('/').expect("names are call/case");
    let session = |which| match which {
        "empty" => managed("label", "acode.session=nobody's"),
        _ => managed("label", "acode.session=fixtures"),
    };
    Ok(match called {
        "ping" => {
            let ping = engine.ping().await?;
            format!(
                "{:?}, {}, API {}, at {}",
                ping.kind, ping.server, ping.api_version, ping.date
            )
        }
        "version" | "version_refused" => {
            let v = engine.version().await?;
            format!(
                "{} API {} to {}, {}/{}, kernel {}",
                v.version, v.min_api_version, v.api_version, v.os, v.arch, v.kernel_version
            )
        }
        "info" => {
            let i = engine.info().await?;
            format!(
                "{} with {} CPUs, {} bytes, {}, cgroup {}, swap limit {}, {:?}",
                i.server_version,
                i.ncpu,
                i.mem_total,
                i.driver,
                i.cgroup_version,
                i.swap_limit,
                i.security_options
            )
        }
        "container_create" => {
            let (id, warnings) = engine
                .container_create(&container_name(), &create_body(case))
                .await?;
            format!("{id}, warnings {warnings:?}")
        }
        "container_start" => {
            engine.container_start(id).await?;
            "started".to_owned()
        }
        "container_attach" => {
            let stdin = case.name == "container_attach/stdin";
            let mut attached = engine.container_attach(id, AttachOptions { stdin }).await?;
            start().await?;
            if stdin {
                attached.input.write_all(b"to the task\n").await?;
                attached.input.finish().await?;
            }
            let mut output = Output::default();
            while let Some(chunk) = attached.output.next().await? {
                output.add(&chunk);
            }
            output.to_string()
        }
        "container_wait" => {
            let waiting = engine.container_wait(id).await?;
            start().await?;
            format!("exit code {}", waiting.exit_code().await?)
        }
        "container_kill" => {
            engine.container_kill(id, "TERM").await?;
            "killed".to_owned()
        }
        "container_stop" => {
            engine
                .container_stop(id, Duration::from_millis(2500))
                .await?;
            "stopped".to_owned()
        }
        "container_inspect" => {
            let inspect = engine.container_inspect(id).await?;
            if case.name == "container_inspect/applied" {
                applied(&inspect)
            } else {
                inspected(&inspect)
            }
        }
        "container_list" => {
            let options = match which {
                "by_name" => managed("name", container_name().as_str()),
                _ => session(which),
            };
            let listed = engine.container_list(&options).await?;
            let line = |c: &Listed| {
                format!(
                    "{} {} of {} at {}: {}, '{}', {:?}",
                    c.name(),
                    c.id,
                    c.image_id,
                    c.created,
                    c.state,
                    c.status,
                    c.labels
                )
            };
            joined(listed.iter().map(line))
        }
        "container_logs" => {
            let options = LogsOptions {
                tail: (case.name == "container_logs/tail").then_some(2),
                timestamps: case.name == "container_logs/timestamps",
                ..LogsOptions::default()
            };
            read_log(engine.container_logs(id, &options).await?).await?
        }
        "container_remove" => {
            let was_there = engine
                .container_remove(id, RemoveOptions::default())
                .await?;
            if was_there {
                "removed"
            } else {
                "was not there"
            }
            .to_owned()
        }
        "container_stats" => made::used(&engine.container_stats(id).await?),
        "container_changes" => {
            let line = |change: &Change| format!("{} {}", change.kind, change.path);
            joined(engine.container_changes(id).await?.iter().map(line))
        }
        "archive_get" => {
            let path = if case.name == "archive_get/file" {
                "/greeting.txt"
            } else {
                "/no such file"
            };
            let mut archive = engine.archive_get(id, path).await?;
            let mut bytes = Vec::new();
            while let Some(part) = archive.next().await? {
                bytes.extend_from_slice(&part);
            }
            untarred(&bytes)
        }
        "archive_put" => {
            engine
                .archive_put(id, "/", Cursor::new(greeting_tar()))
                .await?;
            "unpacked".to_owned()
        }
        "image_inspect" => {
            let name = if case.name == "image_inspect/ok" {
                "busybox:latest"
            } else {
                "acode-fixtures:missing"
            };
            let i = engine.image_inspect(&image(name)).await?;
            let c = &i.config;
            format!(
                "{} {:?} {:?} {} bytes, runs {:?} {:?} with {:?}, volumes {}, labels {:?}",
                i.id,
                i.repo_tags,
                i.repo_digests,
                i.size,
                c.entrypoint,
                c.cmd,
                c.env,
                c.volumes.len(),
                c.labels
            )
        }
        "image_list" => {
            let line = |i: &ImageListed| {
                format!(
                    "{} {:?} {:?} {} bytes at {}",
                    i.id, i.repo_tags, i.repo_digests, i.size, i.created
                )
            };
            joined(engine.image_list().await?.iter().map(line))
        }
        "image_import" => {
            let tar = if case.name == "image_import/ok" {
                greeting_tar()
            } else {
                b"this is no tar".to_vec()
            };
            engine
                .image_import(&image(IMPORTED), Cursor::new(tar), &["CMD [\"sh\"]"])
                .await?;
            "imported".to_owned()
        }
        "image_pull" => {
            let name = match which {
                "ok" => format!("{PULLED}:1"),
                "missing" => format!("{PULLED}:nope"),
                _ => "localhost:1/acode-fixtures:1".to_owned(),
            };
            let mut heard = PullProgress::default();
            let stall = Duration::from_secs(30);
            let keep = |progress| heard = progress;
            engine.image_pull(&image(&name), None, stall, keep).await?;
            format!(
                "pulled, {} of {} layers, {} bytes, {}%",
                heard.layers_done, heard.layers, heard.bytes, heard.percent
            )
        }
        "events" => {
            let filters = Filters::new().with("container", id);
            let mut stream = engine
                .events(&filters, Some(subject.since), Some(subject.until))
                .await?;
            let mut events = Vec::new();
            while let Some(event) = stream.next().await? {
                events.push(event);
            }
            let line = |e: &Event| {
                let code = e
                    .actor
                    .attributes
                    .get("exitCode")
                    .map_or("no", String::as_str);
                format!(
                    "{} {} of {} at {} with {code} exit code",
                    e.kind, e.action, e.actor.id, e.time
                )
            };
            joined(events.iter().map(line))
        }
        "volume_list" => {
            let volume = Made::make(engine_itself, "volumes").await;
            let listed = engine.volume_list(&session(which).filters).await;
            volume.remove().await;
            let line = |v: &Volume| format!("{} {:?}", v.name, v.labels);
            joined(listed?.iter().map(line))
        }
        "network_list" => {
            let network = Made::make(engine_itself, "networks").await;
            let listed = engine.network_list(&session(which).filters).await;
            network.remove().await;
            let line = |n: &Network| format!("{} {} {:?}", n.name, n.id, n.labels);
            joined(listed?.iter().map(line))
        }
        _ => unreachable!("{} has no call", case.name),
    })
}

/// How many there are, and each.
fn joined(lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.collect();
    format!("{}: {}", lines.len(), lines.join("; "))
}

/// What came of a call, for people and for comparison.
pub(crate) fn outcome(result: &Result<String>) -> String {
    result.as_ref().map_or_else(failure, Clone::clone)
}

/// The code, what the predicates say, and the message.
fn failure(error: &Error) -> String {
    let mut text = error.code().as_str().to_owned();
    for (holds, word) in [
        (error.is_invalid(), "invalid"),
        (error.is_not_found(), "not-found"),
        (error.is_conflict(), "conflict"),
        (error.is_timeout(), "timeout"),
        (error.is_unreachable(), "unreachable"),
        (error.is_cut(), "cut"),
        (error.is_retryable(), "retryable"),
    ] {
        if holds {
            text.push(' ');
            text.push_str(word);
        }
    }
    format!("{text}: {}", error.message())
}

/// Output by stream; how the engine cut it into frames is chance.
#[derive(Debug, Default)]
struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Output {
    fn add(&mut self, chunk: &Chunk) {
        match chunk.stream {
            Stream::Stdout => self.stdout.extend_from_slice(&chunk.data),
            Stream::Stderr => self.stderr.extend_from_slice(&chunk.data),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stdout '{}', stderr '{}'",
            self.stdout.escape_ascii(),
            self.stderr.escape_ascii()
        )
    }
}

async fn read_log(mut log: LogStream) -> Result<String> {
    let mut output = Output::default();
    while let Some(chunk) = log.next().await? {
        output.add(&chunk);
    }
    Ok(output.to_string())
}

fn inspected(inspect: &Inspect) -> String {
    let state = &inspect.state;
    format!(
        "{} {} of {}: {}, ended {}, exit code {}, out of memory {}, from {} to {}, error {:?}",
        inspect.name,
        inspect.id,
        inspect.image,
        state.status,
        state.has_ended(),
        state.exit_code.unwrap_or(-1),
        state.oom_killed,
        state.started_at,
        state.finished_at,
        state.error,
    )
}

/// What the engine says that it applied.
fn applied(inspect: &Inspect) -> String {
    let (config, host) = (&inspect.config, &inspect.host_config);
    format!(
        "image {} user {} tty {} cmd {:?} labels {:?} net {} init {} read-only {} drop {:?} security {:?} ipc {} cgroupns {} \
         memory {} swap {} cpus {} pids {} shm {} tmpfs {:?} log {}",
        config.image,
        config.user,
        config.tty,
        config.cmd,
        config.labels,
        host.network_mode,
        host.init,
        host.readonly_rootfs,
        host.cap_drop,
        host.security_opt,
        host.ipc_mode,
        host.cgroupns_mode,
        host.memory,
        host.memory_swap,
        host.nano_cpus,
        host.pids_limit,
        host.shm_size,
        host.tmpfs,
        host.log_config.driver,
    )
}

fn untarred(bytes: &[u8]) -> String {
    let mut files = Vec::new();
    for entry in tar::Archive::new(bytes)
        .entries()
        .expect("a tar is readable from its start")
    {
        let mut entry = entry.expect("the recorded tar is whole");
        let path = entry
            .path()
            .expect("the path is text")
            .display()
            .to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("the file is text");
        files.push(format!(
            "{path} {text:?} of {}",
            entry.header().mtime().unwrap_or(0)
        ));
    }
    files.join(", ")
}
