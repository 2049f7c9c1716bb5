//! A registry of the tests' own, Debian's `docker-registry`, and images that are written into it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const PROGRAM: &str = "docker-registry";
const BUSYBOX: &str = "/bin/busybox";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

pub(crate) const USER: &str = "acode";
pub(crate) const PASSWORD: &str = "geheim wort";
/// The password under bcrypt.
const HTPASSWD: &str = "acode:$2y$05$abcdefghijklmnopqrstuuPX/OrHC1hOwdkIb.pUtdEKPBWnreDKW\n";

/// The process; it is gone with its data when this is dropped.
pub(crate) struct Registry {
    child: Child,
    dir: PathBuf,
    pub(crate) port: u16,
    /// `Authorization`, where it wants one.
    authorization: Option<String>,
}

/// An image in a registry.
pub(crate) struct Pushed {
    /// The manifest's.
    pub(crate) digest: String,
    /// The image's id.
    pub(crate) id: String,
}

impl Registry {
    /// Why there can be none.
    pub(crate) fn impossible() -> Option<String> {
        let version = Command::new(PROGRAM).arg("--version").output();
        if version.is_err() {
            return Some(format!(
                "there is no {PROGRAM}; on Debian: apt-get install docker-registry"
            ));
        }
        (!Path::new(BUSYBOX).exists())
            .then(|| format!("there is no {BUSYBOX}; on Debian: apt-get install busybox-static"))
    }

    pub(crate) fn start(with_password: bool) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let dir = std::env::temp_dir().join(format!("acode-registry-{port}"));
        fs::create_dir(&dir).unwrap();
        let shown = dir.display();
        fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
        let auth = if with_password {
            format!("auth: {{htpasswd: {{realm: acode, path: {shown}/htpasswd}}}}\n")
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {shown}/data}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\", secret: acode}}\n{auth}"
        );
        fs::write(dir.join("config.yml"), config).unwrap();
        let child = Command::new(PROGRAM)
            .arg("serve")
            .arg(dir.join("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        let registry = Self {
            child,
            dir,
            port,
            authorization: with_password
                .then(|| format!("Basic {}", base64(&format!("{USER}:{PASSWORD}")))),
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(registry.dir.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// Busybox, and a layer of `filler` that makes the image one of its own, under `name:tag`.
    pub(crate) fn push(&self, name: &str, tag: &str, filler: &[u8]) -> Pushed {
        let layers = [
            // No layer is another image's too: Podman fails to pull one that is being removed.
            busybox_layer(&filler[..filler.len().min(32)]),
            layer(|tar| append(tar, "filler", 0o644, filler)),
        ];
        self.push_layers(name, tag, &layers)
    }

    /// An image of these layers, uncompressed tars.
    pub(crate) fn push_layers(&self, name: &str, tag: &str, layers: &[Vec<u8>]) -> Pushed {
        let digests: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]},
            "created": "2026-01-01T00:00:00Z",
            "rootfs": {"type": "layers", "diff_ids": digests},
        })
        .to_string();
        let described = |kind: &str, bytes: &[u8]| {
            json!({
                "mediaType": format!("application/vnd.docker.{kind}"),
                "size": bytes.len(), "digest": self.put_blob(name, bytes),
            })
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described("container.image.v1+json", config.as_bytes()),
            "layers": layers.iter()
                .map(|layer| described("image.rootfs.diff.tar.gzip", layer))
                .collect::<Vec<Value>>(),
        })
        .to_string();
        let path = format!("/v2/{name}/manifests/{tag}");
        let (status, _) = self.ask("PUT", &path, MANIFEST, manifest.as_bytes());
        assert_eq!(status, 201, "{path}");
        Pushed {
            digest: digest(manifest.as_bytes()),
            id: digest(config.as_bytes()),
        }
    }

    fn put_blob(&self, name: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let (status, head) = self.ask("POST", &format!("/v2/{name}/blobs/uploads/"), "", b"");
        assert_eq!(status, 202);
        let location = head
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .unwrap()
            .trim();
        let path = location.find("/v2/").map(|at| &location[at..]).unwrap();
        let path = format!("{path}&digest={digest}");
        let (status, _) = self.ask("PUT", &path, "application/octet-stream", bytes);
        assert_eq!(status, 201, "{path}");
        digest
    }

    /// One request; status and head of its answer.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let authorization = self
            .authorization
            .as_ref()
            .map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n{authorization}\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer[9..12].parse().unwrap(), answer)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

fn layer(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    fill(&mut tar);
    tar.into_inner().unwrap()
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    tar.append_data(&mut header, path, bytes).unwrap();
}

fn busybox_layer(salt: &[u8]) -> Vec<u8> {
    layer(|tar| {
        append(tar, "salt", 0o644, salt);
        append(tar, "bin/busybox", 0o755, &fs::read(BUSYBOX).unwrap());
        for name in ["sh", "true", "cat", "echo"] {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            tar.append_link(&mut header, format!("bin/{name}"), "busybox")
                .unwrap();
        }
    })
}

pub(crate) fn base64(text: &str) -> String {
    acode_rt::protocol::base64::encode_url(text.as_bytes())
        .replace('-', "+")
        .replace('_', "/")
}
