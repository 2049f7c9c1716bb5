//! `exec --dry-run`: what would be created, and what would protect the host from it.

use acode_rt::error::Result;
use acode_rt::task::{Plan, Protection, PullPolicy, TaskSpec};

use super::{Global, render};

/// Shows the plan of a task, and creates nothing.
pub(super) async fn dry_run(global: &Global, mut spec: TaskSpec, explain: bool) -> Result<i32> {
    let runner = global.runner().await?;
    // Nothing is to change, so nothing is pulled either.
    spec.pull = PullPolicy::Never;
    let plan = runner.plan(spec).await?;
    for warning in plan.warnings() {
        global.warn(warning);
    }
    let protections = if explain {
        let engine = runner.engine();
        Some(plan.protections(engine.kind(), &engine.info().await?))
    } else {
        None
    };
    if global.json {
        let mut shown = serde_json::json!({
            "name": plan.name().as_str(),
            "operation": plan.operation(),
            "image": plan.image(),
            "limits": plan.limits(),
            "warnings": plan.warnings(),
            "command": plan.command()?,
            "environment": plan.environment()?,
            "init": { "ours": plan.engine_init().is_none(), "because": plan.engine_init() },
            "create": plan.create_body(),
        });
        if let Some(protections) = protections {
            shown["protections"] = serde_json::json!(protections);
        }
        render::print_json(&shown)?;
    } else if let Some(protections) = protections {
        render::print(&table(&protections))?;
    } else {
        render::print(&create(&plan)?)?;
    }
    Ok(0)
}

fn create(plan: &Plan) -> Result<String> {
    let mut body = plan.create_body().clone();
    for option in &mut body.host_config.security_opt {
        if let Some(profile) = option.strip_prefix("seccomp=") {
            *option = format!("seccomp=({} bytes, shown by --json)", profile.len());
        }
    }
    Ok(format!(
        "would create {} from {} ({})\n{}\nto run {}\n",
        plan.name(),
        plan.image().reference,
        plan.image().id,
        serde_json::to_string_pretty(&body).unwrap_or_default(),
        serde_json::json!(plan.command()?)
    ))
}

fn table(protections: &[Protection]) -> String {
    let row = |protection: &Protection| {
        vec![
            protection.name.into(),
            protection.state.as_str().into(),
            protection.why.clone(),
            protection.how.unwrap_or("-").into(),
        ]
    };
    let rows: Vec<Vec<String>> = protections.iter().map(row).collect();
    render::table(
        &["PROTECTION", "STATE", "WHAT OR WHY", "HOW TO HAVE IT"],
        &rows,
    )
}
