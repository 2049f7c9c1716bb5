use acode_rt::error::Result;
use acode_rt::protocol::time::rfc3339;
use acode_rt::protocol::units::{show_cpus, show_size};
use acode_rt::sweep::owner;
use clap::Args;

use super::{Global, render, target};

/// Show one of our containers
#[derive(Debug, Args)]
#[command(after_help = "Example: acode-rt inspect a1b2c3d4/build-001")]
pub(crate) struct Inspect {
    /// Container name, or SESSION/TASK
    name: String,
}

impl Inspect {
    pub(crate) async fn run(self, global: &Global) -> Result<i32> {
        let engine = global.engine().await?;
        let found = target::find(&engine, &self.name).await?;
        let owner = match owner::look(found.labels.owner.as_ref(), owner::current().as_ref()) {
            owner::OwnerState::Alive => "alive",
            owner::OwnerState::Gone => "gone",
            owner::OwnerState::OtherBoot => "of another boot or machine",
            owner::OwnerState::Unknown => "unknown",
        };
        let positive = |number: i64| u64::try_from(number).unwrap_or(0);
        let host = &found.inspect.host_config;
        let view = serde_json::json!({
            "name": found.name(),
            "id": found.inspect.id,
            "session": found.labels.session,
            "task": found.labels.task,
            "operation": found.labels.operation,
            "state": found.inspect.state.status,
            "exit_code": found.inspect.state.exit_code.filter(|_| found.inspect.state.has_ended()),
            "oom_killed": found.inspect.state.oom_killed,
            "image": found.inspect.image,
            // Told to our process 1 alone.
            "command": host.init.then_some(&found.inspect.config.cmd),
            "init": if host.init { "engine" } else { "acode-rt" },
            "user": found.inspect.config.user,
            "network": host.network_mode,
            "memory": show_size(positive(host.memory)),
            "cpus": show_cpus(positive(host.nano_cpus)),
            "pids": host.pids_limit,
            "read_only": host.readonly_rootfs,
            "created": found.inspect.created,
            "started": found.inspect.state.started_at,
            "finished": found.inspect.state.finished_at,
            "ephemeral": found.labels.ephemeral,
            "deadline": found.labels.deadline.map(rfc3339),
            "owner": owner,
        });
        if global.json {
            render::print_json(&view)?;
            return Ok(0);
        }
        let rows: Vec<Vec<String>> = view
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| {
                vec![
                    key.clone(),
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned),
                ]
            })
            .collect();
        render::print(&render::table(&["FIELD", "VALUE"], &rows))?;
        Ok(0)
    }
}
