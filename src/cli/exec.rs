use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use acode_rt::engine::Engine;
use acode_rt::error::{Code, Error, Kind, Result};
use acode_rt::sweep::{Sweep, sweep};
use acode_rt::task::{Audit, Outcome, Receipt, TaskIo, TaskSpec};
use tokio::time::Instant;

use super::exec_options::{Exec, When};
use super::explain;
use super::receipt_file::{ReceiptFile, write_receipt};
use super::signals::Signals;
use super::streams::{Broken, Writer};
use super::terminal::{self, Raw};
use super::{FAILED, Global, pulling, render};

/// A sweep that is still at work when the task has ended is waited for so long.
const SWEEP_PATIENCE: Duration = Duration::from_secs(2);

impl Exec {
    pub(crate) async fn run(self, global: &Global) -> Result<i32> {
        if self.dry_run {
            return explain::dry_run(global, self.spec(&global.settings)?, self.explain).await;
        }
        let audit = self.audit()?;
        let spec = self.spec(&global.settings).inspect_err(|error| {
            if let Some(audit) = &audit {
                let id = |id: &Option<String>| id.clone().unwrap_or_default();
                audit.refused(&id(&self.session), &id(&self.task), error);
            }
        })?;
        let receipt_file = self
            .receipt
            .as_deref()
            .map(ReceiptFile::check)
            .transpose()?;
        let log = self.log_file.as_deref().map(create_file).transpose()?;
        let signals = Signals::listen()?;
        let ran = self.run_task(global, spec, log, audit, &signals).await;
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
        audit: Option<Audit>,
        signals: &Signals,
    ) -> Result<(Receipt, Option<Error>)> {
        let mut runner = global.runner().await?;
        if let Some(audit) = &audit {
            runner = runner.with_audit(audit.clone());
        }
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
        let sweep = sweep_leftovers(runner.engine().clone(), self.cleanup_timeout, audit);
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
        let timeout = spec.timeout;
        let mut receipt = runner.run(spec, io, &signals.canceller).await?;
        drop(raw);
        if let Some(beside) = beside {
            let _ = tokio::time::timeout(SWEEP_PATIENCE, beside).await;
        }
        // What the task has left of its time is its reader's.
        let deadline = timeout.map(|timeout| {
            let ran = Duration::from_secs_f64(receipt.phases_ms.run / 1e3);
            Instant::now() + timeout.saturating_sub(ran).max(Duration::from_secs(1))
        });
        // The container is gone; what is left is our own reader's pace.
        let written = tokio::select! {
            written = writer.done => written.ok(),
            () = signals.again() => None,
            () = async { match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
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
async fn sweep_leftovers(engine: Engine, timeout: Duration, audit: Option<Audit>) {
    let options = Sweep {
        session: None,
        dry_run: false,
        timeout,
    };
    match sweep(&engine, &options).await {
        Ok(entries) => {
            if let Some(audit) = audit {
                audit.swept(&entries);
            }
        }
        Err(error) => tracing::warn!(%error, "what killed runs have left was not looked at"),
    }
}

/// Output that was not delivered is no success, however the task ended.
fn incomplete(receipt: &mut Receipt, status: u8, why: &str) {
    if receipt.status == 0 {
        receipt.status = status;
    }
    receipt.output.lost(why);
}

/// Says what the exit status alone does not.
fn report(global: &Global, receipt: &Receipt, broken: Option<&Error>) {
    let files = receipt.files.as_ref();
    let lost = files.and_then(|files| files.failure(receipt.outcome.status() == 0));
    let said = lost.as_ref().map(|error| (error.code(), error.message()));
    let said = said.map(|(code, message)| format!("{}: {message}", code.as_str()));
    for warning in &receipt.warnings {
        // What is an error is not said twice.
        if Some(warning) != said.as_ref() {
            global.warn(warning);
        }
    }
    if let Some(error) = lost {
        render::error(global, &error.on(&receipt.container.name));
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
