//! What is pulled, when, and what is said of it.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acode_rt::engine::PullStep;
use acode_rt::protocol::image_pattern::ImagePattern;
use acode_rt::task::{ImageRules, PullEvent, PullPolicy, Rules};
use acode_rt::{Canceller, Code, ImageRef, Runner, TaskIo, TaskSpec};
use serde_json::Value;

use crate::{Pulls, pulls};

pulls![
    scenario_7_image_pull_on_demand,
    fr_020a_39_an_image_that_is_there_is_not_asked_for,
    fr_020a_38_always_takes_what_a_tag_is_now,
    fr_020a_46_a_digest_is_pulled_and_proved,
    fr_020a_40_progress_is_reported_as_it_comes,
    fr_020a_47_what_is_refused_reaches_no_registry,
    one_pull_serves_all_who_want_it_and_survives_the_first,
    pull_and_images_are_subcommands,
];

const MIB: usize = 1 << 20;

fn scenario_7_image_pull_on_demand(pulls: &Pulls) {
    let pushed = pulls.push(2 * MIB);
    let image = pulls.image("none");
    assert_eq!(pulls.id_of(&image), None);
    let file = pulls.ctx.file("receipt.json");
    let run = pulls.ctx.run(&[
        "exec",
        "--session",
        &pulls.ctx.session,
        "--sweep",
        "off",
        "--receipt",
        &file,
        "--image",
        &image,
        "--",
        "true",
    ]);
    let run = run.expect(0);
    assert_eq!(run.out(), "", "standard output is the task's alone");
    let mut at = 0;
    for said in [
        format!("Image not found locally: {image}"),
        format!("Pulling image {image}"),
        "Pull progress: 100%".into(),
        "Image pulled in ".into(),
    ] {
        at += run.err()[at..]
            .find(&said)
            .unwrap_or_else(|| panic!("no '{said}' in its place: {}", run.err()));
    }
    let receipt: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(receipt["image"]["reference"], image.as_str());
    assert_eq!(receipt["image"]["id"], pushed.id.as_str());
    assert_eq!(receipt["image"]["digest"], pushed.digest.as_str());
    assert_eq!(receipt["image"]["pulled"], true);
    assert!(receipt["phases_ms"]["pull"].as_f64().unwrap() > 0.0);
    assert_eq!(pulls.id_of(&image), Some(pushed.id));
}

fn fr_020a_39_an_image_that_is_there_is_not_asked_for(pulls: &Pulls) {
    pulls.push(1000);
    let image = pulls.image("none");
    pulls
        .exec(&image, &["--pull", "never"])
        .expect_error("ACODE-CTN-011");
    pulls
        .exec(&image, &["--dry-run"])
        .expect_error("ACODE-CTN-011");
    assert_eq!(pulls.seen(), [""; 0]);
    pulls.exec(&image, &[]).expect(0);
    let asked = pulls.seen().len();
    assert!(asked > 0);
    let again = pulls.exec(&image, &["--pull", "never"]).expect(0);
    assert_eq!((again.out(), again.err()), ("ran\n", ""));
    let again = pulls.exec(&image, &[]).expect(0);
    assert_eq!((again.out(), again.err()), ("ran\n", ""));
    assert_eq!(pulls.seen().len(), asked);
}

fn fr_020a_38_always_takes_what_a_tag_is_now(pulls: &Pulls) {
    let first = pulls.push(1000);
    let image = pulls.image("none");
    pulls.exec(&image, &[]).expect(0);
    let second = pulls.push(1000);
    pulls.exec(&image, &[]).expect(0);
    assert_eq!(pulls.id_of(&image), Some(first.id));
    pulls.exec(&image, &["--pull", "always"]).expect(0);
    assert_eq!(pulls.id_of(&image), Some(second.id.clone()));
    // An id is always the same.
    pulls.exec(&second.id, &["--pull", "always"]).expect(0);
}

