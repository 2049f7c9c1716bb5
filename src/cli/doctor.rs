use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use acode_rt::Program;
use acode_rt::engine::Engine;
use acode_rt::error::{Error, Result};
use acode_rt::sweep::ledger::{Holding, Kind, Standing, ledger};
use acode_rt::sweep::owner;
use acode_rt::task::{Strength, host_protections, runtime_dir};
use clap::Args;
use serde::Serialize;

use super::{FAILED, Global, render};

/// Say what protects tasks here, and what was left behind
#[derive(Debug, Args)]
#[command(after_help = "\
With --leaks the exit status is 0 where nothing has leaked and 1 where something has. What cannot be told is listed apart, and is no
leak.

Examples:
  acode-rt doctor
  acode-rt doctor --leaks --json")]
pub(crate) struct Doctor {
    /// List containers, volumes and networks of ours that nobody owns any more
    #[arg(long)]
    leaks: bool,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    what: &'static str,
    /// Whether all is as it should be.
    good: bool,
    detail: String,
}

impl Doctor {
    pub(crate) async fn run(self, global: &Global) -> Result<i32> {
        if self.leaks {
            return show_leaks(global, &ledger(&global.engine().await?).await?);
        }
        let found = match global.engine().await {
            Ok(engine) => engine_findings(&engine).await,
            Err(error) => Err(error),
        };
        let (mut findings, error) = match found {
            Ok(findings) => (findings, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        findings.extend([process_1(), hosts_file(), owner_identity()]);
        show_findings(global, &findings)?;
        if let Some(error) = error {
            render::error(global, &error);
            return Ok(FAILED);
        }
        Ok(0)
    }
}

async fn engine_findings(engine: &Engine) -> std::result::Result<Vec<Finding>, Error> {
    let (info, version) = tokio::try_join!(engine.info(), engine.version())?;
    let socket = engine.socket();
    let good = |what, detail| Finding {
        what,
        good: true,
        detail,
    };
    let mut findings = vec![
        good(
            "engine",
            format!("{} at {}", engine.server(), socket.display()),
        ),
        good("api", engine.api_version().to_string()),
        good("kernel", shown(&version.kernel_version).to_owned()),
    ];
    let protections = host_protections(engine.kind(), &info, engine.takes_our_filter());
    findings.extend(protections.into_iter().map(|protection| Finding {
        what: protection.name,
        good: protection.state == Strength::Held,
        detail: match protection.how {
            Some(how) => format!("{}; to have it: {how}", protection.why),
            None => protection.why,
        },
    }));
    findings.push(good(
        "no new privileges",
        "sent with every task, whatever the engine's default is".into(),
    ));
    findings.extend(socket_access(socket));
    Ok(findings)
}

/// Who may use the engine's socket may do everything on the host.
fn socket_access(socket: &Path) -> Option<Finding> {
    let metadata = std::fs::metadata(socket).ok()?;
    let (mode, group) = (metadata.mode() & 0o777, metadata.gid());
    let detail = if mode & 0o002 != 0 {
        format!("mode {mode:o}: every user of this host is root by it; to have it: chmod o-w")
    } else if mode & 0o020 != 0 {
        format!("mode {mode:o}: who is in group {group} is root on this host by it")
    } else {
        format!("mode {mode:o}")
    };
    Some(Finding {
        what: "socket",
        good: mode & 0o002 == 0,
        detail,
    })
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

/// Whether this program can stand as process 1 in tasks.
fn process_1() -> Finding {
    let program = Program::this();
    let (good, detail) = match program.init() {
        Ok(path) => (
            true,
            format!(
                "{} is bound into tasks, where the engine sees it",
                path.display()
            ),
        ),
        Err(why) => (false, format!("the engine's init is used: {why}")),
    };
    Finding {
        what: "process 1",
        good,
        detail,
    }
}

/// Where the file is kept that tasks without a network see as `/etc/hosts`.
fn hosts_file() -> Finding {
    let usable = |base: &PathBuf| base.is_absolute() && base.is_dir();
    match runtime_dir().filter(usable) {
        Some(base) => Finding {
            what: "hosts file",
            good: true,
            detail: base.join("acode-rt/hosts").display().to_string(),
        },
        None => Finding {
            what: "hosts file",
            good: false,
            detail:
                "XDG_RUNTIME_DIR names no directory: tasks take a little longer on Docker up to 26"
                    .into(),
        },
    }
}

/// What the containers of this process say of their owner.
fn owner_identity() -> Finding {
    let current = owner::current();
    let seen = owner::look(current.as_ref(), current.as_ref()) == owner::OwnerState::Alive;
    let detail = match (&current, seen) {
        (Some(me), true) => format!(
            "boot {}, PID namespace {}, time namespace {}",
            me.boot, me.pid_namespace, me.time_namespace
        ),
        (Some(_), false) => "/proc is not that of our PID namespace: of an owner whose pid is in use it cannot be told whether it lives".into(),
        (None, _) => "/proc does not say who we are: our containers stay to their deadline if we are killed".into(),
    };
    Finding {
        what: "ownership",
        good: seen,
        detail,
    }
}

fn show_findings(global: &Global, findings: &[Finding]) -> Result<()> {
    if global.json {
        return render::print_json(&findings);
    }
    let row = |finding: &Finding| {
        let mark = if finding.good { "ok" } else { "weak" };
        vec![finding.what.into(), mark.into(), finding.detail.clone()]
    };
    let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
    render::print(&render::table(&["WHAT", "STATE", "DETAIL"], &rows))
}

fn show_leaks(global: &Global, holdings: &[Holding]) -> Result<i32> {
    let with = |standing| -> Vec<&Holding> {
        let has = |holding: &&Holding| holding.standing == standing;
        holdings.iter().filter(has).collect()
    };
    let (leaks, untold) = (with(Standing::Leaked), with(Standing::Untold));
    let owned = holdings.len() - leaks.len() - untold.len();
    let status = i32::from(!leaks.is_empty());
    if global.json {
        let ledger = serde_json::json!({ "leaks": leaks, "untold": untold, "owned": owned });
        render::print_json(&ledger)?;
        return Ok(status);
    }
    for (title, holdings) in [("leaked", &leaks), ("cannot be told", &untold)] {
        if !holdings.is_empty() {
            render::print(&format!("{title}:\n{}\n", table(holdings)))?;
        }
    }
    let (leaked, untold) = (leaks.len(), untold.len());
    render::print(&format!(
        "leaked: {leaked}, cannot be told: {untold}, owned: {owned}\n"
    ))?;
    Ok(status)
}

fn table(holdings: &[&Holding]) -> String {
    let row = |holding: &&Holding| {
        let kind = match holding.kind {
            Kind::Container => "container",
            Kind::Volume => "volume",
            Kind::Network => "network",
        };
        vec![
            kind.into(),
            holding.name.clone(),
            holding.session.clone(),
            holding.owner_pid.map_or("-".into(), |pid| pid.to_string()),
            holding.reason.into(),
        ]
    };
    let rows: Vec<Vec<String>> = holdings.iter().map(row).collect();
    render::table(&["KIND", "NAME", "SESSION", "OWNER", "REASON"], &rows)
}
