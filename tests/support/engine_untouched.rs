//! The program as it is run without an engine, and a socket that nobody is to connect to.

#[path = "own_environment.rs"]
mod own_environment;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use own_environment::forget_ours;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_acode-rt");

/// A directory that is removed at the end.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("acode-cli-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A socket that nobody is to connect to.
pub(crate) struct Untouched {
    listener: UnixListener,
    pub(crate) dir: Dir,
}

impl Untouched {
    pub(crate) fn new(name: &str) -> Self {
        let dir = Dir::new(name);
        let listener = UnixListener::bind(dir.0.join("engine.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, dir }
    }

    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let host = format!("unix://{}", self.dir.file("engine.sock"));
        let run = Run::of(program().args(["--host", &host]).args(arguments));
        let connected = self
            .listener
            .accept()
            .map(drop)
            .map_err(|error| error.kind());
        assert_eq!(
            connected,
            Err(ErrorKind::WouldBlock),
            "{arguments:?} connects"
        );
        run
    }

    #[track_caller]
    pub(crate) fn exec(&self, options: &str) -> Run {
        let options: Vec<&str> = options.split(' ').collect();
        self.run(
            &[
                &["exec", "--image", "busybox"],
                &options[..],
                &["--", "true"],
            ]
            .concat(),
        )
    }
}

pub(crate) struct Run {
    status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn expect_error(self, code: &str) -> Self {
        let run = self.expect(125);
        assert!(
            run.stderr
                .starts_with(&format!("acode-rt: error: {code}: ")),
            "not {code}: {}",
            run.stderr
        );
        assert_eq!(run.stdout, "");
        run
    }
}

/// The program without what our own environment would tell it.
pub(crate) fn program() -> Command {
    program_at(PROGRAM.as_ref())
}

pub(crate) fn program_at(path: &Path) -> Command {
    let mut command = Command::new(path);
    forget_ours(&mut command);
    command
}
