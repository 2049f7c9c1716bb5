use acode_rt::ImageRef;
use acode_rt::error::Result;
use acode_rt::model::ImageListed;
use clap::Args;
use serde::Serialize;

use super::{Global, pulling, render};

/// List the images on the engine
#[derive(Debug, Args)]
#[command(after_help = "Example: acode-rt images --json")]
pub(crate) struct Images {}

/// An image under one of its names.
#[derive(Serialize)]
struct Row {
    reference: Option<String>,
    id: String,
    digest: Option<String>,
    size: u64,
    /// Some images do not say when they were made.
    age_seconds: Option<u64>,
}

impl Images {
    pub(crate) async fn run(self, global: &Global) -> Result<i32> {
        let engine = global.engine().await?;
        let now = engine.now();
        let images = engine.image_list().await?;
        let mut rows: Vec<Row> = images
            .iter()
            .flat_map(|image| rows_of(image, now))
            .collect();
        rows.sort_by(|a, b| a.reference.cmp(&b.reference).then_with(|| a.id.cmp(&b.id)));
        if global.json {
            render::print_json(&rows)?;
            return Ok(0);
        }
        let cells: Vec<Vec<String>> = rows
            .into_iter()
            .map(|row| {
                let hex = row.id.trim_start_matches("sha256:");
                vec![
                    hex.chars().take(12).collect(),
                    pulling::megabytes(row.size),
                    row.age_seconds.map_or_else(|| "-".into(), render::age),
                    row.reference.unwrap_or_else(|| "-".into()),
                ]
            })
            .collect();
        render::print(&render::table(&["ID", "SIZE", "AGE", "IMAGE"], &cells))?;
        Ok(0)
    }
}

/// One for each tag, or for each digest where there is no tag.
fn rows_of(image: &ImageListed, now: u64) -> Vec<Row> {
    // Docker writes <none>:<none> where there is nothing.
    let names = |names: &[String]| -> Vec<ImageRef> {
        names
            .iter()
            .filter_map(|name| ImageRef::parse(name).ok())
            .collect()
    };
    let digests = names(&image.repo_digests);
    let tags = names(&image.repo_tags);
    let shown: Vec<Option<&ImageRef>> = match (tags.is_empty(), digests.is_empty()) {
        (true, true) => vec![None],
        (true, false) => digests.iter().map(Some).collect(),
        (false, _) => tags.iter().map(Some).collect(),
    };
    let created = u64::try_from(image.created).ok().filter(|at| *at > 0);
    shown
        .into_iter()
        .map(|name| Row {
            digest: digests
                .iter()
                .find(|known| name.is_some_and(|name| name.repository() == known.repository()))
                .and_then(|known| known.digest().map(str::to_owned)),
            reference: name.map(ToString::to_string),
            id: image.id.clone(),
            size: u64::try_from(image.size).unwrap_or(0),
            age_seconds: created.map(|at| now.saturating_sub(at)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fr_020a_48_every_name_has_a_row() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        let image = |tags: &[&str], digests: &[String]| ImageListed {
            id: digest.clone(),
            repo_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            repo_digests: digests.to_vec(),
            created: 5,
            size: 7,
        };
        let names = |image: ImageListed| -> Vec<(Option<String>, bool)> {
            rows_of(&image, 10)
                .into_iter()
                .map(|row| (row.reference, row.digest.is_some()))
                .collect()
        };
        let known = format!("a/b@{digest}");
        assert_eq!(
            names(image(&["a/b:1", "c:2"], std::slice::from_ref(&known))),
            [(Some("a/b:1".into()), true), (Some("c:2".into()), false)]
        );
        assert_eq!(
            names(image(&[], std::slice::from_ref(&known))),
            [(Some(known), true)]
        );
        let nothing = image(&["<none>:<none>"], &["<none>@<none>".into()]);
        assert_eq!(names(nothing), [(None, false)]);
    }
}
