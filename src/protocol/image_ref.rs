//! Image references: `busybox`, `node:20-alpine`, `localhost:5000/team/app:1@sha256:…`, or an image's id.

use std::fmt;

/// A well-formed image reference, or an image id: `sha256:` and 64 hex digits, or the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef(String);

impl ImageRef {
    /// Checks a reference.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            Err(format!(
                "'{}' is not an image: {why}",
                crate::error::shown(text)
            ))
        };
        if text.is_empty() || text.len() > 512 {
            return wrong("it must have 1 to 512 characters");
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|d| !is_digest(d)) {
            return wrong("a digest is sha256: and 64 hex digits");
        }
        if is_digest(name) {
            return Ok(Self(text.to_owned()));
        }
        if let Some(hex) = name.strip_prefix("sha256:") {
            if !(1..=64).contains(&hex.len()) || !is_hex(hex) || digest.is_some() {
                return wrong(
                    "an id is sha256: and at most 64 hex digits; a repository of that name is docker.io/library/sha256",
                );
            }
            return Ok(Self(text.to_owned()));
        }
        let reference = Self(text.to_owned());
        let (path, tag) = reference.path_and_tag();
        if tag.is_some_and(|t| !is_tag(t)) {
            return wrong("a tag has letters, digits, '_', '.' and '-', at most 128");
        }
        let mut components = path.split('/').peekable();
        if let Some(first) = components.peek()
            && path.contains('/')
            && is_domain(first)
        {
            components.next();
        }
        if !components.all(is_component) {
            return wrong(
                "its path has lower-case letters and digits, separated by '.', '_', '-' or '/'",
            );
        }
        Ok(reference)
    }

    /// The reference as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an image's whole id, `sha256:…`: that names content, and no registry has it under this name.
    pub fn is_id(&self) -> bool {
        self.0.split('@').next().is_some_and(is_digest)
    }

    /// Whether it is an id or the beginning of one, `sha256:…`: it has no name, and cannot be pulled.
    pub fn is_nameless(&self) -> bool {
        self.0.starts_with("sha256:")
    }

    /// Whether an engine may take it for an image's id, or the beginning of one, rather than for a name: `sha256:cafe`, or bare hex digits.
    pub fn may_be_id(&self) -> bool {
        self.is_nameless() || is_hex(&self.0)
    }

    /// The digest that it asks for.
    pub fn digest(&self) -> Option<&str> {
        if self.is_id() {
            return self.0.split('@').next();
        }
        self.0.split_once('@').map(|(_, digest)| digest)
    }

    /// Whether it says which registry: then it is known in full.
    pub fn has_registry(&self) -> bool {
        self.0
            .split_once('/')
            .is_some_and(|(first, _)| is_domain(first))
    }

    /// The registry: `docker.io` unless said, also where one of its other names is. An id has none, and neither has what follows here.
    pub fn registry(&self) -> String {
        let repository = self.repository();
        let registry = repository.split('/').next().unwrap_or_default();
        registry.to_owned()
    }

    /// Registry and path: `docker.io/library/busybox` for `busybox`.
    pub fn repository(&self) -> String {
        let (path, _) = self.path_and_tag();
        match path.split_once('/') {
            Some((first, rest)) if is_domain(first) => {
                let registry = one_registry(first);
                if registry == "docker.io" && !rest.contains('/') {
                    format!("docker.io/library/{rest}")
                } else {
                    format!("{registry}/{rest}")
                }
            }
            Some(_) => format!("docker.io/{path}"),
            None => format!("docker.io/library/{path}"),
        }
    }

    /// Repository and tag; `latest` unless said, also beside a digest.
    pub fn tagged(&self) -> String {
        let (_, tag) = self.path_and_tag();
        format!("{}:{}", self.repository(), tag.unwrap_or("latest"))
    }

    /// What decides which image it is, in full: repository and digest, or repository and tag where there is no digest.
    /// `docker.io/library/busybox:latest` for `busybox`; an id as it is.
    pub fn canonical(&self) -> String {
        match self.digest() {
            _ if self.is_nameless() && !self.is_id() => self.0.clone(),
            Some(digest) if self.is_id() => digest.to_owned(),
            Some(digest) => format!("{}@{digest}", self.repository()),
            None => self.tagged(),
        }
    }

    fn path_and_tag(&self) -> (&str, Option<&str>) {
        let name = self.0.split('@').next().unwrap_or_default();
        let after_slash = name.rfind('/').map_or(0, |at| at + 1);
        match name[after_slash..].find(':') {
            Some(colon) => (
                &name[..after_slash + colon],
                Some(&name[after_slash + colon + 1..]),
            ),
            None => (name, None),
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In lower case, and Docker Hub by its one name, so that no rule is got round by spelling.
pub(crate) fn one_registry(text: &str) -> String {
    let registry = text.to_ascii_lowercase();
    let host = registry.strip_suffix(":443").unwrap_or(&registry);
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => {
            "docker.io".to_owned()
        }
        _ => registry,
    }
}

/// `sha256:` and 64 lower-case hex digits.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && is_hex(hex))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_component(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(text.bytes().next())
        && edge(text.bytes().next_back())
        && !text.contains("..")
        && text.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
        })
}

