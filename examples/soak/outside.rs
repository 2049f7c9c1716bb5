//! What is seen without the program: the engine's own lists, the host's processes, files.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;

use crate::fault_proxy::Proxy;

pub(crate) const IMAGE: &str = "busybox:latest";

/// The hidden first argument that makes the harness a shim around one run of the program, whose peak memory it writes to a file.
pub(crate) const SHIM: &str = "__peak";

/// `FILE PROGRAM ARGUMENT…`
pub(crate) fn shim(words: &[String]) -> ExitCode {
    let status = Command::new(&words[1]).args(&words[2..]).status();
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss());
    let written = fs::write(&words[0], peak.to_string());
    match (status.map(|status| status.code()), written) {
        (Ok(Some(code)), Ok(())) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        // Died by a signal, or did not run: no status that the program gives.
        _ => ExitCode::from(200),
    }
}

/// The engine without our own client, whose mistakes it would share.
pub(crate) struct Engine(PathBuf);

pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: String,
}

impl Engine {
    pub(crate) fn at(host: &str) -> Result<Self, String> {
        host.strip_prefix("unix://")
            .map(|socket| Self(socket.into()))
            .ok_or_else(|| format!("{host}: only unix:// sockets"))
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.0
    }

    /// HTTP/1.0, since its answers end with their connection.
    fn call(&self, method: &str, path: &str) -> Result<(u16, Vec<u8>), String> {
        let exchange = || {
            let mut stream = UnixStream::connect(&self.0)?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            stream
                .write_all(format!("{method} {path} HTTP/1.0\r\nHost: soak\r\n\r\n").as_bytes())?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).map(|_| answer)
        };
        let answer = exchange().map_err(|error| format!("{method} {path}: {error}"))?;
        let status = str::from_utf8(answer.get(9..12).unwrap_or_default())
            .ok()
            .and_then(|status| status.parse().ok());
        let body = answer.windows(4).position(|end| end == b"\r\n\r\n");
        match (status, body) {
            (Some(status), Some(end)) => Ok((status, answer[end + 4..].to_vec())),
            _ => Err(format!("{method} {path}: no HTTP")),
        }
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        let (status, body) = self.call("GET", path)?;
        if status != 200 {
            return Err(format!("GET {path}: {status}"));
        }
        serde_json::from_slice(&body).map_err(|error| format!("GET {path}: {error}"))
    }

    /// Every container, created ones too, with `part` in its name.
    pub(crate) fn containers(&self, part: &str) -> Result<Vec<Container>, String> {
        let list = self.get("/containers/json?all=1")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let all = list
            .as_array()
            .into_iter()
            .flatten()
            .map(|container| Container {
                id: text(&container["Id"]),
                name: text(&container["Names"][0])
                    .trim_start_matches('/')
                    .to_owned(),
                state: text(&container["State"]),
            });
        Ok(all
            .filter(|container| container.name.contains(part))
            .collect())
    }

    /// What a broken promise left, so that the next case begins clean.
    pub(crate) fn remove(&self, container: &Container) -> Result<(), String> {
        let path = format!("/containers/{}?force=1&v=1", container.id);
        match self.call("DELETE", &path)? {
            (200 | 204 | 404 | 409, _) => Ok(()),
            (status, body) => Err(format!("DELETE {path}: {status} {}", body.escape_ascii())),
        }
    }

    fn names(&self, path: &str, list: &str, name: &str) -> Result<Vec<String>, String> {
        let answer = self.get(path)?;
        let all = if list.is_empty() {
            &answer
        } else {
            &answer[list]
        };
        let names = all.as_array().into_iter().flatten();
        Ok(names
            .filter_map(|one| one[name].as_str().map(str::to_owned))
            .collect())
    }
}

/// One run of the harness.
pub(crate) struct Soak {
    pub(crate) engine: Engine,
    pub(crate) quick: bool,
    /// In the name of every container of the run.
    pub(crate) session: String,
    /// No sweep may do what is measured.
    pub(crate) no_sweep: bool,
    /// The program can be process 1 of its tasks.
    pub(crate) own_init: bool,
    program: PathBuf,
    dir: PathBuf,
    cases: AtomicUsize,
}

impl Drop for Soak {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("soak: {}: {error}", self.dir.display());
        }
    }
}

