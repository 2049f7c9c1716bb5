//! The image of a task: on the engine already, or pulled first.

use std::time::{Duration, Instant};

use super::receipt::ImageReceipt;
use crate::engine::{Engine, PullStep};
use crate::error::{Code, Error, Kind, Result};
use crate::model::ImageInspect;
use crate::protocol::image_ref::ImageRef;
use crate::protocol::pull_progress::PullProgress;

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// When the engine does not have it.
    #[default]
    Missing,
    /// Each time, so that a tag is what it is now. An id is not pulled: it is always the same.
    Always,
    /// Not at all.
    Never,
}

/// What happens while an image is looked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PullEvent {
    /// The engine does not have it.
    Missing,
    /// It is being pulled.
    Pulling(PullProgress),
    /// The pull failed, and will be tried again.
    Waiting {
        /// What failed.
        error: String,
        /// Until the next try.
        pause: Duration,
    },
    /// It is there.
    Pulled {
        /// How long that took.
        took: Duration,
    },
}

/// Hears of a pull; not to block, since the task waits for it.
pub type OnPull = Box<dyn Fn(&PullEvent) + Send + Sync>;

/// An image that is on the engine.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) receipt: ImageReceipt,
    pub(super) inspect: ImageInspect,
    /// How long the pull took, where there was one.
    pub(super) pull: Option<Duration>,
}

/// What is asked for of an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) image: &'a ImageRef,
    /// For whom, in the log.
    pub(super) operation: &'a str,
    pub(super) policy: PullPolicy,
    /// For the whole pull, repeats among it.
    pub(super) timeout: Duration,
    /// The engine is asked for the name in full: rules have judged that, and it might know a short one otherwise.
    pub(super) in_full: bool,
}

impl Wanted<'_> {
    /// Makes sure that the image is there (FR-020A-39, FR-020A-43). One that is costs one call.
    ///
    /// # Errors
    /// `ACODE-CTN-011` when it is not and is not to be pulled, or the registry does not have it either; `ACODE-CTN-006` when the pull fails.
    pub(super) async fn find(self, engine: &Engine, on_pull: Option<&OnPull>) -> Result<Found> {
        let tell = |event: PullEvent| {
            if let Some(on_pull) = on_pull {
                on_pull(&event);
            }
        };
        // After a pull always in full: bare hex digits could be the id of another image.
        let in_full = ImageRef::parse(&self.image.canonical())
            .map_err(|why| Error::invalid(Code::Configuration, "pull", why))?;
        if self.policy != PullPolicy::Always || self.image.is_nameless() {
            let name = if self.in_full || self.image.has_registry() {
                &in_full
            } else {
                self.image
            };
            let missing = match engine.image_inspect(name).await {
                Ok(inspect) => return self.found(inspect, None),
                Err(error) => error,
            };
            let to_be_pulled = missing.is_not_found()
                && self.policy == PullPolicy::Missing
                && !self.image.is_nameless();
            if !to_be_pulled {
                return Err(missing);
            }
            tell(PullEvent::Missing);
        }
        tracing::info!(operation = self.operation, image = %self.image, "pulling");
        let began = Instant::now();
        let pulled = engine.image_pull_once(self.image, |step| {
            tell(match step {
                PullStep::Pulling(progress) => PullEvent::Pulling(*progress),
                PullStep::Waiting { error, pause } => PullEvent::Waiting {
                    error: error.clone(),
                    pause: *pause,
                },
            });
        });
        tokio::time::timeout(self.timeout, pulled)
            .await
            .map_err(|_| self.too_slow())??;
        let inspect = engine.image_inspect(&in_full).await.map_err(|error| {
            if error.is_not_found() {
                error.with_code(Code::PullFailed)
            } else {
                error
            }
        })?;
        let took = began.elapsed();
        let found = self.found(inspect, Some(took))?;
        tracing::info!(
            operation = self.operation, image = %self.image, id = found.receipt.id, digest = found.receipt.digest, ?took, "pulled"
        );
        tell(PullEvent::Pulled { took });
        Ok(found)
    }

    fn too_slow(&self) -> Error {
        Error::new(
            Code::PullFailed,
            Kind::Timeout,
            "pull",
            format!(
                "it was not pulled within {:?}; give it more with --pull-timeout",
                self.timeout
            ),
        )
        .on(self.image.as_str())
    }

    fn found(&self, inspect: ImageInspect, pull: Option<Duration>) -> Result<Found> {
        let digest = digest_of(self.image, &inspect);
        if let Some(asked) = self.image.digest()
            && asked != inspect.id
            && digest.as_deref() != Some(asked)
        {
            return Err(Error::new(
                Code::PullFailed,
                Kind::Refused,
                "image digest",
                "the engine has another image under this reference than the digest names",
            )
            .on(self.image.as_str()));
        }
        tracing::debug!(operation = self.operation, image = %self.image, id = inspect.id, digest, "image");
        Ok(Found {
            receipt: ImageReceipt {
                reference: self.image.as_str().to_owned(),
                id: inspect.id.clone(),
                digest,
                pulled: pull.is_some(),
            },
            inspect,
            pull,
        })
    }
}

/// The digest by which a registry knows the image: the one that was asked for, if it has that, else the one of its repository.
fn digest_of(image: &ImageRef, inspect: &ImageInspect) -> Option<String> {
    let known: Vec<(String, &str)> = inspect
        .repo_digests
        .iter()
        .filter_map(|name| {
            let known = ImageRef::parse(name).ok()?;
            Some((known.repository(), name.split_once('@')?.1))
        })
        .collect();
    let asked = known
        .iter()
        .find(|(_, digest)| image.digest() == Some(digest));
    let same = || {
        let repository = image.repository();
        known
            .iter()
            .find(|(name, _)| image.may_be_id() || *name == repository)
    };
    asked.or_else(same).map(|(_, digest)| (*digest).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fr_020a_46_a_digest_that_was_asked_for_is_the_one_that_is_there() {
        let digest = |byte: &str| format!("sha256:{}", byte.repeat(32));
        let inspect = ImageInspect {
            id: digest("0f"),
            repo_digests: vec![
                format!("localhost:5000/busybox@{}", digest("a1")),
                format!("busybox@{}", digest("b2")),
            ],
            ..ImageInspect::default()
        };
        let found = |text: &str| {
            let image = ImageRef::parse(text).unwrap();
            let wanted = Wanted {
                image: &image,
                operation: "",
                policy: PullPolicy::Missing,
                timeout: Duration::ZERO,
                in_full: false,
            };
            wanted
                .found(inspect.clone(), None)
                .map(|found| found.receipt.digest)
        };
        assert_eq!(found("busybox:1").unwrap(), Some(digest("b2")));
        assert_eq!(found("localhost:5000/busybox").unwrap(), Some(digest("a1")));
        assert_eq!(found("elsewhere/busybox").unwrap(), None);
        assert_eq!(found(&digest("0f")).unwrap(), Some(digest("a1")));
        let pinned = format!("busybox:1@{}", digest("b2"));
        assert_eq!(found(&pinned).unwrap(), Some(digest("b2")));
        let other = format!("busybox:1@{}", digest("cc"));
        assert_eq!(found(&other).unwrap_err().code(), Code::PullFailed);
        assert_eq!(found(&digest("cc")).unwrap_err().code(), Code::PullFailed);
    }
}
