//! A gigabyte of artifacts: what `acode-rt exec` takes for bringing it out of a container that has stopped, digest and all, against
//! `docker cp` from one that has the same volume.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::measure::{Sample, sample};
use crate::table::{Row, Spread};

/// The artifact, 1 GiB that is not sparse and is on the disk: `docker cp` copies one that has been there for a while.
const SCRIPT: &str =
    "mkdir -p /workspace/src && head -c 1073741824 /dev/zero > /workspace/src/big && sync";
const BYTES: u64 = 1 << 30;

/// A stopped container with the file, and a directory for copies; both go with it.
struct Place {
    host: String,
    container: String,
    dir: PathBuf,
}

impl Place {
    fn new(host: &str) -> Result<Self, String> {
        let name = format!("compare-files-{}", std::process::id());
        let place = Self {
            host: host.to_owned(),
            dir: std::env::temp_dir().join(&name),
            container: name,
        };
        fs::create_dir(&place.dir).map_err(|error| error.to_string())?;
        let name = &place.container;
        let run = [
            "run",
            "--name",
            name,
            "--network=none",
            "-v",
            "/workspace",
            "busybox",
            "sh",
            "-c",
            SCRIPT,
        ];
        place.docker(&run)?;
        Ok(place)
    }

    fn docker(&self, arguments: &[&str]) -> Result<(), String> {
        let output = Command::new("docker")
            .args(arguments)
            .env("DOCKER_HOST", &self.host)
            .env_remove("DOCKER_CONTEXT")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("docker: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "docker {}: {}",
            arguments[0],
            String::from_utf8_lossy(&output.stderr)
        ))
    }

    /// Milliseconds that `docker cp` takes.
    fn copy(&self) -> Result<f64, String> {
        let to = self.dir.join("theirs");
        let begun = Instant::now();
        self.docker(&[
            "cp",
            &format!("{}:/workspace/src/big", self.container),
            text(&to)?,
        ])?;
        let wall = begun.elapsed().as_secs_f64() * 1e3;
        removed(&to)?;
        Ok(wall)
    }

    /// One task with the artifact, or without: what it cost, and the milliseconds that its artifacts took.
    fn task(&self, bin: &str, artifact: bool) -> Result<(Sample, f64), String> {
        let (to, receipt) = (self.dir.join("ours"), self.dir.join("receipt"));
        let wanted = format!("big:{}", text(&to)?);
        let mut words = vec![
            bin,
            "exec",
            "-q",
            "--image",
            "busybox",
            "--receipt",
            text(&receipt)?,
        ];
        if artifact {
            words.extend(["--artifact", &wanted, "--", "sh", "-c", SCRIPT]);
        } else {
            words.extend(["--", "true"]);
        }
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let cost = sample(&words, &self.host, 0)?;
        let told = fs::read(&receipt).map_err(|error| error.to_string())?;
        let told: serde_json::Value =
            serde_json::from_slice(&told).map_err(|error| error.to_string())?;
        if artifact {
            removed(&to)?;
        }
        let took = told["phases_ms"]["artifacts"].as_f64();
        Ok((
            cost,
            took.ok_or("the receipt does not say how long artifacts took")?,
        ))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.docker(&["rm", "-f", "-v", &self.container]);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn text(path: &Path) -> Result<&str, String> {
    path.to_str()
        .ok_or_else(|| "the directory for temporary files is not UTF-8".to_owned())
}

/// Removes a copy that has to be whole.
fn removed(path: &Path) -> Result<(), String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    fs::remove_file(path).map_err(|error| error.to_string())?;
    if length == BYTES {
        Ok(())
    } else {
        Err(format!("a copy has {length} bytes"))
    }
}

/// Alternates both, after one round for nothing.
pub(crate) fn files(bin: &str, host: &str, runs: usize) -> Result<[Row; 2], String> {
    let place = Place::new(host)?;
    let (mut ours, mut docker, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=runs {
        let theirs = place.copy()?;
        let (base, _) = place.task(bin, false)?;
        let (cost, took) = place.task(bin, true)?;
        if round > 0 {
            docker.push(theirs);
            ours.push(took);
            memory.push(cost.memory - base.memory);
        }
    }
    Ok([
        Row::ratio(
            "1 GiB of artifacts",
            "ms",
            Spread::of(ours),
            ("docker cp", Spread::of(docker)),
            0.80,
        ),
        Row::limit(
            "1 GiB, peak memory above none",
            "MiB",
            Spread::of(memory),
            16.0,
        ),
    ])
}
