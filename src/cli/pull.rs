use std::time::Duration;

use acode_rt::ImageRef;
use acode_rt::error::Result;
use acode_rt::protocol::units::parse_duration;
use clap::Args;

use super::{FAILED, Global, pulling, render};

/// Pull images, also those that are there already: a tag may name another one by now
#[derive(Debug, Args)]
#[command(after_help = "\
Credentials are those of docker: `docker login` keeps them in ~/.docker/config.json, or in $DOCKER_CONFIG.

Example: acode-rt pull busybox:1.36 mcr.microsoft.com/dotnet/sdk:8.0")]
pub(crate) struct Pull {
    /// References such as node:20-alpine or NAME@sha256:DIGEST
    #[arg(required = true, value_name = "IMAGE", value_parser = ImageRef::parse)]
    images: Vec<ImageRef>,
    /// For each image, repeats among it
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5m")]
    timeout: Duration,
}

impl Pull {
    pub(crate) async fn run(self, global: &Global) -> Result<i32> {
        let runner = global.runner().await?;
        let mut status = 0;
        for image in &self.images {
            let report = pulling::reporter(global, image);
            let pulled = runner.pull(image, self.timeout, Some(&report)).await;
            // Its bar ends here.
            drop(report);
            match pulled {
                Ok(pulled) if global.json => {
                    let line = serde_json::to_value(&pulled).unwrap_or_default();
                    render::print(&format!("{line}\n"))?;
                }
                Ok(_) if global.quiet => {}
                Ok(pulled) => {
                    let names = pulled.digest.as_deref().unwrap_or(&pulled.id);
                    render::print(&format!("pulled {image} {names}\n"))?;
                }
                Err(error) => {
                    render::error(global, &error);
                    status = FAILED;
                }
            }
        }
        Ok(status)
    }
}
