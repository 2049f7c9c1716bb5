//! What a configuration file may say, and what it may not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use acode_rt::ImageRef;
use acode_rt::error::Result;
use acode_rt::protocol::units::{parse_cpus, parse_duration, parse_size};

use super::policy::{self, Policy};
use super::quoted;
use super::values::{At, Author, Item};
use super::yaml::Node;

/// A file, each value checked by itself.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) docker: Docker,
    /// The operator's, by the long names of options.
    pub(super) defaults: BTreeMap<String, At<Vec<Given>>>,
    /// The operator's.
    pub(super) policy: Policy,
}

/// What both authors may say.
#[derive(Debug, Default)]
pub(super) struct Docker {
    pub(super) images: BTreeMap<String, At<ImageRef>>,
    pub(super) combined: Vec<At<Combined>>,
    pub(super) memory: Option<At<u64>>,
    /// Billionths.
    pub(super) cpus: Option<At<u64>>,
    pub(super) pids: Option<At<u64>>,
    pub(super) shm_size: Option<At<u64>>,
    pub(super) on_task_complete: Option<At<bool>>,
    pub(super) orphan_on_startup: Option<At<bool>>,
    pub(super) cleanup_timeout: Option<At<u64>>,
    pub(super) network: Option<At<String>>,
}

/// An image for several languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Combined {
    /// Sorted, each once.
    pub(crate) languages: Vec<String>,
    pub(crate) image: ImageRef,
}

/// A value for an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    Truth(bool),
    Text(String),
}

/// Reads a file; `node` is what is in it.
pub(super) fn read(name: &Arc<str>, author: Author, node: Option<&Node>) -> Result<File> {
    let mut file = File::default();
    let Some(node) = node else { return Ok(file) };
    for item in Item::root(name, author, node).section()? {
        match (item.key(), author) {
            ("docker", _) => docker(&item, &mut file.docker)?,
            ("defaults" | "policy", Author::Repository) => {
                return Err(item.refused(
                    "only the operator's file may have this section; a repository's has docker alone",
                ));
            }
            ("defaults", Author::Operator) => file.defaults = defaults(&item)?,
            ("policy", Author::Operator) => file.policy = policy::read(&item)?,
            (_, Author::Operator) => return Err(item.unknown(&["docker", "defaults", "policy"])),
            (_, Author::Repository) => return Err(item.unknown(&["docker"])),
        }
    }
    Ok(file)
}

fn docker(section: &Item<'_>, docker: &mut Docker) -> Result<()> {
    for item in section.section()? {
        match item.key() {
            "enabled" if item.boolean()? => {}
            "enabled" => {
                return Err(
                    item.refused("tasks run in containers or not at all; only true is right here")
                );
            }
            "images" => images(&item, docker)?,
            "resources" => resources(&item, docker)?,
            "cleanup" => cleanup(&item, docker)?,
            "network" => docker.network = Some(item.at(network(&item)?)),
            _ => {
                let known = ["enabled", "images", "resources", "cleanup", "network"];
                return Err(item.unknown(&known));
            }
        }
    }
    Ok(())
}

fn network(item: &Item<'_>) -> Result<String> {
    let name = item.text()?;
    if item.author == Author::Repository && name != "none" {
        return Err(item.refused(
            "a repository may only say none; --network or the operator's file may say more",
        ));
    }
    Ok(name.to_owned())
}

fn images(section: &Item<'_>, docker: &mut Docker) -> Result<()> {
    for item in section.section()? {
        if item.key() == "combined" {
            docker.combined = item.list()?.iter().map(combined).collect::<Result<_>>()?;
            continue;
        }
        parse_language(item.key()).map_err(|why| item.wrong(&why))?;
        let image = image(&item)?;
        docker.images.insert(item.key().to_owned(), item.at(image));
    }
    Ok(())
}

fn image(item: &Item<'_>) -> Result<ImageRef> {
    item.parsed(|text| {
        if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(format!("{} is a number, not an image", quoted(text)));
        }
        ImageRef::parse(text)
    })
}

fn combined(entry: &Item<'_>) -> Result<At<Combined>> {
    let (mut languages, mut found) = (None, None);
    for item in entry.section()? {
        match item.key() {
            "languages" => {
                let names = item.list()?;
                let names = names.iter().map(|name| name.parsed(parse_language));
                languages = Some(distinct(names.collect::<Result<_>>()?));
            }
            "image" => found = Some(image(&item)?),
            _ => return Err(item.unknown(&["languages", "image"])),
        }
    }
    match (languages, found) {
        (Some(languages), Some(image)) if languages.len() > 1 => {
            Ok(entry.at(Combined { languages, image }))
        }
        _ => Err(entry.wrong(
            "it needs two languages or more and an image, such as {languages: [node, python], image: team/both:1}",
        )),
    }
}

