use acode_rt::error::Result;
use acode_rt::sweep::owned_containers;
use clap::Args;
use serde::Serialize;

use super::{Global, render};

/// List our containers, running or not
#[derive(Debug, Args)]
#[command(after_help = "Example: acode-rt list --session a1b2c3d4 --json")]
pub(crate) struct List {
    /// Only those of this session
    #[arg(long)]
    session: Option<String>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    id: String,
    session: String,
    task: String,
    operation: String,
    state: String,
    status: String,
    image: String,
    age_seconds: u64,
    ephemeral: bool,
}

impl List {
    pub(crate) async fn run(self, global: &Global) -> Result<i32> {
        let engine = global.engine().await?;
        let mut rows: Vec<Row> = owned_containers(&engine)
            .await?
            .into_iter()
            .filter(|(_, labels)| {
                self.session
                    .as_ref()
                    .is_none_or(|session| *session == labels.session)
            })
            .map(|(container, labels)| Row {
                name: container.name().to_owned(),
                session: labels.session,
                task: labels.task,
                operation: labels.operation,
                age_seconds: engine
                    .now()
                    .saturating_sub(u64::try_from(container.created).unwrap_or(0)),
                id: container.id,
                state: container.state,
                status: container.status,
                image: container.image,
                ephemeral: labels.ephemeral,
            })
            .collect();
        rows.sort_by(|a, b| {
            a.age_seconds
                .cmp(&b.age_seconds)
                .then_with(|| a.name.cmp(&b.name))
        });
        if global.json {
            render::print_json(&rows)?;
        } else {
            let cells: Vec<Vec<String>> = rows
                .into_iter()
                .map(|row| {
                    let image = row
                        .image
                        .strip_prefix("sha256:")
                        .map_or(row.image.clone(), |hex| hex.chars().take(12).collect());
                    vec![
                        row.name,
                        row.state,
                        render::age(row.age_seconds),
                        row.session,
                        row.task,
                        image,
                    ]
                })
                .collect();
            render::print(&render::table(
                &["NAME", "STATUS", "AGE", "SESSION", "TASK", "IMAGE"],
                &cells,
            ))?;
        }
        Ok(0)
    }
}
