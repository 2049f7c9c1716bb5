//! A gigabyte of output, on both streams in turn: every byte arrives, in flat memory.

use std::io::{ErrorKind, Read};
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use crate::Report;
use crate::outside::Soak;

/// Lines of 64 bytes that a task counts.
const LINES: u64 = 16 << 20;
/// KiB.
const MEMORY: u64 = 16 << 10;

pub(crate) fn run(soak: &Soak) -> Result<Report, String> {
    let lines = if soak.quick { LINES / 16 } else { LINES };
    let (task, files) = soak.case();
    let peak = files.with_extension("peak");
    let mut command = soak.exec(soak.engine.socket(), &task, false, Some(&peak));
    // Of every two lines one goes to each stream.
    let script = format!(
        "BEGIN {{ for (i = 0; i < {lines}; i++) {{ line = sprintf(\"%063d\", i); if (i % 2) print line > \"/dev/stderr\"; else print line }} }}"
    );
    let begun = Instant::now();
    let mut child = command
        .args(["--", "awk", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = thread::scope(|scope| {
        let stdout = scope.spawn(|| stdout.map_or(Ok(0), |stream| count(stream, 0)));
        let stderr = scope.spawn(|| stderr.map_or(Ok(0), |stream| count(stream, 1)));
        (stdout.join(), stderr.join())
    });
    let status = child.wait().map_err(|error| error.to_string())?;
    let took = begun.elapsed();

    let mut report = Report::default();
    for (name, counted) in [("standard output", stdout), ("standard error", stderr)] {
        match counted {
            Ok(Ok(counted)) if counted == lines / 2 => {
                report.figure(name, format!("{counted} lines of 64 bytes, in order"));
            }
            Ok(Ok(counted)) => report
                .broken
                .push(format!("{name}: {counted} of {} lines", lines / 2)),
            Ok(Err(error)) => report.broken.push(format!("{name}: {error}")),
            Err(_) => report.broken.push(format!("{name}: nobody counted")),
        }
    }
    if status.code() != Some(0) {
        report.broken.push(format!("status {status}"));
    }
    let used: u64 = std::fs::read_to_string(&peak)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or("no peak memory")?;
    if used >= MEMORY {
        report.broken.push(format!("{used} KiB of memory"));
    }
    report.figure("peak memory of the client", format!("{used} KiB"));
    report.figure("took", format!("{:.1} s", took.as_secs_f64()));
    Ok(report)
}

/// Counts the lines, each of which has the number that follows.
fn count(mut stream: impl Read, first: u64) -> Result<u64, String> {
    let (mut line, mut counted) = ([0; 64], 0);
    loop {
        match stream.read_exact(&mut line) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(counted),
            Err(error) => return Err(error.to_string()),
        }
        let expected = format!("{:063}\n", first + 2 * counted);
        if line != expected.as_bytes() {
            return Err(format!("after {counted} lines: {}", line.escape_ascii()));
        }
        counted += 1;
    }
}
