//! Whether `exec` would take what the files say: each default as its option reads it, and the task that they make together.

use std::collections::BTreeMap;
use std::ffi::OsString;

use acode_rt::ImageRef;
use acode_rt::engine::Host;
use acode_rt::error::{Code, Error, Kind, Result};
use clap::{CommandFactory, FromArgMatches};

use super::arguments;
use super::merge::{Setting, Settings};
use super::values::at_place;
use crate::cli::{Cli, Command};

/// # Errors
/// What `exec` would say, with the line where one is to blame.
pub(super) fn check(settings: &Settings) -> Result<()> {
    let Err(error) = task(settings, &settings.options) else {
        return Ok(());
    };
    if error.operation() == "config" {
        return Err(error);
    }
    let same = |options: &BTreeMap<String, Setting>| {
        task(settings, options).is_err_and(|other| other.message() == error.message())
    };
    // What is wrong alone, else what nothing is wrong without.
    let alone = |(option, setting): &(&String, &Setting)| {
        same(&BTreeMap::from([((*option).clone(), (*setting).clone())]))
    };
    let needed = |(option, _): &(&String, &Setting)| {
        let mut others = settings.options.clone();
        others.remove(*option);
        !same(&others)
    };
    let mut options = settings.options.iter();
    let found = options.clone().find(alone).or_else(|| options.find(needed));
    Err(match found {
        Some((_, setting)) => {
            let message = format!("{}: {}", setting.key, error.message());
            at_place(error.code(), &setting.place, &message)
        }
        None => error,
    })
}

/// The task that these make, with any image, and without what would have to be read from elsewhere.
fn task(settings: &Settings, options: &BTreeMap<String, Setting>) -> Result<()> {
    let command = arguments::with_defaults(Cli::command(), options)?;
    let command = arguments::without_environment(command);
    let words = ["acode-rt", "exec"].map(OsString::from);
    let matches = arguments::parse(command, words, options)?;
    let unread = |why: String| Error::new(Code::Configuration, Kind::Invalid, "options", why);
    let cli = Cli::from_arg_matches(&matches).map_err(|error| unread(error.to_string()))?;
    if let Some(host) = &cli.global.host {
        Host::parse(host)?;
    }
    if let Command::Exec(mut exec) = cli.command {
        exec.image = Some(ImageRef::parse("any").map_err(unread)?);
        exec.env_file.clear();
        exec.files = exec.files.without_secrets();
        exec.spec(settings)?;
    }
    Ok(())
}
