//! Living owners where a sweep cannot or can hardly see them, true orphans among them, and many sweeps at once: no living task may be
//! lost, and every orphan has to go.
//!
//! Owners and sweeps are this project's program in turn: as it is, as another user to whom `/proc` shows nobody else, in a time
//! namespace in which everything started at another time, and in a PID namespace with its own `/proc` or with that of the one outside.

use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use acode_rt::engine::{Engine, Host};
use acode_rt::model::{CreateBody, HostConfig};
use acode_rt::protocol::labels::{Labels, TaskLabels};
use acode_rt::protocol::owner::Owner;
use acode_rt::sweep::{owned_containers, owner};
use acode_rt::task::generated_id;
use acode_rt::{ContainerName, Prefix};
use serde_json::Value;

const IMAGE: &str = "busybox:latest";
/// Owners that start at once; more only make the engine slow.
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(120);
/// For each round, at least.
const ORPHANS: usize = 6;

/// Where a process runs: what stands before the program on its command line.
const PLACES: [&[&str]; 5] = [
    &[],
    &[
        "unshare",
        "--mount",
        "sh",
        "-c",
        // It may use the engine's socket as root may, and nothing else.
        "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups \
         --inh-caps=-all,+dac_override --ambient-caps=-all,+dac_override --bounding-set=-all,+dac_override \"$@\"",
        "sh",
    ],
    &[
        "unshare",
        "--kill-child",
        "--fork",
        "--time",
        "--monotonic",
        "1000",
        "--boottime",
        "1000",
    ],
    &["unshare", "--kill-child", "--fork", "--pid", "--mount-proc"],
    &["unshare", "--kill-child", "--fork", "--pid"],
];

/// `owners` living tasks, and `rounds` times new orphans and `sweeps` sweeps at once; needs root. A line of figures, or what went wrong.
pub(crate) fn run(
    host: &str,
    owners: usize,
    sweeps: usize,
    rounds: usize,
) -> Result<String, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("namespaces and other users need root".into());
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(said)?
        .block_on(soak(host, owners, sweeps, rounds))
}

async fn soak(host: &str, owners: usize, sweeps: usize, rounds: usize) -> Result<String, String> {
    let begun = Instant::now();
    let engine = Engine::connect(&Host::parse(host).map_err(said)?)
        .await
        .map_err(said)?;
    let mut field = Field {
        program: program()?,
        host: host.to_owned(),
        session: generated_id().map_err(said)?,
        owners: Vec::new(),
        engine,
    };
    let soaked = field.soak(owners, sweeps, rounds).await;
    let cleaned = field.clean_up();
    let figures = soaked?;
    cleaned?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(format!(
        "| {} | {owners} owners in {} places, {sweeps} sweeps × {rounds} | 0 lost | {figures} | {seconds:.1} s |",
        field.engine.server(),
        PLACES.len().min(owners)
    ))
}

struct Field {
    program: PathBuf,
    host: String,
    /// Of every container that is made here.
    session: String,
    owners: Vec<Child>,
    engine: Engine,
}

impl Field {
    async fn soak(
        &mut self,
        owners: usize,
        sweeps: usize,
        rounds: usize,
    ) -> Result<String, String> {
        while self.owners.len() < owners {
            let wanted = owners.min(self.owners.len() + AT_ONCE);
            while self.owners.len() < wanted {
                self.start_owner()?;
            }
            self.await_running(wanted).await?;
        }
        let (mut orphans, mut removed, mut gone_already) = (0, 0, 0);
        for round in 0..rounds {
            let made = self.make_orphans(round, ORPHANS.max(owners / 5)).await?;
            orphans += made.len();
            for report in self.sweep_at_once(sweeps)? {
                removed += self.count(&report, "removed");
                gone_already += self.count(&report, "gone_already");
            }
            for name in &made {
                match self.engine.container_inspect(name).await {
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(said(error)),
                    Ok(_) => {
                        return Err(format!("round {round}: the orphan {name} is still there"));
                    }
                }
            }
            self.all_live(round).await?;
        }
        Ok(format!(
            "{orphans} orphans, 0 left; counted as removed {removed}, as gone already {gone_already}"
        ))
    }

