//! A real engine of a test's own, from this machine's `dockerd`: it may be killed, frozen, restarted and filled up, and no other test or
//! container notices.
//!
//! It has its own directories, control group, containerd and network namespace: without a bridge of its own, dockerd would remove the
//! bridge of the machine's engine.

use std::env;
use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use acode_rt::ImageRef;
use acode_rt::engine::{Engine, Host, ListOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use tar::{Builder, EntryType, Header};

/// What the engine has to run.
pub(crate) const IMAGE: &str = "busybox:latest";

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: [&str; 6] = ["cat", "head", "sh", "sleep", "true", "yes"];
/// Starting, stopping and taking apart are over by then, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// The engine; dropping it takes it apart.
pub(crate) struct PrivateEngine {
    dir: PathBuf,
    /// The parent of its containers' control groups.
    cgroup: String,
    daemon: Option<Child>,
    limited: bool,
}

impl PrivateEngine {
    /// Why this machine cannot have one.
    pub(crate) fn impossible() -> Option<String> {
        if !Uid::effective().is_root() {
            return Some("only root can start an engine".into());
        }
        let needed = ["dockerd", "unshare", "ip", "mount", BUSYBOX];
        if let Some(program) = needed.iter().find(|program| find(program).is_none()) {
            return Some(format!("there is no {program}"));
        }
        let unshared = Command::new("unshare").args(["-nm", "true"]).output();
        (!unshared.is_ok_and(|output| output.status.success()))
            .then(|| "root may not make namespaces here".into())
    }

    /// Starts one with an image; with `disk`, all that it stores has to fit into so many bytes.
    pub(crate) fn start(disk: Option<u64>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("acode-private-{}-{count}", std::process::id());
        let mut engine = Self {
            dir: env::temp_dir().join(&name),
            cgroup: name,
            daemon: None,
            limited: disk.is_some(),
        };
        fs::create_dir(&engine.dir).unwrap();
        fs::create_dir(engine.path("data")).unwrap();
        fs::write(engine.path("config.json"), "{}").unwrap();
        if let Some(bytes) = disk {
            engine.mount_tmpfs("data", bytes);
        }
        engine.start_again();
        let tar = Cursor::new(root_file_system());
        engine.ask(async |engine| {
            let image = ImageRef::parse(IMAGE).unwrap();
            engine.image_import(&image, tar, &[]).await.unwrap();
        });
        engine
    }

    /// A path in its directory, which a test may use for its own files too.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("socket")
    }

    /// A file system of so many bytes at `name` in its directory.
    pub(crate) fn mount_tmpfs(&self, name: &str, bytes: u64) {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        let options = ["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(&path).status();
        assert!(mounted.unwrap().success(), "{} not mounted", path.display());
    }

    /// Starts the engine with the directories that it had, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        assert!(self.daemon.is_none(), "it runs");
        // The containerd that died with it counts as alive until somebody has waited for it, and would be used.
        let _ = fs::remove_file(self.path("exec/containerd/containerd.pid"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let mut unshare = Command::new("unshare");
        unshare
            .args(["-n", "sh", "-c", "ip link set lo up; exec \"$@\"", "-"])
            .arg(find("dockerd").unwrap())
            .args(self.flags())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // An interrupt at the terminal ends the test first.
            .process_group(0);
        self.daemon = Some(unshare.spawn().unwrap());
        let host = self.host();
        let answers = || block_on(Engine::connect(&host)).is_ok();
        let died = |daemon: &mut Child| daemon.try_wait().unwrap().is_some();
        let daemon = self.daemon.as_mut().unwrap();
        let up = wait_until(PATIENCE, || died(daemon) || answers());
        assert!(up && !died(daemon), "it does not start:\n{}", self.log());
    }

    fn flags(&self) -> Vec<String> {
        let (dir, cgroup) = (self.dir.display(), &self.cgroup);
        let network = [
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
        ];
        let own = [
            "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
            format!("--cgroup-parent=/{cgroup}"),
            format!("--config-file={dir}/config.json"),
            format!("--host=unix://{dir}/socket"),
            format!("--data-root={dir}/data"),
            format!("--exec-root={dir}/exec"),
            format!("--pidfile={dir}/pid"),
        ];
        network.map(str::to_owned).into_iter().chain(own).collect()
    }

    fn log(&self) -> String {
        let log = fs::read(self.path("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(4000)..]).into_owned()
    }

    /// SIGKILL to the engine alone: its containers live on.
    pub(crate) fn kill_hard(&mut self) {
        self.signal(Signal::SIGKILL);
        // A pid file of a process that nobody has waited for keeps the next one from starting.
        self.daemon.take().unwrap().wait().unwrap();
    }

    /// As an operator stops it: it ends its containers first.
    pub(crate) fn stop_gracefully(&mut self) {
        self.signal(Signal::SIGTERM);
        let mut daemon = self.daemon.take().unwrap();
        let stopped = wait_until(PATIENCE, || daemon.try_wait().unwrap().is_some());
        assert!(stopped, "it does not stop:\n{}", self.log());
    }

    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let daemon = self.daemon.as_ref().expect("it does not run");
        kill(Pid::from_raw(daemon.id().try_into().unwrap()), signal).unwrap();
    }

    /// Fills its disk to the last byte.
    pub(crate) fn fill_disk(&self) {
        assert!(self.limited, "this would fill the machine's disk");
        fill(&self.path("data/filler"));
    }

    pub(crate) fn free_disk(&self) {
        fs::remove_file(self.path("data/filler")).unwrap();
    }

    /// Asks the engine itself.
    pub(crate) fn ask<T>(&self, question: impl AsyncFnOnce(Engine) -> T) -> T {
        let host = self.host();
        block_on(async { question(Engine::connect(&host).await.unwrap()).await })
    }

    fn host(&self) -> Host {
        Host::parse(self.socket().to_str().unwrap()).unwrap()
    }

    /// The containers and volumes that it has, and the processes that run in containers.
    pub(crate) fn contents(&self) -> Vec<String> {
        let all = ListOptions {
            all: true,
            ..ListOptions::default()
        };
        let listed = self.ask(async |engine| engine.container_list(&all).await.unwrap());
        let containers = listed
            .iter()
            .map(|one| format!("container {} ({})", one.name(), one.status));
        let volumes = entries(&self.path("data/volumes"))
            .into_iter()
            .filter(|path| path.is_dir())
            .map(|path| format!("volume {}", path.display()));
        let processes = self
            .contained()
            .into_iter()
            .map(|pid| format!("process {pid}"));
        containers.chain(volumes).chain(processes).collect()
    }

    /// Takes it apart, and says what could not be removed.
    pub(crate) fn take_apart(&mut self) -> Vec<String> {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let shims = self.shim_sockets();
        let processes = || [self.helpers(), self.contained()].concat();
        wait_until(PATIENCE, || {
            let left = processes();
            for pid in &left {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            left.is_empty()
        });
        // A mount on top of another of the same directory shows only when that is gone.
        wait_until(PATIENCE, || {
            for mount in self.mounts() {
                let _ = Command::new("umount").arg("-l").arg(mount).status();
            }
            self.mounts().is_empty()
        });
        for socket in &shims {
            let _ = fs::remove_file(socket);
        }
        let removed = wait_until(Duration::from_secs(5), || {
            for dir in self.cgroups().iter().rev() {
                let _ = fs::remove_dir(dir);
            }
            self.cgroups().is_empty()
        });
        // Where something is mounted still, its files are not ours to remove.
        if self.mounts().is_empty() {
            let _ = fs::remove_dir_all(&self.dir);
        }
        let mut left: Vec<String> = processes()
            .iter()
            .map(|pid| format!("process {pid}"))
            .collect();
        left.extend(self.mounts().iter().map(|path| format!("mount {path}")));
        left.extend((!removed).then(|| format!("control group {}", self.cgroup)));
        let files = [&self.dir]
            .into_iter()
            .chain(&shims)
            .filter(|path| path.exists());
        left.extend(files.map(|path| format!("file {}", path.display())));
        left
    }

    /// Its containerd, shims and runtimes, and the guards of its clients: each was told a path of this engine.
    fn helpers(&self) -> Vec<i32> {
        let told = [self.path("exec"), self.socket()];
        let ours = |process: &Path| {
            let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments);
            told.iter()
                .any(|path| arguments.contains(path.to_str().unwrap()))
        };
        let pid = |process: &Path| process.file_name()?.to_str()?.parse().ok();
        let processes = entries(Path::new("/proc"))
            .into_iter()
            .filter(|path| ours(path));
        processes.filter_map(|path| pid(&path)).collect()
    }

    /// The processes in its control groups.
    fn contained(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = self
            .cgroups()
            .iter()
            .filter_map(|dir| fs::read_to_string(dir.join("cgroup.procs")).ok())
            .flat_map(|text| {
                text.lines()
                    .filter_map(|pid| pid.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Its control groups in every hierarchy, parents before children.
    fn cgroups(&self) -> Vec<PathBuf> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let hierarchies = entries(&root).into_iter().chain([root]);
        let mut found: Vec<PathBuf> = hierarchies
            .map(|hierarchy| hierarchy.join(&self.cgroup))
            .filter(|dir| dir.is_dir())
            .collect();
        let mut next = 0;
        while let Some(dir) = found.get(next) {
            found.extend(entries(dir).into_iter().filter(|path| path.is_dir()));
            next += 1;
        }
        found
    }

    /// What is mounted in its directory, the last first.
    fn mounts(&self) -> Vec<String> {
        let inside = format!("{}/", self.dir.display());
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        let places = table.lines().filter_map(|line| line.split(' ').nth(1));
        let ours = places.filter(|place| place.starts_with(&inside));
        let mut ours: Vec<String> = ours.map(str::to_owned).collect();
        ours.reverse();
        ours
    }

    /// Shims listen outside of any directory of ours; a killed one leaves its socket.
    fn shim_sockets(&self) -> Vec<PathBuf> {
        let bundles = self.path("exec/containerd/daemon/io.containerd.runtime.v2.task/moby");
        let addresses = entries(&bundles)
            .into_iter()
            .filter_map(|bundle| fs::read_to_string(bundle.join("address")).ok());
        let paths =
            addresses.filter_map(|text| text.trim().strip_prefix("unix://").map(PathBuf::from));
        paths.collect()
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        if self.dir.exists() {
            for left in self.take_apart() {
                eprintln!("left behind: {left}");
            }
        }
    }
}

/// Writes to a file until not one byte more fits.
pub(crate) fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut block = vec![0; 64 * 1024];
    while !block.is_empty() {
        if file.write_all(&block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
}

/// Asks again and again; `false` when it does not hold in time.
pub(crate) fn wait_until(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > patience {
            return false;
        }
        sleep(SHORT);
    }
    true
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(read) = fs::read_dir(dir) else {
        return Vec::new();
    };
    read.filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect()
}

/// A program on the path or where administrators' programs are.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

/// The image's only layer: this machine's static busybox under a few names.
fn root_file_system() -> Vec<u8> {
    let header = |kind, size| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(size);
        header
    };
    let program = fs::read(BUSYBOX).unwrap();
    let mut tar = Builder::new(Vec::new());
    let mut file = header(EntryType::Regular, program.len() as u64);
    tar.append_data(&mut file, "bin/busybox", &program[..])
        .unwrap();
    for applet in APPLETS {
        let mut link = header(EntryType::Link, 0);
        tar.append_link(&mut link, format!("bin/{applet}"), "bin/busybox")
            .unwrap();
    }
    tar.into_inner().unwrap()
}
