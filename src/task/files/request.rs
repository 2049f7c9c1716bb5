//! What is to go in and to come out, as it is asked for. Pure but for the destinations, which are opened before anything is created.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::destination::Destination;
use super::extract::Wanted;
use super::pack::Source;
use crate::error::{Code, Error, Kind, Result, shown};
use crate::protocol::glob::Glob;
use crate::task::spec::{TaskSpec, WORKSPACE};
use crate::task::tmpfs::Tmpfs;

/// The working directory of a task with files, below [`WORKSPACE`]: the volume's root belongs to root on every engine.
pub const FILES_DIR: &str = "/workspace/src";
/// Its name in the volume.
pub(super) const FILES_NAME: &str = "src";

/// What goes in and comes out. With any of it, `/workspace` is a volume without a bound on disk, and the task runs and has its `HOME` in
/// `/workspace/src`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// What is copied in before the task starts.
    pub copy_in: Vec<CopyIn>,
    /// What is brought out when it has ended, however it did.
    pub artifacts: Vec<ArtifactRequest>,
    /// Bytes of all artifacts together: 4 GiB.
    pub artifact_limit: Option<u64>,
}

/// A file or directory of ours that goes in before the task starts.
///
/// As with `docker cp`, a source that ends with `/.` is the content of a directory, and a destination that ends with `/` is the
/// directory that the source goes into; any other destination is what the source is called inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyIn {
    /// What is copied.
    pub source: PathBuf,
    /// Relative to `/workspace/src`, or absolute below `/workspace`; its own name in `/workspace/src` where there is none.
    pub destination: Option<String>,
}

/// Files that come out when the task has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRequest {
    /// Relative to `/workspace/src`, or absolute below `/workspace`, with `*`, `?`, `[…]` and `**`. A directory comes with all that is in it.
    pub path: String,
    /// A directory where it exists, ends with `/`, or the path is a pattern; otherwise what the artifact is called. By default the path
    /// inside, relative to `/workspace/src`, in the current directory.
    pub destination: Option<PathBuf>,
}

impl CopyIn {
    /// Reads `SRC[:DEST]`; the last colon divides.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (source, destination) = divide(text);
        let copy = Self {
            source: PathBuf::from(source),
            destination: destination.map(str::to_owned),
        };
        copy.resolve().map(|_| copy)
    }

    pub(super) fn resolve(&self) -> Result<Source, String> {
        let bytes = self.source.as_os_str().as_bytes();
        if bytes.is_empty() {
            return Err("there is no file to copy in: write it like SRC or SRC:DEST".into());
        }
        let content =
            matches!(bytes, b"." | b"..") || bytes.ends_with(b"/.") || bytes.ends_with(b"/..");
        let name = || {
            let name = self.source.file_name().and_then(|name| name.to_str());
            name.map(str::to_owned).ok_or_else(|| {
                format!(
                    "'{}' has no name that it could have inside; say one, as in SRC:DEST",
                    shown(&self.source.display().to_string())
                )
            })
        };
        let mut to = match self.destination.as_deref() {
            None => vec![FILES_NAME.to_owned()],
            Some("") => return Err("the destination behind the colon is empty".into()),
            Some(destination) => below_workspace(destination)?,
        };
        let into = match self.destination.as_deref() {
            None => true,
            Some(destination) => destination.ends_with('/') || to.is_empty() || to == [FILES_NAME],
        };
        if into && !content {
            to.push(name()?);
        }
        Ok(Source {
            from: self.source.clone(),
            to,
            content,
        })
    }
}

