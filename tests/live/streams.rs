//! The task's streams: every byte, each stream apart, whoever is slow or gone.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::running::Running;
use crate::support::{Ctx, random_bytes, tests};

tests![
    streams_stay_apart_and_the_code_is_the_tasks,
    binary_and_unfinished_lines_come_through_as_they_are,
    sixty_four_mib_interleaved_are_exact,
    sixty_four_mib_of_input_come_back_exact,
    a_pipeline_of_tars_works,
    the_end_of_input_reaches_the_task_while_its_output_goes_on,
    a_task_that_does_not_read_its_input_ends,
    without_interactive_the_task_has_no_input,
    a_task_that_closes_its_streams_is_waited_for,
    max_output_cuts_visibly,
    a_reader_that_goes_away_ends_the_task,
    a_reader_that_stalls_does_not_stop_the_deadline,
];

fn streams_stay_apart_and_the_code_is_the_tasks(ctx: &Ctx) {
    let run = ctx.sh(&[], "echo out; echo err >&2; exit 7").expect(7);
    assert_eq!((run.out(), run.err()), ("out\n", "err\n"));
}

fn binary_and_unfinished_lines_come_through_as_they_are(ctx: &Ctx) {
    let run = ctx
        .sh(
            &[],
            r"printf 'a\0\001\033[31m\377\r\n\0end'; printf '\376\0no newline' >&2",
        )
        .expect(0);
    assert_eq!(run.stdout, b"a\0\x01\x1b[31m\xff\r\n\0end");
    assert_eq!(run.stderr, b"\xfe\0no newline");
    let silent = ctx.exec(&[], &["true"]).expect(0);
    assert_eq!((silent.out(), silent.err()), ("", ""));
}

fn sixty_four_mib_interleaved_are_exact(ctx: &Ctx) {
    let half = random_bytes(32 << 20);
    let script = "cat > half; cat half & cat half >&2; wait";
    let mut running = Running::start(
        ctx.exec_program(&["-i"], &["sh", "-c", script])
            .stdin(Stdio::piped()),
    );
    let feeding = running.feed(half.clone());
    let run = running.wait();
    feeding.join().unwrap().unwrap();
    // Not assert_eq: it would print them.
    assert!(
        run.status == 0 && run.stdout == half,
        "stdout: {} bytes, status {}",
        run.stdout.len(),
        run.status
    );
    assert!(run.stderr == half, "stderr: {} bytes", run.stderr.len());
}

fn sixty_four_mib_of_input_come_back_exact(ctx: &Ctx) {
    let bytes = random_bytes(64 << 20);
    let mut running = Running::start(ctx.exec_program(&["-i"], &["cat"]).stdin(Stdio::piped()));
    let feeding = running.feed(bytes.clone());
    let run = running.wait();
    feeding.join().unwrap().unwrap();
    assert!(
        run.stdout == bytes,
        "{} bytes, status {}",
        run.stdout.len(),
        run.status
    );
    assert_eq!((run.status, run.err()), (0, ""));
}

fn a_pipeline_of_tars_works(ctx: &Ctx) {
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["one", "dir/two"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, &b"abc"[..]).unwrap();
    }
    let mut running = Running::start(
        ctx.exec_program(&["-i"], &["tar", "t"])
            .stdin(Stdio::piped()),
    );
    let feeding = running.feed(tar.into_inner().unwrap());
    assert_eq!(running.wait().expect(0).out(), "one\ndir/two\n");
    feeding.join().unwrap().unwrap();
}

fn the_end_of_input_reaches_the_task_while_its_output_goes_on(ctx: &Ctx) {
    let mut running = ctx.start(&[], "echo ready; wc -c; echo more");
    running.say(b"12345");
    let run = running.finish().expect(0);
    assert_eq!(run.out(), "ready\n5\nmore\n");
}

