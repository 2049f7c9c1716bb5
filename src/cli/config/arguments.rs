//! The files' defaults as clap's own, so that environment and options stand above them, and what is wrong with one names its line.

use std::collections::BTreeMap;
use std::ffi::OsString;

use acode_rt::error::{Code, Result};
use clap::builder::Resettable;
use clap::error::ContextKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::merge::Setting;
use super::schema::Given;
use super::values::{at_place, meant};

/// They say which files are read.
const NOT_IN_FILES: [&str; 3] = ["config", "repo", "workspace"];

/// Whether a command runs tasks: those have `--repo`, and the defaults are theirs and those of global options. The same name may mean
/// something else elsewhere: a default for the session would make `cleanup` remove it.
fn runs_tasks(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == "repo")
}

/// `root` with the files' defaults.
///
/// # Errors
/// `ACODE-CTN-015` for an option that is not there, or that takes other values.
pub(super) fn with_defaults(
    mut root: Command,
    options: &BTreeMap<String, Setting>,
) -> Result<Command> {
    let known = longs(&root, true);
    for (option, setting) in options {
        if NOT_IN_FILES.contains(&option.as_str()) {
            let message = format!(
                "{}: this is an option only: it says which files are read",
                setting.key
            );
            return Err(at_place(Code::Configuration, &setting.place, &message));
        }
        if !known.contains(option) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let meant = meant(option, &known)
                .map_or_else(|| ".".into(), |name| format!("; is {name} meant?"));
            let message = format!(
                "{}: there is no such option{meant} Known here are the long names of global options and those of exec",
                setting.key
            );
            return Err(at_place(Code::Configuration, &setting.place, &message));
        }
        root = set(root, option, setting, true)?;
    }
    Ok(root)
}

fn longs(command: &Command, is_root: bool) -> Vec<String> {
    let mut names = Vec::new();
    if is_root || runs_tasks(command) {
        let longs = command.get_arguments().filter_map(Arg::get_long);
        let longs = longs.filter(|name| !NOT_IN_FILES.contains(name));
        names.extend(longs.map(str::to_owned));
    }
    for sub in command.get_subcommands() {
        names.extend(longs(sub, false));
    }
    names
}

fn set(mut command: Command, option: &str, setting: &Setting, is_root: bool) -> Result<Command> {
    let arg = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(option));
    if let Some(arg) = arg.filter(|_| is_root || runs_tasks(&command)) {
        let values = values(arg, setting)?;
        let id = arg.get_id().clone();
        command = command.mut_arg(id, |arg| arg.default_values(values));
    }
    let subs: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    for name in subs {
        let mut failed = None;
        command = command.mut_subcommand(name, |sub| {
            set(sub, option, setting, false).unwrap_or_else(|error| {
                failed = Some(error);
                Command::new("failed")
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(command)
}

/// The values as clap wants them. They are as many as a file has, and live as long as the program.
fn values(arg: &Arg, setting: &Setting) -> Result<Vec<&'static str>> {
    let wrong = |why: &str| {
        let message = format!("{}: {why}", setting.key);
        Err(at_place(Code::Configuration, &setting.place, &message))
    };
    let is_switch = match arg.get_action() {
        ArgAction::SetTrue | ArgAction::SetFalse => true,
        ArgAction::Set | ArgAction::Count | ArgAction::Append => false,
        _ => return wrong("this option has no default"),
    };
    if setting.values.len() > 1 && !matches!(arg.get_action(), ArgAction::Append) {
        return wrong("it takes one value, not a list");
    }
    let mut values = Vec::new();
    for value in &setting.values {
        values.push(match value {
            Given::Truth(on) if is_switch => on.to_string(),
            Given::Truth(_) => {
                return wrong("it takes no truth value; quote it if it is meant as a word");
            }
            Given::Text(_) if is_switch => return wrong("it has to be true or false"),
            Given::Text(text) => text.clone(),
        });
    }
    Ok(values
        .into_iter()
        .map(|text| &*Box::leak(text.into_boxed_str()))
        .collect())
}

/// Parses with the files' defaults. The arguments alone were fine before, so that what is wrong now is a default.
///
/// # Errors
/// `ACODE-CTN-015` with the line of the default.
pub(super) fn parse(
    command: Command,
    arguments: impl IntoIterator<Item = OsString>,
    options: &BTreeMap<String, Setting>,
) -> Result<ArgMatches> {
    command.try_get_matches_from(arguments).map_err(|error| {
        let about = error
            .get(ContextKind::InvalidArg)
            .map(ToString::to_string)
            .unwrap_or_default();
        let name = about
            .split([' ', '=', '<', '['])
            .next()
            .and_then(|long| long.strip_prefix("--"));
        let setting = name.and_then(|name| options.get(name));
        let Some(setting) = setting else {
            error.exit();
        };
        let text = error.to_string();
        let text = text.split("\n\n").next().unwrap_or_default();
        let text = text.trim_start_matches("error: ").replace('\n', " ");
        let message = format!("{}: {}", setting.key, text.trim());
        at_place(Code::Configuration, &setting.place, &message)
    })
}

/// `command` without what the environment says, so that every default counts.
pub(super) fn without_environment(command: Command) -> Command {
    command
        .mut_args(|arg| arg.env(Resettable::Reset))
        .mut_subcommands(without_environment)
}