    fn start_owner(&mut self) -> Result<(), String> {
        let task = format!("own-{}", self.owners.len());
        let mut command = self.program_in(self.owners.len());
        command
            .args(["exec", "-q", "--session", &self.session, "--task", &task])
            .args(["--image", IMAGE, "--", "sleep", "1000"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        self.owners.push(command.spawn().map_err(said)?);
        Ok(())
    }

    /// The program in one of the places.
    fn program_in(&self, number: usize) -> Command {
        let place = PLACES[number % PLACES.len()];
        let program = self.program.as_os_str();
        let mut words = place.iter().map(AsRef::as_ref).chain([program]);
        let mut command = Command::new(words.next().unwrap_or(program));
        command.args(words).args(["--host", &self.host]);
        command.stdin(Stdio::null());
        command
    }

    async fn running(&self) -> Result<Vec<String>, String> {
        let ours = owned_containers(&self.engine).await.map_err(said)?;
        let running = ours.into_iter().filter(|(container, labels)| {
            labels.session == self.session && container.state == "running"
        });
        Ok(running.map(|(_, labels)| labels.task).collect())
    }

    async fn await_running(&mut self, wanted: usize) -> Result<(), String> {
        let begun = Instant::now();
        while self.running().await?.len() < wanted {
            self.none_ended()?;
            if begun.elapsed() > PATIENCE {
                return Err(format!("{wanted} owners did not start"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn none_ended(&mut self) -> Result<(), String> {
        for (number, owner) in self.owners.iter_mut().enumerate() {
            if let Some(status) = owner.try_wait().map_err(said)? {
                let mut text = String::new();
                if let Some(stderr) = &mut owner.stderr {
                    stderr.read_to_string(&mut text).map_err(said)?;
                }
                return Err(format!("owner {number} ended: {status}: {text}"));
            }
        }
        Ok(())
    }

    async fn all_live(&mut self, round: usize) -> Result<(), String> {
        let running = self.running().await?;
        let lost: Vec<String> = (0..self.owners.len())
            .map(|number| format!("own-{number}"))
            .filter(|task| !running.contains(task))
            .collect();
        if lost.is_empty() {
            return self.none_ended();
        }
        Err(format!(
            "round {round}: living tasks were lost: {}",
            lost.join(", ")
        ))
    }

    /// In turn: the owner's pid is nobody's, it is somebody else's by now, there are no labels.
    async fn make_orphans(&self, round: usize, count: usize) -> Result<Vec<String>, String> {
        let me = owner::current().ok_or("/proc does not say who we are")?;
        let mut ended = Command::new("true").spawn().map_err(said)?;
        ended.wait().map_err(said)?;
        let owners = [
            Owner {
                pid: ended.id(),
                ..me.clone()
            },
            Owner {
                start: me.start - 1,
                ..me
            },
        ];
        let mut names = Vec::new();
        for number in 0..count {
            let task = format!("orphan-{round}-{number}");
            let labels = owners
                .get(number % 3)
                .map(|owner| self.labels(&task, owner));
            let name =
                ContainerName::new(&Prefix::default(), &self.session, &task).map_err(said)?;
            let body = CreateBody {
                image: IMAGE.into(),
                cmd: Some(vec!["true".into()]),
                labels: labels.unwrap_or_default(),
                host_config: HostConfig {
                    network_mode: "none".into(),
                    ..HostConfig::default()
                },
                ..CreateBody::default()
            };
            self.engine
                .container_create(&name, &body)
                .await
                .map_err(said)?;
            names.push(name.to_string());
        }
        Ok(names)
    }

    fn labels(&self, task: &str, owner: &Owner) -> Labels {
        let now = self.engine.now();
        TaskLabels {
            session: self.session.clone(),
            task: task.into(),
            created: now,
            ephemeral: true,
            operation: format!("{}-{task}", self.session),
            owner: Some(owner.clone()),
            deadline: Some(now + 86_400),
        }
        .to_map()
    }

    /// All of them start before the first is waited for.
    fn sweep_at_once(&self, sweeps: usize) -> Result<Vec<Value>, String> {
        let start = |number| {
            let mut command = self.program_in(number);
            command.args(["cleanup", "--json"]);
            let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().map_err(said)
        };
        let started: Vec<Child> = (0..sweeps).map(start).collect::<Result<_, _>>()?;
        let mut reports = Vec::new();
        for (number, sweep) in started.into_iter().enumerate() {
            let ended = sweep.wait_with_output().map_err(said)?;
            if !ended.status.success() {
                let stderr = String::from_utf8_lossy(&ended.stderr);
                return Err(format!("sweep {number}: {}: {stderr}", ended.status));
            }
            reports.push(serde_json::from_slice(&ended.stdout).map_err(said)?);
        }
        Ok(reports)
    }

    /// How many containers of ours a sweep says this of; others may leave orphans here as well.
    fn count(&self, report: &Value, what: &str) -> usize {
        let said = |entry: &&Value| entry["session"] == self.session && entry[what] == true;
        let entries = report["containers"].as_array();
        entries.map_or(0, |entries| entries.iter().filter(said).count())
    }

    /// Takes everything of the session away; the owners end with their tasks.
    fn clean_up(&mut self) -> Result<(), String> {
        // Their tasks are killed under them, of which they have nothing to say that matters here.
        let mut command = self.program_in(0);
        let cleaned = command
            .args(["cleanup", "--session", &self.session])
            .stdout(Stdio::null())
            .status()
            .map_err(said)?;
        let begun = Instant::now();
        for mut owner in self.owners.drain(..) {
            while owner.try_wait().map_err(said)?.is_none() {
                if begun.elapsed() > PATIENCE {
                    owner.kill().map_err(said)?;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if cleaned.success() {
            return Ok(());
        }
        Err(format!("cleanup of session {}: {cleaned}", self.session))
    }
}

/// The program that was built with what runs this: tests and examples stand in a directory beside it.
fn program() -> Result<PathBuf, String> {
    let me = env::current_exe().map_err(said)?;
    let built = me.parent().and_then(Path::parent);
    let program = built.map(|built| built.join("acode-rt"));
    program
        .filter(|program| program.is_file())
        .ok_or_else(|| "the program is not built: cargo build --bin acode-rt".into())
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
