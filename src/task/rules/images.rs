//! Which images may be run.

use crate::error::{Code, Error, Result, shown};
use crate::protocol::image_pattern::ImagePattern;
use crate::protocol::image_ref::ImageRef;
use crate::task::{PullPolicy, TaskSpec};

/// Which images may be run. The default admits all.
///
/// The rules are about names. An image's id (`sha256:…`) has none, and bare hex digits (`cafe`) may be taken for the beginning of one: where
/// there is anything in `allow` or `deny`, both are refused; say `cafe:latest`. With `pinned` alone a whole id is admitted, since it names content
/// as a digest does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageRules {
    /// Only what one of these matches; empty for any.
    pub allow: Vec<ImagePattern>,
    /// Nothing that one of these matches, whatever `allow` says.
    pub deny: Vec<ImagePattern>,
    /// Only references with a digest.
    pub pinned: bool,
    /// Nothing is pulled: a missing image is an error, and asking for a pull is refused.
    pub local_only: bool,
}

impl ImageRules {
    /// Whether they are about names: then an engine is to be asked for the name in full, since short ones it may know otherwise.
    pub(in crate::task) fn are_about_names(&self) -> bool {
        !(self.allow.is_empty() && self.deny.is_empty())
    }

    pub(super) fn apply(&self, spec: &mut TaskSpec) -> Result<()> {
        spec.pull = self.admit(&spec.image, spec.pull)?;
        Ok(())
    }

    /// When `image` is pulled, if it is admitted.
    ///
    /// # Errors
    /// `ACODE-CTN-012`.
    pub(in crate::task) fn admit(&self, image: &ImageRef, pull: PullPolicy) -> Result<PullPolicy> {
        let refused = |why: String| {
            Err(Error::invalid(
                Code::PolicyRefused,
                "rules",
                format!("this image is not admitted on this host: {why}; its operator says so"),
            )
            .on(image.as_str()))
        };
        if image.may_be_id() && self.are_about_names() {
            return refused(
                "an image's id, or what could be one, has no name that the rules could be about"
                    .into(),
            );
        }
        if let Some(denied) = self.deny.iter().find(|pattern| pattern.denies(image)) {
            return refused(format!("'{}' is denied", shown(denied.as_str())));
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|pattern| pattern.allows(image)) {
            return refused(format!("{} is not among those allowed", image.canonical()));
        }
        if self.pinned && image.digest().is_none() {
            return refused("only references with a digest are, NAME@sha256:…".into());
        }
        match pull {
            PullPolicy::Always if self.local_only => {
                refused("nothing is pulled here, only images that are there may be run".into())
            }
            PullPolicy::Missing if self.local_only => Ok(PullPolicy::Never),
            pull => Ok(pull),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<ImagePattern> {
        texts
            .iter()
            .map(|text| ImagePattern::parse(text).unwrap())
            .collect()
    }

    #[track_caller]
    fn admits(rules: &ImageRules, image: &str) -> bool {
        let image = ImageRef::parse(image).unwrap();
        match rules.admit(&image, PullPolicy::Missing) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.code(), Code::PolicyRefused);
                false
            }
        }
    }

    const DIGEST: &str = "sha256:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";

    #[test]
    fn fr_020a_47_untrusted_images_are_refused() {
        let rules = ImageRules {
            allow: patterns(&["docker.io/library/*", "r.example.com/**"]),
            deny: patterns(&["docker.io/library/node", "r.example.com/secret/**"]),
            ..ImageRules::default()
        };
        for (image, admitted) in [
            ("busybox", true),
            ("busybox:1.36", true),
            ("r.example.com/a/b/c:1", true),
            ("node:20", false),
            ("r.example.com/secret/x", false),
            ("somebody/x", false),
            ("evil.com/busybox", false),
            (DIGEST, false),
            ("cafe", false),
            ("sha256:cafe", false),
            ("sha256:0123456789ab", false),
            ("registry-1.docker.io/library/node", false),
            ("registry-1.docker.io/library/busybox", true),
            ("0123456789ab", false),
            ("cafe:latest", true),
        ] {
            assert_eq!(admits(&rules, image), admitted, "{image}");
        }
        assert!(admits(&ImageRules::default(), DIGEST));
    }

    #[test]
    fn fr_020a_47_with_only_a_deny_list_an_id_is_no_way_around_it() {
        let rules = ImageRules {
            deny: patterns(&["docker.io/library/node"]),
            ..ImageRules::default()
        };
        assert!(admits(&rules, "busybox"));
        for image in [
            DIGEST,
            "cafe",
            "sha256:cafe",
            "node",
            "registry-1.docker.io/library/node",
            "docker.io:443/library/node",
            "docker.io/node:20",
            &format!("node@{DIGEST}"),
        ] {
            assert!(!admits(&rules, image), "{image}");
        }
    }

    #[test]
    fn fr_020a_47_pinned_admits_what_names_content() {
        let rules = ImageRules {
            pinned: true,
            ..ImageRules::default()
        };
        assert!(admits(&rules, &format!("busybox@{DIGEST}")));
        assert!(admits(&rules, &format!("busybox:1@{DIGEST}")));
        assert!(admits(&rules, DIGEST));
        for image in ["busybox", "busybox:1", "0123456789ab", "sha256:cafe"] {
            assert!(!admits(&rules, image), "{image}");
        }
    }

    #[test]
    fn fr_020a_47_local_only_never_pulls() {
        let rules = ImageRules {
            local_only: true,
            ..ImageRules::default()
        };
        let image = ImageRef::parse("busybox").unwrap();
        for policy in [PullPolicy::Missing, PullPolicy::Never] {
            assert_eq!(rules.admit(&image, policy).unwrap(), PullPolicy::Never);
        }
        let refused = rules.admit(&image, PullPolicy::Always).unwrap_err();
        assert_eq!(refused.code(), Code::PolicyRefused);
    }
}
