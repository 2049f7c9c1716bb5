use std::path::PathBuf;
use std::time::Duration;

use acode_rt::error::Result;
use acode_rt::protocol::units::parse_duration;
use acode_rt::sweep::{Entry, Sweep, Sweeper, Totals, sweep};
use acode_rt::task::Audit;
use clap::Args;

use super::signals::Signals;
use super::{FAILED, Global, render};

/// Remove containers of ours that nobody owns any more
#[derive(Debug, Args)]
#[command(after_help = "\
Without --session it removes what is provably orphaned: its owner, a process of this boot in our namespaces, is gone, or its deadline
has passed and no owner is known to live. What cannot be told is kept. A container without our labels goes if its name is like ours,
acode-SESSION-TASK, and it has no labels, restart policy, published ports, binds or named volumes of its own.

Examples:
  acode-rt cleanup --dry-run
  acode-rt cleanup --session a1b2c3d4
  acode-rt cleanup --watch --every 5m --json")]
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
    /// Go on until INT or TERM, and say what is removed; with --json a line for each
    #[arg(long, conflicts_with = "dry_run")]
    watch: bool,
    /// Append a line of JSON to this file for each container that is to go
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// Pause between two passes of --watch
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s", requires = "watch")]
    every: Duration,
}

impl Cleanup {
    pub(crate) async fn run(self, global: &Global) -> Result<i32> {
        let options = Sweep {
            session: self.session,
            dry_run: self.dry_run,
            timeout: self.timeout,
        };
        let audit = self.audit_log.map(Audit::append).transpose()?;
        if self.watch {
            let signals = Signals::listen()?;
            return tokio::select! {
                () = signals.again() => Ok(0),
                ended = watch(global, options, self.every, audit) => ended,
            };
        }
        let entries = sweep(&global.engine().await?, &options).await?;
        if let Some(audit) = audit.filter(|_| !options.dry_run) {
            audit.swept(&entries);
        }
        show(global, &entries, options.dry_run)?;
        for error in entries.iter().filter_map(|entry| entry.error.as_ref()) {
            render::error(global, error);
        }
        let left = |entry: &Entry| entry.orphan && !entry.removed && !entry.gone_already;
        let failed = !options.dry_run && entries.iter().any(left);
        Ok(if failed { FAILED } else { 0 })
    }
}

/// Sweeps again and again; it ends only with an error of its own.
async fn watch(
    global: &Global,
    options: Sweep,
    every: Duration,
    audit: Option<Audit>,
) -> Result<i32> {
    let (sender, mut passes) = tokio::sync::mpsc::unbounded_channel();
    let report = move |pass| {
        // The receiver lives as long as the sweeper.
        let _ = sender.send(pass);
    };
    let _sweeper = Sweeper::start_with(global.engine().await?, options, every, report);
    while let Some(pass) = passes.recv().await {
        match pass {
            Ok(entries) => {
                if let Some(audit) = &audit {
                    audit.swept(&entries);
                }
                for entry in entries.iter().filter(|entry| entry.orphan) {
                    show_removal(global, entry)?;
                }
            }
            Err(error) => render::error(global, &error),
        }
    }
    Ok(FAILED)
}

fn show_removal(global: &Global, entry: &Entry) -> Result<()> {
    if let Some(error) = &entry.error {
        render::error(global, error);
    }
    if global.json {
        let line = serde_json::to_string(entry).unwrap_or_default();
        return render::print(&format!("{line}\n"));
    }
    if global.quiet || entry.error.is_some() {
        return Ok(());
    }
    let (what, name, reason) = (decision(entry, false), &entry.name, entry.reason);
    render::print(&format!("{what} {name}: {reason}\n"))
}

fn show(global: &Global, entries: &[Entry], dry_run: bool) -> Result<()> {
    let totals = Totals::of(entries);
    if global.json {
        return render::print_json(&serde_json::json!({ "containers": entries, "totals": totals }));
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            vec![
                entry.name.clone(),
                entry.state.clone(),
                entry.owner_pid.map_or("-".into(), |pid| pid.to_string()),
                render::age(entry.age_seconds),
                decision(entry, dry_run).into(),
                entry.reason.into(),
            ]
        })
        .collect();
    let head = ["NAME", "STATUS", "OWNER", "AGE", "DECISION", "REASON"];
    let table = render::table(&head, &rows);
    render::print(&format!("{table}{}\n", summary(&totals, dry_run)))
}

fn decision(entry: &Entry, dry_run: bool) -> &'static str {
    match (entry.orphan, entry.removed, entry.gone_already) {
        (false, ..) => "kept",
        (true, true, _) => "removed",
        (true, false, true) => "gone already",
        (true, false, false) if dry_run => "would go",
        (true, false, false) => "NOT REMOVED",
    }
}

fn summary(totals: &Totals, dry_run: bool) -> String {
    let Totals {
        orphans,
        removed,
        gone_already,
        failed,
        kept,
    } = totals;
    if dry_run {
        return format!("to be removed: {orphans}, kept: {kept}");
    }
    format!("removed: {removed}, gone already: {gone_already}, failed: {failed}, kept: {kept}")
}