fn fr_020a_46_a_digest_is_pulled_and_proved(pulls: &Pulls) {
    let pushed = pulls.push(1000);
    let name = pulls.proxy.name("none", &pulls.name());
    for image in [
        format!("{name}@{}", pushed.digest),
        // The digest decides; there is no such tag.
        format!("{name}:nope@{}", pushed.digest),
    ] {
        let file = pulls.ctx.file("receipt.json");
        pulls.exec(&image, &["--receipt", &file]).expect(0);
        let receipt: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(
            receipt["image"]["digest"],
            pushed.digest.as_str(),
            "{image}"
        );
        assert_eq!(receipt["image"]["id"], pushed.id.as_str());
    }
}

fn fr_020a_40_progress_is_reported_as_it_comes(pulls: &Pulls) {
    pulls.push(4 * MIB);
    let image = pulls.image("slow");
    let run = pulls.exec(&image, &["--json"]).expect(0);
    assert_eq!(run.out(), "ran\n");
    let events: Vec<Value> = run
        .err()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let states: Vec<&str> = events
        .iter()
        .map(|event| event["state"].as_str().unwrap())
        .collect();
    assert_eq!((states[0], states[1]), ("missing", "pulling"));
    assert_eq!(states.last(), Some(&"pulled"));
    let percents: Vec<u64> = events
        .iter()
        .filter_map(|event| event["progress"]["percent"].as_u64())
        .collect();
    assert!(percents.is_sorted(), "{percents:?}");
    assert!(events.iter().all(|event| event["image"] == image.as_str()));
    // Podman tells no sizes, so that there is nothing between nothing and a layer.
    if !pulls.ctx.target.is_podman() {
        let between = percents.iter().filter(|percent| (1..99).contains(*percent));
        assert!(between.count() > 0, "{}", run.err());
    }
    assert!(percents.len() < 20, "{percents:?}");
}

fn fr_020a_47_what_is_refused_reaches_no_registry(pulls: &Pulls) {
    let pushed = pulls.push(1000);
    let name = pulls.proxy.name("none", &pulls.name());
    let image = format!("{name}:1");
    let pattern = |text: &str| ImagePattern::parse(text).unwrap();
    let mut denied = ImageRules::default();
    denied.deny = vec![pattern(&name)];
    let mut others = ImageRules::default();
    others.allow = vec![pattern("docker.io/library/**")];
    let mut pinned = ImageRules::default();
    pinned.pinned = true;
    let mut local = ImageRules::default();
    local.local_only = true;
    let run = async |rules: &ImageRules, image: &str, policy: PullPolicy| {
        let engine = acode_rt::engine::Engine::connect(&pulls.ctx.target.host)
            .await
            .unwrap();
        let mut admitted = Rules::default();
        admitted.images = rules.clone();
        let runner = Runner::new(engine).with_rules(admitted);
        let image = ImageRef::parse(image).unwrap();
        let pulled = runner.pull(&image, Duration::from_secs(60), None).await;
        let mut spec = TaskSpec::new(pulls.ctx.session.as_str(), "t", image, ["true"]);
        spec.pull = policy;
        let ran = runner.run(spec, TaskIo::default(), &Canceller::new()).await;
        (
            pulled.map(|_| ()).map_err(|error| error.code()),
            ran.map(|receipt| receipt.status)
                .map_err(|error| error.code()),
        )
    };
    crate::support::block_on(async {
        let refused = (Err(Code::PolicyRefused), Err(Code::PolicyRefused));
        for rules in [&denied, &others, &pinned] {
            assert_eq!(
                run(rules, &image, PullPolicy::Missing).await,
                refused,
                "{rules:?}"
            );
        }
        assert_eq!(run(&local, &image, PullPolicy::Always).await, refused);
        let absent = (Err(Code::PolicyRefused), Err(Code::ImageNotFound));
        assert_eq!(run(&local, &image, PullPolicy::Missing).await, absent);
        assert_eq!(pulls.seen(), [""; 0]);
        let by_digest = format!("{name}@{}", pushed.digest);
        assert_eq!(
            run(&pinned, &by_digest, PullPolicy::Missing).await,
            (Ok(()), Ok(0))
        );
    });
}

