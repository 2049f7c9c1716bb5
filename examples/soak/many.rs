//! Many tasks, each with an exit code and output of its own: none is lost, none is another's, none is left.

use std::fmt::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::Report;
use crate::cases::{at_once, spread};
use crate::outside::{Soak, until};

const TASKS: usize = 10_000;
/// Each task writes so many numbers to each stream.
const LINES: usize = 300;
const SCRIPT: &str = "seq $1 $(($1 + 299)); seq $(($1 + 1000)) $(($1 + 1299)) >&2; exit $2";

pub(crate) fn run(soak: &Soak) -> Result<Report, String> {
    let tasks = if soak.quick { TASKS / 100 } else { TASKS };
    let mut report = Report::default();
    let numbers: Vec<usize> = (0..tasks).collect();
    for (title, jobs) in [("in a row", 1), ("8 at a time", 8)] {
        let begun = Instant::now();
        let all = at_once(jobs, &numbers, |&number| (number, one(soak, number)));
        let took = begun.elapsed();
        let mut walls = Vec::new();
        for (number, ended) in all {
            match ended {
                Ok(wall) => walls.push(wall),
                Err(error) => report
                    .broken
                    .push(format!("task {number} {title}: {error}")),
            }
        }
        report.figure(
            format!("{tasks} tasks {title}"),
            format!("{} as they should be", walls.len()),
        );
        report.figure("  a second", rate(tasks, took));
        report.figure("  time of one, median / 99 % / most", spread(&mut walls));
        let left = || soak.engine.containers(&soak.session);
        if !until(Duration::from_secs(10), || Ok(left()?.is_empty()))? {
            let names: Vec<String> = left()?
                .into_iter()
                .map(|container| container.name)
                .collect();
            report
                .broken
                .push(format!("left {title}: {}", names.join(", ")));
        }
    }
    Ok(report)
}

fn rate(tasks: usize, took: Duration) -> String {
    let tasks = f64::from(u32::try_from(tasks).unwrap_or(u32::MAX));
    format!("{:.1}", tasks / took.as_secs_f64())
}

/// How long it took, in milliseconds.
fn one(soak: &Soak, number: usize) -> Result<f64, String> {
    let (task, _) = soak.case();
    let code = number % 256;
    let begun = Instant::now();
    let ended = soak
        .exec(soak.engine.socket(), &task, true, None)
        // A warning about the code 137 would be among the task's own words.
        .args([
            "-q",
            "--",
            "sh",
            "-c",
            SCRIPT,
            "sh",
            &number.to_string(),
            &code.to_string(),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| error.to_string())?;
    let wall = begun.elapsed().as_secs_f64() * 1e3;
    if ended.status.code() != i32::try_from(code).ok() {
        let said = ended.stderr[..ended.stderr.len().min(300)].escape_ascii();
        return Err(format!("{} instead of {code}: {said}", ended.status));
    }
    for (name, bytes, first) in [
        ("output", &ended.stdout, number),
        ("errors", &ended.stderr, number + 1000),
    ] {
        if *bytes != expected(first).as_bytes() {
            return Err(format!(
                "{} bytes of {name} are not those that were written",
                bytes.len()
            ));
        }
    }
    Ok(wall)
}

fn expected(first: usize) -> String {
    (first..first + LINES).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "{number}");
        text
    })
}
