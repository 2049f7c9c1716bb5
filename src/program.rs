//! The program that stands as process 1 in tasks and as their client's guard: `acode-rt` itself, or any other that begins with
//! [`serve_helper`].

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Code, Error, Kind, Result};
use crate::{guard, init};

/// This program, also when its file has been removed.
const SELF: &str = "/proc/self/exe";

/// As the first thing in `main`: where this process was started as process 1 of a task or as a guard, does that until it is over and
/// returns what `main` is to return. `None` in every other case, at once.
///
/// ```
/// fn main() -> std::process::ExitCode {
///     if let Some(code) = acode_rt::serve_helper() {
///         return code;
///     }
///     // What the program is for.
///     std::process::ExitCode::SUCCESS
/// }
/// ```
pub fn serve_helper() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    SERVES.store(true, Ordering::Relaxed);
    let word: OsString = arguments.next()?;
    match word.to_str()? {
        init::INIT => Some(init::run()),
        init::SPAWN => Some(init::become_command(arguments)),
        guard::GUARD => Some(guard::run(arguments)),
        _ => None,
    }
}

/// This program begins with [`serve_helper`]. One that does not would run itself again and again as its own guard.
static SERVES: AtomicBool = AtomicBool::new(false);

/// A program that begins with [`serve_helper`].
#[derive(Debug, Clone)]
pub struct Program {
    /// How it is started here.
    command: PathBuf,
    /// Where an engine finds it, or why it cannot stand as process 1.
    init: std::result::Result<InitFile, &'static str>,
}

/// The very file that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct InitFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl InitFile {
    fn look(path: &Path) -> std::result::Result<Self, &'static str> {
        fit_for_init(path)?;
        let meta = fs::metadata(path).map_err(|_| "it cannot be looked at")?;
        Ok(Self {
            path: path.to_owned(),
            device: meta.dev(),
            inode: meta.ino(),
        })
    }

    /// Its path, if it is still there: an engine would find something else there, or make a directory of it.
    pub(crate) fn path(&self) -> std::result::Result<&Path, &'static str> {
        let is_it = fs::metadata(&self.path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == (self.device, self.inode));
        if is_it {
            Ok(&self.path)
        } else {
            Err("the program's file was replaced or removed since it was looked at")
        }
    }
}

impl Program {
    /// This very program, which has called [`serve_helper`].
    pub fn this() -> Self {
        let running = Path::new(SELF);
        let init = fs::read_link(running)
            .map_err(|_| "where this program's file is cannot be told")
            .and_then(|path| {
                if is_same_file(&path, running) {
                    InitFile::look(&path)
                } else {
                    Err("this program's file was replaced or removed since it began")
                }
            });
        Self {
            command: running.to_owned(),
            init,
        }
    }

    /// The program at `path`, such as an installed `acode-rt`.
    ///
    /// # Errors
    /// `ACODE-CTN-015` when there is no file at this absolute path.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        if !path.is_absolute() || !path.is_file() {
            return Err(Error::new(
                Code::Configuration,
                Kind::Invalid,
                "program",
                "there is no such file; give the absolute path of a program",
            )
            .on(path.display().to_string()));
        }
        Ok(Self {
            init: InitFile::look(&path),
            command: path,
        })
    }

    /// Where it is, for tasks to have it as process 1.
    ///
    /// # Errors
    /// Why it cannot be that: it is not linked statically, not everybody may execute it, or its file is not there any more.
    pub fn init(&self) -> std::result::Result<&Path, &'static str> {
        self.init.as_ref().map_err(|why| *why)?.path()
    }

    pub(crate) fn init_file(&self) -> std::result::Result<InitFile, &'static str> {
        self.init.clone()
    }

    /// How it is started as a guard.
    pub(crate) fn command(&self) -> Result<&Path> {
        if self.command == Path::new(SELF) && !SERVES.load(Ordering::Relaxed) {
            return Err(Error::new(
                Code::Configuration,
                Kind::Invalid,
                "program",
                "this program cannot be its own guard: its main has to begin with acode_rt::serve_helper()",
            ));
        }
        Ok(&self.command)
    }
}

/// Closes every descriptor but the standard streams. Before anything has been opened: what is there came from whoever started us.
pub(crate) fn close_inherited() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers: Vec<i32> = open
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        let _ = nix::unistd::close(number);
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

fn fit_for_init(path: &Path) -> std::result::Result<(), &'static str> {
    const EVERYBODY: u32 = 0o005;
    if path.to_str().is_none() {
        return Err("its path is not text");
    }
    let mode = fs::metadata(path)
        .map_err(|_| "it cannot be looked at")?
        .mode();
    if mode & EVERYBODY != EVERYBODY {
        return Err("not everybody may read and execute it");
    }
    let mut head = [0; 4096];
    let count = File::open(path)
        .and_then(|mut file| file.read(&mut head))
        .map_err(|_| "it cannot be read")?;
    match needs_an_interpreter(&head[..count]) {
        Some(false) => Ok(()),
        Some(true) => {
            Err("it is linked dynamically, which needs files that a task's image may not have")
        }
        None => Err("it is no 64-bit program for this machine"),
    }
}

/// Whether an ELF file names a dynamic loader; `None` for what is not little-endian ELF64.
fn needs_an_interpreter(file: &[u8]) -> Option<bool> {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let field = file.get(at..at.checked_add(bytes)?)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte)),
        )
    };
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = usize::try_from(number(0x20, 8)?).ok()?;
    let (size, count) = (number(0x36, 2)?, number(0x38, 2)?);
    for index in 0..count {
        let at = table.checked_add(usize::try_from(index * size).ok()?)?;
        if number(at, 4)? == u64::from(INTERPRETER) {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with program headers of these types.
    fn elf(types: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[0x20] = 64;
        file[0x36] = 56;
        file[0x38] = u8::try_from(types.len()).unwrap();
        for kind in types {
            let mut header = vec![0; 56];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            file.extend(header);
        }
        file
    }

    #[test]
    fn a_program_with_a_loader_is_dynamic() {
        assert_eq!(needs_an_interpreter(&elf(&[1, 3, 2])), Some(true));
        assert_eq!(needs_an_interpreter(&elf(&[1, 2])), Some(false));
        assert_eq!(needs_an_interpreter(&elf(&[1, 2])[..100]), None);
        assert_eq!(needs_an_interpreter(b"#!/bin/sh\n"), None);
        let mut far = elf(&[1]);
        far[0x20..0x28].fill(0xff);
        assert_eq!(needs_an_interpreter(&far), None);
    }

    #[test]
    fn a_program_that_does_not_serve_cannot_be_its_own_guard() {
        // The tests' own main does not.
        let error = Program::this().command().unwrap_err();
        assert!(error.message().contains("serve_helper"), "{error}");
    }

    #[test]
    fn what_is_no_program_is_refused_before_it_is_needed() {
        assert!(Program::at("relative").is_err());
        assert!(Program::at("/no/such/program").is_err());
        assert!(Program::at("/etc/passwd").unwrap().init().is_err());
    }
}
