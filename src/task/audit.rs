//! The audit log: one JSON line for every decision about a task and every step of its container's life, appended to a file.
//!
//! It holds no environment, no secret and no argument of a command, only its first word: arguments may be secrets too.

mod trail;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use serde::Serialize;
use serde_json::{Value, json};

pub(super) use trail::Trail;

use crate::error::{Code, Error, Kind, Result};
use crate::protocol::glob::Glob;
use crate::protocol::time::rfc3339_millis;
use crate::sweep::Entry;

/// No line is longer, its end included, so that lines of several processes do not mix.
const MAX_LINE: usize = 4096;

/// An audit log that is appended to. Clones write to the same file; so may other processes.
#[derive(Debug, Clone)]
pub struct Audit {
    sink: Arc<Sink>,
    changes: Vec<Glob>,
}

#[derive(Debug)]
struct Sink {
    path: PathBuf,
    file: Mutex<Appended>,
}

#[derive(Debug)]
struct Appended {
    file: File,
    /// The last line was cut, so that the next has to begin with an end of line.
    torn: bool,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct About<'a> {
    operation: Option<&'a str>,
    session: &'a str,
    task: &'a str,
    container: Option<&'a str>,
    container_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    event: &'a str,
    #[serde(flatten)]
    about: About<'a>,
    detail: &'a Value,
}

impl Audit {
    /// Appends to the regular file at `path`, which is made for its owner alone where there is none. A link is not followed.
    ///
    /// # Errors
    /// `ACODE-CTN-018`.
    pub fn append(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let file = open(&path).map_err(|error| unwritable(&path, error))?;
        Ok(Self {
            sink: Arc::new(Sink {
                path,
                file: Mutex::new(Appended { file, torn: false }),
            }),
            changes: Vec::new(),
        })
    }

    /// Lists the files that a task changed in its container's own root file system, where their paths match one of `patterns`. What lies
    /// in a tmpfs, a volume or a mount is not seen, and a root that is read-only has no changes.
    #[must_use]
    pub fn with_changes(mut self, patterns: Vec<Glob>) -> Self {
        self.changes = patterns;
        self
    }

    /// A task that was refused before anything was created.
    pub fn refused(&self, session: &str, task: &str, error: &Error) {
        let about = About {
            session,
            task,
            ..About::default()
        };
        self.note("refused", about, &failure(error));
    }

    /// What a sweep did: a line for each container that was to go.
    pub fn swept(&self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| entry.orphan) {
            let about = About {
                operation: Some(&entry.operation)
                    .filter(|id| !id.is_empty())
                    .map(String::as_str),
                session: &entry.session,
                task: &entry.task,
                container: Some(&entry.name),
                container_id: Some(&entry.id),
            };
            let detail = json!({
                "reason": entry.reason,
                "removed": entry.removed,
                "gone_already": entry.gone_already,
                "error": entry.error.as_ref().map(failure),
            });
            self.note("swept", about, &detail);
        }
    }

    /// A line whose failure is only said.
    fn note(&self, event: &str, about: About<'_>, detail: &Value) {
        if let Err(error) = self.write(event, about, detail) {
            tracing::error!(event, %error, "not in the audit log");
        }
    }

    fn write(&self, event: &str, about: About<'_>, detail: &Value) -> Result<()> {
        let line = line(event, about, detail);
        let mut appended = self
            .sink
            .file
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        appended
            .append(&line)
            .map_err(|error| unwritable(&self.sink.path, error))
    }
}

impl Appended {
    /// One write: the kernel puts it at the end as a whole, whoever else appends.
    fn append(&mut self, line: &str) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        if self.torn {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line.as_bytes());
        loop {
            match self.file.write(&bytes) {
                Ok(count) if count == bytes.len() => {
                    self.torn = false;
                    return Ok(());
                }
                Ok(count) => {
                    self.torn |= count > 0;
                    return Err(io::Error::new(
                        io::ErrorKind::StorageFull,
                        "a line was cut; the disk may be full",
                    ));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Not blocking, since opening a named pipe would wait for its reader.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::new(
        Code::OutputFile,
        Kind::Io,
        "audit",
        "the audit log cannot be written, and without it no task starts",
    )
    .on(path.display().to_string())
    .because(error)
}

fn failure(error: &Error) -> Value {
    json!({ "code": error.code(), "during": error.operation(), "message": crate::error::shown(&error.message()) })
}

/// A line that would be too long says so instead of its detail.
fn line(event: &str, about: About<'_>, detail: &Value) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    let put = |about: About<'_>, detail: &Value| {
        let line = Line {
            time: rfc3339_millis(now),
            event,
            about,
            detail,
        };
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    };
    let whole = put(about, detail);
    if whole.len() <= MAX_LINE {
        return whole;
    }
    let short = json!({ "left_out": "it would make the line too long" });
    let without = put(about, &short);
    if without.len() <= MAX_LINE {
        return without;
    }
    // Ids that were refused for their length.
    put(
        About {
            session: "",
            task: "",
            ..about
        },
        &short,
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("acode-audit-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn lines_are_appended_whole_by_several_at_once() {
        let dir = scratch("lines");
        let path = dir.join("audit");
        fs::write(&path, "before\n").unwrap();
        let threads: Vec<_> = (0..8)
            .map(|number: usize| {
                let audit = Audit::append(&path).unwrap();
                std::thread::spawn(move || {
                    let about = About {
                        session: "s\n\"\u{1b}",
                        ..About::default()
                    };
                    for count in 0..50 {
                        let detail = json!({ "by": number, "filler": "x".repeat(count * 60) });
                        audit.write("test", about, &detail).unwrap();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines.len()), ("before", 401));
        for line in &lines[1..] {
            let value: Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["session"], "s\n\"\u{1b}");
            assert!(value["time"].as_str().unwrap().ends_with('Z'));
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn no_line_is_longer_than_what_is_written_at_once() {
        let long = "é\u{1}".repeat(10_000);
        for about in [
            About::default(),
            About {
                session: &long,
                ..About::default()
            },
        ] {
            let text = line("event", about, &json!({ "text": long }));
            assert!(
                text.len() <= MAX_LINE && text.ends_with("}\n"),
                "{}",
                text.len()
            );
            let value: Value = serde_json::from_str(&text).unwrap();
            assert!(value["detail"]["left_out"].is_string());
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let dir = scratch("odd");
        symlink(dir.join("target"), dir.join("link")).unwrap();
        let (mode, kind) = (rustix::fs::Mode::RWXU, rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(rustix::fs::CWD, dir.join("pipe"), kind, mode, 0).unwrap();
        for name in ["link", "pipe", "no/such", ""] {
            let error = Audit::append(dir.join(name)).unwrap_err();
            assert_eq!(error.code(), Code::OutputFile, "{name}: {error}");
        }
        assert!(!dir.join("target").exists());
        drop(Audit::append(dir.join("fresh")).unwrap());
        let mode = fs::metadata(dir.join("fresh"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_full_disk_is_an_error_and_the_next_line_stands_by_itself() {
        let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let mut appended = Appended {
            file: full,
            torn: true,
        };
        assert!(appended.append("line\n").is_err());
        let dir = scratch("torn");
        appended.file = open(&dir.join("audit")).unwrap();
        appended.append("line\n").unwrap();
        appended.append("line\n").unwrap();
        assert_eq!(
            fs::read_to_string(dir.join("audit")).unwrap(),
            "\nline\nline\n"
        );
        fs::remove_dir_all(dir).unwrap();
    }
}
