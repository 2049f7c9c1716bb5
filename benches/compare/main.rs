//! Compares `acode-rt exec` with `docker run` and with the same engine calls made by hand.
//!
//! The clients alternate, so that what the machine does besides falls on all of them, and medians are
//! compared. Ends with 0 when every target is met, 1 when one is missed or a client fails, 2 on bad
//! usage, and 3 without an engine. `scripts/compare` builds everything and runs this.

mod clients;
mod files;
mod measure;
mod raw;
mod table;

use std::process::ExitCode;

use measure::{Sample, sample};
use raw::Engine;
use table::{Row, Spread};

const USAGE: &str = "usage: compare [--bin PATH] [--host unix:///PATH] [--only task|output|files|size] \
                     [--runs N] [--output-runs N] [--json]";

/// Rounds that are run and not counted.
const WARM_UP: usize = 2;

/// 256 MiB of text.
const OUTPUT: u64 = 256 * 1024 * 1024;

struct Options {
    bin: String,
    host: String,
    only: Option<String>,
    runs: usize,
    output_runs: usize,
    json: bool,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            bin: "target/release/acode-rt".to_owned(),
            host: std::env::var("DOCKER_HOST")
                .ok()
                .filter(|host| !host.is_empty())
                .unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned()),
            only: None,
            runs: 40,
            output_runs: 5,
            json: false,
        };
        while let Some(word) = words.next() {
            if word == "--json" {
                options.json = true;
                continue;
            }
            let value = words
                .next()
                .ok_or_else(|| format!("{word}: unknown, or lacks its value"))?;
            match word.as_str() {
                "--bin" => options.bin = value,
                "--host" => options.host = value,
                "--only" if ["task", "output", "files", "size"].contains(&value.as_str()) => {
                    options.only = Some(value);
                }
                "--runs" => options.runs = count(&value)?,
                "--output-runs" => options.output_runs = count(&value)?,
                _ => return Err(format!("{word} {value}: not understood")),
            }
        }
        if !options.host.starts_with("unix://") {
            return Err(format!(
                "{}: only unix:// sockets are compared",
                options.host
            ));
        }
        std::fs::metadata(&options.bin).map_err(|error| format!("{}: {error}", options.bin))?;
        Ok(options)
    }

    fn socket(&self) -> &str {
        self.host.trim_start_matches("unix://")
    }

    fn wants(&self, group: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == group)
    }
}

fn count(value: &str) -> Result<usize, String> {
    value
        .parse()
        .ok()
        .filter(|&count| count > 0)
        .ok_or_else(|| format!("{value}: not a count"))
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some(measure::SHIM) => return measure::shim(&words[1..]),
        Some(clients::RAW) => return raw_client(&words[1..]),
        _ => {}
    }
    let options = match Options::parse(words.into_iter()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("compare: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let engine = match Engine::ask(options.socket()) {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("compare: no engine at {}: {error}", options.host);
            return ExitCode::from(3);
        }
    };
    match compare(&options, &engine) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn raw_client(words: &[String]) -> ExitCode {
    let [socket, image, body] = words else {
        return ExitCode::from(2);
    };
    raw::run(socket, image, body).map_or_else(
        |error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        },
        ExitCode::from,
    )
}

/// Prints the comparison and tells whether every target is met.
fn compare(options: &Options, engine: &Engine) -> Result<bool, String> {
    let before = load();
    let mut rows = Vec::new();
    if options.wants("task") {
        rows.extend(task(options, engine)?);
    }
    if options.wants("output") {
        rows.extend(output(options)?);
    }
    if options.wants("files") {
        rows.extend(files::files(
            &options.bin,
            &options.host,
            options.output_runs,
        )?);
    }
    if options.wants("size") {
        rows.push(size(&options.bin)?);
    }
    let Engine { name, version, api } = engine;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let facts = [
        (
            "engine",
            format!("{name} {version}, API {api}, {}", options.host),
        ),
        (
            "load",
            format!(
                "{before} before, {} after (mean of one minute), {cores} cores",
                load()
            ),
        ),
        (
            "runs",
            format!(
                "{} of a task, {} of output and of files",
                options.runs, options.output_runs
            ),
        ),
    ];
    let print = if options.json {
        table::json
    } else {
        table::text
    };
    println!("{}", print(&facts, &rows));
    Ok(rows.iter().all(Row::met))
}

