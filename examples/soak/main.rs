//! Kills, faults and numbers, from outside: the program as it is shipped, against a real engine.
//!
//! What is promised is that nothing is left and nothing is made up. Ends with 0 when every promise held, 1 when one was broken or a
//! case could not be set up, 2 on bad usage. `scripts/soak` builds everything and runs this.

mod cases;
#[path = "../../tests/support/fault_proxy.rs"]
mod fault_proxy;
mod fault_table;
mod faults;
mod gigabyte;
mod kill_table;
mod kills;
mod many;
mod outside;
mod owners;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use outside::{Ledger, Soak};

const USAGE: &str = "usage: soak [--host unix:///PATH] [--program PATH] kills|faults|owners|gigabyte|many|all [--quick]";
const PARTS: [&str; 5] = ["kills", "faults", "owners", "gigabyte", "many"];

/// A guard stays for a minute to be sure that nothing turns up late.
const GUARDS_LEAVE: Duration = Duration::from_secs(100);
/// More are counted, and not shown.
const SHOWN: usize = 60;

/// What a part has to say.
#[derive(Default)]
struct Report {
    figures: Vec<(String, String)>,
    broken: Vec<String>,
}

impl Report {
    fn figure(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.figures.push((name.into(), value.into()));
    }

    fn print(&self, part: &str, took: Duration) {
        println!("\n{part}, {:.0} s", took.as_secs_f64());
        for (name, value) in &self.figures {
            println!("  {name:<44} {value}");
        }
        println!("  {:<44} {}", "broken promises", self.broken.len());
        for broken in self.broken.iter().take(SHOWN) {
            println!("    {broken}");
        }
    }
}

struct Options {
    host: String,
    program: PathBuf,
    part: String,
    quick: bool,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            host: std::env::var("DOCKER_HOST")
                .ok()
                .filter(|host| !host.is_empty())
                .unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned()),
            program: PathBuf::from("target/release/acode-rt"),
            part: String::new(),
            quick: false,
        };
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .ok_or_else(|| format!("{word} lacks its value"))
            };
            match word.as_str() {
                "--host" => options.host = value()?,
                "--program" => options.program = value()?.into(),
                "--quick" => options.quick = true,
                part if part == "all" || PARTS.contains(&part) => {
                    part.clone_into(&mut options.part);
                }
                _ => return Err(format!("{word}: not understood")),
            }
        }
        if options.part.is_empty() {
            return Err("no part was named".to_owned());
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == outside::SHIM) {
        return outside::shim(&words[1..]);
    }
    let options = match Options::parse(words.into_iter()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("soak: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sweeps among living owners, of the program that was built beside this one.
fn owners(options: &Options) -> Report {
    let (owners, sweeps, rounds) = if options.quick {
        (10, 4, 2)
    } else {
        (50, 20, 10)
    };
    let mut report = Report::default();
    match owners::run(&options.host, owners, sweeps, rounds) {
        Ok(figures) => report.figure("owners and sweeps", figures),
        Err(error) => report.broken.push(error),
    }
    report
}

fn run(options: &Options) -> Result<bool, String> {
    let soak = Soak::new(&options.host, &options.program, options.quick)?;
    let before = Ledger::take(&options.host, &options.program)?;
    println!("{} with {}", options.program.display(), options.host);
    let mut kept = true;
    for part in PARTS {
        if options.part != "all" && options.part != part {
            continue;
        }
        let begun = Instant::now();
        let report = match part {
            "kills" => kills::run(&soak),
            "faults" => Ok(faults::run(&soak)),
            "owners" => Ok(owners(options)),
            "gigabyte" => gigabyte::run(&soak),
            _ => many::run(&soak),
        }?;
        report.print(part, begun.elapsed());
        kept &= report.broken.is_empty();
    }
    // The sockets stay until the guards have left, which reach the engine by them.
    let begun = Instant::now();
    let mut ledger = Report {
        broken: before.left(GUARDS_LEAVE)?,
        ..Report::default()
    };
    ledger.figure(
        "looked at",
        "containers, volumes, networks, processes, files",
    );
    ledger.print("ledger", begun.elapsed());
    Ok(kept && ledger.broken.is_empty())
}
