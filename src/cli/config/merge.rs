//! What holds: built-in, then the operator's file, then the repository's, which may only lower and choose (FR-020A-37, FR-020A-45).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use acode_rt::ImageRef;
use acode_rt::error::{Code, Error, Result};
use acode_rt::protocol::units::{parse_cpus, parse_duration, parse_size, show_cpus, show_size};
use acode_rt::task::{HostCapacity, Limits, Resolved};

use super::languages;
use super::policy::Policy;
use super::schema::{Combined, Docker, File, Given};
use super::values::{At, Author, Place, at_place};

/// A repository may shorten the clean-up's time no further: what is cut short leaves containers to the guard.
const LEAST_CLEANUP: u64 = 10;

/// What the files and the program itself say; environment and options stand above.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// Defaults of options by their long names.
    pub(super) options: BTreeMap<String, Setting>,
    /// By language.
    pub(super) images: BTreeMap<String, (ImageRef, Option<Place>)>,
    /// The repository's come first.
    pub(super) combined: Vec<At<Combined>>,
    pub(super) policy: Policy,
    /// What was read.
    pub(super) files: Vec<(Author, Arc<str>)>,
    /// The image was said by a file, so that a language that was said for this task counts more.
    pub(super) image_is_default: bool,
}

/// A default that a file gives to an option.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) values: Vec<Given>,
    /// The key that gave it.
    pub(super) key: String,
    pub(super) author: Author,
    pub(super) place: Place,
}

/// A limit that both authors may set.
struct Limit {
    option: &'static str,
    key: &'static str,
    /// What the program gives unless the host has less, and what it gives here.
    built_in: u64,
    here: u64,
    most: Option<(u64, &'static str)>,
    parse: fn(&str) -> std::result::Result<u64, String>,
    show: fn(u64) -> String,
}

pub(super) fn merge(operator: File, repository: File, host: HostCapacity) -> Result<Settings> {
    let mut settings = Settings {
        images: languages::built_in(),
        policy: operator.policy,
        ..Settings::default()
    };
    for (option, given) in operator.defaults {
        let key = format!("defaults.{option}");
        settings.set(&option, key, Author::Operator, given);
    }
    let limits = limits(host, &settings.policy)?;
    settings.take_operator(&operator.docker, &limits)?;
    for limit in &limits {
        settings.hold_to_policy(limit)?;
    }
    settings.take_repository(&repository.docker, &limits)?;
    let both = [
        (operator.docker.images, operator.docker.combined),
        (repository.docker.images, repository.docker.combined),
    ];
    for (images, combined) in both {
        for (language, At { value, place }) in images {
            settings.images.insert(language, (value, Some(place)));
        }
        settings.combined.splice(0..0, combined);
    }
    Ok(settings)
}

fn limits(host: HostCapacity, policy: &Policy) -> Result<[Limit; 4]> {
    let resolve = |host| -> Result<Resolved> { Ok(Limits::default().resolve(host)?.0) };
    let (built_in, here) = (resolve(HostCapacity::default())?, resolve(host)?);
    let most = &policy.rules.most;
    Ok([
        Limit {
            option: "memory",
            key: "docker.resources.memory",
            built_in: built_in.memory,
            here: here.memory,
            most: most.memory.map(|most| (most, "policy.max.memory")),
            parse: parse_size,
            show: show_size,
        },
        Limit {
            option: "cpus",
            key: "docker.resources.cpus",
            built_in: built_in.nano_cpus,
            here: here.nano_cpus,
            most: most.nano_cpus.map(|most| (most, "policy.max.cpus")),
            parse: parse_cpus,
            show: show_cpus,
        },
        Limit {
            option: "pids",
            key: "docker.resources.pids_limit",
            built_in: built_in.pids.into(),
            here: here.pids.into(),
            most: most.pids.map(|most| (most.into(), "policy.max.pids")),
            parse: |text| {
                text.parse()
                    .map_err(|_| "it has to be a whole number".into())
            },
            show: |pids| pids.to_string(),
        },
        Limit {
            option: "shm-size",
            key: "docker.resources.shm_size",
            built_in: built_in.shm_size,
            here: here.shm_size,
            most: None,
            parse: parse_size,
            show: show_size,
        },
    ])
}

impl Docker {
    fn limit(&self, option: &str) -> Option<&At<u64>> {
        match option {
            "memory" => self.memory.as_ref(),
            "cpus" => self.cpus.as_ref(),
            "pids" => self.pids.as_ref(),
            _ => self.shm_size.as_ref(),
        }
    }
}

impl Settings {
    fn set(&mut self, option: &str, key: String, author: Author, given: At<Vec<Given>>) {
        let setting = Setting {
            values: given.value,
            key,
            author,
            place: given.place,
        };
        self.options.insert(option.to_owned(), setting);
    }

