//! What of a task lies on the engine's disk, and whether that is bounded.

use super::plan::Plan;
use super::spec::TaskSpec;
use crate::engine::Engine;
use crate::error::{Code, Error, Kind, Result};
use crate::protocol::units::show_size;

/// Log drivers that keep everything on the engine's disk unless they are told a size.
const GROWING_LOGS: [&str; 2] = ["json-file", "k8s-file"];

/// Why a task can fill the engine's disk; `None` where everything that it writes is bounded.
pub(super) fn unbounded_disk(spec: &TaskSpec) -> Option<&'static str> {
    if spec.writable_root && spec.limits.disk.is_none() {
        return Some("the root file system is writable and has no bound");
    }
    if spec.has_files() {
        return Some("/workspace is a volume, which no engine bounds");
    }
    let writes_outside = spec
        .workspace
        .as_ref()
        .is_some_and(|workspace| workspace.writable)
        || spec.mounts.iter().any(|mount| mount.writable);
    if writes_outside {
        return Some("a directory of the host is writable");
    }
    let grows = spec.log.as_ref().is_some_and(|log| {
        GROWING_LOGS.contains(&log.driver.as_str()) && !log.config.contains_key("max-size")
    });
    grows.then_some("the engine's log has no max-size")
}

/// A bound that bounds nothing is not what was meant.
pub(super) fn check(spec: &TaskSpec) -> Result<()> {
    if spec.limits.disk.is_some() && !spec.writable_root {
        return Err(Error::invalid(
            Code::LimitInvalid,
            "disk",
            "the root file system is read-only, so that there is no disk to bound; add --writable-root, or size the workspace with \
             --tmpfs /workspace:size=SIZE",
        ));
    }
    if spec.require_disk_bound
        && let Some(why) = unbounded_disk(spec)
    {
        return Err(Error::invalid(
            Code::PolicyRefused,
            "disk",
            format!("{why}, and a bound on all that the task writes was required"),
        ));
    }
    Ok(())
}

/// Says what a refused bound on the disk means. Why the engine refused is in its words alone, so they stay.
pub(super) async fn explain(engine: &Engine, plan: &Plan, error: Error) -> Error {
    let (Some(bytes), Some(_), false) = (plan.limits.disk, error.status(), error.is_conflict())
    else {
        return error;
    };
    let driver = match engine.info().await {
        Ok(info) => crate::error::shown(&info.driver),
        Err(_) => "not known".into(),
    };
    Error::new(
        Code::LimitInvalid,
        Kind::Refused,
        error.operation(),
        format!(
            "with a root file system of at most {} {}; the engine's storage driver is {driver}, and a size needs one with quotas, such as overlay2 on \
             xfs that is mounted with pquota; without one leave --disk out, or keep the root read-only and size the workspace with \
             --tmpfs /workspace:size=SIZE",
            show_size(bytes),
            error.message()
        ),
    )
    .on(plan.name.as_str())
    .with_operation_id(&plan.operation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LogConfig;
    use crate::protocol::image_ref::ImageRef;

    #[test]
    fn what_grows_without_end_is_said() {
        let spec = || TaskSpec::new("s", "t", ImageRef::parse("busybox").unwrap(), ["true"]);
        assert_eq!(unbounded_disk(&spec()), None);
        let mut writable = spec();
        writable.writable_root = true;
        assert!(unbounded_disk(&writable).unwrap().contains("root"));
        writable.limits.disk = Some(1 << 30);
        assert_eq!(unbounded_disk(&writable), None);
        assert!(writable.check().is_ok());
        writable.writable_root = false;
        assert_eq!(writable.check().unwrap_err().code(), Code::LimitInvalid);
        let mut logging = spec();
        logging.log = Some(LogConfig {
            driver: "json-file".into(),
            ..LogConfig::default()
        });
        assert!(unbounded_disk(&logging).unwrap().contains("max-size"));
        if let Some(log) = &mut logging.log {
            log.config.insert("max-size".into(), "10m".into());
        }
        assert_eq!(unbounded_disk(&logging), None);
    }
}