/// A registry: it has a dot or a port, or is `localhost`.
fn is_domain(text: &str) -> bool {
    let (host, port) = text
        .split_once(':')
        .map_or((text, None), |(h, p)| (h, Some(p)));
    (host == "localhost" || host.contains('.') || port.is_some())
        && !host.is_empty()
        && !host
            .split('.')
            .any(|label| label.is_empty() || label.starts_with('-') || label.ends_with('-'))
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        && port.is_none_or(|p| (1..=5).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fr_020a_38_tags_digests_and_registries_are_read() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        for text in [
            "busybox",
            "busybox:1.36",
            "node:20-alpine",
            "mcr.microsoft.com/dotnet/sdk:8.0",
            "localhost:5000/busybox:1",
            "localhost/a__b",
            "docker.io/library/busybox:latest",
            "0123456789ab",
            &digest,
            &format!("busybox@{digest}"),
            &format!("localhost:5000/team/app:1@{digest}"),
        ] {
            assert!(ImageRef::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn references_have_one_form_in_full() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        for (text, registry, canonical) in [
            ("busybox", "docker.io", "docker.io/library/busybox:latest"),
            ("a/b:1", "docker.io", "docker.io/a/b:1"),
            (
                "docker.io/busybox",
                "docker.io",
                "docker.io/library/busybox:latest",
            ),
            ("Index.Docker.io/a/b", "docker.io", "docker.io/a/b:latest"),
            (
                "registry-1.docker.io/library/busybox:1",
                "docker.io",
                "docker.io/library/busybox:1",
            ),
            (
                "registry-1.docker.io:443/a/b",
                "docker.io",
                "docker.io/a/b:latest",
            ),
            ("docker.io:443/x", "docker.io", "docker.io/library/x:latest"),
            (
                "registry.hub.docker.com/x",
                "docker.io",
                "docker.io/library/x:latest",
            ),
            ("localhost/x", "localhost", "localhost/x:latest"),
            (
                "localhost:5000/x",
                "localhost:5000",
                "localhost:5000/x:latest",
            ),
            (
                "MCR.microsoft.com/dotnet/sdk:8.0",
                "mcr.microsoft.com",
                "mcr.microsoft.com/dotnet/sdk:8.0",
            ),
        ] {
            let image = ImageRef::parse(text).unwrap();
            assert_eq!(
                (image.registry(), image.canonical()),
                (registry.into(), canonical.into())
            );
            assert_eq!(ImageRef::parse(canonical).unwrap().canonical(), canonical);
        }
        let both = ImageRef::parse(&format!("busybox:1@{digest}")).unwrap();
        assert_eq!(
            both.canonical(),
            format!("docker.io/library/busybox@{digest}")
        );
        assert_eq!(both.tagged(), "docker.io/library/busybox:1");
        assert_eq!(both.digest(), Some(digest.as_str()));
        let id = ImageRef::parse(&digest).unwrap();
        assert!(id.is_id() && id.may_be_id());
        assert_eq!(id.canonical(), digest);
        for (text, may_be_id) in [
            ("cafe", true),
            ("0123456789ab", true),
            ("sha256:cafe", true),
            ("sha256:0123456789ab", true),
            ("cafe:latest", false),
            ("docker.io/library/sha256:cafe", false),
            ("busybox", false),
            ("docker.io/cafe", false),
        ] {
            assert_eq!(
                ImageRef::parse(text).unwrap().may_be_id(),
                may_be_id,
                "{text}"
            );
        }
    }

    #[test]
    fn what_could_reach_elsewhere_is_refused() {
        for text in [
            "",
            "-x",
            "a/../b",
            "../b",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a?x=1",
            "a%2fb",
            "A/b",
            "a:",
            "a:-x",
            "a:x/y",
            "a@sha256:zz",
            "a\r\nb",
            "a:b:c",
            "é",
            "a/./b",
            "a@",
            // An engine could take these for an id.
            "sha256:",
            "sha256:latest",
            "sha256:CAFE",
            &format!("sha256:{}", "a".repeat(65)),
            &format!("sha256:cafe@sha256:{}", "a1".repeat(32)),
            &"a".repeat(513),
        ] {
            assert!(ImageRef::parse(text).is_err(), "{text:?}");
        }
    }
}
