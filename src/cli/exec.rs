use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use acode_rt::engine::Engine;
use acode_rt::error::{Code, Error, Kind, Result};
use acode_rt::sweep::{Sweep, sweep};
use acode_rt::task::{Outcome, Plan, PullPolicy, Receipt, TaskIo, TaskSpec};
use tokio::time::Instant;

use super::exec_options::{Exec, When};
use super::receipt_file::{ReceiptFile, write_receipt};
use super::signals::Signals;
use super::streams::{Broken, Writer};
use super::terminal::{self, Raw};
use super::{FAILED, Global, pulling, render};

/// A sweep that is still at work when the task has ended is waited for so long.
const SWEEP_PATIENCE: Duration = Duration::from_secs(2);

impl Exec {
    pub(crate) async fn run(self, global: &Global) -> Result<i32> {
        let mut spec = self.spec()?;
        if self.dry_run {
            // Nothing is to change, so nothing is pulled either.
            spec.pull = PullPolicy::Never;
            let plan = global.runner().await?.plan(spec).await?;
            for warning in plan.warnings() {
                global.warn(warning);
            }
            return show_plan(global, &plan).map(|()| 0);
        }
        let receipt_file = self
            .receipt
            .as_deref()
            .map(ReceiptFile::check)
            .transpose()?;
        let log = self.log_file.as_deref().map(create_file).transpose()?;
        let signals = Signals::listen()?;
        let ran = self.run_task(global, spec, log, &signals).await;
        let cancelled = signals.first.load(Ordering::Relaxed);
        match ran {
            Ok((receipt, broken)) => {
                let status =
                    if matches!(receipt.outcome, Outcome::Cancelled { .. }) && cancelled != 0 {
                        128 + cancelled
                    } else {
                        i32::from(receipt.status)
                    };
                report(global, &receipt, broken.as_ref());
                let status = if broken.is_some() { FAILED } else { status };
                write_receipt(
                    receipt_file,
                    &serde_json::json!({ "status": status }),
                    Some(&receipt),
                )?;
                Ok(status)
            }
            Err(error) => {
                let status = if error.is_cancelled() && cancelled != 0 {
                    128 + cancelled
                } else {
                    FAILED
                };
                render::error(global, &error);
                // A create that was not answered may still have its effect.
                let unclear =
                    error.operation() == "create" && (error.is_timeout() || error.is_cut());
                let removed = (!unclear).then_some(error.cleanup_errors().is_empty());
                let failed = serde_json::json!({
                    "schema": acode_rt::task::SCHEMA,
                    "outcome": { "kind": "not_run", "error": error.to_json() },
                    "status": status,
                    "removed": removed,
                });
                write_receipt(receipt_file, &failed, None)?;
                Ok(status)
            }
        }
    }

    async fn run_task(
        &self,
        global: &Global,
        spec: TaskSpec,
        log: Option<File>,
        signals: &Signals,
    ) -> Result<(Receipt, Option<Error>)> {
        let runner = global.runner().await?;
        let writer = Writer::start(log)?;
        let raw = Arc::new(OnceLock::new());
        let io = TaskIo {
            stdin: self.interactive.then(|| Box::new(tokio::io::stdin()) as _),
            output: Some(writer.sender),
            terminal_size: self.tty.then(terminal::sizes).flatten(),
            on_pull: Some(terminal::outside_raw(
                Arc::clone(&raw),
                pulling::reporter(global, &spec.image),
            )),
        };
        let sweep = sweep_leftovers(runner.engine().clone(), self.cleanup_timeout);
        let beside = match self.sweep {
            When::Before => {
                sweep.await;
                None
            }
            When::Beside => Some(tokio::spawn(sweep)),
            When::Off => None,
        };
        if self.tty && self.interactive {
            let entered = Raw::enter()?;
            raw.get_or_init(|| entered);
        }
        let deadline = spec.timeout.map(|timeout| Instant::now() + timeout);
        let mut receipt = runner.run(spec, io, &signals.canceller).await?;
        drop(raw);
        if let Some(beside) = beside {
            let _ = tokio::time::timeout(SWEEP_PATIENCE, beside).await;
        }
        // The container is gone; what is left is our own reader's pace.
        let written = tokio::select! {
            written = writer.done => written.ok(),
            () = signals.again() => None,
            () = async { match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.max(Instant::now() + Duration::from_secs(1))).await,
                None => std::future::pending().await,
            } } => None,
        };
        let broken = match written {
            Some(Ok(())) => None,
            Some(Err(Broken::ReaderGone)) => {
                incomplete(&mut receipt, 141, "its reader went away");
                None
            }
            Some(Err(Broken::Failed(what, error))) => {
                incomplete(&mut receipt, 125, "it could not be written");
                Some(render::output_error(what, error))
            }
            None => {
                let signal = signals.first.load(Ordering::Relaxed);
                let status = if signal == 0 { 125 } else { 128 + signal };
                incomplete(
                    &mut receipt,
                    u8::try_from(status).unwrap_or(125),
                    "its reader did not take it in time",
                );
                None
            }
        };
        Ok((receipt, broken))
    }
}

