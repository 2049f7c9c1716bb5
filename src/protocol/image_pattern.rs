//! Patterns for images: `docker.io/library/*`, `registry.example.com/**`, `mcr.microsoft.com/dotnet/sdk:8.*`.

use super::image_ref::ImageRef;

/// Which images a rule is about.
///
/// A pattern is compared with the reference in full: `docker.io/library/busybox:latest` for `busybox`. `*` stands for any characters but
/// `/`, `**` for any at all. It begins with the registry; a pattern that could never match would be a rule that does nothing.
///
/// - `docker.io/library/busybox`: every tag and digest of that repository, since the pattern names neither.
/// - `registry.example.com/**`: everything of that registry.
/// - `mcr.microsoft.com/dotnet/*:8.*`: those tags of those repositories.
/// - `docker.io/library/busybox@sha256:…`: that very image.
/// - `**`: every name.
///
/// A digest decides which image it is, whatever tag stands before it. So a pattern with a tag does not allow `busybox:1@sha256:…`;
/// but it does deny it.
///
/// ```
/// use acode_rt::ImageRef;
/// use acode_rt::protocol::image_pattern::ImagePattern;
/// let official = ImagePattern::parse("docker.io/library/*")?;
/// assert!(official.allows(&ImageRef::parse("busybox:1.36")?));
/// assert!(!official.allows(&ImageRef::parse("somebody/busybox")?));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImagePattern {
    text: String,
    /// It says which tag or digest.
    is_exact: bool,
}

