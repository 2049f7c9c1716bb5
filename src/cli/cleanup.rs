use std::time::Duration;

use acode_rt::error::Result;
use acode_rt::protocol::units::parse_duration;
use acode_rt::sweep::{Sweep, sweep};
use clap::Args;

use super::{FAILED, Global, render};

/// Remove containers of ours that nobody owns any more
#[derive(Debug, Args)]
#[command(after_help = "\
Without --session it removes what is provably orphaned: its owner, a process of this boot in our namespaces, is gone, or its deadline
has passed and no owner is known to live. What cannot be told is kept.

Examples:
  acode-rt cleanup --dry-run
  acode-rt cleanup --session a1b2c3d4")]
pub(crate) struct Cleanup {
    /// Everything of this session, running or not, whoever owns it
    #[arg(long)]
    session: Option<String>,
    /// Only say what would be removed, and why
    #[arg(long)]
    dry_run: bool,
    /// For each removal
    #[arg(long = "cleanup-timeout", value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    timeout: Duration,
}

impl Cleanup {
    pub(crate) async fn run(self, global: &Global) -> Result<i32> {
        let engine = global.engine().await?;
        let options = Sweep {
            session: self.session,
            dry_run: self.dry_run,
            timeout: self.timeout,
        };
        let entries = sweep(&engine, &options).await?;
        let failed = entries.iter().filter(|entry| entry.error.is_some()).count();
        if global.json {
            render::print_json(&entries)?;
        } else {
            let rows: Vec<Vec<String>> = entries
                .iter()
                .map(|entry| {
                    let what = match (entry.orphan, entry.removed, options.dry_run) {
                        (false, ..) => "kept",
                        (true, true, _) => "removed",
                        (true, false, true) => "would go",
                        (true, false, false) => "NOT REMOVED",
                    };
                    vec![
                        entry.name.clone(),
                        entry.state.clone(),
                        what.into(),
                        entry.reason.into(),
                    ]
                })
                .collect();
            render::print(&render::table(
                &["NAME", "STATUS", "DECISION", "REASON"],
                &rows,
            ))?;
        }
        for error in entries.iter().filter_map(|entry| entry.error.as_ref()) {
            render::error(global, error);
        }
        Ok(if failed == 0 { 0 } else { FAILED })
    }
}