    fn set_text<T>(&mut self, option: &str, key: &str, author: Author, at: &At<T>, text: String) {
        let given = At {
            value: vec![Given::Text(text)],
            place: at.place.clone(),
        };
        self.set(option, key.to_owned(), author, given);
    }

    /// What `docker` says in the operator's file, as defaults of options.
    fn take_operator(&mut self, docker: &Docker, limits: &[Limit]) -> Result<()> {
        for limit in limits {
            if let Some(at) = docker.limit(limit.option) {
                self.not_twice(limit.option, limit.key, &at.place)?;
                let text = (limit.show)(at.value);
                self.set_text(limit.option, limit.key, Author::Operator, at, text);
            }
        }
        if let Some(at) = &docker.cleanup_timeout {
            let key = "docker.cleanup.timeout_seconds";
            self.not_twice("cleanup-timeout", key, &at.place)?;
            let text = format!("{}s", at.value);
            self.set_text("cleanup-timeout", key, Author::Operator, at, text);
        }
        if let Some(at) = &docker.network {
            self.not_twice("network", "docker.network", &at.place)?;
            let text = at.value.clone();
            self.set_text("network", "docker.network", Author::Operator, at, text);
        }
        if let Some(at) = &docker.on_task_complete {
            let key = "docker.cleanup.on_task_complete";
            self.not_twice("keep", key, &at.place)?;
            self.set_keep(key, Author::Operator, at);
        }
        if let Some(at) = &docker.orphan_on_startup {
            let key = "docker.cleanup.orphan_on_startup";
            self.not_twice("sweep", key, &at.place)?;
            let text = if at.value { "beside" } else { "off" };
            self.set_text("sweep", key, Author::Operator, at, text.into());
        }
        Ok(())
    }

    fn set_keep(&mut self, key: &str, author: Author, removed: &At<bool>) {
        let given = At {
            value: vec![Given::Truth(!removed.value)],
            place: removed.place.clone(),
        };
        self.set("keep", key.to_owned(), author, given);
    }

    fn not_twice(&self, option: &str, key: &str, place: &Place) -> Result<()> {
        match self.options.get(option) {
            Some(other) => Err(at_place(
                Code::Configuration,
                place,
                &format!(
                    "{key}: {} in line {} says the same; keep one of them",
                    other.key, other.place.line
                ),
            )),
            None => Ok(()),
        }
    }

    /// What the operator gives is within the operator's own maximum, also where it is the program that gives it.
    fn hold_to_policy(&mut self, limit: &Limit) -> Result<()> {
        let Some((most, rule)) = limit.most else {
            return Ok(());
        };
        match self.options.get(limit.option) {
            Some(setting) => {
                let value = setting.amount(limit.parse)?;
                if value > most {
                    let message = format!(
                        "{}: {} is above {rule}, {}",
                        setting.key,
                        (limit.show)(value),
                        (limit.show)(most)
                    );
                    return Err(at_place(Code::Configuration, &setting.place, &message));
                }
            }
            None if most < limit.here => {
                if let Some(place) = self.policy.place(rule).cloned() {
                    let at = At { value: (), place };
                    let text = (limit.show)(most);
                    self.set_text(limit.option, rule, Author::Operator, &at, text);
                }
            }
            None => {}
        }
        Ok(())
    }