impl ArtifactRequest {
    /// Reads `PATH[:DEST]`; the last colon divides.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (path, destination) = divide(text);
        let request = Self {
            path: path.to_owned(),
            destination: destination.map(PathBuf::from),
        };
        request.resolve().map(|_| request)
    }

    /// All parts below the volume's root, and those that it has relative to where it is asked for.
    fn resolve(&self) -> Result<(Glob, Vec<String>), String> {
        let wrong = |why: &str| {
            format!(
                "artifact '{}': {why}; give a path relative to {FILES_DIR}, or one below {WORKSPACE}, which is all that is kept of a task",
                shown(&self.path)
            )
        };
        if self.path.is_empty() {
            return Err(wrong("it is empty"));
        }
        if self.destination.as_deref() == Some(Path::new("")) {
            return Err(wrong("the destination behind the colon is empty"));
        }
        let mut glob = Glob::parse(&self.path).map_err(|why| wrong(&why))?;
        if self.path.starts_with('/') {
            if glob.fixed.first().map(String::as_str) != Some(&WORKSPACE[1..]) {
                return Err(wrong("it is elsewhere"));
            }
        } else {
            glob.fixed
                .splice(0..0, FILES_DIR[1..].split('/').map(str::to_owned));
        }
        let relative = match glob.fixed.get(1).map(String::as_str) {
            Some(FILES_NAME) => glob.fixed[2..].to_vec(),
            _ => glob.fixed[1..].to_vec(),
        };
        Ok((glob, relative))
    }

    /// What is asked of the engine, and opens where it goes: its directories are made.
    pub(super) fn open(&self) -> Result<Collecting> {
        let (glob, relative) = self
            .resolve()
            .map_err(|message| Error::invalid(Code::Configuration, "options", message))?;
        self.open_destination(glob, relative).map_err(|error| {
            let to = self.destination.as_deref().unwrap_or(Path::new("."));
            Error::new(
                Code::OutputFile,
                Kind::Io,
                "artifact destination",
                "artifacts cannot be written there",
            )
            .on(to.display().to_string())
            .because(error)
        })
    }

    fn open_destination(&self, glob: Glob, relative: Vec<String>) -> io::Result<Collecting> {
        let (directory, to) = match self.destination.as_deref() {
            None => (PathBuf::from("."), relative),
            Some(path) if !glob.rest.is_empty() || relative.is_empty() => (path.to_owned(), vec![]),
            Some(path) if path.as_os_str().as_bytes().ends_with(b"/") || path.is_dir() => {
                (path.to_owned(), relative[relative.len() - 1..].to_vec())
            }
            Some(path) => {
                let name = path.file_name().and_then(|name| name.to_str());
                let name = name.ok_or_else(|| io::Error::other("its name is not UTF-8"))?;
                let above = path.parent().filter(|above| *above != Path::new(""));
                (
                    above.unwrap_or(Path::new(".")).to_owned(),
                    vec![name.to_owned()],
                )
            }
        };
        std::fs::create_dir_all(&directory)?;
        let shown = std::path::absolute(&directory)?;
        let destination = Destination::open(&directory)?.called(shown);
        let (root, above) = glob.fixed.split_last().ok_or(io::ErrorKind::InvalidInput)?;
        let wanted = Wanted {
            inside: format!("/{}", above.join("/"))
                .trim_end_matches('/')
                .to_owned(),
            root: root.clone(),
            glob,
            to,
        };
        Ok(Collecting {
            path: self.path.clone(),
            destination,
            wanted,
        })
    }
}

/// A request whose destination is open.
#[derive(Debug)]
pub(crate) struct Collecting {
    /// As it was asked for.
    pub(super) path: String,
    pub(super) destination: Destination,
    pub(super) wanted: Wanted,
}

impl Collecting {
    /// What the engine is asked for.
    pub(super) fn source(&self) -> String {
        format!("{}/{}", self.wanted.inside, self.wanted.root)
    }
}

impl TaskSpec {
    /// Whether files go in or come out, for which `/workspace` has to be a volume.
    pub(crate) fn has_files(&self) -> bool {
        !self.files.copy_in.is_empty() || !self.files.artifacts.is_empty()
    }

    /// Where it runs, unless said.
    pub(crate) fn directory(&self) -> &'static str {
        if self.has_files() {
            FILES_DIR
        } else {
            WORKSPACE
        }
    }

    /// Its `HOME`, unless said.
    pub(crate) fn home(&self) -> &'static str {
        if self.workspace.is_some() {
            // What tools keep in their home is not meant for the caller's directory.
            "/tmp"
        } else {
            self.directory()
        }
    }

    /// Checks what is to go in and to come out.
    pub(crate) fn check_files(&self) -> Result<()> {
        let wrong = |message| Error::invalid(Code::Configuration, "options", message);
        for copy in &self.files.copy_in {
            copy.resolve().map_err(wrong)?;
        }
        for artifact in &self.files.artifacts {
            artifact.resolve().map_err(wrong)?;
        }
        let hiding = [WORKSPACE, FILES_DIR];
        let hidden = |tmpfs: &&Tmpfs| self.has_files() && hiding.contains(&tmpfs.path.as_str());
        if let Some(tmpfs) = self.tmpfs.iter().find(hidden) {
            return Err(wrong(format!(
                "a tmpfs at {} would hide the files that are copied in and out; leave it out, or choose a directory below",
                tmpfs.path
            )));
        }
        Ok(())
    }
}

