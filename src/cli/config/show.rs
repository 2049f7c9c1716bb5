//! What holds and who said it; whether a file is right.

use std::io::{IsTerminal, stdout};
use std::path::PathBuf;

use acode_rt::error::Result;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, CommandFactory, Subcommand};
use serde_json::{Value, json};

use super::merge::{Setting, Settings};
use super::values::{Author, Place};
use super::{check, combine, file, innermost};
use crate::cli::exec_options::Exec;
use crate::cli::{Cli, Global, render};

/// Show what holds for a task and who said it, or check configuration files
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  acode-rt config show
  acode-rt config show --json --language node --memory 1g
  acode-rt config check
  acode-rt config check --as operator draft.yml")]
pub(crate) struct Config {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Show(Box<Show>),
    Check(Check),
}

/// Say what would hold for a task with these options of exec, and where each value comes from
#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    exec: Exec,
}

/// Say whether a file is right; without FILE: the operator's and this repository's
#[derive(Debug, Args)]
struct Check {
    /// The file
    file: Option<PathBuf>,
    /// Whose file it would be
    #[arg(
        long = "as",
        value_enum,
        value_name = "WHOSE",
        default_value = "repository",
        requires = "file"
    )]
    author: Author,
    /// The repository whose .agent/config.yml is read [default: around the working directory]
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    repo: Option<PathBuf>,
}

impl Config {
    pub(crate) fn run(self, global: &Global, matches: &ArgMatches) -> Result<i32> {
        match self.command {
            ConfigCommand::Show(show) => show.run(global, innermost(matches).1),
            ConfigCommand::Check(check) => check.run(global),
        }
        .map(|()| 0)
    }
}

impl Check {
    fn run(self, global: &Global) -> Result<()> {
        let usual = || file::operator(global.config.as_deref());
        let settings = match (self.file, self.author) {
            (Some(file), Author::Operator) => combine(Some(file::named(&file)?), None)?,
            (Some(file), Author::Repository) => combine(usual()?, Some(file::named(&file)?))?,
            (None, _) => {
                let named = self.repo.as_deref();
                combine(usual()?, named.map_or_else(file::around, file::repository)?)?
            }
        };
        check::check(&settings)?;
        if global.json {
            return render::print_json(&json!({ "files": files(&settings) }));
        }
        if settings.files.is_empty() {
            return render::print("there is no configuration file\n");
        }
        let mut text = String::new();
        for (author, file) in &settings.files {
            text.push_str(&[file, ": fine (", word(*author), ")\n"].concat());
        }
        render::print(&text)
    }
}

/// Characters of a value on a terminal.
const LONG: usize = 32;

/// One setting.
struct Row {
    name: String,
    value: Value,
    from: From,
}

/// Who said it.
enum From {
    BuiltIn,
    File(&'static str, String, Place),
    Environment(String),
    Option,
}

impl Show {
    fn run(self, global: &Global, matches: &ArgMatches) -> Result<()> {
        let settings = &global.settings;
        let rows = self.rows(settings, matches);
        if global.json {
            return render::print_json(&json!({
                "settings": rows.iter().map(Row::json).collect::<Vec<_>>(),
                "images": images(settings).iter().map(Row::json).collect::<Vec<_>>(),
                "policy": policy(settings).iter().map(Row::json).collect::<Vec<_>>(),
                "files": files(settings),
            }));
        }
        let is_built_in = |row: &Row| matches!(row.from, From::BuiltIn);
        let (built_in, said): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_built_in);
        let mut text = String::new();
        if !said.is_empty() {
            text.push_str(&table(&["SETTING", "VALUE", "FROM"], &said));
            text.push('\n');
        }
        text.push_str(&table(&["BUILT-IN", "VALUE"], &built_in));
        text.push('\n');
        text.push_str(&table(&["LANGUAGE", "IMAGE", "FROM"], &images(settings)));
        let policy = policy(settings);
        if !policy.is_empty() {
            text.push('\n');
            text.push_str(&table(&["POLICY", "VALUE", "FROM"], &policy));
        }
        render::print(&text)
    }

    fn rows(&self, settings: &Settings, matches: &ArgMatches) -> Vec<Row> {
        let command = Cli::command();
        let exec = command.find_subcommand("exec");
        let own = exec.into_iter().flat_map(clap::Command::get_arguments);
        let all = own.chain(command.get_arguments());
        let options = all.filter(|arg| arg.get_long().is_some());
        options
            .map(|arg| {
                let image = (arg.get_id() == "image").then(|| self.image(settings, matches));
                image
                    .flatten()
                    .unwrap_or_else(|| row(arg, settings, matches))
            })
            .collect()
    }

