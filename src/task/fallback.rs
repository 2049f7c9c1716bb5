//! What can be sent instead of a request that the engine refused. Why a container did not start is never guessed: its image, or another task, could
//! make it fail, and would choose its protections.

use super::limits::HostCapacity;
use super::plan::Plan;
use super::seccomp::Filter;
use crate::engine::{Engine, EngineKind};
use crate::error::Result;
use crate::model::Info;
use crate::protocol::security::Host;

/// What can be sent instead of a request that was refused as bad: as many CPUs as the engine's host has, where nobody asked for a
/// number, no bind where the engine does not see our files, and at last its own filter of system calls. `false` when nothing is left to try.
pub(super) async fn adapt(engine: &Engine, plan: &mut Plan) -> bool {
    if plan.spec.limits.nano_cpus.is_none()
        && let Ok(info) = engine.info().await
        && let Ok((limits, _)) = plan.spec.limits.resolve(HostCapacity {
            cpus: info.ncpu,
            memory: 0,
        })
        && limits.nano_cpus < plan.limits.nano_cpus
    {
        plan.limits.nano_cpus = limits.nano_cpus;
        return plan.write_body(engine).is_ok();
    }
    if plan.without_our_init(engine) {
        plan.dropped_our_init = true;
        return true;
    }
    if plan.body.network_disabled {
        plan.without_fast_network = true;
        return plan.write_body(engine).is_ok();
    }
    without_our_filter(engine, plan).await
}

/// Remembers what this engine turned out not to take. Of what was given up, the last is to blame.
pub(super) fn remember(engine: &Engine, plan: &Plan) {
    if plan.dropped_our_filter {
        engine.refuse_our_filter();
    } else if plan.dropped_our_init {
        engine.refuse_our_files();
    }
}

/// The filter of a task that does not get ours, which is `because` of the engine or was asked for. Podman is believed to have one where nothing was
/// asked for: it takes a while to say.
pub(super) async fn engines_filter(
    engine: &Engine,
    because: Option<&'static str>,
) -> Result<Filter> {
    let why = because.unwrap_or("the engine's was asked for");
    if engine.kind() == EngineKind::Podman && because.is_some() {
        return Ok(Filter::Engines(why));
    }
    let info = Box::pin(engine.info()).await?;
    Ok(filter_of(&info, why))
}

fn filter_of(info: &Info, why: &'static str) -> Filter {
    if Host::of(&info.security_options).filters() {
        Filter::Engines(why)
    } else {
        Filter::Missing
    }
}

/// The engine's filter instead of ours. Where it has none, that is for the comparison of asked and applied to refuse.
pub(super) async fn without_our_filter(engine: &Engine, plan: &mut Plan) -> bool {
    if plan.filter != Filter::Ours {
        return false;
    }
    let Ok(info) = engine.info().await else {
        return false;
    };
    plan.filter = filter_of(&info, "the engine did not take ours");
    plan.dropped_our_filter = true;
    plan.warnings
        .push("the engine did not take our filter of system calls; its own was used".into());
    plan.write_body(engine).is_ok()
}
