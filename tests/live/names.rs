//! Container names: whose they are, and who may take one that is taken.

use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use crate::running::Running;
use crate::support::{Ctx, PATIENCE, tests};

tests![
    fr_020a_32_a_taken_name_is_refused_and_its_holder_unharmed,
    fr_020a_25_of_many_starts_with_one_name_one_wins,
    fr_020a_64_66_an_orphan_gives_its_name_up,
    random_names_cannot_be_foreseen,
    fr_020a_26_29_long_and_odd_ids_have_a_hash_in_their_name,
];

fn fr_020a_32_a_taken_name_is_refused_and_its_holder_unharmed(ctx: &Ctx) {
    let mut first = ctx.start(&["--task", "t"], "echo ready; cat");
    let second = ctx
        .exec(&["--task", "t"], &["true"])
        .expect_error("ACODE-CTN-005");
    assert!(
        second.err().contains(&format!("acode-{}-t", ctx.session)),
        "{}",
        second.err()
    );
    first.say(b"still here\n");
    assert_eq!(first.finish().expect(0).out(), "ready\nstill here\n");
    ctx.exec(&["--task", "t"], &["true"]).expect(0);
}

fn fr_020a_25_of_many_starts_with_one_name_one_wins(ctx: &Ctx) {
    let (sender, ended) = mpsc::channel();
    let start = |_| {
        let mut program = ctx.exec_program(&["-i", "--task", "t"], &["sh", "-c", "echo won; cat"]);
        let mut running = Running::start(program.stdin(Stdio::piped()));
        let (stdin, sender) = (running.stdin.take(), sender.clone());
        thread::spawn(move || sender.send(running.wait()));
        stdin
    };
    // The winner's input stays open until every other has been refused.
    let inputs: Vec<_> = (0..8).map(start).collect();
    for _ in 0..7 {
        ended
            .recv_timeout(PATIENCE)
            .unwrap()
            .expect_error("ACODE-CTN-005");
    }
    drop(inputs);
    assert_eq!(
        ended.recv_timeout(PATIENCE).unwrap().expect(0).out(),
        "won\n"
    );
}

fn fr_020a_64_66_an_orphan_gives_its_name_up(ctx: &Ctx) {
    let _alone = ctx.alone_with_orphans();
    let killed = ctx.start(&["--task", "t"], "echo ready; exec sleep 1000");
    let [orphan] = &ctx.list()[..] else {
        panic!("{:?}", ctx.list())
    };
    killed.kill_with_guard();
    assert_eq!(killed.wait().status, -9);
    let (run, receipt) = ctx.sh_receipt(&["--task", "t", "-v"], "echo replaced");
    let run = run.expect(0);
    assert_eq!(run.out(), "replaced\n");
    assert_ne!(receipt["container"]["id"], orphan["id"]);
    assert_eq!(receipt["container"]["name"], orphan["name"]);
    assert!(
        run.err()
            .contains("removing the orphan that holds the name"),
        "{}",
        run.err()
    );
}

fn random_names_cannot_be_foreseen(ctx: &Ctx) {
    let name = || {
        let plan = ctx
            .exec(
                &["--task", "t", "--random-name", "--dry-run", "--json"],
                &["true"],
            )
            .expect(0)
            .json();
        plan["name"].as_str().unwrap().to_owned()
    };
    let (one, two) = (name(), name());
    assert_ne!(one, two);
    for name in [one, two] {
        let mark = name
            .strip_prefix(&format!("acode-{}-t-r", ctx.session))
            .unwrap();
        assert!(
            mark.len() == 16 && mark.bytes().all(|b| b.is_ascii_alphanumeric()),
            "{name}"
        );
    }
    let (run, receipt) = ctx.sh_receipt(&["--task", "t", "--random-name"], "true");
    run.expect(0);
    assert!(
        receipt["container"]["name"]
            .as_str()
            .unwrap()
            .starts_with(&format!("acode-{}-t-r", ctx.session))
    );
}

fn fr_020a_26_29_long_and_odd_ids_have_a_hash_in_their_name(ctx: &Ctx) {
    for task in [
        "UPPER case",
        "a_b.c/d",
        "ünï",
        &"long".repeat(60),
        "trailing-",
    ] {
        let (run, receipt) = ctx.sh_receipt(&["--task", task], "hostname");
        run.expect(0);
        let name = receipt["container"]["name"].as_str().unwrap();
        let (_, mark) = name.rsplit_once('-').unwrap();
        assert!(
            name.len() <= 63 && mark.len() == 17 && mark.starts_with('h'),
            "{name}"
        );
        assert!(
            name.bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')),
            "{name}"
        );
        assert_eq!(receipt["task"], task);
        let plan = ctx
            .exec(&["--task", task, "--dry-run", "--json"], &["true"])
            .expect(0)
            .json();
        assert_eq!(plan["name"], name, "the same again");
    }
}
