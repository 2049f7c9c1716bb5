//! Records the exchanges of `api-fixtures/` from real engines; `scripts/record-fixtures` is the way to call it.
//!
//! Each call is made by the engine client through a proxy that keeps the bytes of both sides. A directory is replaced
//! when all of its calls were made, and no container or image of a recording stays on the engine.

#[path = "../tests/support/fixture_calls.rs"]
mod calls;
#[path = "../tests/support/fixture_cases.rs"]
mod cases;
#[path = "../tests/support/fixture_mask.rs"]
mod mask;
#[path = "../tests/support/fixture_proxy.rs"]
mod proxy;
#[path = "../tests/support/registry_faults.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "it makes no faults here")]
mod registry_faults;
#[path = "../tests/support/registry_server.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "it wants no password here")]
mod registry_server;

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use acode_rt::engine::{Engine, EngineKind, Host, ListOptions, RemoveOptions};
use acode_rt::protocol::image_ref::ImageRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use cases::{Before, CASES, Case, Exchange, MISSING, Subject};
use mask::{Known, Masked};
use proxy::Proxy;
use registry_faults::FaultyRegistry;
use registry_server::Registry;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Where the registry is, for each engine in its own network; `PULLED` has it too.
const REGISTRY_PORT: u16 = 25055;