/// Alternates the clients: `WARM_UP` rounds for nothing, then `runs` that count. Each round begins with another client, since
/// an engine still works on the end of one task when the next begins.
fn alternate<const N: usize>(
    clients: &[Vec<String>; N],
    host: &str,
    bytes: u64,
    runs: usize,
) -> Result<[Vec<Sample>; N], String> {
    let mut samples = [const { Vec::new() }; N];
    for round in 0..WARM_UP + runs {
        for turn in 0..N {
            let client = (round + turn) % N;
            let sample = sample(&clients[client], host, bytes)?;
            if round >= WARM_UP {
                samples[client].push(sample);
            }
        }
    }
    Ok(samples)
}

fn spread(samples: &[Sample], of: fn(&Sample) -> f64) -> Spread {
    Spread::of(samples.iter().map(of))
}

/// `true` in a fresh container, from the start of the client until the container is removed.
fn task(options: &Options, engine: &Engine) -> Result<[Row; 4], String> {
    let task = ["true"];
    let clients = [
        clients::acode_rt(&options.bin, &task),
        clients::docker(true, &task),
        clients::raw(&options.bin, &options.host, options.socket(), &task)?,
    ];
    let [ours, docker, raw] = alternate(&clients, &options.host, 0, options.runs)?;
    // Engines up to API 1.45 can skip their network set-up, which `docker run` has no flag for.
    let target = if engine.api_minor() <= 45 { 0.60 } else { 0.90 };
    let wall = |samples: &[Sample]| spread(samples, |sample| sample.wall);
    let cpu = |samples: &[Sample]| spread(samples, |sample| sample.cpu);
    let memory = |samples: &[Sample]| spread(samples, |sample| sample.memory);
    Ok([
        Row::ratio(
            "task, start to removed",
            "ms",
            wall(&ours),
            ("docker run", wall(&docker)),
            target,
        ),
        Row::ratio(
            "task, start to removed",
            "ms",
            wall(&ours),
            ("raw calls", wall(&raw)),
            1.05,
        ),
        Row::ratio(
            "task, processor time",
            "ms",
            cpu(&ours),
            ("docker run", cpu(&docker)),
            0.30,
        ),
        Row::ratio(
            "task, peak memory",
            "MiB",
            memory(&ours),
            ("docker run", memory(&docker)),
            0.35,
        ),
    ])
}

/// 256 MiB of output through a pipe, each client with its default log driver.
fn output(options: &Options) -> Result<[Row; 2], String> {
    let script = format!(
        "yes {} | head -c {OUTPUT}",
        "0123456789".repeat(10).split_at(99).0
    );
    let task = ["sh", "-c", &script];
    let clients = [
        clients::acode_rt(&options.bin, &task),
        clients::docker(false, &task),
    ];
    let [ours, docker] = alternate(&clients, &options.host, OUTPUT, options.output_runs)?;
    let wall = |samples: &[Sample]| spread(samples, |sample| sample.wall);
    Ok([
        Row::ratio(
            "256 MiB of output",
            "ms",
            wall(&ours),
            ("docker run", wall(&docker)),
            0.75,
        ),
        Row::limit(
            "256 MiB, peak memory",
            "MiB",
            spread(&ours, |sample| sample.memory),
            16.0,
        ),
    ])
}

/// The program as built, in MiB.
fn size(bin: &str) -> Result<Row, String> {
    let file = std::fs::metadata(bin).map_err(|error| format!("{bin}: {error}"))?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a program is far smaller than 2^53 bytes"
    )]
    let size = file.len() as f64 / 1024.0 / 1024.0;
    Ok(Row::limit(
        "size of the program",
        "MiB",
        Spread::of([size]),
        4.0,
    ))
}

/// The mean number of runnable processes in the last minute, as the kernel tells it.
fn load() -> String {
    let told = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    told.split(' ').next().unwrap_or("?").to_owned()
}
