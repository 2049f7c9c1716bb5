//! The options of `exec`, and the task that they describe.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use acode_rt::error::{Code, Error, Kind, Result};
use acode_rt::model::LogConfig;
use acode_rt::protocol::glob::Glob;
use acode_rt::protocol::labels::parse_user_label;
use acode_rt::protocol::units::{parse_duration, parse_size};
use acode_rt::task::{Audit, PullPolicy, TaskSpec, User, generated_id};
use acode_rt::{ImageRef, Prefix};
use clap::Args;

use super::config::{Settings, parse_language};
use super::file_options::FileOptions;
use super::limit_options::LimitOptions;
use super::terminal;

/// Run one task in a fresh container that is removed when it ends
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
#[derive(Debug, Args)]
#[command(after_help = "\
Standard output and error are the task's and nothing else. The root file system is read-only, /tmp and /workspace are writable
memory, the network is off, the user is 1000:1000, all capabilities are dropped; memory 4g, 2 CPUs, 1000 processes.

Examples:
  acode-rt exec --image busybox -- sh -c 'echo out; echo err >&2; exit 7'
  tar c . | acode-rt exec -i --image busybox -- tar t
  acode-rt exec --language node --workspace . --timeout 5m --memory 1g -- npm test
  acode-rt exec --image node:20-alpine --copy-in . --artifact dist --artifact 'reports/*.xml' -- npm run build
  acode-rt exec --image busybox --secret token=file:token.txt -- cat /run/secrets/token
  acode-rt exec --image busybox --receipt r.json --audit-log audit.jsonl -- make
  acode-rt exec --image busybox --dry-run --explain -- true")]
pub(crate) struct Exec {
    /// The image, such as node:20-alpine or NAME@sha256:DIGEST; it is pulled when the engine does not have it
    #[arg(long, env = "ACODE_IMAGE", value_parser = ImageRef::parse)]
    pub(super) image: Option<ImageRef>,
    /// Take the image of this language, or of all of these; docker.images in a configuration file names them
    #[arg(long, env = "ACODE_LANGUAGE", value_delimiter = ',', value_name = "LANGUAGE", value_parser = parse_language)]
    pub(super) language: Vec<String>,
    /// The repository whose .agent/config.yml is read [default: the workspace, else around the working directory]
    #[arg(long, value_name = "DIR")]
    pub(super) repo: Option<PathBuf>,
    /// When to pull the image
    #[arg(long, value_enum, default_value = "missing", value_name = "WHEN")]
    pub(super) pull: Pull,
    /// For pulling the image, repeats among it
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5m")]
    pub(super) pull_timeout: Duration,
    /// Session id [default: generated]
    #[arg(long, env = "ACODE_SESSION")]
    pub(super) session: Option<String>,
    /// Task id within the session [default: generated]
    #[arg(long, env = "ACODE_TASK")]
    pub(super) task: Option<String>,
    /// First part of the container's name
    #[arg(long, default_value = "acode", value_parser = |text: &str| Prefix::new(text).map_err(|e| e.to_string()))]
    pub(super) prefix: Prefix,
    /// Give the container a name that cannot be foreseen
    #[arg(long)]
    pub(super) random_name: bool,
    /// A label for the container; keys that begin with acode. are reserved
    #[arg(long = "label", value_name = "KEY[=VALUE]", value_parser = parse_user_label)]
    pub(super) labels: Vec<(String, String)>,

