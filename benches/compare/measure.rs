//! Exact cost of one client process: wall clock, processor time and peak memory.
//!
//! The harness starts itself again as a small shim that has this client as its only child, so the
//! kernel's account of the shim's children, in microseconds, is the account of the client. A child
//! starts out with the peak memory of the process that started it, so the shim allocates nothing
//! before the client has started.

use std::io::{self, Read as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// The hidden first argument that makes the harness a shim.
pub(crate) const SHIM: &str = "__measure";

/// What one run of a client cost.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// From its start to its end, in milliseconds.
    pub(crate) wall: f64,
    /// User and system time of the client alone, in milliseconds.
    pub(crate) cpu: f64,
    /// Largest resident set of the client, in MiB.
    pub(crate) memory: f64,
    /// Bytes on its standard output.
    pub(crate) bytes: u64,
}

/// Runs the client `command`, which has to end with status 0 and write `bytes` bytes.
///
/// # Errors
/// What was wrong, with the client's standard error.
pub(crate) fn sample(command: &[String], host: &str, bytes: u64) -> Result<Sample, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let shim = Command::new(program)
        .arg(SHIM)
        .args(command)
        // Every client finds the same engine.
        .env("DOCKER_HOST", host)
        .env_remove("DOCKER_CONTEXT")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let told = String::from_utf8_lossy(&shim.stdout);
    let sample = parse(&told).filter(|_| shim.status.success());
    match sample {
        Some(sample) if sample.bytes == bytes => Ok(sample),
        Some(sample) => Err(format!(
            "{}: wrote {} bytes instead of {bytes}",
            command[0], sample.bytes
        )),
        None => Err(format!(
            "{}: {}",
            command[0],
            String::from_utf8_lossy(&shim.stderr).trim_end()
        )),
    }
}

fn parse(told: &str) -> Option<Sample> {
    let mut words = told.split_whitespace();
    let mut number = || words.next()?.parse::<f64>().ok();
    let (wall, cpu, memory) = (number()? / 1e3, number()? / 1e3, number()? / 1024.0);
    Some(Sample {
        wall,
        cpu,
        memory,
        bytes: words.next()?.parse().ok()?,
    })
}

/// The shim: runs `command`, drains its output, prints wall and processor time in microseconds, peak
/// memory in KiB and the number of bytes, and ends as the client ended.
pub(crate) fn shim(command: &[String]) -> ExitCode {
    match shimmed(command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("(ended with a status other than 0)");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn shimmed(command: &[String]) -> io::Result<bool> {
    let [program, arguments @ ..] = command else {
        return Ok(false);
    };
    let start = Instant::now();
    let mut client = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut bytes = 0;
    if let Some(mut output) = client.stdout.take() {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match output.read(&mut buffer)? {
                0 => break,
                count => bytes += count,
            }
        }
    }
    let status = client.wait()?;
    let wall = start.elapsed().as_micros();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time() + usage.system_time();
    println!(
        "{wall} {} {} {bytes}",
        cpu.num_microseconds(),
        usage.max_rss()
    );
    Ok(status.success())
}
