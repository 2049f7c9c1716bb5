//! Where the engine's socket is: `--host`, `DOCKER_HOST`, docker contexts, then the usual places.

use std::env;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::image::credentials::read_config;
use crate::error::{Code, Error, Kind, Result, shown};
use crate::protocol::hex::hex;

/// An engine's Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(PathBuf);

impl Host {
    /// A socket by its absolute path.
    pub fn from_socket(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Reads `unix:///path/to.sock` or an absolute path.
    ///
    /// # Errors
    /// `ACODE-CTN-015`: TCP and SSH are not spoken; the message says the way round.
    pub fn parse(text: &str) -> Result<Self> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Self(path.into()));
        }
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        let message = match scheme {
            "tcp" | "ssh" | "http" | "https" => format!(
                "'{}' is not a Unix socket, and only those are spoken; forward the remote one: \
                 ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock HOST, then --host unix:///tmp/engine.sock",
                shown(text)
            ),
            _ => format!(
                "'{}' is not an engine; write it like unix:///var/run/docker.sock",
                shown(text)
            ),
        };
        Err(Error::invalid(Code::Configuration, "host", message))
    }

    /// `explicit` (from `--host`), else `DOCKER_HOST`, else the docker context in use, else the first of the usual sockets
    /// that exists: system, rootless, Desktop, Colima, Podman.
    ///
    /// # Errors
    /// `ACODE-CTN-015` for a host or context that cannot be used. When nothing is found the system's socket is returned:
    /// connecting to it gives the telling error.
    pub fn find(explicit: Option<&str>) -> Result<Self> {
        if let Some(text) = explicit {
            return Self::parse(text);
        }
        if let Some(text) = env_text("DOCKER_HOST") {
            return Self::parse(&text);
        }
        if let Some(host) = from_context()? {
            return Ok(host);
        }
        let usual = usual_sockets();
        let found = usual.iter().find(|path| path.exists()).or(usual.first());
        Ok(Self(found.map_or_else(
            || "/var/run/docker.sock".into(),
            Clone::clone,
        )))
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.0
    }
}

fn env_text(key: &str) -> Option<String> {
    env::var(key).ok().filter(|text| !text.is_empty())
}

/// Where engines usually listen.
pub(crate) fn usual_sockets() -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/var/run/docker.sock")];
    let runtime = env_text("XDG_RUNTIME_DIR").map(PathBuf::from);
    let home = env_text("HOME").map(PathBuf::from);
    if let Some(runtime) = &runtime {
        paths.push(runtime.join("docker.sock"));
    }
    if let Some(home) = &home {
        paths.push(home.join(".docker/desktop/docker.sock"));
        paths.push(home.join(".docker/run/docker.sock"));
        paths.push(home.join(".colima/default/docker.sock"));
    }
    if let Some(runtime) = &runtime {
        paths.push(runtime.join("podman/podman.sock"));
    }
    paths.push(PathBuf::from("/run/podman/podman.sock"));
    paths
}

/// Where the docker CLI keeps its configuration.
pub(super) fn docker_config_dir() -> Option<PathBuf> {
    env_text("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| env_text("HOME").map(|home| Path::new(&home).join(".docker")))
}

/// The docker CLI's context: named by `DOCKER_CONTEXT` or its config file, kept under the name's SHA-256.
fn from_context() -> Result<Option<Host>> {
    let Some(dir) = docker_config_dir() else {
        return Ok(None);
    };
    let name = env_text("DOCKER_CONTEXT").or_else(|| {
        let config = read_json(&dir.join("config.json"))?;
        Some(config.get("currentContext")?.as_str()?.to_owned())
    });
    let Some(name) = name.filter(|name| !name.is_empty() && name != "default") else {
        return Ok(None);
    };
    let digest = hex(&Sha256::digest(name.as_bytes()));
    let meta = dir.join("contexts/meta").join(digest).join("meta.json");
    let host = read_json(&meta).and_then(|meta| {
        Some(
            meta.get("Endpoints")?
                .get("docker")?
                .get("Host")?
                .as_str()?
                .to_owned(),
        )
    });
    let missing = || {
        Error::new(
            Code::Configuration,
            Kind::Invalid,
            "host",
            format!(
                "the docker context '{}' names no host (looked in {}); name the socket with --host",
                shown(&name),
                meta.display()
            ),
        )
    };
    Host::parse(&host.ok_or_else(missing)?).map(Some)
}

/// A small JSON file; a missing or odd one is as if it were not there.
fn read_json(path: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&read_config(path).ok()??).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unix_sockets_are_hosts() {
        assert_eq!(
            Host::parse("unix:///run/x.sock").unwrap().socket(),
            Path::new("/run/x.sock")
        );
        assert_eq!(
            Host::parse("/run/x.sock").unwrap().socket(),
            Path::new("/run/x.sock")
        );
        let error = Host::parse("tcp://1.2.3.4:2375").unwrap_err();
        assert!(error.to_string().contains("ssh -nNT -L"), "{error}");
        for text in ["", "docker.sock", "unix://", "unix://x", "ssh://h"] {
            assert_eq!(
                Host::parse(text).unwrap_err().code(),
                Code::Configuration,
                "{text}"
            );
        }
    }
}