/// Removes what killed runs have left; that it fails is no matter of this task's.
async fn sweep_leftovers(engine: Engine, timeout: Duration) {
    let options = Sweep {
        session: None,
        dry_run: false,
        timeout,
    };
    if let Err(error) = sweep(&engine, &options).await {
        tracing::warn!(%error, "what killed runs have left was not looked at");
    }
}

/// Output that was not delivered is no success, however the task ended.
fn incomplete(receipt: &mut Receipt, status: u8, why: &str) {
    if receipt.status == 0 {
        receipt.status = status;
    }
    receipt.output.lost(why);
}

fn show_plan(global: &Global, plan: &Plan) -> Result<()> {
    if global.json {
        return render::print_json(&serde_json::json!({
            "name": plan.name().as_str(),
            "operation": plan.operation(),
            "image": plan.image(),
            "limits": plan.limits(),
            "warnings": plan.warnings(),
            "command": plan.command()?,
            "environment": plan.environment()?,
            "init": { "ours": plan.engine_init().is_none(), "because": plan.engine_init() },
            "create": plan.create_body(),
        }));
    }
    let body = serde_json::to_string_pretty(plan.create_body()).unwrap_or_default();
    render::print(&format!(
        "would create {} from {} ({})\n{body}\nto run {}\n",
        plan.name(),
        plan.image().reference,
        plan.image().id,
        serde_json::json!(plan.command()?)
    ))
}

/// Says what the exit status alone does not.
fn report(global: &Global, receipt: &Receipt, broken: Option<&Error>) {
    for warning in &receipt.warnings {
        global.warn(warning);
    }
    let on = &receipt.container.name;
    let failed = |code: Code, operation: &'static str, message: String| {
        render::error(
            global,
            &Error::new(code, Kind::Refused, operation, message).on(on),
        );
    };
    match &receipt.outcome {
        Outcome::StartFailed { message, .. } => failed(Code::StartFailed, "start", message.clone()),
        Outcome::Deadline { after_ms } => {
            failed(
                Code::Deadline,
                "run",
                format!("the task ran longer than {after_ms} ms and was killed"),
            );
        }
        Outcome::EngineLost { message } => {
            failed(
                Code::EngineLost,
                "run",
                format!("how the task ended is not known: {message}"),
            );
        }
        Outcome::Unknown { message } => failed(Code::EngineLost, "run", message.clone()),
        Outcome::OutOfMemory => global.warn("the task was killed for memory; raise --memory"),
        _ => {}
    }
    match (&receipt.output.incomplete_because, broken) {
        (_, Some(error)) => render::error(global, error),
        (Some(why), None) if !matches!(receipt.outcome, Outcome::Cancelled { .. }) => {
            global.warn(&format!("the output is not complete: {why}"));
        }
        _ => {}
    }
    if let Some(error) = &receipt.remove_error {
        let text = error
            .get("message")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        global.warn(&format!(
            "ACODE-CTN-004: the container is still there: {text}"
        ));
    }
}

fn create_file(path: &Path) -> Result<File> {
    File::create(path).map_err(|error| render::output_error(&path.display().to_string(), error))
}