/// Looks whether what is to be copied in is there: what is missing is to be known before anything is created.
pub(crate) fn look_at_sources(spec: &TaskSpec) -> Result<()> {
    for copy in &spec.files.copy_in {
        // Also what a link leads to: it is followed, as the caller named it.
        std::fs::metadata(&copy.source).map_err(|error| {
            Error::new(
                Code::Artifact,
                Kind::Io,
                "copy in",
                "it cannot be copied in",
            )
            .on(copy.source.display().to_string())
            .because(error)
        })?;
    }
    Ok(())
}

fn divide(text: &str) -> (&str, Option<&str>) {
    text.rsplit_once(':')
        .map_or((text, None), |(one, other)| (one, Some(other)))
}

/// The parts of a path below the volume's root.
fn below_workspace(path: &str) -> Result<Vec<String>, String> {
    let wrong = |why: &str| {
        format!(
            "copy-in destination '{}' {why}; give a path relative to {FILES_DIR}, or one below {WORKSPACE}",
            shown(path)
        )
    };
    if path.len() > 1024 || path.chars().any(char::is_control) {
        return Err(wrong("is too long, or has control characters"));
    }
    let mut parts: Vec<String> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .map(str::to_owned)
        .collect();
    if parts.iter().any(|part| part == "..") {
        return Err(wrong("contains '..'"));
    }
    if !path.starts_with('/') {
        parts.insert(0, FILES_NAME.into());
    } else if parts.first().map(String::as_str) == Some(&WORKSPACE[1..]) {
        parts.remove(0);
    } else {
        return Err(wrong("is elsewhere, where nothing can be copied to"));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(text: &str) -> Result<(String, bool), String> {
        let source = CopyIn::parse(text)?.resolve()?;
        Ok((source.to.join("/"), source.content))
    }

    #[test]
    fn copies_go_where_docker_cp_would_put_them() {
        for (text, to, content) in [
            ("a/b", "src/b", false),
            ("a/b/", "src/b", false),
            ("a/b/.", "src", true),
            (".", "src", true),
            ("a:c", "src/c", false),
            ("a:c/", "src/c/a", false),
            ("a/.:c", "src/c", true),
            ("a:.", "src/a", false),
            ("a:/workspace/src", "src/a", false),
            ("a:/workspace/src/x/y", "src/x/y", false),
            ("a:/workspace/other", "other", false),
            ("a:/workspace", "a", false),
            ("a:b:c", "src/c", false),
        ] {
            assert_eq!(copied(text), Ok((to.to_owned(), content)), "{text}");
        }
        for text in [
            "",
            ":c",
            "a:",
            "a:/etc/x",
            "a:../x",
            "a:/workspace/../etc",
            "/",
            "a:/workspacex",
            "a:b\n",
        ] {
            assert!(copied(text).is_err(), "{text}");
        }
    }

    #[test]
    fn artifacts_come_from_below_the_workspace_only() {
        let resolved = |text: &str| {
            ArtifactRequest::parse(text)
                .and_then(|request| request.resolve())
                .map(|(glob, relative)| {
                    (
                        glob.fixed.join("/"),
                        glob.rest.join("/"),
                        relative.join("/"),
                    )
                })
        };
        for (text, fixed, rest, relative) in [
            ("out", "workspace/src/out", "", "out"),
            ("out/*.txt:x", "workspace/src/out", "*.txt", "out"),
            ("**/*.o", "workspace/src", "**/*.o", ""),
            ("/workspace/src/a/b", "workspace/src/a/b", "", "a/b"),
            ("/workspace/x/*", "workspace/x", "*", "x"),
            (".", "workspace/src", "", ""),
        ] {
            assert_eq!(
                resolved(text),
                Ok((fixed.into(), rest.into(), relative.into())),
                "{text}"
            );
        }
        for text in [
            "",
            "/etc/passwd",
            "/w*/src",
            "../x",
            "/",
            "out:",
            "/workspace/../etc",
        ] {
            assert!(resolved(text).is_err(), "{text}");
        }
    }
}
