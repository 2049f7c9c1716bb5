//! What one container's life leaves in the audit log.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{About, Audit, failure};
use crate::engine::Engine;
use crate::error::{Error, Result, shown};
use crate::model::Change;
use crate::task::applied::Ignored;
use crate::task::container::TaskContainer;
use crate::task::disk::unbounded_disk;
use crate::task::files::FilesReceipt;
use crate::task::outcome::Outcome;
use crate::task::plan::Plan;
use crate::task::rules::Rules;
use crate::task::runner::Runner;
use crate::task::usage::Usage;
use crate::task::watch::Ended;

/// So many files are listed at most.
const MAX_LISTED: usize = 500;
/// So much of a line are they.
const LISTED_IN_A_LINE: usize = 2048;
/// What no engine lists as changed.
const NOT_SEEN: &str = "tmpfs, volumes and mounts";

/// The lines about one container: from its admission to its removal, and where that is not told, that it was abandoned. Without an audit log
/// it does nothing.
#[derive(Debug)]
pub(in crate::task) struct Trail {
    audit: Option<Audit>,
    operation: String,
    session: String,
    task: String,
    name: String,
    id: Option<String>,
    /// The container's end has been told.
    concluded: AtomicBool,
    /// A line could not be written.
    incomplete: AtomicBool,
}

impl Trail {
    /// Of a container that is not audited.
    pub(in crate::task) fn none() -> Self {
        Self {
            audit: None,
            operation: String::new(),
            session: String::new(),
            task: String::new(),
            name: String::new(),
            id: None,
            concluded: AtomicBool::new(true),
            incomplete: AtomicBool::new(false),
        }
    }

    /// Of a task that is admitted. What cannot be told is not begun.
    fn begin(runner: &Runner, plan: &Plan) -> Result<Self> {
        let trail = Self {
            audit: runner.audit.clone(),
            operation: plan.operation.clone(),
            session: plan.spec.session.clone(),
            task: plan.spec.task.clone(),
            name: plan.name.to_string(),
            id: None,
            concluded: AtomicBool::new(true),
            incomplete: AtomicBool::new(false),
        };
        trail.must("admitted", || admission(plan, &runner.rules))?;
        if !plan.mounts.is_empty() {
            let mounts = plan.mounts.iter().map(|mount| {
                json!({ "source": shown(&mount.source), "target": shown(&mount.target), "read_only": mount.read_only })
            });
            for mounts in in_parts(mounts) {
                trail.must("mounts", || json!({ "mounts": mounts }))?;
            }
        }
        trail
            .concluded
            .store(runner.audit.is_none(), Ordering::Relaxed);
        Ok(trail)
    }

