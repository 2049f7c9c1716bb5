use std::time::Duration;

use acode_rt::error::Result;
use acode_rt::protocol::units::parse_duration;
use clap::Args;

use super::{FAILED, Global, render, target};

/// Stop containers of ours: TERM, then KILL after the grace period
#[derive(Debug, Args)]
#[command(after_help = "Example: acode-rt stop --stop-timeout 2s a1b2c3d4/build-001")]
pub(crate) struct Stop {
    /// Container names, or SESSION/TASK
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Between TERM and KILL
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    stop_timeout: Duration,
}

impl Stop {
    pub(crate) async fn run(self, global: &Global) -> Result<i32> {
        let engine = global.engine().await?;
        let mut status = 0;
        for name in &self.names {
            let stopped = async {
                let found = target::find(&engine, name).await?;
                tracing::info!(
                    operation = found.labels.operation,
                    name = found.name(),
                    "stopping"
                );
                engine
                    .container_stop(&found.inspect.id, self.stop_timeout)
                    .await?;
                Ok(found)
            };
            match stopped.await {
                Ok(found) => render::done(global, "stopped", &found)?,
                Err(error) => {
                    render::error(global, &error);
                    status = FAILED;
                }
            }
        }
        Ok(status)
    }
}
