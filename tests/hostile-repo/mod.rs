//! A repository that wants out: its file, made anew with one trick each. Every one is refused before anybody is asked, at once and with
//! little memory.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::untouched::{Run, Untouched};

/// What a create request may have, and what else one might think of.
pub(crate) const KEYS: &str = "\
    Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce Env Cmd Healthcheck ArgsEscaped \
    Image Volumes WorkingDir Entrypoint NetworkDisabled MacAddress OnBuild Labels StopSignal StopTimeout Shell HostConfig Binds \
    ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver VolumesFrom Mounts ConsoleSize Annotations \
    CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup Links OomScoreAdj PidMode Privileged \
    PublishAllPorts ReadonlyRootfs SecurityOpt StorageOpt Tmpfs UTSMode UsernsMode ShmSize Sysctls Runtime Isolation MaskedPaths \
    ReadonlyPaths Init CpuShares Memory CgroupParent BlkioWeight BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps \
    BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems Devices \
    DeviceCgroupRules DeviceRequests KernelMemory KernelMemoryTCP MemoryReservation MemorySwap MemorySwappiness NanoCpus OomKillDisable \
    PidsLimit Ulimits CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth NetworkingConfig EndpointsConfig Platform Config Name \
    Capabilities Mount Workspace Cache Secret Secrets Gpus Host Socket Policy Defaults AllowRoot WritableRoot AcceptIgnored Timeout \
    Command Args Entrypoints Seccomp Apparmor Selinux NoNewPrivileges Sandbox Keep Sweep Prefix Session Task Receipt LogFile EnvFile \
    Extends Include Import Hooks Repo Version Pull Network_Mode Networks Enable Disabled DOCKER ENABLED IMAGES RESOURCES CLEANUP NETWORK";

/// `CapAdd` as it is, and as others would write it.
fn spellings(key: &str) -> Vec<String> {
    let joined = |separator: &str| {
        let mut text = String::new();
        for (at, char) in key.char_indices() {
            if at > 0 && char.is_ascii_uppercase() {
                text.push_str(separator);
            }
            text.push(char.to_ascii_lowercase());
        }
        text
    };
    vec![
        key.to_owned(),
        joined("_"),
        joined("-"),
        key.to_uppercase(),
        format!("'{key} '"),
        key.replacen('i', "\u{456}", 1) + "\u{301}",
    ]
}

/// A file for each key and place, in one way of spelling.
fn files_with_keys(spelling: usize) -> Vec<String> {
    let mut files = Vec::new();
    for key in KEYS.split_whitespace() {
        let key = &spellings(key)[spelling];
        files.push(match files.len() % 5 {
            0 => format!("{key}: true\n"),
            1 => format!("docker:\n  resources:\n    {key}: true\n"),
            2 => format!("docker:\n  cleanup:\n    {key}: true\n"),
            3 => format!("docker:\n  images:\n    combined:\n      - {{languages: [a, b], image: x, {key}: true}}\n"),
            _ => format!("docker:\n  enabled: true\n  images: {{node: busybox}}\n  {key}: true\n"),
        });
    }
    files
}

