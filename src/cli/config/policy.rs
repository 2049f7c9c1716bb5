//! The operator's `policy`: what a task may ask for at all, whoever asks.

use std::path::PathBuf;

use acode_rt::error::Result;
use acode_rt::protocol::image_pattern::ImagePattern;
use acode_rt::protocol::units::{show_cpus, show_size};
use acode_rt::task::{AllowedSource, Rules, check_capability};

use super::schema::{cpus, duration, pids, size};
use super::values::{Item, Place};

/// The rules, and where each was written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policy {
    pub(crate) rules: Rules,
    /// For people, in the file's order.
    pub(crate) lines: Vec<Line>,
}

/// One rule for people.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) place: Place,
}

impl Policy {
    /// Where a rule was written.
    pub(super) fn place(&self, key: &str) -> Option<&Place> {
        let line = self.lines.iter().find(|line| line.key == key)?;
        Some(&line.place)
    }

    fn note(&mut self, item: &Item<'_>, value: impl Into<String>) {
        self.lines.push(Line {
            key: item.path().to_owned(),
            value: value.into(),
            place: item.place(),
        });
    }
}

pub(super) fn read(section: &Item<'_>) -> Result<Policy> {
    let mut policy = Policy::default();
    for item in section.section()? {
        match item.key() {
            "images" => images(&item, &mut policy)?,
            "mounts" => mounts(&item, &mut policy)?,
            "max" => most(&item, &mut policy)?,
            "networks" => policy.rules.networks = Some(names(&item, &mut policy)?),
            "capabilities" => {
                for name in item.list()? {
                    name.parsed(check_capability)?;
                }
                policy.rules.capabilities = Some(names(&item, &mut policy)?);
            }
            "deny" => deny(&item, &mut policy)?,
            _ => {
                return Err(item.unknown(&[
                    "images",
                    "mounts",
                    "max",
                    "networks",
                    "capabilities",
                    "deny",
                ]));
            }
        }
    }
    Ok(policy)
}

fn images(section: &Item<'_>, policy: &mut Policy) -> Result<()> {
    for item in section.section()? {
        let images = &mut policy.rules.images;
        let shown = match item.key() {
            "allow" => {
                images.allow = patterns(&item)?;
                if images.allow.is_empty() {
                    return Err(item.wrong(
                        "an empty list would admit nothing; leave it out to admit everything",
                    ));
                }
                join(&images.allow)
            }
            "deny" => {
                images.deny = patterns(&item)?;
                join(&images.deny)
            }
            "pinned" => {
                images.pinned = item.boolean()?;
                images.pinned.to_string()
            }
            "local_only" => {
                images.local_only = item.boolean()?;
                images.local_only.to_string()
            }
            _ => return Err(item.unknown(&["allow", "deny", "pinned", "local_only"])),
        };
        policy.note(&item, shown);
    }
    Ok(())
}

fn patterns(list: &Item<'_>) -> Result<Vec<ImagePattern>> {
    let pattern =
        |item: &Item<'_>| ImagePattern::parse(item.text()?).map_err(|message| item.wrong(&message));
    list.list()?.iter().map(pattern).collect()
}

fn join(patterns: &[ImagePattern]) -> String {
    let texts: Vec<&str> = patterns.iter().map(ImagePattern::as_str).collect();
    texts.join(", ")
}

fn mounts(section: &Item<'_>, policy: &mut Policy) -> Result<()> {
    for item in section.section()? {
        match item.key() {
            "allow" => {
                let sources: Vec<AllowedSource> =
                    item.list()?.iter().map(source).collect::<Result<_>>()?;
                let shown = |source: &AllowedSource| {
                    let writable = if source.writable { " (writable)" } else { "" };
                    format!("{}{writable}", source.path.display())
                };
                let shown: Vec<String> = sources.iter().map(shown).collect();
                policy.note(&item, shown.join(", "));
                policy.rules.mounts.allow = Some(sources);
            }
            _ => return Err(item.unknown(&["allow"])),
        }
    }
    Ok(())
}

fn source(entry: &Item<'_>) -> Result<AllowedSource> {
    let (mut path, mut writable) = (None, false);
    for item in entry.section()? {
        match item.key() {
            "path" => {
                let text = item.text()?;
                let parts = text.split('/');
                if !text.starts_with('/') || parts.into_iter().any(|part| part == "..") {
                    return Err(item.wrong("it has to be an absolute path without '..'"));
                }
                path = Some(PathBuf::from(text));
            }
            "writable" => writable = item.boolean()?,
            _ => return Err(item.unknown(&["path", "writable"])),
        }
    }
    let path = path.ok_or_else(|| entry.wrong("it needs a path"))?;
    Ok(AllowedSource { path, writable })
}

fn most(section: &Item<'_>, policy: &mut Policy) -> Result<()> {
    for item in section.section()? {
        let most = &mut policy.rules.most;
        let shown = match item.key() {
            "memory" => {
                let bytes = size(&item)?;
                most.memory = Some(bytes);
                show_size(bytes)
            }
            "cpus" => {
                let nano = cpus(&item)?;
                most.nano_cpus = Some(nano);
                show_cpus(nano)
            }
            "pids" => {
                let pids = u32::try_from(pids(&item)?).unwrap_or(u32::MAX);
                most.pids = Some(pids);
                pids.to_string()
            }
            "timeout" => {
                let timeout = duration(&item)?;
                if timeout.is_zero() {
                    return Err(item.wrong("it cannot be 0"));
                }
                most.timeout = Some(timeout);
                format!("{timeout:?}")
            }
            _ => return Err(item.unknown(&["memory", "cpus", "pids", "timeout"])),
        };
        policy.note(&item, shown);
    }
    Ok(())
}

fn names(item: &Item<'_>, policy: &mut Policy) -> Result<Vec<String>> {
    let items = item.list()?;
    let names = items.iter().map(|name| Ok(name.text()?.to_owned()));
    let names: Vec<String> = names.collect::<Result<_>>()?;
    policy.note(item, names.join(", "));
    Ok(names)
}

fn deny(item: &Item<'_>, policy: &mut Policy) -> Result<()> {
    const KNOWN: &str = "root, writable-root, keep or ignored";
    for name in item.list()? {
        let rules = &mut policy.rules;
        let denied = match name.text()? {
            "root" => &mut rules.deny_root,
            "writable-root" => &mut rules.deny_writable_root,
            "keep" => &mut rules.deny_keep,
            "ignored" => &mut rules.deny_ignored,
            _ => return Err(name.wrong(&format!("it has to be {KNOWN}"))),
        };
        *denied = true;
    }
    let names = item.list()?;
    let names: Vec<&str> = names.iter().map(Item::text).collect::<Result<_>>()?;
    policy.note(item, names.join(", "));
    Ok(())
}
