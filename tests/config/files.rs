//! An operator's file and a repository's, and the program run between them.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::untouched::{Dir, Run, program};

/// An operator's directory and a repository.
pub(crate) struct Files {
    pub(crate) dir: Dir,
}

impl Files {
    pub(crate) fn new(name: &str, operator: Option<&str>, repository: Option<&str>) -> Self {
        let dir = Dir::new(&format!("config-{name}"));
        for part in [
            "operator/acode-rt",
            "repository/.agent",
            "repository/.git",
            "repository/src/deep",
            "elsewhere",
        ] {
            fs::create_dir_all(dir.0.join(part)).unwrap();
        }
        let files = Self { dir };
        if let Some(text) = operator {
            fs::write(files.dir.file("operator/acode-rt/config.yml"), text).unwrap();
        }
        if let Some(text) = repository {
            fs::write(files.dir.file("repository/.agent/config.yml"), text).unwrap();
        }
        files
    }

    pub(crate) fn program_in(&self, directory: &str) -> Command {
        let mut command = program();
        command
            .env("XDG_CONFIG_HOME", self.dir.file("operator"))
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.dir.file("no.sock")),
            )
            .current_dir(self.dir.file(directory));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.program_in("repository/src/deep").args(arguments))
    }

    pub(crate) fn show(&self, arguments: &[&str]) -> Value {
        let run = self.run(&[&["config", "show", "--json"], arguments].concat());
        serde_json::from_str(&run.expect(0).stdout).unwrap()
    }
}

/// A setting's value and who said it, as `VALUE from WHO[:LINE]`.
pub(crate) fn setting(shown: &Value, name: &str) -> String {
    let settings = shown["settings"].as_array().unwrap();
    let row = settings.iter().find(|row| row["name"] == name).unwrap();
    let source = &row["source"];
    let line = source["line"].as_u64().map(|line| format!(":{line}"));
    format!(
        "{} from {}{}",
        row["value"]
            .as_str()
            .map_or_else(|| row["value"].to_string(), str::to_owned),
        source["from"].as_str().unwrap(),
        line.or_else(|| source["variable"].as_str().map(|name| format!(" {name}")))
            .unwrap_or_default()
    )
}