/// Sorted, each once.
pub(crate) fn distinct(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

/// The name of a language, as it stands in `docker.images`.
pub(crate) fn parse_language(text: &str) -> Result<String, String> {
    let fine = (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text != "combined"
        && text.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'#' | b'-' | b'.')
        });
    if fine {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not the name of a language; it is lower-case letters and digits, such as node",
            quoted(text)
        ))
    }
}

fn resources(section: &Item<'_>, docker: &mut Docker) -> Result<()> {
    for item in section.section()? {
        match item.key() {
            "memory" => {
                let bytes = size(&item)?;
                if bytes < 6 << 20 {
                    return Err(item.wrong("the engine needs at least 6m"));
                }
                docker.memory = Some(item.at(bytes));
            }
            "cpus" => {
                let nano = cpus(&item)?;
                docker.cpus = Some(item.at(nano));
            }
            "pids_limit" => docker.pids = Some(item.at(pids(&item)?)),
            "shm_size" => {
                let bytes = size(&item)?;
                if bytes == 0 {
                    return Err(item.wrong("it cannot be 0"));
                }
                docker.shm_size = Some(item.at(bytes));
            }
            _ => return Err(item.unknown(&["memory", "cpus", "pids_limit", "shm_size"])),
        }
    }
    Ok(())
}

pub(super) fn size(item: &Item<'_>) -> Result<u64> {
    item.parsed(parse_size)
}

pub(super) fn cpus(item: &Item<'_>) -> Result<u64> {
    if item.is_quoted() {
        return Err(item.wrong("it has to be a number, such as 1.5, without quotation marks"));
    }
    let nano = item.parsed(parse_cpus)?;
    if nano < 10_000_000 {
        return Err(item.wrong("the least is 0.01"));
    }
    Ok(nano)
}

pub(super) fn pids(item: &Item<'_>) -> Result<u64> {
    let pids = item.number()?;
    if pids == 0 || u32::try_from(pids).is_err() {
        return Err(item.wrong("it has to be 1 to 4294967295"));
    }
    Ok(pids)
}

pub(super) fn duration(item: &Item<'_>) -> Result<Duration> {
    item.parsed(parse_duration)
}

fn cleanup(section: &Item<'_>, docker: &mut Docker) -> Result<()> {
    for item in section.section()? {
        match item.key() {
            "on_task_complete" => docker.on_task_complete = Some(item.at(switch(&item)?)),
            "on_agent_exit" if item.boolean()? => {}
            "on_agent_exit" => {
                return Err(item.refused(
                    "what a program leaves when it exits is always removed; only true is right here",
                ));
            }
            "orphan_on_startup" => docker.orphan_on_startup = Some(item.at(switch(&item)?)),
            "timeout_seconds" => {
                let seconds = item.number()?;
                if !(1..=86_400).contains(&seconds) {
                    return Err(item.wrong("it has to be 1 to 86400"));
                }
                docker.cleanup_timeout = Some(item.at(seconds));
            }
            _ => {
                return Err(item.unknown(&[
                    "on_task_complete",
                    "on_agent_exit",
                    "orphan_on_startup",
                    "timeout_seconds",
                ]));
            }
        }
    }
    Ok(())
}

/// A part of the clean-up, which only the operator may switch off.
fn switch(item: &Item<'_>) -> Result<bool> {
    let on = item.boolean()?;
    if !on && item.author == Author::Repository {
        return Err(
            item.refused("a repository cannot switch clean-up off; only true is right here")
        );
    }
    Ok(on)
}

fn defaults(section: &Item<'_>) -> Result<BTreeMap<String, At<Vec<Given>>>> {
    let mut defaults = BTreeMap::new();
    for item in section.section()? {
        let values = if item.is_list() {
            item.list()?.iter().map(given).collect::<Result<Vec<_>>>()?
        } else {
            vec![given(&item)?]
        };
        if values.is_empty() {
            return Err(item.wrong("the list is empty; leave the key out"));
        }
        defaults.insert(item.key().to_owned(), item.at(values));
    }
    Ok(defaults)
}

fn given(item: &Item<'_>) -> Result<Given> {
    match item.as_boolean() {
        Some(on) => Ok(Given::Truth(on)),
        None => Ok(Given::Text(item.text()?.to_owned())),
    }
}