impl ImagePattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            Err(format!(
                "'{}' is not a pattern for images: {why}",
                crate::error::shown(text)
            ))
        };
        if text.is_empty() || text.len() > 512 {
            return wrong("it must have 1 to 512 characters");
        }
        if let Some(odd) = text.chars().find(|c| {
            !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '*')
        }) {
            return wrong(&format!(
                "'{}' stands in no reference, and the only wildcards are '*' and '**'",
                odd.escape_default()
            ));
        }
        let registry = text.split('/').next().unwrap_or_default();
        let has_registry = registry.contains('*')
            || text.contains('/') && (registry.contains(['.', ':']) || registry == "localhost");
        if !has_registry {
            return wrong(
                "it begins with the registry, as docker.io/library/busybox and docker.io/**",
            );
        }
        if registry.chars().any(|c| c.is_ascii_uppercase())
            || matches!(registry, "index.docker.io" | "registry-1.docker.io")
        {
            return wrong("registries are compared in lower case, and Docker Hub is docker.io");
        }
        if registry == "docker.io" && text.matches('/').count() == 1 && !text.contains('*') {
            return wrong("on Docker Hub these are in library: docker.io/library/NAME");
        }
        let last = text.rsplit('/').next().unwrap_or_default();
        Ok(Self {
            text: text.to_owned(),
            is_exact: text.contains('/') && last.contains(':') || text.contains('@'),
        })
    }

    /// Whether it is about what decides which image `image` is. An id has no name, and is allowed by none.
    pub fn allows(&self, image: &ImageRef) -> bool {
        if image.is_id() {
            return false;
        }
        self.matches(&if self.is_exact {
            image.canonical()
        } else {
            image.repository()
        })
    }

    /// Whether it is about anything that `image` says: also a tag that stands before a digest.
    pub fn denies(&self, image: &ImageRef) -> bool {
        self.allows(image)
            || !image.is_id()
                && self.is_exact
                && (self.matches(&image.tagged())
                    || image.digest().is_some_and(|digest| {
                        self.matches(&format!("{}@{digest}", image.tagged()))
                    }))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// In time that grows with the product of the lengths, whatever the pattern.
    fn matches(&self, text: &str) -> bool {
        let text = text.as_bytes();
        // reached[n]: what was read of the pattern stands for the first n bytes of the text.
        let mut reached = vec![false; text.len() + 1];
        reached[0] = true;
        let mut pattern = self.text.as_bytes();
        while let [first, rest @ ..] = pattern {
            pattern = rest;
            if *first == b'*' {
                let across = rest.first() == Some(&b'*');
                if across {
                    pattern = &rest[1..];
                }
                for at in 0..text.len() {
                    if reached[at] && (across || text[at] != b'/') {
                        reached[at + 1] = true;
                    }
                }
            } else {
                for at in (0..text.len()).rev() {
                    reached[at + 1] = reached[at] && text[at] == *first;
                }
                reached[0] = false;
            }
        }
        reached[text.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> ImagePattern {
        ImagePattern::parse(text).unwrap()
    }

    #[test]
    fn fr_020a_47_patterns_match_whole_references() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        let pinned = format!("busybox:1@{digest}");
        for (text, image, allows) in [
            ("docker.io/library/busybox", "busybox", true),
            ("docker.io/library/busybox", "busybox:1.36", true),
            ("docker.io/library/busybox", &pinned, true),
            ("docker.io/library/busybox", "docker.io/busybox", true),
            ("docker.io/library/busybox", "busybox2", false),
            (
                "docker.io/library/busybox",
                "evil.com/library/busybox",
                false,
            ),
            ("docker.io/library/busybox:latest", "busybox", true),
            ("docker.io/library/busybox:1", &pinned, false),
            ("docker.io/library/busybox:*", &pinned, false),
            ("docker.io/library/busybox@*", &pinned, true),
            ("docker.io/library/busybox@*", "busybox", false),
            ("docker.io/*", "busybox", false),
            ("docker.io/**", "busybox", true),
            ("docker.io/**", "docker.io.evil.com/x/y", false),
            ("docker.io/*/app", "team/app", true),
            ("docker.io/*/app", "a/b/app", false),
            ("*.example.com/**", "r.example.com/a/b:1", true),
            ("*.example.com/**", "evil.com/r.example.com/a", false),
            ("localhost:5000/**", "localhost:5000/a:1", true),
            ("localhost:5000/**", "localhost/a:1", false),
            (
                "mcr.microsoft.com/dotnet/*:8.*",
                "mcr.microsoft.com/dotnet/sdk:8.0",
                true,
            ),
            (
                "mcr.microsoft.com/dotnet/*:8.*",
                "mcr.microsoft.com/dotnet/sdk:9.0",
                false,
            ),
            ("**", "a/b/c", true),
            ("**", &digest, false),
            ("*", "busybox", false),
        ] {
            let image = ImageRef::parse(image).unwrap();
            assert_eq!(pattern(text).allows(&image), allows, "{text} and {image}");
        }
    }

    #[test]
    fn fr_020a_47_a_tag_before_a_digest_is_denied_too() {
        let pinned = format!("busybox:1@sha256:{}", "a1".repeat(32));
        let image = ImageRef::parse(&pinned).unwrap();
        assert!(pattern("docker.io/library/busybox:1").denies(&image));
        assert!(pattern("docker.io/library/busybox:*").denies(&image));
        assert!(pattern("docker.io/library/busybox@sha256:a1*").denies(&image));
        assert!(pattern("docker.io/library/busybox").denies(&image));
        assert!(!pattern("docker.io/library/busybox:2").denies(&image));
    }

    #[test]
    fn a_pattern_that_could_never_match_is_refused() {
        for text in [
            "",
            "busybox",
            "library/busybox",
            "busybox:1",
            "docker.io/busybox",
            "Docker.io/library/busybox",
            "index.docker.io/library/busybox",
            "docker.io/a b",
            "docker.io/a?",
            "docker.io/[ab]",
            "docker.io/é",
            &"*".repeat(513),
        ] {
            assert!(ImagePattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn many_wildcards_cost_no_more() {
        let text = format!("docker.io/{}b", "*a".repeat(200));
        let image = ImageRef::parse(&format!("x/{}", "a".repeat(400))).unwrap();
        assert!(!pattern(&text).allows(&image));
    }
}
