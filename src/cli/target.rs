//! From NAME, a container's name or SESSION/TASK, to a container of ours; others are not touched.

use acode_rt::engine::{Engine, ListOptions};
use acode_rt::error::{Code, Error, Kind, Result};
use acode_rt::model::Inspect;
use acode_rt::protocol::labels::{SESSION, TASK, TaskLabels};
use acode_rt::sweep::owned_labels;

pub(crate) struct Target {
    pub(crate) inspect: Inspect,
    pub(crate) labels: TaskLabels,
}

impl Target {
    pub(crate) fn name(&self) -> &str {
        self.inspect.name.trim_start_matches('/')
    }
}

pub(crate) async fn find(engine: &Engine, name: &str) -> Result<Target> {
    let wrong = |message: &str| Error::new(Code::Name, Kind::Refused, "find", message).on(name);
    let reference = match name.split_once('/') {
        None => name.to_owned(),
        Some((session, task)) => {
            let mut options = ListOptions::managed();
            options.filters = options
                .filters
                .with("label", format!("{SESSION}={session}"))
                .with("label", format!("{TASK}={task}"));
            let found = engine.container_list(&options).await?;
            match found.as_slice() {
                [one] => one.id.clone(),
                [] => return Err(wrong("no container of ours has this session and task")),
                many => {
                    let names: Vec<&str> = many.iter().map(acode_rt::model::Listed::name).collect();
                    return Err(wrong(&format!(
                        "several containers have it, name one: {}",
                        names.join(", ")
                    )));
                }
            }
        }
    };
    let inspect = engine
        .container_inspect(&reference)
        .await
        .map_err(|error| {
            if error.is_not_found() {
                wrong("there is no such container")
            } else {
                error
            }
        })?;
    let labels = owned_labels(engine, &inspect).await?.ok_or_else(|| {
        wrong("this container was not made by acode-rt, as far as can be told, and is left alone")
    })?;
    Ok(Target { inspect, labels })
}
