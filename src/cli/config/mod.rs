//! Configuration files: the operator's, which is trusted, and the repository's, which is hostile.

mod arguments;
mod check;
mod file;
mod languages;
mod merge;
mod policy;
mod schema;
mod show;
mod values;
mod yaml;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acode_rt::error::{Code, Result};
use acode_rt::task::{HostCapacity, Workspace};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory};

use file::Found;
pub(crate) use merge::Settings;
pub(crate) use schema::parse_language;
pub(crate) use show::Config;
use values::{Author, Place, at_place};

use super::Cli;

/// Reads the files that the arguments name, and parses again where they say defaults. `first` is what the arguments alone say.
///
/// # Errors
/// `ACODE-CTN-015` for a file that cannot be used, and `ACODE-CTN-012` for what a repository may not say.
pub(super) fn load(
    first: &ArgMatches,
    arguments: Vec<OsString>,
) -> Result<(Option<ArgMatches>, Settings)> {
    let (path, last) = innermost(first);
    // What they are told to check they read themselves; completions need nothing.
    if matches!(path.as_slice(), ["completions"] | ["config", "check"]) {
        return Ok((None, Settings::default()));
    }
    let operator_file = first.get_one::<PathBuf>("config").cloned();
    // By name: whether a command has an option `--repo`, its matches tell in debug builds only.
    let runs_tasks = matches!(path.as_slice(), ["exec"] | ["config", "show"]);
    let repository = if runs_tasks {
        repository_of(last)?
    } else {
        None
    };
    let mut settings = combine(file::operator(operator_file.as_deref())?, repository)?;
    // They are the environment's word on the engine, and no option's that clap knows.
    let said = |key| std::env::var_os(key).is_some_and(|value| !value.is_empty());
    if ["DOCKER_HOST", "DOCKER_CONTEXT"].into_iter().any(said) {
        settings.options.remove("host");
    }
    if settings.options.is_empty() {
        return Ok((None, settings));
    }
    let command = arguments::with_defaults(Cli::command(), &settings.options)?;
    let matches = arguments::parse(command, arguments, &settings.options)?;
    let (_, last) = innermost(&matches);
    settings.image_is_default = raw(last, "image").is_some()
        && last.value_source("image") == Some(ValueSource::DefaultValue);
    Ok((Some(matches), settings))
}

/// The names of the subcommands, and what the last of them was given.
fn innermost(matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let (mut names, mut last) = (Vec::new(), matches);
    while let Some((name, sub)) = last.subcommand() {
        names.push(name);
        last = sub;
    }
    (names, last)
}

/// The file of the repository: of `--repo`, else of the workspace, else of what is around the working directory.
fn repository_of(task: &ArgMatches) -> Result<Option<Found>> {
    if let Some(root) = raw(task, "repo") {
        return file::repository(Path::new(&root));
    }
    let workspace = task.try_get_one::<Workspace>("workspace").ok().flatten();
    match workspace {
        // Whether a workspace can be one is said where it is looked at.
        Some(workspace) if !workspace.source.is_dir() => Ok(None),
        Some(workspace) => file::repository(&workspace.source),
        None => file::around(),
    }
}

/// An option's one value; `None` also where there is no such option.
fn raw(matches: &ArgMatches, id: &str) -> Option<OsString> {
    let mut values = matches.try_get_raw(id).ok()??;
    values.next().map(OsString::from)
}

/// What the operator's file and this repository's say.
fn combine(operator: Option<Found>, repository: Option<Found>) -> Result<Settings> {
    combine_on(HostCapacity::of_this_machine(), operator, repository)
}

fn combine_on(
    host: HostCapacity,
    operator: Option<Found>,
    repository: Option<Found>,
) -> Result<Settings> {
    let mut files = Vec::new();
    let mut read = |found: Option<Found>, author| -> Result<schema::File> {
        let Some(Found { name, bytes }) = found else {
            return Ok(schema::File::default());
        };
        let name: Arc<str> = name.into();
        files.push((author, Arc::clone(&name)));
        let node = yaml::read(&bytes).map_err(|wrong| {
            let (file, line) = (Arc::clone(&name), wrong.line);
            at_place(Code::Configuration, &Place { file, line }, &wrong.message)
        })?;
        schema::read(&name, author, node.as_ref())
    };
    let operator = read(operator, Author::Operator)?;
    let repository = read(repository, Author::Repository)?;
    let mut settings = merge::merge(operator, repository, host)?;
    settings.files = files;
    Ok(settings)
}

/// Text from a file as it is shown: escaped and short.
fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}
