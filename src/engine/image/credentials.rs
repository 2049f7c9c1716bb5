//! Credentials for a registry, from docker's configuration. They are looked up when something is pulled, and not kept.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::engine::host::docker_config_dir;
use crate::error::{Code, Error, Kind, Result};
use crate::protocol::registry_auth::{RegistryAuth, Source, find, from_helper, server_of};

/// No configuration has more.
const MAX_CONFIG: u64 = 1024 * 1024;
/// A helper that asks the user, or the network, has so long.
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);
/// No helper prints more.
const MAX_ANSWER: usize = 64 * 1024;
/// What a helper prints, as its protocol has it, when it has nothing for a registry.
const NOTHING_FOUND: &str = "credentials not found in native keychain";

/// What docker's `config.json` (in `$DOCKER_CONFIG` or `~/.docker`) has for `registry`: `auths`, or a program named in `credHelpers` or
/// `credsStore`. `None` where it has nothing.
///
/// # Errors
/// `ACODE-CTN-015` when the file or the program cannot be used; nothing that they say is quoted.
pub async fn registry_credentials(registry: &str) -> Result<Option<RegistryAuth>> {
    let registry = registry.to_owned();
    // Files, and a program that is waited for.
    tokio::task::spawn_blocking(move || look_up(&registry))
        .await
        .map_err(|error| wrong("credentials", "they could not be looked up").because(error))?
}

fn wrong(subject: &str, message: impl Into<String>) -> Error {
    Error::new(
        Code::Configuration,
        Kind::Refused,
        "registry credentials",
        message,
    )
    .on(subject)
}

fn look_up(registry: &str) -> Result<Option<RegistryAuth>> {
    let Some(path) = docker_config_dir().map(|dir| dir.join("config.json")) else {
        return Ok(None);
    };
    let Some(config) = read_config(&path)? else {
        return Ok(None);
    };
    let source = find(&config, registry).map_err(|why| wrong(&path.display().to_string(), why))?;
    match source {
        Source::Nowhere => Ok(None),
        Source::Here(auth) => Ok(Some(auth)),
        Source::Program(name) => ask_helper(&format!("docker-credential-{name}"), registry),
    }
}

/// A configuration file of docker's; `None` where there is none.
pub(in crate::engine) fn read_config(path: &Path) -> Result<Option<Vec<u8>>> {
    let shown = path.display().to_string();
    let unreadable = |error| wrong(&shown, "it cannot be read").because(error);
    let unfit = || wrong(&shown, "it is no file of at most 1 MiB");
    // Of a pipe nothing is waited for; it is told from a file when it is open, so that nothing can be swapped in between.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(unreadable(error.into())),
    };
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unfit());
    }
    let mut content = Vec::new();
    file.take(MAX_CONFIG + 1)
        .read_to_end(&mut content)
        .map_err(unreadable)?;
    if content.len() as u64 > MAX_CONFIG {
        return Err(unfit());
    }
    Ok(Some(content))
}

/// `PROGRAM get`, the registry on its standard input.
fn ask_helper(program: &str, registry: &str) -> Result<Option<RegistryAuth>> {
    let unusable = |error| {
        wrong(
            program,
            "docker's configuration names this program for the registry's credentials, and it cannot be used",
        )
        .because(error)
    };
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // What it says could be a secret.
        .stderr(Stdio::null())
        // So that what it starts ends with it.
        .process_group(0)
        .spawn()
        .map_err(unusable)?;
    let answered = converse(&mut child, registry);
    let ended = answered.and_then(|answer| Ok((answer, child.wait()?)));
    let (answer, status) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            end(&mut child);
            return Err(unusable(error));
        }
    };
    if status.success() {
        return from_helper(&answer, registry)
            .map(Some)
            .map_err(|why| wrong(program, why));
    }
    if answer.trim_ascii() == NOTHING_FOUND.as_bytes() {
        return Ok(None);
    }
    Err(wrong(
        program,
        format!("it failed ({status}) when asked for the credentials of {registry}"),
    ))
}

/// Writes the question and reads the answer, until the program has closed its output and is about to end.
fn converse(child: &mut Child, registry: &str) -> std::io::Result<Vec<u8>> {
    let deadline = Instant::now() + HELPER_TIMEOUT;
    if let Some(mut stdin) = child.stdin.take() {
        // Short enough for any pipe; one that does not read it may still answer.
        let _ = writeln!(stdin, "{}", server_of(registry));
    }
    let answer = match child.stdout.take() {
        Some(stdout) => read_until(stdout, deadline)?,
        None => Vec::new(),
    };
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            return Err(too_slow());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(answer)
}

fn read_until(mut stdout: ChildStdout, deadline: Instant) -> std::io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| too_slow())?;
        let mut ready = [PollFd::new(&stdout, PollFlags::IN)];
        match poll(&mut ready, Some(&timeout)) {
            Ok(0) => return Err(too_slow()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match stdout.read(&mut buffer)? {
            0 => return Ok(answer),
            count => answer.extend_from_slice(&buffer[..count]),
        }
        if answer.len() > MAX_ANSWER {
            return Err(std::io::Error::other("it printed more than 64 KiB"));
        }
    }
}

fn too_slow() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("it did not answer within {HELPER_TIMEOUT:?}"),
    )
}

fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        // It may be gone already.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_bounded_length_is_read_as_dockers_configuration() {
        let name = format!("acode-credentials-{}", crate::task::generated_id().unwrap());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).unwrap();
        let (file, pipe) = (dir.join("config.json"), dir.join("pipe"));
        assert!(read_config(&file).unwrap().is_none());
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(read_config(&file).unwrap().unwrap(), b"{}");
        std::fs::write(&file, vec![b' '; 1024 * 1024 + 1]).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, Mode::RUSR, 0).unwrap();
        for path in [&file, &pipe, &dir, Path::new("/dev/zero")] {
            let error = read_config(path).unwrap_err();
            assert!(error.message().contains("at most 1 MiB"), "{error}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