    /// Set an environment variable; KEY alone takes our value, if there is one
    #[arg(
        short,
        long = "env",
        value_name = "KEY[=VALUE]",
        help_heading = "Process"
    )]
    pub(super) env: Vec<String>,
    /// Read environment variables from a file, one KEY=VALUE or KEY a line; # begins a comment line
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    pub(super) env_file: Vec<PathBuf>,
    /// Working directory inside [default: /workspace]
    #[arg(short, long, value_name = "DIR", help_heading = "Process")]
    pub(super) workdir: Option<String>,
    /// Who to run as, in numbers [default: 1000:1000]
    #[arg(short, long, value_name = "UID[:GID]", help_heading = "Process")]
    pub(super) user: Option<String>,
    /// Allow --user 0
    #[arg(long, help_heading = "Process")]
    pub(super) allow_root: bool,
    /// Pass our standard input on
    #[arg(short, long, help_heading = "Process")]
    pub(super) interactive: bool,
    /// Give the task a terminal
    #[arg(short, long, help_heading = "Process")]
    pub(super) tty: bool,
    /// Replace the image's entrypoint; empty for none
    #[arg(long, value_name = "PROGRAM", help_heading = "Process")]
    pub(super) entrypoint: Option<String>,

    /// Process 1 of the container: our own, which ends the task when we die and knows how it ended, or the engine's
    #[arg(
        long,
        value_enum,
        default_value = "own",
        value_name = "WHOSE",
        help_heading = "Process"
    )]
    pub(super) init: Init,

    #[command(flatten)]
    pub(super) limits: LimitOptions,
    /// Network: none, bridge, or a network's name
    #[arg(
        long,
        env = "ACODE_NETWORK",
        default_value = "none",
        help_heading = "Isolation"
    )]
    pub(super) network: String,
    /// Make the root file system writable
    #[arg(long, help_heading = "Isolation")]
    pub(super) writable_root: bool,
    /// Add a capability, from a short list
    #[arg(long, value_name = "CAPABILITY", help_heading = "Isolation")]
    pub(super) cap_add: Vec<String>,
    /// The filter of system calls: ours where the engine takes it, or the engine's
    #[arg(
        long,
        value_enum,
        default_value = "own",
        value_name = "WHOSE",
        help_heading = "Isolation"
    )]
    pub(super) seccomp: Seccomp,

    /// Kill the task after this time; status 124
    #[arg(long, env = "ACODE_TIMEOUT", value_name = "DURATION", value_parser = parse_duration, help_heading = "Time")]
    pub(super) timeout: Option<Duration>,
    /// Between TERM and KILL when the task is cancelled
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s", help_heading = "Time")]
    pub(super) stop_timeout: Duration,
    /// For removing the container
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s", help_heading = "Time")]
    pub(super) cleanup_timeout: Duration,

    /// When to remove what killed runs have left behind: beside the task, before it, or not at all
    #[arg(
        long,
        value_enum,
        default_value = "beside",
        value_name = "WHEN",
        help_heading = "Time"
    )]
    pub(super) sweep: When,

    #[command(flatten)]
    pub(super) files: FileOptions,

    /// Write what happened to this file, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) receipt: Option<PathBuf>,
    /// Append a line of JSON to this file for each decision and step; without it nothing starts
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) audit_log: Option<PathBuf>,
    /// List changed files that match, such as /etc/**, in the audit log
    #[arg(long, value_name = "PATTERN", value_parser = Glob::parse, help_heading = "Output")]
    pub(super) audit_changes: Vec<Glob>,
    /// Copy the task's output to this file as well
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) log_file: Option<PathBuf>,
    /// Pass on so many bytes of output, and drop the rest
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Output")]
    pub(super) max_output: Option<u64>,
    /// The engine's log driver for this container [default: local]
    #[arg(long, value_name = "DRIVER", help_heading = "Output")]
    pub(super) log_driver: Option<String>,
    /// An option of the log driver
    #[arg(long = "log-opt", value_name = "KEY=VALUE", help_heading = "Output")]
    pub(super) log_opts: Vec<String>,
    /// Leave the container there when the task has ended
    #[arg(long, help_heading = "Output")]
    pub(super) keep: bool,
    /// Show what would be created, and create nothing
    #[arg(long, help_heading = "Output")]
    pub(super) dry_run: bool,
    /// With --dry-run: say what will protect the host from the task, and what will not
    #[arg(long, requires = "dry_run", help_heading = "Output")]
    pub(super) explain: bool,

    /// The command and its arguments [default: the image's]
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Init {
    /// Ours where it can be placed, else the engine's
    Own,
    /// The engine's
    Engine,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Seccomp {
    /// Ours where the engine takes it, else the engine's
    Own,
    /// The engine's, for a host whose operator has a stricter one
    Engine,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pull {
    /// When the engine does not have it
    Missing,
    /// Each time: a tag may name another image by now
    Always,
    /// Not at all
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum When {
    /// While the task runs; at its end it is waited for two seconds at most
    Beside,
    /// Before the task
    Before,
    /// Not now
    Off,
}

/// No file of environment variables has more.
const MAX_ENV_FILE: u64 = 1024 * 1024;

fn read_env_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(MAX_ENV_FILE + 1)
        .read_to_string(&mut text);
    match read {
        Ok(count) if count as u64 <= MAX_ENV_FILE => Ok(text),
        Ok(_) => Err(io::Error::other("it has more than 1 MiB")),
        Err(error) => Err(error),
    }
}

impl Exec {
    /// The task, checked as far as that can be done without the engine.
    pub(super) fn spec(&self, settings: &Settings) -> Result<TaskSpec> {
        let id = |given: &Option<String>| given.clone().map_or_else(generated_id, Ok);
        let mut spec = TaskSpec::new(
            id(&self.session)?,
            id(&self.task)?,
            settings.image(self.image.as_ref(), &self.language)?,
            self.command.iter().cloned(),
        );
        spec.pull = match self.pull {
            Pull::Missing => PullPolicy::Missing,
            Pull::Always => PullPolicy::Always,
            Pull::Never => PullPolicy::Never,
        };
        spec.pull_timeout = self.pull_timeout;
        spec.prefix = self.prefix.clone();
        spec.random_name = self.random_name;
        spec.labels = self.labels.iter().cloned().collect();
        spec.env = self.environment()?;
        spec.workdir.clone_from(&self.workdir);
        if let Some(user) = &self.user {
            spec.user = User::parse(user, self.allow_root)?;
        }
        spec.interactive = self.interactive;
        spec.terminal = self.tty.then(terminal::size);
        spec.engine_init = self.init == Init::Engine;
        spec.engine_seccomp = self.seccomp == Seccomp::Engine;
        spec.entrypoint = self.entrypoint.clone().map(|program| {
            if program.is_empty() {
                vec![]
            } else {
                vec![program]
            }
        });
        self.limits.apply(&mut spec);
        spec.network.clone_from(&self.network);
        self.files.apply(&mut spec)?;
        if let Some(workspace) = &mut spec.workspace {
            workspace.as_owner = self.user.is_none();
        }
        spec.writable_root = self.writable_root;
        spec.cap_add.clone_from(&self.cap_add);
        spec.timeout = self.timeout;
        spec.stop_timeout = self.stop_timeout;
        spec.cleanup_timeout = self.cleanup_timeout;
        spec.max_output = self.max_output;
        spec.keep = self.keep;
        spec.log = self.log()?;
        // Not clap's `requires`, which does not see what a configuration file says.
        if self.audit_log.is_none() && !self.audit_changes.is_empty() {
            return Err(alone("--audit-changes", "--audit-log"));
        }
        spec.check()?;
        Ok(spec)
    }

    pub(super) fn audit(&self) -> Result<Option<Audit>> {
        let audit = self.audit_log.as_ref().map(Audit::append).transpose()?;
        Ok(audit.map(|audit| audit.with_changes(self.audit_changes.clone())))
    }

    fn log(&self) -> Result<Option<LogConfig>> {
        let Some(driver) = self.log_driver.clone() else {
            if self.log_opts.is_empty() {
                return Ok(None);
            }
            return Err(alone("--log-opt", "--log-driver"));
        };
        let pair = |text: &String| {
            text.split_once('=')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .ok_or_else(|| {
                    Error::invalid(
                        Code::Configuration,
                        "options",
                        format!("log option '{text}': write it like max-size=10m"),
                    )
                })
        };
        Ok(Some(LogConfig {
            driver,
            config: self.log_opts.iter().map(pair).collect::<Result<_>>()?,
        }))
    }

    /// Files first, then options, as `docker run` does; KEY alone takes our value.
    fn environment(&self) -> Result<Vec<(String, String)>> {
        let mut lines = Vec::new();
        for path in &self.env_file {
            let text = read_env_file(path).map_err(|error| {
                Error::new(
                    Code::Configuration,
                    Kind::Invalid,
                    "env file",
                    "it cannot be read",
                )
                .on(path.display().to_string())
                .because(error)
            })?;
            let kept = text
                .lines()
                .map(str::trim_start)
                .filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.extend(kept.map(str::to_owned));
        }
        lines.extend(self.env.iter().cloned());
        Ok(lines
            .into_iter()
            .filter_map(|line| match line.split_once('=') {
                Some((key, value)) => Some((key.to_owned(), value.to_owned())),
                None => std::env::var(&line).ok().map(|value| (line, value)),
            })
            .collect())
    }
}

fn alone(option: &str, needed: &str) -> Error {
    let message = format!("{option} says nothing without {needed}; add that");
    Error::invalid(Code::Configuration, "options", message)
}
