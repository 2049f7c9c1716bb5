//! The end of a task: its container is removed, and its receipt written.

use std::time::Duration;

use super::clock::Clock;
use crate::protocol::time::rfc3339;
use crate::task::container::TaskContainer;
use crate::task::disk::unbounded_disk;
use crate::task::files::FilesReceipt;
use crate::task::outcome::Outcome;
use crate::task::protections::ProtectionsReceipt;
use crate::task::receipt::{ContainerReceipt, EngineReceipt, HelpersReceipt, Receipt, SCHEMA};
use crate::task::usage::Usage;
use crate::task::watch::Ended;

/// An engine that is lost is asked for the removal no longer than this.
const LOST_ENGINE_REMOVAL: Duration = Duration::from_secs(5);

/// Removes the container, and says in the receipt what is known of the task.
pub(super) async fn finish(
    container: &TaskContainer,
    ended: Ended,
    usage: Usage,
    files: Option<FilesReceipt>,
    mut clock: Clock,
) -> Receipt {
    let plan = container.plan();
    let mut warnings = plan.warnings.clone();
    if ended.child_out_of_memory {
        warnings.push(
            "a process of the task was killed for memory, though the task ended otherwise".into(),
        );
    }
    if let Some(error) = &ended.input_error {
        warnings.push(format!(
            "standard input could not be read to its end: {error}"
        ));
    }
    if ended.outcome == (Outcome::Exited { code: 137 }) {
        warnings.push("exit code 137 may also mean that something outside sent KILL".into());
    }
    let mut status = ended.outcome.status();
    warnings.extend(files.iter().flat_map(|files| files.warnings(status == 0)));
    let output_lost = !ended.output.complete && !ended.output.truncated;
    let artifacts_lost = files.as_ref().is_some_and(FilesReceipt::is_incomplete);
    if status == 0 && (output_lost || artifacts_lost || ended.input_error.is_some()) {
        // What was lost may be what matters.
        status = 125;
    }
    let trail = &container.trail;
    trail.ended(&ended, status, &usage);
    trail.artifacts(files.as_ref());
    trail
        .changes(container.engine(), plan, &ended.outcome)
        .await;
    let removed = if plan.spec.keep {
        trail.kept();
        None
    } else {
        // An engine that was given up just now is left to the guard.
        let patience = match ended.outcome {
            Outcome::EngineLost { .. } => LOST_ENGINE_REMOVAL,
            _ => plan.spec.cleanup_timeout,
        };
        Some(container.remove_within(patience).await)
    };
    clock.phase(|phases| &mut phases.remove);
    if let Some(Err(error)) = &removed {
        tracing::error!(%error, "not removed");
    }
    warnings.extend(trail.warning());
    tracing::info!(operation = plan.operation, name = %plan.name, outcome = ?ended.outcome, status, "ended");
    usage.log(plan.operation(), &plan.name);
    Receipt {
        schema: SCHEMA,
        session: plan.spec.session.clone(),
        task: plan.spec.task.clone(),
        operation: plan.operation.clone(),
        container: ContainerReceipt {
            id: container.id().to_string(),
            name: plan.name.to_string(),
        },
        image: plan.image.clone(),
        outcome: ended.outcome,
        evidence: ended.evidence,
        status,
        child_out_of_memory: ended.child_out_of_memory,
        output: ended.output,
        limits: plan.limits.clone(),
        mounts: plan.mounts.clone(),
        unbounded_disk: unbounded_disk(&plan.spec),
        usage,
        protections: ProtectionsReceipt::of(plan, container.confined.get()),
        ignored: ended.ignored,
        files,
        warnings,
        phases_ms: clock.total(),
        engine: EngineReceipt {
            server: container.engine().server().to_owned(),
            api: container.engine().api_version().to_string(),
        },
        helpers: HelpersReceipt {
            init: if plan.init.is_ok() {
                "acode-rt"
            } else {
                "engine"
            },
            because: plan.init.as_ref().err().copied(),
            guard: container.is_guarded(),
        },
        started_at: rfc3339(clock.started),
        removed: matches!(removed, Some(Ok(()))),
        kept: plan.spec.keep,
        remove_error: removed.and_then(Result::err).map(|error| error.to_json()),
    }
}
