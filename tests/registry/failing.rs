//! Pulls that fail: what is tried again, what is not, and that nothing is created.

use std::time::{Duration, Instant};

use acode_rt::{Code, ImageRef};

use nix::sys::signal::Signal;

use crate::running::Running;
use crate::{Pulls, pulls};

pulls![
    fr_020a_42_what_the_registry_does_not_have_is_ctn_011_and_creates_nothing,
    fr_020a_42_what_the_registry_denies_is_not_asked_again,
    fr_020a_39_a_registry_that_is_busy_or_broken_for_a_while_is_asked_again,
    fr_020a_39_a_layer_that_is_cut_comes_again,
    fr_020a_41_a_pull_has_its_time,
    fr_020a_41_a_pull_in_which_nothing_moves_is_given_up,
    fr_020a_42_an_altered_layer_is_an_error,
    fr_020a_46_another_manifest_than_the_digest_names_is_an_error,
    nobody_who_listens_is_ctn_006,
    a_signal_ends_a_pull,
];

const MIB: usize = 1 << 20;

#[track_caller]
fn nothing_is_left(pulls: &Pulls, image: &str) {
    assert_eq!(pulls.id_of(image), None);
    assert!(pulls.ctx.containers().is_empty());
}

fn fr_020a_42_what_the_registry_does_not_have_is_ctn_011_and_creates_nothing(pulls: &Pulls) {
    let image = pulls.image("none");
    let begun = Instant::now();
    let run = pulls.exec(&image, &[]).expect_error("ACODE-CTN-011");
    assert!(!run.err().contains("trying again"), "{}", run.err());
    assert!(begun.elapsed() < Duration::from_secs(20));
    nothing_is_left(pulls, &image);
}

fn fr_020a_42_what_the_registry_denies_is_not_asked_again(pulls: &Pulls) {
    pulls.push(1000);
    let image = pulls.image("denied");
    // Docker does not tell it from an image that is not there, since registries hide those so.
    let code = if pulls.ctx.target.is_podman() {
        "ACODE-CTN-006"
    } else {
        "ACODE-CTN-011"
    };
    let run = pulls.exec(&image, &[]).expect_error(code);
    assert!(!run.err().contains("again"), "{}", run.err());
    nothing_is_left(pulls, &image);
}

fn fr_020a_39_a_registry_that_is_busy_or_broken_for_a_while_is_asked_again(pulls: &Pulls) {
    let pushed = pulls.push(1000);
    let image = pulls.image("busy");
    let run = pulls.exec(&image, &[]).expect(0);
    assert_eq!(run.out(), "ran\n");
    assert_eq!(pulls.id_of(&image), Some(pushed.id));
    let asked = pulls.seen().len();
    assert!(
        asked > crate::registry_faults::PASSING,
        "{:?}",
        pulls.seen()
    );
    // Podman tries again itself, and does not say so.
    if !pulls.ctx.target.is_podman() {
        assert!(run.err().contains("trying again in"), "{}", run.err());
    }
}

fn fr_020a_39_a_layer_that_is_cut_comes_again(pulls: &Pulls) {
    let pushed = pulls.push(2 * MIB);
    let image = pulls.image("cut");
    pulls.exec(&image, &[]).expect(0);
    assert_eq!(pulls.id_of(&image), Some(pushed.id));
}

fn fr_020a_41_a_pull_has_its_time(pulls: &Pulls) {
    pulls.push(2 * MIB);
    let image = pulls.image("stall");
    let begun = Instant::now();
    let run = pulls
        .exec(&image, &["--pull-timeout", "2s"])
        .expect_error("ACODE-CTN-006");
    assert!(run.err().contains("within 2s"), "{}", run.err());
    assert!((2..12).contains(&begun.elapsed().as_secs()));
    nothing_is_left(pulls, &image);
}

fn fr_020a_41_a_pull_in_which_nothing_moves_is_given_up(pulls: &Pulls) {
    pulls.push(2 * MIB);
    let image = pulls.image("stall");
    let image = ImageRef::parse(&image).unwrap();
    let begun = Instant::now();
    let failed = pulls.ctx.with_engine(async |engine| {
        engine
            .image_pull(&image, None, Duration::from_secs(2), |_| {})
            .await
            .unwrap_err()
    });
    assert_eq!(failed.code(), Code::PullFailed);
    assert!(failed.is_timeout() && failed.is_retryable(), "{failed}");
    assert!((2..12).contains(&begun.elapsed().as_secs()));
}

fn fr_020a_42_an_altered_layer_is_an_error(pulls: &Pulls) {
    pulls.push(2 * MIB);
    let image = pulls.image("altered");
    pulls
        .exec(&image, &["--pull-timeout", "15s"])
        .expect_error("ACODE-CTN-006");
    nothing_is_left(pulls, &image);
}

fn fr_020a_46_another_manifest_than_the_digest_names_is_an_error(pulls: &Pulls) {
    let pushed = pulls.push(1000);
    let name = pulls.proxy.name("othermanifest", &pulls.name());
    let image = format!("{name}@{}", pushed.digest);
    pulls
        .exec(&image, &["--pull-timeout", "30s"])
        .expect_error("ACODE-CTN-006");
    nothing_is_left(pulls, &image);
}

fn nobody_who_listens_is_ctn_006(pulls: &Pulls) {
    // Port 1 is nobody's.
    let run = pulls.exec("localhost:1/busybox:1", &["--pull-timeout", "3s"]);
    run.expect_error("ACODE-CTN-006");
}

fn a_signal_ends_a_pull(pulls: &Pulls) {
    pulls.push(2 * MIB);
    let image = pulls.image("stall");
    let mut program = pulls.ctx.program();
    let running = Running::start(program.args(pulls.exec_arguments(&image, &[])));
    running.stderr.until(b"Pulling image");
    let begun = Instant::now();
    running.signal(Signal::SIGINT);
    let run = running.finish().expect(130);
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    let last = run.err().lines().last().unwrap_or_default();
    assert_eq!(
        last,
        "acode-rt: error: ACODE-CTN-003: cancel: the task was cancelled before anything was created"
    );
    nothing_is_left(pulls, &image);
}