    /// The image that the languages give, where they give it.
    fn image(&self, settings: &Settings, matches: &ArgMatches) -> Option<Row> {
        let given = matches.value_source("image").is_some();
        if given && (self.exec.language.is_empty() || !settings.image_is_default) {
            return None;
        }
        let (value, from) = match settings.image_of(&self.exec.language) {
            Ok((image, key, place)) => (image.as_str().into(), settings.place(key, place)),
            Err(_) => (Value::Null, From::BuiltIn),
        };
        Some(Row {
            name: "image".into(),
            value,
            from,
        })
    }
}

fn row(arg: &Arg, settings: &Settings, matches: &ArgMatches) -> Row {
    let id = arg.get_id().as_str();
    let name = arg.get_long().unwrap_or(id);
    let values = matches.try_get_raw(id).ok().flatten();
    let mut values: Vec<Value> = values
        .into_iter()
        .flatten()
        .map(|value| value.to_string_lossy().into())
        .collect();
    let value = match (values.len(), arg.get_action()) {
        (0, _) => said_in_help(arg),
        (1, action) if !matches!(action, clap::ArgAction::Append) => values.remove(0),
        _ => Value::Array(values),
    };
    let from = match (matches.value_source(id), settings.options.get(name)) {
        (Some(ValueSource::CommandLine), _) => From::Option,
        (Some(ValueSource::EnvVariable), _) => {
            let variable = arg
                .get_env()
                .map(|name| name.to_string_lossy().into_owned());
            From::Environment(variable.unwrap_or_default())
        }
        (
            Some(_),
            Some(Setting {
                key, author, place, ..
            }),
        ) => From::File(word(*author), key.clone(), place.clone()),
        _ => From::BuiltIn,
    };
    Row {
        name: name.to_owned(),
        value,
        from,
    }
}

/// What an option's help says of its default, where that is found out later.
fn said_in_help(arg: &Arg) -> Value {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let said = help.rsplit_once("[default: ");
    let said = said.and_then(|(_, rest)| rest.split_once(']'));
    said.map_or(Value::Null, |(default, _)| default.into())
}

fn images(settings: &Settings) -> Vec<Row> {
    let alone = settings
        .images
        .iter()
        .map(|(language, (image, place))| Row {
            name: language.clone(),
            value: image.as_str().into(),
            from: settings.place(format!("docker.images.{language}"), place.as_ref()),
        });
    let combined = settings.combined.iter().map(|at| Row {
        name: at.value.languages.join(","),
        value: at.value.image.as_str().into(),
        from: settings.place("docker.images.combined".into(), Some(&at.place)),
    });
    alone.chain(combined).collect()
}

fn policy(settings: &Settings) -> Vec<Row> {
    let lines = settings.policy.lines.iter();
    lines
        .map(|line| Row {
            name: line.key.clone(),
            value: line.value.as_str().into(),
            from: settings.place(line.key.clone(), Some(&line.place)),
        })
        .collect()
}

fn files(settings: &Settings) -> Vec<Value> {
    let files = settings.files.iter();
    files
        .map(|(author, file)| json!({ "file": &**file, "of": word(*author) }))
        .collect()
}

fn word(author: Author) -> &'static str {
    match author {
        Author::Operator => "operator",
        Author::Repository => "repository",
    }
}

impl Settings {
    fn place(&self, key: String, place: Option<&Place>) -> From {
        let Some(place) = place else {
            return From::BuiltIn;
        };
        let mut files = self.files.iter();
        let author = files.find(|(_, file)| *file == place.file);
        let author = author.map_or("operator", |(author, _)| word(*author));
        From::File(author, key, place.clone())
    }
}

impl Row {
    fn json(&self) -> Value {
        let source = match &self.from {
            From::BuiltIn => json!({ "from": "built-in" }),
            From::Option => json!({ "from": "option" }),
            From::Environment(name) => json!({ "from": "environment", "variable": name }),
            From::File(author, key, place) => {
                json!({ "from": author, "file": &*place.file, "line": place.line, "key": key })
            }
        };
        json!({ "name": self.name, "value": self.value, "source": source })
    }

    fn cells(&self) -> Vec<String> {
        let plain = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.escape_debug().to_string(),
            other => other.to_string(),
        };
        let value = match &self.value {
            Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
            value => plain(value),
        };
        let from = match &self.from {
            From::BuiltIn => "built-in".into(),
            From::Option => "option".into(),
            From::Environment(name) => format!("environment {name}"),
            From::File(_, key, place) => format!("{}", format_args!("{place} {key}"))
                .escape_debug()
                .to_string(),
        };
        vec![self.name.clone(), value, from]
    }
}

fn table(head: &[&str], rows: &[Row]) -> String {
    let mut rows: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
    for row in &mut rows {
        row.truncate(head.len());
        // A long value leaves room for who said it.
        if head.len() > 2 && stdout().is_terminal() && row[1].chars().count() > LONG {
            row[1] = row[1].chars().take(LONG - 1).chain(['…']).collect();
        }
    }
    render::table(head, &rows)
}