/// Each with what it says.
const TRICKS: &[(&str, &str)] = &[
    ("docker: {enabled: false}", "docker.enabled"),
    (
        "docker: {cleanup: {on_task_complete: false}}",
        "on_task_complete",
    ),
    ("docker: {cleanup: {on_agent_exit: false}}", "on_agent_exit"),
    (
        "docker: {cleanup: {orphan_on_startup: false}}",
        "orphan_on_startup",
    ),
    ("docker: {cleanup: {timeout_seconds: 0}}", "timeout_seconds"),
    (
        "docker: {cleanup: {timeout_seconds: 86400}}",
        "may only lower it",
    ),
    ("docker: {resources: {memory: 1t}}", "4g holds"),
    ("docker: {resources: {memory: -1}}", "memory"),
    ("docker: {resources: {memory: 0}}", "6m"),
    (
        "docker: {resources: {memory: 18446744073709551617}}",
        "memory",
    ),
    ("docker: {resources: {cpus: .inf}}", "cpus"),
    ("docker: {resources: {cpus: .nan}}", "cpus"),
    ("docker: {resources: {cpus: 1e3}}", "cpus"),
    ("docker: {resources: {cpus: '0.5'}}", "quotation marks"),
    ("docker: {resources: {pids_limit: -1}}", "pids_limit"),
    ("docker: {resources: {pids_limit: '1'}}", "pids_limit"),
    ("docker: {resources: {pids_limit: 01000}}", "pids_limit"),
    ("docker: {network: host}", "may only say none"),
    ("docker: {network: 'container:x'}", "may only say none"),
    ("docker: {images: {node: 'a b'}}", "docker.images.node"),
    (
        "docker: {images: {node: '--privileged'}}",
        "docker.images.node",
    ),
    (
        "docker: {images: {node: '../../etc'}}",
        "docker.images.node",
    ),
    (
        "docker: {images: {node: \"x\\n--privileged\"}}",
        "docker.images.node",
    ),
    ("docker: {images: {node: \"x\\0\"}}", "docker.images.node"),
    ("defaults: {allow-root: true}", "only the operator's file"),
    ("policy: {deny: []}", "only the operator's file"),
    ("docker: &a {enabled: true}", "anchors"),
    ("docker: *a", "alias"),
    ("docker: {<<: {enabled: true}}", "merge"),
    ("docker: !!map {enabled: true}", "tags"),
    ("docker: {enabled: !!bool true}", "tags"),
    ("docker: {enabled: true}\ndocker: {enabled: true}", "twice"),
    ("docker: {enabled: true, \"\\x65nabled\": true}", "twice"),
    (
        "docker: {enabled: true}\n---\ndocker: {enabled: false}",
        "more than one document",
    ),
    ("%YAML 1.1\n---\ndocker: {enabled: yes}", "directives"),
    ("docker: {enabled: yes}", "true or false"),
    ("\u{feff}docker: {enabled: true}", "byte order mark"),
    ("docker: {enabled: true} # \u{202e}", "not allowed"),
    ("docker: {enabled: true}\n# \0", "not allowed"),
    ("docker: {enabled: true}\n\u{1b}[2J", "not allowed"),
    ("docker:\n\tenabled: true", "tab"),
    ("\u{85}docker: {}", "not allowed"),
];

/// A directory with a file in it.
fn write(root: &Path, bytes: &[u8]) {
    let _ = fs::remove_dir_all(root.join(".agent"));
    fs::create_dir_all(root.join(".agent")).unwrap();
    fs::write(root.join(".agent/config.yml"), bytes).unwrap();
}

struct Attacked {
    engine: Untouched,
}

impl Attacked {
    fn new(name: &str) -> Self {
        let engine = Untouched::new(name);
        fs::create_dir(engine.dir.0.join("repository")).unwrap();
        Self { engine }
    }

    fn root(&self) -> std::path::PathBuf {
        self.engine.dir.0.join("repository")
    }

    /// It is refused: nobody is connected to, and it takes less than a second.
    fn refused(&self, about: &str) -> Run {
        let began = Instant::now();
        let root = self.engine.dir.file("repository");
        let run = self.engine.exec(&format!("--repo {root}")).expect(125);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(1), "{about:?} takes {took:?}");
        let first = run.stderr.lines().next().unwrap();
        assert!(
            first.starts_with("acode-rt: error: ACODE-CTN-015: ")
                || first.starts_with("acode-rt: error: ACODE-CTN-012: "),
            "{about:?}: {first}"
        );
        assert!(first.contains(".agent/config.yml"), "{about:?}: {first}");
        assert!(
            !run.stderr.contains(['\u{1b}', '\0', '\u{202e}']),
            "{about:?}: {first:?}"
        );
        assert_eq!(run.stdout, "");
        run
    }
}

/// Of all that this process has started and waited for.
fn peak_is_small() {
    let kib = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(kib < 64 << 10, "{kib} KiB");
}

fn keys_are_refused(name: &str, spelling: usize) {
    let attacked = Attacked::new(name);
    for file in files_with_keys(spelling) {
        write(&attacked.root(), file.as_bytes());
        let run = attacked.refused(&file);
        let said = [
            "is not known",
            "only the operator's file",
            "has to be",
            "may only",
            "no truth value",
            "is a truth value",
        ];
        assert!(
            said.iter().any(|said| run.stderr.contains(said)),
            "{file}: {}",
            run.stderr
        );
    }
    peak_is_small();
}

#[test]
fn keys_of_a_create_request_are_refused() {
    keys_are_refused("hostile-keys", 0);
}

#[test]
fn keys_in_snake_case_are_refused() {
    keys_are_refused("hostile-snake", 1);
}

#[test]
fn keys_in_kebab_case_are_refused() {
    keys_are_refused("hostile-kebab", 2);
}

#[test]
fn keys_in_capitals_are_refused() {
    keys_are_refused("hostile-capitals", 3);
}