impl Soak {
    pub(crate) fn new(host: &str, program: &Path, quick: bool) -> Result<Self, String> {
        let program =
            fs::canonicalize(program).map_err(|error| format!("{}: {error}", program.display()))?;
        let help = Command::new(&program)
            .args(["help", "exec"])
            .output()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let has = |option: &str| String::from_utf8_lossy(&help.stdout).contains(option);
        let session = format!("soak{}", std::process::id());
        let dir = std::env::temp_dir().join(format!("acode-{session}"));
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Self {
            engine: Engine::at(host)?,
            quick,
            session,
            no_sweep: has("--sweep"),
            own_init: has("--init"),
            program,
            dir,
            cases: AtomicUsize::new(0),
        })
    }

    /// A case of its own: the task's id, and the first part of the names of its files.
    pub(crate) fn case(&self) -> (String, PathBuf) {
        let task = format!("t{}", self.cases.fetch_add(1, Ordering::Relaxed));
        let files = self.dir.join(&task);
        (task, files)
    }

    /// The container of a task.
    pub(crate) fn name(&self, task: &str) -> String {
        format!("acode-{}-{task}", self.session)
    }

    /// `exec` by the engine at `socket`; with `peak`, its peak memory in KiB is there afterwards.
    pub(crate) fn exec(
        &self,
        socket: &Path,
        task: &str,
        sweep: bool,
        peak: Option<&Path>,
    ) -> Command {
        let mut command = match peak {
            None => Command::new(&self.program),
            Some(peak) => {
                let mut shim = Command::new("/proc/self/exe");
                shim.arg(SHIM).arg(peak).arg(&self.program).process_group(0);
                shim
            }
        };
        for key in [
            "DOCKER_HOST",
            "DOCKER_CONTEXT",
            "ACODE_SESSION",
            "ACODE_TASK",
        ] {
            command.env_remove(key);
        }
        command
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .arg("--host")
            .arg(socket)
            .args(["exec", "--image", IMAGE]);
        command.args(["--session", &self.session, "--task", task]);
        command.args(["-e", &mark(&self.name(task))]);
        if self.no_sweep && !sweep {
            command.args(["--sweep", "off"]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Puts the engine itself in the place of a proxy, for the guards that still watch.
    pub(crate) fn hand_over(&self, proxy: Proxy, socket: &Path) -> Result<(), String> {
        drop(proxy);
        std::os::unix::fs::symlink(self.engine.socket(), socket)
            .map_err(|error| format!("{}: {error}", socket.display()))
    }

    /// Whether the processes of a task are seen on this host, which those of a virtual machine's engine are not.
    pub(crate) fn sees_processes(&self) -> Result<bool, String> {
        let (task, _) = self.case();
        let mut client = self.exec(self.engine.socket(), &task, false, None);
        let mut client = client
            .args(["--stop-timeout", "0s", "--", "sleep", "60"])
            .spawn()
            .map_err(|error| error.to_string())?;
        let seen = until(Duration::from_secs(20), || {
            let runs = self.engine.containers(&self.name(&task))?;
            Ok(runs.iter().any(|container| container.state == "running"))
        })? && until(Duration::from_secs(2), || {
            Ok(!marked(&self.name(&task)).is_empty())
        })?;
        signal(client.id(), nix::sys::signal::Signal::SIGTERM);
        client.wait().map_err(|error| error.to_string())?;
        Ok(seen)
    }
}

/// Asks every few milliseconds; false when it did not come true.
pub(crate) fn until(
    limit: Duration,
    done: impl Fn() -> Result<bool, String>,
) -> Result<bool, String> {
    let begun = Instant::now();
    loop {
        if done()? {
            return Ok(true);
        }
        if begun.elapsed() > limit {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
    }
}

/// Ends a client and its shim.
pub(crate) fn signal_group(leader: u32) {
    if let Ok(leader) = i32::try_from(leader) {
        let _ = nix::sys::signal::killpg(
            nix::unistd::Pid::from_raw(leader),
            nix::sys::signal::Signal::SIGKILL,
        );
    }
}

/// The environment entry by which the processes of a task are known on the host.
fn mark(name: &str) -> String {
    format!("SOAK_MARK={name}")
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The processes of a task. A zombie has no environment any more.
pub(crate) fn marked(name: &str) -> Vec<u32> {
    let mark = mark(name);
    let has = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|&byte| byte == 0)
            .any(|entry| entry == mark.as_bytes())
    };
    pids().filter(has).collect()
}

/// The guards that `client` has started.
pub(crate) fn guards_of(client: u32) -> Vec<u32> {
    let is = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parent == Some(client)
            && command
                .split(|&byte| byte == 0)
                .any(|word| word == b"__guard")
    };
    pids().filter(is).collect()
}

/// Everything that a run may leave behind.
pub(crate) struct Ledger {
    engine: Engine,
    program: PathBuf,
    before: BTreeSet<String>,
}

impl Ledger {
    pub(crate) fn take(host: &str, program: &Path) -> Result<Self, String> {
        let mut ledger = Self {
            engine: Engine::at(host)?,
            program: fs::canonicalize(program)
                .map_err(|error| format!("{}: {error}", program.display()))?,
            before: BTreeSet::new(),
        };
        ledger.before = ledger.entries()?;
        Ok(ledger)
    }

    fn entries(&self) -> Result<BTreeSet<String>, String> {
        let engine = &self.engine;
        let containers = engine
            .containers("acode-")?
            .into_iter()
            .map(|container| container.name);
        let volumes = engine.names("/volumes", "Volumes", "Name")?;
        let networks = engine.names("/networks", "", "Name")?;
        let running = pids().filter_map(|pid| {
            let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
            (exe == self.program).then(|| pid.to_string())
        });
        let files = fs::read_dir(std::env::temp_dir())
            .into_iter()
            .flatten()
            .flatten();
        let files = files.map(|file| file.path().display().to_string());
        let labelled = |kind: &'static str| move |name| format!("{kind} {name}");
        Ok(containers
            .map(labelled("container"))
            .chain(volumes.into_iter().map(labelled("volume")))
            .chain(networks.into_iter().map(labelled("network")))
            .chain(running.map(labelled("process")))
            .chain(
                files
                    .filter(|file| file.contains("/acode-"))
                    .map(labelled("file")),
            )
            .collect())
    }

    /// What is there now and was not before, and stays for `patience`.
    pub(crate) fn left(&self, patience: Duration) -> Result<Vec<String>, String> {
        let begun = Instant::now();
        let mut left: BTreeSet<String> =
            self.entries()?.difference(&self.before).cloned().collect();
        while !left.is_empty() && begun.elapsed() < patience {
            thread::sleep(Duration::from_millis(500));
            left = self.entries()?.intersection(&left).cloned().collect();
        }
        Ok(left.into_iter().collect())
    }
}
