use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, render};

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Example: acode-rt completions bash > /etc/bash_completion.d/acode-rt")]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> i32 {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "acode-rt", &mut script);
        // clap_complete writes the hyphen of the name in two ways, so that bash never gets past the first word.
        let script = String::from_utf8_lossy(&script).replace("acode__subcmd__rt", "acode__rt");
        match render::print(&script) {
            Ok(()) => 0,
            Err(error) => {
                render::note("error", &error.report());
                super::FAILED
            }
        }
    }
}