/// No call of a recording takes nearly as long.
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let engines: Vec<_> = args.iter().filter_map(|arg| arg.split_once('=')).collect();
    if engines.len() != args.len() || args.is_empty() {
        eprintln!(
            "usage: scripts/record-fixtures [ENGINE=SOCKET …], such as docker-28.5=/var/run/docker.sock"
        );
        return ExitCode::from(2);
    }
    let mut code = ExitCode::SUCCESS;
    for (name, socket) in engines {
        match record_engine(name, Path::new(socket)).await {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("{name}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// Records everything of one engine and says what was recorded.
async fn record_engine(name: &str, socket: &Path) -> Result<String> {
    let engine = Engine::connect(&Host::from_socket(socket)).await?;
    let kind = match engine.kind() {
        EngineKind::Docker => "docker",
        EngineKind::Podman => "podman",
    };
    let version = engine.version().await?.version;
    let short = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let found = format!("{kind}-{short}");
    if found != name {
        return Err(format!("{} is {found}, so nothing was recorded", socket.display()).into());
    }
    let images = engine.image_list().await?;
    if images.len() != 1 {
        return Err(
            "busybox:latest must be the engine's only image while its list is recorded".into(),
        );
    }
    let busybox = engine
        .image_inspect(&ImageRef::parse("busybox:latest")?)
        .await?
        .id;

    // Until the end of the recording.
    let _registry = match engine.kind() {
        EngineKind::Docker => Some(start_registry(socket)?),
        EngineKind::Podman => None,
    };
    let mut files: Vec<(String, Masked)> = Vec::new();
    let mut date = String::new();
    for case in CASES.iter().filter(|case| case.is_for(engine.kind())) {
        clean(&engine).await?;
        let recorded = record_case(&engine, case).await;
        clean(&engine).await?;
        let (exchange, container, said) =
            recorded.map_err(|error| format!("{}: {error}", case.name))?;
        println!("{name} {}: {said}", case.name);
        let known = Known {
            container: &container,
            image: busybox.trim_start_matches("sha256:"),
        };
        for (side, bytes) in [("req", &exchange.req), ("resp", &exchange.resp)] {
            let file = format!("{}.{side}", case.name);
            let masked =
                mask::mask(case.name, bytes, known).map_err(|error| format!("{file}: {error}"))?;
            files.push((file, masked));
        }
        if case.name == "ping/ok" {
            date = header_date(&exchange.resp).ok_or("the engine has no clock")?;
        }
    }

    let directory = PathBuf::from("api-fixtures").join(format!("v{}-{name}", engine.api_version()));
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    for (file, masked) in &files {
        let path = directory.join(file);
        fs::create_dir_all(path.parent().unwrap_or(&directory))?;
        fs::write(path, &masked.bytes)?;
    }
    let about = format!(
        "engine = {}\nversion = {version}\napi = {}\nrecorded = {date}\n",
        engine.server(),
        engine.api_version()
    );
    fs::write(directory.join("MANIFEST"), manifest(&about, &files)?)?;
    Ok(format!("{}: {} files", directory.display(), files.len()))
}

/// The image to pull, in the network of the engine.
fn start_registry(socket: &Path) -> Result<(Registry, FaultyRegistry)> {
    if let Some(reason) = Registry::impossible() {
        return Err(reason.into());
    }
    let registry = Registry::start(false);
    registry.push_layers("acode-fixtures", "1", &[cases::greeting_tar()]);
    let proxy = FaultyRegistry::start_at(socket, registry.port, REGISTRY_PORT)?;
    Ok((registry, proxy))
}

/// `21 Nov 2026`, by the engine's clock.
fn header_date(answer: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(answer);
    let (_, date) = head.split_once("\r\nDate: ")?;
    date.get(5..16).map(str::to_owned)
}

/// What was recorded when, what every mask puts in the place of what, and the masks of every file.
fn manifest(about: &str, files: &[(String, Masked)]) -> Result<String> {
    let mut text = format!("{about}\n[masks]\n{}\n[files]\n", mask::legend());
    for (file, masked) in files {
        let masks: Vec<&str> = masked.masks.iter().map(String::as_str).collect();
        writeln!(
            text,
            "{file}: {}",
            if masks.is_empty() {
                "none".to_owned()
            } else {
                masks.join(", ")
            }
        )?;
    }
    Ok(text)
}

/// Makes the call of `case`: what was said, the container's id, and what came of it.
async fn record_case(engine: &Engine, case: &Case) -> Result<(Exchange, String, String)> {
    if let Some(request) = case.raw {
        let exchange = ask(engine.socket(), request).await?;
        return Ok((exchange, MISSING.to_owned(), "sent as it stands".to_owned()));
    }
    let since = engine.now();
    let id = prepare(engine, case).await?;
    // The handle's clock is up to two seconds behind: it knows the engine's whole seconds only.
    let subject = Subject {
        id: id.clone(),
        since,
        until: engine.now() + 3,
    };
    let socket = std::env::temp_dir().join(format!("acode-record-{}.sock", std::process::id()));
    let proxy = Proxy::start(&socket, engine.socket())?;
    let through = Engine::connect(&Host::from_socket(&socket)).await?;
    proxy.take();
    let result =
        tokio::time::timeout(TIMEOUT, calls::call(&through, case, &subject, Some(engine))).await?;
    let id = match (&result, case.name) {
        (Ok(said), "container_create/ok") => said.split(',').next().unwrap_or_default().to_owned(),
        _ => id,
    };
    Ok((proxy.take(), id, calls::outcome(&result)))
}

/// Brings the container of `case` to where the call finds it.
async fn prepare(engine: &Engine, case: &Case) -> Result<String> {
    if case.before == Before::Absent {
        return Ok(MISSING.to_owned());
    }
    let (id, _) = engine
        .container_create(&cases::container_name(), &cases::create_body(case))
        .await?;
    let id = id.as_str();
    if matches!(case.name, "archive_get/file" | "container_changes/some") {
        engine
            .archive_put(id, "/", std::io::Cursor::new(cases::greeting_tar()))
            .await?;
    }
    if case.before == Before::Running {
        engine.container_start(id).await?;
    }
    if case.before == Before::Exited {
        let waiting = engine.container_wait(id).await?;
        engine.container_start(id).await?;
        waiting.exit_code().await?;
        // Podman knows the exit code before it calls the container exited.
        let begun = Instant::now();
        while engine.container_inspect(id).await?.state.status != "exited" {
            if begun.elapsed() > TIMEOUT {
                return Err("the container does not become exited".into());
            }
        }
    }
    Ok(id.to_owned())
}

/// Removes what a recording makes.
async fn clean(engine: &Engine) -> Result<()> {
    let filters = ListOptions::managed()
        .filters
        .with("label", format!("acode.session={}", cases::SESSION_ID));
    for container in engine
        .container_list(&ListOptions { all: true, filters })
        .await?
    {
        engine
            .container_remove(&container.id, RemoveOptions { force: true })
            .await?;
    }
    for image in [cases::IMPORTED.to_owned(), format!("{}:1", cases::PULLED)] {
        let request = format!(
            "DELETE /v{}/images/{image} HTTP/1.1\r\nhost: acode-rt\r\n\r\n",
            engine.api_version(),
        );
        let status = ask(engine.socket(), &request).await?.resp;
        if !status.starts_with(b"HTTP/1.1 200 ") && !status.starts_with(b"HTTP/1.1 404 ") {
            let said = String::from_utf8_lossy(&status);
            return Err(format!("{image} stays on the engine: {said}").into());
        }
    }
    Ok(())
}

/// Sends `request` as it stands. The half-close lets the engine end the connection after its answer.
async fn ask(socket: &Path, request: &str) -> Result<Exchange> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(request.as_bytes()).await?;
    stream.shutdown().await?;
    let mut resp = Vec::new();
    stream.read_to_end(&mut resp).await?;
    Ok(Exchange {
        req: request.as_bytes().to_vec(),
        resp,
    })
}
