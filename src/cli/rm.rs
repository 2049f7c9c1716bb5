use std::time::Duration;

use acode_rt::error::{Code, Error, Kind, Result};
use acode_rt::protocol::units::parse_duration;
use acode_rt::task::{Status, remove_confirmed};
use clap::Args;

use super::{FAILED, Global, render, target};

/// Remove containers of ours, and confirm that they are gone
#[derive(Debug, Args)]
#[command(after_help = "Example: acode-rt rm --force a1b2c3d4/build-001")]
pub(crate) struct Rm {
    /// Container names, or SESSION/TASK
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Also those that run; they are killed
    #[arg(short, long)]
    force: bool,
    /// For each removal
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    cleanup_timeout: Duration,
}

impl Rm {
    pub(crate) async fn run(self, global: &Global) -> Result<i32> {
        let engine = global.engine().await?;
        let mut status = 0;
        for name in &self.names {
            let removed = async {
                let found = target::find(&engine, name).await?;
                let live = matches!(
                    Status::from(&found.inspect),
                    Status::Running | Status::Paused
                );
                if live && !self.force {
                    return Err(Error::new(
                        Code::RemoveFailed,
                        Kind::Refused,
                        "remove",
                        "it is running; stop it first, or say --force",
                    )
                    .on(found.name()));
                }
                tracing::debug!(
                    operation = found.labels.operation,
                    name = found.name(),
                    "removing"
                );
                remove_confirmed(&engine, &found.inspect.id, self.cleanup_timeout).await?;
                Ok(found)
            };
            match removed.await {
                Ok(found) => render::done(global, "removed", &found)?,
                Err(error) => {
                    render::error(global, &error);
                    status = FAILED;
                }
            }
        }
        Ok(status)
    }
}
