//! How each of the three clients is called for the same task.

use std::process::Command;

/// The hidden first argument that makes the harness the raw client.
pub(crate) const RAW: &str = "__raw";

const IMAGE: &str = "busybox";

/// What `acode-rt exec` protects and limits by default on a host of 4 GiB and 2 CPUs or more, as flags of
/// `docker run`.
const PROTECTIONS: &[&str] = &[
    "--rm",
    "--init",
    "--network=none",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--ipc=private",
    "--cgroupns=private",
    "--memory=4g",
    "--memory-swap=4g",
    "--cpus=2",
    "--pids-limit=1000",
    "--shm-size=64m",
    "--user=1000:1000",
    "--workdir=/workspace",
    "--env=HOME=/workspace",
    "--tmpfs=/tmp:rw,nosuid,nodev,exec,size=992m,mode=1777",
    "--tmpfs=/workspace:rw,nosuid,nodev,exec,size=992m,uid=1000,gid=1000,mode=0700",
];

/// The log driver of `acode-rt exec`, as flags of `docker run`.
const LOG: &[&str] = &[
    "--log-driver=local",
    "--log-opt=max-size=10m",
    "--log-opt=max-file=3",
];

/// `docker run` with the same protections, and the same log driver or the engine's default one.
pub(crate) fn docker(same_log: bool, task: &[&str]) -> Vec<String> {
    let log = if same_log { LOG } else { &[] };
    owned(&[&["docker", "run"], PROTECTIONS, log, &[IMAGE], task].concat())
}

/// `acode-rt exec`, whose program is at `bin`, as it is called by default.
pub(crate) fn acode_rt(bin: &str, task: &[&str]) -> Vec<String> {
    owned(&[&[bin, "exec", "--image", IMAGE, "--"], task].concat())
}

/// The raw client with the create body that `acode-rt exec` says it would send for this task with the engine's process 1.
///
/// # Errors
/// When the program cannot tell it.
pub(crate) fn raw(
    bin: &str,
    host: &str,
    socket: &str,
    task: &[&str],
) -> Result<Vec<String>, String> {
    let told = Command::new(bin)
        .args([
            "exec",
            "--image",
            IMAGE,
            "--init",
            "engine",
            "--dry-run",
            "--json",
            "--",
        ])
        .args(task)
        .env("DOCKER_HOST", host)
        .env_remove("DOCKER_CONTEXT")
        .output()
        .map_err(|error| format!("{bin}: {error}"))?;
    let plan = String::from_utf8_lossy(&told.stdout);
    let create = object_of(&plan, "create").ok_or_else(|| {
        format!(
            "{bin} exec --dry-run --json: no `create`: {}",
            String::from_utf8_lossy(&told.stderr)
        )
    })?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(owned(&[
        &program.to_string_lossy(),
        RAW,
        socket,
        IMAGE,
        create,
    ]))
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// The text of the object that is the value of `key` in `json`.
fn object_of<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{key}\":"))?;
    let rest = rest.trim_start();
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return rest.starts_with('{').then(|| &rest[..=at]);
        }
    }
    None
}
