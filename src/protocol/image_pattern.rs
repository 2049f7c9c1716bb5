//! Patterns for images: `docker.io/library/*`, `registry.example.com/**`, `mcr.microsoft.com/dotnet/sdk:8.*`.

use super::image_ref::{ImageRef, is_digest, one_registry};

/// Which images a rule is about.
///
/// A pattern is compared with the reference in full: `docker.io/library/busybox:latest` for `busybox`. `*` stands for any characters but
/// `/`, `**` for any at all. It begins with the registry, but for wildcards alone; a pattern that could never match would be a rule that
/// does nothing, and is refused.
///
/// - `docker.io/library/busybox`: every tag and digest of that repository, since the pattern names neither.
/// - `registry.example.com/**`: everything of that registry.
/// - `mcr.microsoft.com/dotnet/*:8.*`: those tags of those repositories.
/// - `docker.io/library/busybox@sha256:…`: that very image.
/// - `*` and `node*`, without a `/`: those of `docker.io/library`.
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
    /// As it was written.
    text: String,
    /// What references in full are compared with.
    full: String,
    /// It says which tag or digest.
    is_exact: bool,
}

impl ImagePattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        fn refused<T>(text: &str, why: &str) -> Result<T, String> {
            Err(format!(
                "'{}' is not a pattern for images: {why}",
                crate::error::shown(text)
            ))
        }
        let wrong = |why: &str| refused(text, why);
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
        let full = in_full(text).or_else(|why| refused(text, why))?;
        let last = full.rsplit('/').next().unwrap_or_default();
        let is_exact = last.contains([':', '@']);
        if let Some(why) = never(&full, is_exact) {
            return wrong(&format!("{why}, so that it could never match"));
        }
        Ok(Self {
            text: text.to_owned(),
            full,
            is_exact,
        })
    }

    /// Whether it is about what decides which image `image` is. An id has no name, and is allowed by none.
    pub fn allows(&self, image: &ImageRef) -> bool {
        if image.is_nameless() {
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
            || !image.is_nameless()
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
        let mut pattern = self.full.as_bytes();
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

/// With its registry, by the one name that references in full have.
fn in_full(text: &str) -> Result<String, &'static str> {
    const BEGINS: &str = "it begins with the registry, as docker.io/library/busybox and docker.io/**; '*' and 'node*' are of docker.io/library";
    let Some((registry, rest)) = text.split_once('/') else {
        if text.starts_with("**") {
            return Ok(text.to_owned());
        }
        // With a dot it could as well be meant for a registry.
        let name = text.split([':', '@']).next().unwrap_or_default();
        return if text.contains('*') && !name.contains('.') {
            Ok(format!("docker.io/library/{text}"))
        } else {
            Err(BEGINS)
        };
    };
    let is_registry = registry.contains(['.', ':']) || registry == "localhost";
    if registry.contains('*') && registry.ends_with(".docker.io") {
        return Err("Docker Hub's one name is docker.io");
    }
    if !is_registry && registry != "*" && !registry.starts_with("**") {
        return Err(BEGINS);
    }
    Ok(format!("{}/{rest}", one_registry(registry)))
}

/// Why no reference in full could match.
fn never(full: &str, is_exact: bool) -> Option<&'static str> {
    let (path, last) = full.rsplit_once('/').unwrap_or(("", full));
    let (name, after) = match last.find([':', '@']) {
        Some(at) => (&last[..at], Some(&last[at..])),
        None => (last, None),
    };
    let empty = full.split('/').any(str::is_empty) || name.is_empty() || full.ends_with([':', '@']);
    let is_upper = |text: &str| text.bytes().any(|byte| byte.is_ascii_uppercase());
    if empty || full.contains('/') && path.contains('@') {
        Some("a part of it is empty or out of place")
    } else if is_upper(path) || is_upper(name) && !(is_exact && name.contains('*')) {
        Some("registries and repositories are in lower case")
    } else if full.starts_with("docker.io/")
        && full.matches('/').count() == 1
        && !full.contains("**")
    {
        Some("on Docker Hub these are in library, docker.io/library/NAME")
    } else if after.is_some_and(|after| !can_follow(after)) {
        Some("after the name there is :TAG or @sha256:DIGEST, or both")
    } else {
        None
    }
}

/// Whether `:TAG`, `@DIGEST` or both can be like `after`.
fn can_follow(after: &str) -> bool {
    let (tag, digest) = match after.split_once('@') {
        Some((tag, digest)) => (tag, Some(digest)),
        None => (after, None),
    };
    let tag = tag.strip_prefix(':').unwrap_or(tag);
    let fits = |digest: &str| match digest.split_once('*') {
        None => is_digest(digest),
        Some((start, _)) => {
            "sha256:".starts_with(start)
                || start.strip_prefix("sha256:").is_some_and(|hex| {
                    hex.len() <= 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                })
        }
    };
    // A wildcard may stand for the '@', too.
    !after.starts_with(":@") && (!tag.contains(':') || tag.contains('*')) && digest.is_none_or(fits)
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
            ("**", "localhost:5000/a", true),
            ("*", "busybox", true),
            ("*", "busybox:1", true),
            ("*", &pinned, true),
            ("*", "somebody/busybox", false),
            ("*", "quay.io/busybox", false),
            ("busybox*", "busybox", true),
            ("busybox*", "busybox-extra:2", true),
            ("busybox*", "node", false),
            ("busybox*", "evil.com/busybox", false),
            ("busybox:*", "busybox:1", true),
            ("busybox:*", &pinned, false),
            ("*:2.*", "busybox:2.1", true),
            ("*:2.*", "busybox:1", false),
            ("**busybox", "evil.com/a/busybox:3", true),
            ("**:latest", "quay.io/a", true),
            ("**:latest", "busybox:1", false),
            ("*/busybox", "quay.io/busybox", true),
            ("registry-1.docker.io/library/busybox", "busybox", true),
            ("index.docker.io/**", "busybox", true),
            ("Docker.io/library/*", "busybox", true),
            (
                "docker.io/library/*",
                "registry-1.docker.io/library/x",
                true,
            ),
        ] {
            let image = ImageRef::parse(image).unwrap();
            assert_eq!(pattern(text).allows(&image), allows, "{text} and {image}");
        }
    }

    #[test]
    fn fr_020a_47_no_denial_is_without_effect() {
        for text in [
            "*",
            "**",
            "busybox*",
            "*box",
            "*:*",
            "b**",
            "*/library/*",
            "docker.io/**",
            "registry-1.docker.io/**",
        ] {
            for image in [
                "busybox",
                "docker.io/busybox:1",
                "registry-1.docker.io/library/busybox",
            ] {
                let image = ImageRef::parse(image).unwrap();
                assert!(pattern(text).denies(&image), "{text} and {image}");
                assert!(pattern(text).allows(&image), "{text} and {image}");
            }
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
            "index.docker.io/busybox",
            "docker.io/*",
            "docker.io*",
            "*.example.com",
            "team*/app",
            "*.docker.io/**",
            "docker.io/library/Busybox",
            "docker.io/Library/*",
            "Busy*",
            "docker.io/library/",
            "docker.io//busybox",
            "/busybox*",
            "*/",
            "*:",
            "*@",
            "docker.io/library/busybox@md5:*",
            "docker.io/library/busybox@sha256:cafe",
            "docker.io/library/busybox:1:2",
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
        let text = format!("docker.io/library/{}b", "*a".repeat(200));
        let image = ImageRef::parse(&"a".repeat(400)).unwrap();
        assert!(!pattern(&text).allows(&image));
    }
}