fn a_task_that_does_not_read_its_input_ends(ctx: &Ctx) {
    // Its input stays open: only the task's end can end it.
    let open = ctx.start(&[], "echo ready; exit 4");
    assert_eq!(open.wait().status, 4);
    let mut full = Running::start(
        ctx.exec_program(&["-i"], &["echo", "ran"])
            .stdin(Stdio::piped()),
    );
    let feeding = full.feed(vec![0; 16 << 20]);
    let run = full.wait();
    assert!(feeding.join().unwrap().is_err(), "nobody reads all of it");
    assert_eq!(run.out(), "ran\n");
    // Podman resets the connection, so that nobody knows whether there was more.
    if ctx.target.is_podman() && run.status != 0 {
        assert!(run.expect(125).err().contains("the output is not complete"));
    } else {
        run.expect(0);
    }
}

fn without_interactive_the_task_has_no_input(ctx: &Ctx) {
    let mut running = Running::start(
        ctx.exec_program(&[], &["sh", "-c", "cat; echo end"])
            .stdin(Stdio::piped()),
    );
    running.say(b"never read");
    assert_eq!(running.wait().expect(0).out(), "end\n");
}

fn a_task_that_closes_its_streams_is_waited_for(ctx: &Ctx) {
    let (run, receipt) = ctx.sh_receipt(&[], "exec >&- 2>&-; sleep 1; exit 5");
    run.expect(5);
    assert!(
        receipt["phases_ms"]["run"].as_f64().unwrap() > 900.0,
        "{receipt}"
    );
}

fn max_output_cuts_visibly(ctx: &Ctx) {
    let (run, receipt) = ctx.sh_receipt(&["--max-output", "10"], "printf 0123456789abc; exit 3");
    let run = run.expect(3);
    assert_eq!(run.out(), "0123456789");
    assert!(
        run.err()
            .contains("warning: the output is not complete: it is longer than the limit"),
        "{}",
        run.err()
    );
    let output = &receipt["output"];
    assert_eq!(
        (&output["truncated"], &output["complete"]),
        (&true.into(), &false.into())
    );
    assert_eq!(output["stdout_bytes"], 13);
    let (run, receipt) = ctx.sh_receipt(&["--max-output", "10"], "printf 0123456789");
    assert_eq!(run.expect(0).err(), "");
    assert_eq!(
        (
            &receipt["output"]["truncated"],
            &receipt["output"]["complete"]
        ),
        (&false.into(), &true.into())
    );
}

fn a_reader_that_goes_away_ends_the_task(ctx: &Ctx) {
    // The second one writes nothing more when its reader is found to have gone.
    for command in [
        &["yes"][..],
        &["sh", "-c", "echo y; sleep 1; echo y; exec sleep 1000"],
    ] {
        let receipt = ctx.file("receipt");
        let mut child = ctx
            .exec_program(&["--receipt", &receipt], command)
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let running = Running::watch(child);
        let mut line = String::new();
        BufReader::with_capacity(2, stdout.take(2))
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "y\n");
        running.finish().expect(141);
        let receipt: serde_json::Value =
            serde_json::from_slice(&std::fs::read(receipt).unwrap()).unwrap();
        assert_eq!(
            receipt["outcome"],
            serde_json::json!({ "kind": "cancelled", "by": "output_closed" })
        );
        assert_eq!(
            (&receipt["output"]["complete"], &receipt["removed"]),
            (&false.into(), &true.into())
        );
    }
}

fn a_reader_that_stalls_does_not_stop_the_deadline(ctx: &Ctx) {
    // With an input as well, which stays open.
    for options in [&["--timeout", "1s"][..], &["--timeout", "1s", "-i"]] {
        let mut program = ctx.exec_program(options, &["yes"]);
        let mut child = program.stdin(Stdio::piped()).spawn().unwrap();
        let stalled = (child.stdin.take(), child.stdout.take());
        let run = Running::watch(child).finish().expect(124);
        drop(stalled);
        assert!(run.err().contains("ACODE-CTN-013"), "{}", run.err());
    }
}