fn one_pull_serves_all_who_want_it_and_survives_the_first(pulls: &Pulls) {
    let pushed = pulls.push(MIB);
    let image = ImageRef::parse(&pulls.image("slow")).unwrap();
    pulls.ctx.with_engine(async |engine| {
        let begun = Arc::new(tokio::sync::Notify::new());
        let first = {
            let (engine, image, begun) = (engine.clone(), image.clone(), Arc::clone(&begun));
            tokio::spawn(async move {
                let told = |step: &PullStep| {
                    if matches!(step, PullStep::Pulling(progress) if progress.layers > 0) {
                        begun.notify_one();
                    }
                };
                engine.image_pull_once(&image, told).await
            })
        };
        let heard = Arc::new(Mutex::new(0));
        let others: Vec<_> = (0..5)
            .map(|number| {
                let (engine, image) = (engine.clone(), image.clone());
                let heard = Arc::clone(&heard);
                let session = pulls.ctx.session.clone();
                tokio::spawn(async move {
                    let io = TaskIo {
                        on_pull: Some(Box::new(move |event| {
                            if matches!(event, PullEvent::Pulled { .. }) {
                                *heard.lock().unwrap() += 1;
                            }
                        })),
                        ..TaskIo::default()
                    };
                    let spec = TaskSpec::new(session, format!("t{number}"), image, ["true"]);
                    acode_rt::run(&engine, spec, io, &Canceller::new()).await
                })
            })
            .collect();
        // Podman says nothing before the first layer is there.
        let _ = tokio::time::timeout(Duration::from_secs(1), begun.notified()).await;
        first.abort();
        for other in others {
            let receipt = other.await.unwrap().unwrap();
            assert_eq!((receipt.status, receipt.image.id), (0, pushed.id.clone()));
        }
        assert_eq!(*heard.lock().unwrap(), 5);
    });
    let manifests = |seen: Vec<String>| {
        seen.iter()
            .filter(|what| what.contains("manifests"))
            .count()
    };
    let shared = manifests(pulls.seen());
    // As many questions as for one.
    let alone = {
        pulls.ctx.run(&["pull", image.as_str()]).expect(0);
        manifests(pulls.seen()) - shared
    };
    assert!(
        shared <= alone.max(2),
        "{shared} and {alone}: {:?}",
        pulls.seen()
    );
}

fn pull_and_images_are_subcommands(pulls: &Pulls) {
    let pushed = pulls.push(1000);
    let image = pulls.image("none");
    let run = pulls.ctx.run(&["pull", "--quiet", &image]).expect(0);
    assert_eq!((run.out(), run.err()), ("", ""));
    let run = pulls.ctx.run(&["pull", &image]).expect(0);
    assert_eq!(run.out(), format!("pulled {image} {}\n", pushed.digest));
    let run = pulls.ctx.run(&["pull", "--json", &image]).expect(0);
    assert_eq!(run.json()["digest"], pushed.digest.as_str());
    let listed = pulls.ctx.run(&["images", "--json"]).expect(0).json();
    let row = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["reference"] == image.as_str())
        .unwrap_or_else(|| panic!("{listed}"));
    assert_eq!(row["digest"], pushed.digest.as_str());
    assert!(row["size"].as_u64().unwrap() > 0);
    let table = pulls.ctx.run(&["images"]).expect(0);
    assert!(table.out().contains(&image), "{}", table.out());
    let missing = format!("{}:nope", pulls.proxy.name("none", &pulls.name()));
    pulls
        .ctx
        .run(&["pull", &missing, &image])
        .expect_error("ACODE-CTN-011");
}
