//! The command line: one file a subcommand.

mod cleanup;
mod completions;
mod config;
mod doctor;
mod exec;
mod exec_options;
mod explain;
mod file_options;
mod images;
mod inspect;
mod limit_options;
mod list;
mod logging;
mod logs;
mod pull;
mod pulling;
mod receipt_file;
mod render;
mod rm;
mod secrets;
mod signals;
mod stop;
mod streams;
mod target;
mod terminal;

use std::ffi::OsString;
use std::path::PathBuf;

use acode_rt::engine::{Engine, Host};
use acode_rt::error::{Code, Error, Result};
use acode_rt::{Program, Runner};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use config::Settings;

/// Exit status of our own failures, as in `docker run`.
const FAILED: i32 = 125;

/// Run each untrusted task in a fresh, locked-down container that is gone when it ends.
#[derive(Debug, Parser)]
#[command(
    name = "acode-rt",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  acode-rt exec --image busybox -- sh -c 'echo hello; exit 3'
  acode-rt exec -i --image busybox -- wc -c < file
  acode-rt list
  acode-rt cleanup --dry-run

Exit status of exec: the task's own; 124 deadline, 125 acode-rt or the engine failed, 126 not executable, 127 not found, 130 and 143
cancelled by INT and TERM, 141 when nobody reads the output. Wrong usage: 2."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every subcommand.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The engine's socket, such as `unix:///var/run/docker.sock` [default: `DOCKER_HOST`, the docker context, then the usual sockets]
    #[arg(
        long,
        global = true,
        value_name = "HOST",
        help_heading = "Global options"
    )]
    host: Option<String>,
    /// The operator's configuration file [default: `$XDG_CONFIG_HOME/acode-rt/config.yml`]
    #[arg(
        long,
        global = true,
        env = "ACODE_CONFIG",
        value_name = "FILE",
        help_heading = "Global options"
    )]
    config: Option<PathBuf>,
    /// Machine-readable: results on standard output, errors on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// Say what is done: -v at level debug, -vv at trace
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    verbose: u8,
    /// Say nothing but errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    quiet: bool,
    /// Log to standard error from this level on
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        help_heading = "Global options"
    )]
    log_level: Option<logging::Level>,
    /// How to log
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Global options"
    )]
    log_format: logging::Format,
    /// What the configuration files say.
    #[arg(skip)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    Exec(Box<exec_options::Exec>),
    List(list::List),
    Inspect(inspect::Inspect),
    Images(images::Images),
    Pull(pull::Pull),
    Logs(logs::Logs),
    Stop(stop::Stop),
    Rm(rm::Rm),
    Cleanup(cleanup::Cleanup),
    Doctor(doctor::Doctor),
    Config(config::Config),
    Completions(completions::Completions),
}

impl Global {
    async fn engine(&self) -> Result<Engine> {
        Engine::connect(&Host::find(self.host.as_deref())?).await
    }

    /// The engine, with this program as process 1 of tasks and as their guard, and what the operator admits.
    async fn runner(&self) -> Result<Runner> {
        let runner = Runner::connect(&Host::find(self.host.as_deref())?, &Program::this()).await?;
        Ok(runner.with_rules(self.settings.rules()))
    }

    /// Something worth knowing, unless it was asked to be quiet.
    fn warn(&self, text: &str) {
        match (self.quiet, self.json) {
            (true, _) => {}
            (false, true) => render::json_note(&serde_json::json!({ "warning": text })),
            (false, false) => render::note("warning", text),
        }
    }
}

/// Runs the program and returns its exit status.
pub(crate) fn main() -> i32 {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let first = match Cli::command().try_get_matches_from(&arguments) {
        Ok(first) => first,
        Err(error) => return usage(&error, &arguments),
    };
    let configured = config::load(&first, arguments);
    let (matches, settings) = match configured {
        Ok((again, settings)) => (again.unwrap_or(first), settings),
        Err(error) => {
            if let Ok(cli) = Cli::from_arg_matches(&first) {
                render::error(&cli.global, &error);
            }
            return FAILED;
        }
    };
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli.global.settings = settings;
    logging::init(&cli.global);
    if let Command::Completions(completions) = cli.command {
        return completions.run();
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            render::note("error", &format!("the runtime cannot start: {error}"));
            return FAILED;
        }
    };
    let global = &cli.global;
    let result = runtime.block_on(async {
        match cli.command {
            Command::Exec(exec) => exec.run(global).await,
            Command::List(list) => list.run(global).await,
            Command::Inspect(inspect) => inspect.run(global).await,
            Command::Images(images) => images.run(global).await,
            Command::Pull(pull) => pull.run(global).await,
            Command::Logs(logs) => logs.run(global).await,
            Command::Stop(stop) => stop.run(global).await,
            Command::Rm(rm) => rm.run(global).await,
            Command::Cleanup(cleanup) => cleanup.run(global).await,
            Command::Doctor(doctor) => doctor.run(global).await,
            Command::Config(config) => config.run(global, &matches),
            Command::Completions(_) => Ok(0),
        }
    });
    // Threads that still read a terminal or write to a stalled reader are left to the exit.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| {
        render::error(global, &error);
        FAILED
    })
}

/// Help and version as they are; wrong usage as any other error where that is to be JSON. Gives the exit status.
fn usage(error: &clap::Error, arguments: &[OsString]) -> i32 {
    // It stands before the task's own arguments.
    let mut ours = arguments.iter().take_while(|argument| *argument != "--");
    if !error.use_stderr() || !ours.any(|argument| argument == "--json") {
        error.exit();
    }
    let text = error.render().to_string();
    // Behind the first empty line there is help for people.
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let said = said.join(" ").replace(char::is_control, "?");
    let message = said.strip_prefix("error: ").unwrap_or(&said);
    let error = Error::invalid(Code::Configuration, "usage", message);
    render::json_note(&error.to_json());
    2
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
