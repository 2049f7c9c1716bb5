//! Containers that are not ours are never touched, whatever is written on them.

use std::io::Cursor;

use acode_rt::engine::Engine;
use acode_rt::model::{CreateBody, HostConfig};
use acode_rt::protocol::labels::{Labels, MANAGED, OPERATION, SESSION, TASK};
use acode_rt::task::remove_confirmed;
use acode_rt::{ContainerName, ImageRef, Prefix};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::running::Running;
use crate::support::{Ctx, IMAGE, PATIENCE, tests};

tests![
    nfr_020a_13_a_foreign_container_is_refused_and_untouched,
    labels_that_an_image_brings_make_no_container_ours,
    an_image_with_volumes_gets_tmpfs_for_them,
];

/// Somebody else's container, running, under a name that looks like ours.
async fn create_foreign(
    engine: &Engine,
    ctx: &Ctx,
    image: &str,
    command: &[&str],
    labels: Labels,
) -> (String, String) {
    let name = ContainerName::new(&Prefix::default(), &ctx.session, "foreign").unwrap();
    // Without a label it would be an orphan by its name.
    let mut labels = labels;
    labels.insert("com.example".into(), "1".into());
    let body = CreateBody {
        image: image.to_owned(),
        cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        labels,
        host_config: HostConfig {
            network_mode: "none".into(),
            ..HostConfig::default()
        },
        ..CreateBody::default()
    };
    let (id, _) = engine.container_create(&name, &body).await.unwrap();
    engine.container_start(id.as_str()).await.unwrap();
    (id.to_string(), name.to_string())
}

/// No command of ours sees it or does anything to it.
async fn assert_untouchable(engine: &Engine, ctx: &Ctx, id: &str, name: &str) {
    let commands = ["inspect", "logs", "stop", "rm", "rm --force"];
    for (command, subject) in commands
        .iter()
        .flat_map(|command| [(command, name), (command, id)])
    {
        let arguments: Vec<&str> = command.split(' ').chain([subject]).collect();
        let run = ctx.run(&arguments).expect_error("ACODE-CTN-016");
        assert!(
            run.err().contains("was not made by acode-rt"),
            "{}",
            run.err()
        );
    }
    assert_eq!(ctx.list().len(), 0);
    let cleanup = ctx
        .run(&["cleanup", "--json", "--session", &ctx.session])
        .expect(0)
        .json();
    assert_eq!(cleanup["containers"], serde_json::json!([]));
    ctx.exec(&["--task", "foreign"], &["true"])
        .expect_error("ACODE-CTN-005");
    assert_eq!(
        engine.container_inspect(id).await.unwrap().state.status,
        "running"
    );
}

fn nfr_020a_13_a_foreign_container_is_refused_and_untouched(ctx: &Ctx) {
    let ours = [
        (MANAGED, "true"),
        (SESSION, &ctx.session),
        (TASK, "foreign"),
    ];
    // Without any label, and with ours but for the operation, which every container of ours has.
    for labels in [&[][..], &ours] {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        ctx.with_engine(async |engine| {
            let (id, name) = create_foreign(&engine, ctx, IMAGE, &["sleep", "1000"], labels).await;
            assert_untouchable(&engine, ctx, &id, &name).await;
            remove_confirmed(&engine, &id, PATIENCE).await.unwrap();
        });
    }
}

fn labels_that_an_image_brings_make_no_container_ours(ctx: &Ctx) {
    let forged = [
        (MANAGED, "true"),
        (OPERATION, "forged"),
        (SESSION, &ctx.session),
        (TASK, "foreign"),
    ]
    .map(|(key, value)| format!("LABEL {key}={value}"));
    ctx.with_engine(async |engine| {
        let image = import(&engine, ctx, &forged.each_ref().map(String::as_str)).await;
        let (id, name) = create_foreign(
            &engine,
            ctx,
            image.as_str(),
            &["/busybox", "sleep", "1000"],
            Labels::new(),
        )
        .await;
        let seen = engine.container_inspect(&id).await.unwrap().config.labels;
        assert_eq!(
            seen[OPERATION], "forged",
            "the engine shows an image's labels as the container's"
        );
        assert_untouchable(&engine, ctx, &id, &name).await;

        let mut program = ctx.program();
        program.args([
            "exec",
            "-i",
            "--session",
            &ctx.session,
            "--task",
            "mine",
            "--image",
            image.as_str(),
            "--",
            "/busybox",
            "cat",
        ]);
        let mut mine = Running::start(program.stdin(std::process::Stdio::piped()));
        mine.say(b"ready\n");
        mine.stdout.until(b"ready\n");
        let [row] = &ctx.list()[..] else {
            panic!("{:?}", ctx.list())
        };
        assert_eq!(
            (&row["task"], row["operation"] == "forged"),
            (&"mine".into(), false)
        );
        mine.finish().expect(0);

        remove_confirmed(&engine, &id, PATIENCE).await.unwrap();
        remove_image(&engine, &image).await;
    });
}

fn an_image_with_volumes_gets_tmpfs_for_them(ctx: &Ctx) {
    ctx.with_engine(async |engine| {
        let image = import(
            &engine,
            ctx,
            &[
                "VOLUME /data",
                "ENTRYPOINT [\"/busybox\"]",
                "CMD [\"echo\", \"of the image\"]",
            ],
        )
        .await;
        let exec = |command: &[&str]| {
            let arguments = [
                "exec",
                "--session",
                &ctx.session,
                "--image",
                image.as_str(),
                "--",
            ];
            ctx.run(&[&arguments[..], command].concat()).expect(0)
        };
        assert_eq!(exec(&[]).out(), "of the image\n");
        let run = exec(&[
            "sh",
            "-c",
            "/busybox grep ' /data ' /proc/mounts; echo x > /data/x && echo writable",
        ]);
        assert!(
            run.out().starts_with("tmpfs /data tmpfs rw,") && run.out().ends_with("writable\n"),
            "{}",
            run.out()
        );
        remove_image(&engine, &image).await;
    });
}

/// An image of nothing but busybox, taken out of the one that is there.
async fn import(engine: &Engine, ctx: &Ctx, changes: &[&str]) -> ImageRef {
    let name = ContainerName::new(&Prefix::new("source").unwrap(), &ctx.session, "x").unwrap();
    let body = CreateBody {
        image: IMAGE.into(),
        cmd: Some(vec!["true".into()]),
        ..CreateBody::default()
    };
    let (source, _) = engine.container_create(&name, &body).await.unwrap();
    let mut archive = engine
        .archive_get(source.as_str(), "/bin/busybox")
        .await
        .unwrap();
    let mut tar = Vec::new();
    while let Some(bytes) = archive.next().await.unwrap() {
        tar.extend_from_slice(&bytes);
    }
    remove_confirmed(engine, source.as_str(), PATIENCE)
        .await
        .unwrap();
    let image = ImageRef::parse(&format!("acode-live-{}:1", ctx.session)).unwrap();
    engine
        .image_import(&image, Cursor::new(tar), changes)
        .await
        .unwrap();
    image
}

/// Only tests remove images, so the library has no call for it.
async fn remove_image(engine: &Engine, image: &ImageRef) {
    let mut stream = tokio::net::UnixStream::connect(engine.socket())
        .await
        .unwrap();
    let request = format!(
        "DELETE /v1.41/images/{image}?force=1 HTTP/1.1\r\nHost: tests\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