    fn about(&self) -> About<'_> {
        About {
            operation: Some(&self.operation),
            session: &self.session,
            task: &self.task,
            container: Some(&self.name),
            container_id: self.id.as_deref(),
        }
    }

    fn must(&self, event: &str, detail: impl FnOnce() -> Value) -> Result<()> {
        match &self.audit {
            Some(audit) => audit
                .write(event, self.about(), &detail())
                .map_err(|error| error.with_operation_id(&self.operation)),
            None => Ok(()),
        }
    }

    pub(in crate::task) fn note(&self, event: &str, detail: impl FnOnce() -> Value) {
        if let Err(error) = self.must(event, detail) {
            tracing::error!(event, %error, "not in the audit log");
            self.incomplete.store(true, Ordering::Relaxed);
        }
    }

    fn conclude(&self, event: &str, detail: impl FnOnce() -> Value) {
        self.concluded.store(true, Ordering::Relaxed);
        self.note(event, detail);
    }

    pub(in crate::task) fn started(&self) {
        self.note("started", || json!({}));
    }

    pub(in crate::task) fn ignored(&self, ignored: &[Ignored]) {
        if !ignored.is_empty() {
            self.note("accepted_ignored", || json!({ "ignored": ignored }));
        }
    }

    pub(in crate::task) fn stopping(&self, signal: &str, why: &str) {
        self.note("stopping", || json!({ "signal": signal, "why": why }));
    }

    pub(in crate::task) fn failed(&self, error: &Error) {
        self.note("failed", || failure(error));
    }

    pub(in crate::task) fn ended(&self, ended: &Ended, status: u8, usage: &Usage) {
        self.note("ended", || {
            let mut outcome = json!(ended.outcome);
            // The engine's words may quote the command.
            if let Some(fields) = outcome.as_object_mut() {
                fields.remove("message");
            }
            json!({
                "outcome": outcome,
                "status": status,
                "signals": ended.evidence.signals,
                "oom_killed": ended.evidence.oom_killed,
                "child_out_of_memory": ended.child_out_of_memory,
                "stdout_bytes": ended.output.stdout_bytes,
                "stderr_bytes": ended.output.stderr_bytes,
                "output_complete": ended.output.complete,
                "usage": usage,
            })
        });
    }

    /// What was brought out of it, where something was asked for.
    pub(in crate::task) fn artifacts(&self, files: Option<&FilesReceipt>) {
        let Some(files) = files.filter(|_| self.audit.is_some()) else {
            return;
        };
        let listed = files.artifacts.iter().take(MAX_LISTED);
        let parts = in_parts(listed.map(|artifact| {
            json!({ "path": shown(&artifact.path), "bytes": artifact.bytes, "sha256": artifact.sha256 })
        }));
        for (index, listed) in parts.iter().enumerate() {
            self.note("artifacts", || {
                json!({
                    "copied_in": files.copied_in.entries,
                    "brought_out": files.artifacts.len(),
                    "left_out": files.artifacts.len().saturating_sub(MAX_LISTED),
                    "skipped": files.skipped_count,
                    "missing": files.missing.len(),
                    "error": files.error.as_deref().map(shown),
                    "part": index + 1,
                    "parts": parts.len(),
                    "files": listed,
                })
            });
        }
    }

    /// A removal, or why it failed.
    pub(in crate::task) fn removal(&self, removal: &Result<()>) {
        match removal {
            Ok(()) => self.conclude("removed", || json!({})),
            Err(error) => self.conclude("not_removed", || failure(error)),
        }
    }

    pub(in crate::task) fn kept(&self) {
        self.conclude("kept", || json!({}));
    }

    /// What is worth a warning.
    pub(in crate::task) fn warning(&self) -> Option<String> {
        let incomplete = self.incomplete.load(Ordering::Relaxed);
        incomplete.then(|| "the audit log could not be written to its end".to_owned())
    }

    /// What the task changed, where that is asked for and can be seen.
    pub(in crate::task) async fn changes(&self, engine: &Engine, plan: &Plan, outcome: &Outcome) {
        let Some((audit, id)) = self
            .audit
            .as_ref()
            .filter(|audit| !audit.changes.is_empty())
            .zip(self.id.as_deref())
        else {
            return;
        };
        let unseen = |why: &str| {
            self.note(
                "changes",
                || json!({ "seen": false, "why": why, "not_seen": NOT_SEEN }),
            );
        };
        if !plan.spec.writable_root {
            return unseen("the root file system is read-only");
        }
        if matches!(outcome, Outcome::EngineLost { .. }) {
            return unseen("the engine is lost");
        }
        let changes = match engine.container_changes(id).await {
            Ok(changes) => changes,
            Err(error) => return unseen(&shown(&error.message())),
        };
        let matching: Vec<&Change> = changes
            .iter()
            .filter(|change| audit.changes.iter().any(|glob| glob.matches(&change.path)))
            .collect();
        let listed = &matching[..matching.len().min(MAX_LISTED)];
        let parts = in_parts(listed.iter().map(|change| shown_change(change)));
        for (index, paths) in parts.iter().enumerate() {
            self.note("changes", || {
                json!({
                    "seen": true,
                    "not_seen": NOT_SEEN,
                    "changed": changes.len(),
                    "matching": matching.len(),
                    "left_out": matching.len() - listed.len(),
                    "part": index + 1,
                    "parts": parts.len(),
                    "paths": paths,
                })
            });
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if !self.concluded.load(Ordering::Relaxed) {
            self.note("abandoned", || json!({}));
        }
    }
}

