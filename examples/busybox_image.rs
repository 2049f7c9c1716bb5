//! Makes a `busybox` image without a registry, from this machine's own static busybox (Debian's package busybox-static).
//!
//! ```text
//! cargo run --release --example busybox_image -- [--host unix:///PATH] [--check] [--busybox PATH] [--name IMAGE]
//! ```
//!
//! An image that is there already is left alone, and `--check` never makes one. Exit status: 0 the image is there,
//! 3 it is not (only with `--check`), 1 the engine does not answer or anything else went wrong.

use std::error::Error;
use std::io::Cursor;
use std::process::{Command, ExitCode};

use acode_rt::ImageRef;
use acode_rt::engine::{Engine, Host};
use tar::{Builder, EntryType, Header};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str =
    "usage: busybox_image [--host unix:///PATH] [--check] [--busybox PATH] [--name IMAGE]";

const CHANGES: [&str; 2] = [
    r#"CMD ["sh"]"#,
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
];

const DIRECTORIES: [(&str, u32); 12] = [
    ("bin/", 0o755),
    ("dev/", 0o755),
    ("etc/", 0o755),
    ("home/", 0o755),
    ("proc/", 0o755),
    ("root/", 0o700),
    ("sys/", 0o755),
    ("tmp/", 0o1777),
    ("usr/", 0o755),
    ("usr/bin/", 0o755),
    ("var/", 0o755),
    ("var/tmp/", 0o1777),
];

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &[u8] = b"root:x:0:\nnogroup:x:65534:\n";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            match error.downcast_ref::<acode_rt::Error>() {
                Some(error) => eprintln!("{}", error.report()),
                None => eprintln!("busybox_image: {error}"),
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode> {
    let mut host = None;
    let mut check = false;
    let mut busybox = "/bin/busybox".to_owned();
    let mut name = "busybox:latest".to_owned();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .ok_or_else(|| format!("{arg} needs a value; {USAGE}"))
        };
        match arg.as_str() {
            "--host" => host = Some(value()?),
            "--check" => check = true,
            "--busybox" => busybox = value()?,
            "--name" => name = value()?,
            "--help" => {
                println!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            _ => return Err(format!("unknown argument '{arg}'; {USAGE}").into()),
        }
    }

    let image = ImageRef::parse(&name)?;
    let engine = Engine::connect(&Host::find(host.as_deref())?).await?;
    let socket = engine.socket().display();
    let engine_is = format!(
        "unix://{socket}: {}, API {}",
        engine.server(),
        engine.api_version()
    );
    match engine.image_inspect(&image).await {
        Ok(_) => {
            println!("{engine_is}: {image} is there");
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) if !error.is_not_found() => return Err(error.into()),
        Err(_) if check => {
            println!("{engine_is}: {image} is not there");
            return Ok(ExitCode::from(3));
        }
        Err(_) => {}
    }

    let program = std::fs::read(&busybox).map_err(|error| {
        format!("{busybox}: {error}; on Debian and Ubuntu: apt-get install busybox-static")
    })?;
    let tar = root_file_system(&program, &applets(&busybox)?)?;
    engine
        .image_import(&image, Cursor::new(tar), &CHANGES)
        .await?;
    println!("{engine_is}: {image} is made of {busybox}");
    Ok(ExitCode::SUCCESS)
}

/// The names that this busybox answers to, other than its own.
fn applets(busybox: &str) -> Result<Vec<String>> {
    let listed = Command::new(busybox).arg("--list").output()?;
    if !listed.status.success() {
        return Err(format!("{busybox} --list: {}", listed.status).into());
    }
    let mut names: Vec<String> = String::from_utf8(listed.stdout)?
        .lines()
        .filter(|&name| name != "busybox")
        .map(str::to_owned)
        .collect();
    names.sort();
    Ok(names)
}

/// The image's only layer. Times and owners are fixed, so that the same busybox gives the same bytes.
fn root_file_system(program: &[u8], applets: &[String]) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for (path, mode) in DIRECTORIES {
        tar.append_data(&mut header(EntryType::Directory, mode, 0), path, &[][..])?;
    }
    for (path, mode, bytes) in [
        ("etc/passwd", 0o644, PASSWD),
        ("etc/group", 0o644, GROUP),
        ("bin/busybox", 0o755, program),
    ] {
        tar.append_data(
            &mut header(EntryType::Regular, mode, bytes.len()),
            path,
            bytes,
        )?;
    }
    for applet in applets {
        tar.append_link(
            &mut header(EntryType::Link, 0o755, 0),
            format!("bin/{applet}"),
            "bin/busybox",
        )?;
    }
    Ok(tar.into_inner()?)
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