#[test]
fn keys_with_a_space_are_refused() {
    keys_are_refused("hostile-space", 4);
}

#[test]
fn keys_that_only_look_alike_are_refused() {
    keys_are_refused("hostile-alike", 5);
}

#[test]
fn tricks_of_yaml_are_refused() {
    let attacked = Attacked::new("hostile-yaml");
    for (file, said) in TRICKS {
        write(&attacked.root(), file.as_bytes());
        let run = attacked.refused(file);
        assert!(run.stderr.contains(said), "{file:?}: {}", run.stderr);
    }
    peak_is_small();
}

#[test]
fn what_would_grow_is_refused_at_once() {
    let attacked = Attacked::new("hostile-size");
    let laughs: String = (1..12).fold(
        "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".into(),
        |text, at| {
            let before = vec![format!("*a{}", at - 1); 9].join(", ");
            format!("{text}a{at}: &a{at} [{before}]\n")
        },
    );
    let wide: String = (0..6000).fold(String::from("docker:\n"), |text, at| {
        text + &format!(" k{at}: 1\n")
    });
    let cases: [Vec<u8>; 12] = [
        laughs.into(),
        wide.into(),
        "[".repeat(60_000).into(),
        "{a: ".repeat(15_000).into(),
        "- ".repeat(30_000).into(),
        "? ".repeat(30_000).into(),
        (0..250)
            .map(|at| " ".repeat(at) + "a:\n")
            .collect::<String>()
            .into(),
        "x".repeat(65_537).into(),
        vec![b'#'; 10 << 20],
        b"docker: {images: {node: \xff}}".to_vec(),
        "docker: {}\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect(),
        format!("docker: {{images: {{node: '{}'}}}}", "x".repeat(60_000)).into(),
    ];
    for bytes in cases {
        write(&attacked.root(), &bytes);
        let about = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        let run = attacked.refused(&about);
        assert!(run.stderr.len() < 4000, "{}", run.stderr.len());
    }
    // Where the file system can, a file that claims more than any disk has.
    write(&attacked.root(), b"");
    let huge = File::create(attacked.root().join(".agent/config.yml")).unwrap();
    if huge.set_len(1 << 42).is_ok() {
        attacked.refused("4 TiB of nothing");
    }
    peak_is_small();
}

#[test]
fn odd_files_are_refused() {
    let attacked = Attacked::new("hostile-files");
    let root = attacked.root();
    let good = attacked.engine.dir.file("good.yml");
    fs::write(&good, "docker: {enabled: true}\n").unwrap();
    let good_directory = attacked.engine.dir.0.join("good");
    fs::create_dir(&good_directory).unwrap();
    fs::copy(&good, good_directory.join("config.yml")).unwrap();
    let file = root.join(".agent/config.yml");
    let mkfifo = |path: &Path| {
        Run::of(Command::new("mkfifo").arg(path)).expect(0);
    };
    let link = |to: &str| symlink(to, &file).unwrap();
    let makers: [(&str, &dyn Fn()); 11] = [
        ("a named pipe", &|| mkfifo(&file)),
        ("a directory", &|| fs::create_dir(&file).unwrap()),
        ("a socket", &|| drop(UnixListener::bind(&file).unwrap())),
        ("a symbolic link", &|| link(&good)),
        ("a symbolic link", &|| link("../sibling.yml")),
        ("a symbolic link", &|| link("/dev/zero")),
        ("a symbolic link", &|| link("/proc/self/mem")),
        ("a symbolic link", &|| link("config.yml")),
        ("a symbolic link", &|| {
            fs::remove_dir(root.join(".agent")).unwrap();
            symlink(&good_directory, root.join(".agent")).unwrap();
        }),
        ("a named pipe", &|| {
            fs::remove_dir(root.join(".agent")).unwrap();
            mkfifo(&root.join(".agent"));
        }),
        ("a file", &|| {
            fs::remove_dir(root.join(".agent")).unwrap();
            fs::write(root.join(".agent"), "docker: {}").unwrap();
        }),
    ];
    fs::write(root.join("sibling.yml"), "docker: {}").unwrap();
    for (kind, make) in makers {
        let agent = root.join(".agent");
        let _ = fs::remove_file(&agent).or_else(|_| fs::remove_dir_all(&agent));
        fs::create_dir(&agent).unwrap();
        make();
        let run = attacked.refused(kind);
        assert!(run.stderr.contains(kind), "{kind}: {}", run.stderr);
    }
    peak_is_small();
}