    fn take_repository(&mut self, docker: &Docker, limits: &[Limit]) -> Result<()> {
        for limit in limits {
            let Some(at) = docker.limit(limit.option) else {
                continue;
            };
            let given = self.options.get(limit.option);
            let holds = match given {
                Some(setting) => setting.amount(limit.parse)?,
                None => limit.built_in,
            };
            if at.value > holds {
                return Err(may_only_lower(
                    limit.key,
                    &(limit.show)(holds),
                    given,
                    &at.place,
                ));
            }
            // Equal, or above what this host has in any case: nothing changes.
            let lowers = given.map_or(at.value < limit.here, |_| at.value < holds);
            if lowers {
                let text = (limit.show)(at.value);
                self.set_text(limit.option, limit.key, Author::Repository, at, text);
            }
        }
        if let Some(at) = &docker.cleanup_timeout {
            self.shorten_cleanup(at)?;
        }
        if let Some(at) = &docker.network {
            let text = at.value.clone();
            self.set_text("network", "docker.network", Author::Repository, at, text);
        }
        // Both can only be true here.
        if let Some(at) = &docker.on_task_complete
            && self.options.contains_key("keep")
        {
            self.set_keep("docker.cleanup.on_task_complete", Author::Repository, at);
        }
        let unswept = self.options.get("sweep");
        if let Some(at) = &docker.orphan_on_startup
            && unswept.is_some_and(|sweep| sweep.values == [Given::Text("off".into())])
        {
            let key = "docker.cleanup.orphan_on_startup";
            self.set_text("sweep", key, Author::Repository, at, "beside".into());
        }
        Ok(())
    }

    fn shorten_cleanup(&mut self, at: &At<u64>) -> Result<()> {
        let key = "docker.cleanup.timeout_seconds";
        let given = self.options.get("cleanup-timeout");
        let holds = match given {
            Some(setting) => Duration::from_nanos(setting.amount(nanos)?),
            None => Duration::from_secs(30),
        };
        let asked = Duration::from_secs(at.value);
        if asked > holds {
            return Err(may_only_lower(key, &format!("{holds:?}"), given, &at.place));
        }
        if asked < holds && at.value < LEAST_CLEANUP {
            let message = format!(
                "{key}: a repository may shorten the clean-up to {LEAST_CLEANUP} seconds, no further"
            );
            return Err(at_place(Code::PolicyRefused, &at.place, &message));
        }
        if asked < holds {
            let text = format!("{}s", at.value);
            self.set_text("cleanup-timeout", key, Author::Repository, at, text);
        }
        Ok(())
    }

    /// The rules that the operator's file gives.
    pub(crate) fn rules(&self) -> acode_rt::task::Rules {
        self.policy.rules.clone()
    }
}

impl Setting {
    /// What the operator gave, as a number.
    fn amount(&self, parse: fn(&str) -> std::result::Result<u64, String>) -> Result<u64> {
        let parsed = match self.values.as_slice() {
            [Given::Text(text)] => parse(text),
            _ => Err("it has to be one value, and no truth value".into()),
        };
        parsed.map_err(|why| {
            let message = format!("{}: {why}", self.key);
            at_place(Code::Configuration, &self.place, &message)
        })
    }
}

fn nanos(text: &str) -> std::result::Result<u64, String> {
    Ok(u64::try_from(parse_duration(text)?.as_nanos()).unwrap_or(u64::MAX))
}

fn may_only_lower(key: &str, holds: &str, given: Option<&Setting>, place: &Place) -> Error {
    let source = given.map_or("built-in".to_owned(), |setting| {
        format!("{} in {}", setting.key, setting.place)
    });
    let message = format!("{key}: a repository may only lower it; {holds} holds ({source})");
    at_place(Code::PolicyRefused, place, &message)
}

#[cfg(test)]
mod no_looser;
#[cfg(test)]
pub(super) mod tests;