impl TaskContainer {
    /// Creates it, and tells so: without a line in the audit log, where there is one, no container is started.
    pub(in crate::task) async fn create_planned(runner: &Runner, plan: Plan) -> Result<Self> {
        let mut trail = Trail::begin(runner, &plan)?;
        let mut container = match Box::pin(Self::create_unaudited(runner, plan)).await {
            Ok(container) => container,
            Err(error) => {
                trail.conclude("failed", || failure(&error));
                return Err(error);
            }
        };
        trail.id = Some(container.id().to_string());
        let plan = container.plan();
        let told = trail.must("created", || {
            json!({ "init": if plan.init.is_ok() { "acode-rt" } else { "engine" }, "guard": container.is_guarded() })
        });
        container.trail = trail;
        match told {
            Ok(()) => Ok(container),
            Err(error) => match Box::pin(container.remove()).await {
                Ok(()) => Err(error),
                Err(failed) => Err(error.and_cleanup(failed)),
            },
        }
    }
}

/// What is decided about a task before its container is created.
fn admission(plan: &Plan, rules: &Rules) -> Value {
    let (spec, host) = (&plan.spec, &plan.body.host_config);
    let command = plan.command().unwrap_or_default();
    let program: String = command
        .first()
        .map_or("", String::as_str)
        .chars()
        .take(200)
        .collect();
    json!({
        "image": plan.image,
        "program": shown(&program),
        "arguments": command.len().saturating_sub(1),
        "variables": spec.env.len(),
        "secrets": spec.secrets.len(),
        "mounts": plan.mounts.len(),
        "copies_in": spec.files.copy_in.len(),
        "artifacts": spec.files.artifacts.len(),
        "user": plan.body.user,
        "network": spec.network,
        "limits": plan.limits,
        "unbounded_disk": unbounded_disk(spec),
        "protections": {
            "read_only_root": host.readonly_rootfs,
            "capabilities": host.cap_add,
            "no_new_privileges": host.security_opt.iter().any(|option| option.starts_with("no-new-privileges")),
            "seccomp": plan.filter.name(),
            "privileged": host.privileged,
        },
        "accept_ignored": spec.accept_ignored,
        "timeout_ms": spec.timeout.and_then(|timeout| u64::try_from(timeout.as_millis()).ok()),
        "keep": spec.keep,
        "rules": if *rules == Rules::default() { "default" } else { "operator" },
        "warnings": plan.warnings.len(),
    })
}

fn shown_change(change: &Change) -> Value {
    let kind = match change.kind {
        0 => "modified",
        1 => "added",
        2 => "deleted",
        _ => "unknown",
    };
    json!({ "path": shown(&change.path), "kind": kind })
}

/// As many to a line as it holds; one line at least.
fn in_parts(values: impl Iterator<Item = Value>) -> Vec<Vec<Value>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for value in values {
        let length = value.to_string().len() + 1;
        if bytes + length > LISTED_IN_A_LINE && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += length;
        part.push(value);
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_LINE, line};
    use super::*;

    #[test]
    fn changed_paths_of_any_length_fit_into_lines() {
        let changes: Vec<Change> = (0..50)
            .map(|number| Change {
                path: format!("/{}", "é\u{1b}\"".repeat(number * 10)),
                kind: 1,
            })
            .collect();
        let parts = in_parts(changes.iter().map(shown_change));
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 50);
        for part in &parts {
            let line = line("changes", About::default(), &json!({ "paths": part }));
            assert!(line.len() <= MAX_LINE && line.contains("paths"), "{line}");
            assert!(!line.contains('\u{1b}'));
        }
        assert_eq!(in_parts(std::iter::empty()), [Vec::<Value>::new()]);
    }
}
