//! Many tasks: at once, one after the other, and of every kind.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acode_rt::engine::Engine;
use acode_rt::{Canceller, Outcome, Receipt, TaskIo, TaskSpec};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::support::{Ctx, tests};

tests![
    fr_020a_16_53_fifty_tasks_of_every_kind_sixteen_at_once,
    nfr_020a_11_12_18_no_exit_code_of_a_hundred_in_a_row_is_lost,
    fr_020a_49_50_eight_tasks_at_once_are_apart,
];

/// One of these at a time: engines share the machine.
static MACHINE: Mutex<()> = Mutex::new(());

async fn run(engine: Engine, spec: TaskSpec, input: Option<Vec<u8>>) -> (Receipt, Vec<u8>) {
    let (sender, mut output) = mpsc::channel(16);
    let io = TaskIo {
        stdin: input.map(|bytes| Box::new(std::io::Cursor::new(bytes)) as _),
        output: Some(sender),
        ..TaskIo::default()
    };
    let collect = async {
        let mut all = Vec::new();
        while let Some(chunk) = output.recv().await {
            all.extend(chunk.data);
        }
        all
    };
    let canceller = Canceller::new();
    let (receipt, output) = tokio::join!(acode_rt::run(&engine, spec, io, &canceller), collect);
    (receipt.unwrap(), output)
}

fn fr_020a_16_53_fifty_tasks_of_every_kind_sixteen_at_once(ctx: &Ctx) {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    ctx.with_engine(async |engine| {
        let mut tasks = JoinSet::new();
        // Engines that are overloaded for seconds lose output themselves.
        let at_once = Arc::new(Semaphore::new(16));
        for number in 0..50_u8 {
            let script = match number % 5 {
                0 => format!("exit {number}"),
                1 => "head -c 100000 /dev/zero".into(),
                2 => "cat".into(),
                3 => "echo out; echo err >&2".into(),
                _ => "exec sleep 1000".into(),
            };
            let mut spec = ctx.spec(&format!("t{number}"), &script);
            spec.timeout = (number % 5 == 4).then_some(Duration::from_millis(500));
            spec.interactive = number % 5 == 2;
            let input = spec.interactive.then(|| vec![number; 70_000]);
            let (engine, at_once) = (engine.clone(), Arc::clone(&at_once));
            tasks.spawn(async move {
                let _permit = at_once.acquire().await.unwrap();
                (number, run(engine, spec, input).await)
            });
        }
        let mut ids = std::collections::BTreeSet::new();
        while let Some(ended) = tasks.join_next().await {
            let (number, (receipt, mut output)) = ended.unwrap();
            let expected = match number % 5 {
                0 => (number, vec![]),
                1 => (0, vec![0; 100_000]),
                2 => (0, vec![number; 70_000]),
                3 => {
                    output.sort_unstable();
                    (0, b"\n\neorrtu".to_vec())
                }
                _ => (124, vec![]),
            };
            assert!(
                (receipt.status, &output) == (expected.0, &expected.1),
                "{number}: {receipt:?}"
            );
            assert!(receipt.removed, "{receipt:?}");
            ids.insert(receipt.container.id);
        }
        assert_eq!(ids.len(), 50);
    });
}

/// They end before anybody can look, which is where codes and last words get lost.
fn nfr_020a_11_12_18_no_exit_code_of_a_hundred_in_a_row_is_lost(ctx: &Ctx) {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    ctx.with_engine(async |engine| {
        for number in 0..100_u8 {
            let mut spec = ctx.spec(
                &format!("t{number}"),
                &format!("echo {number}; exit {number}"),
            );
            let (mut code, mut text) = (number, format!("{number}\n"));
            if number % 2 == 0 {
                spec.command = vec!["true".into()];
                (code, text) = (0, String::new());
            }
            let (receipt, output) = run(engine.clone(), spec, None).await;
            assert_eq!(receipt.outcome, Outcome::Exited { code }, "{number}");
            assert_eq!(output, text.as_bytes(), "{number}");
            assert!(receipt.output.complete && receipt.removed, "{receipt:?}");
        }
    });
}

fn fr_020a_49_50_eight_tasks_at_once_are_apart(ctx: &Ctx) {
    ctx.with_engine(async |engine| {
        let mut tasks = JoinSet::new();
        let (ready, mut readies) = mpsc::channel(8);
        let mut inputs = Vec::new();
        for number in 0..8 {
            let script = format!("echo {number} > /tmp/mine; echo ready; cat; cat /tmp/mine; ls /tmp | wc -l; hostname");
            let mut spec = ctx.spec(&format!("t{number}"), &script);
            spec.interactive = true;
            let (input, theirs) = tokio::io::duplex(64);
            inputs.push(input);
            let (sender, mut output) = mpsc::channel(16);
            let io = TaskIo { stdin: Some(Box::new(theirs)), output: Some(sender), ..TaskIo::default() };
            let (engine, ready) = (engine.clone(), ready.clone());
            tasks.spawn(async move {
                let canceller = Canceller::new();
                let collect = async {
                    let mut all = output.recv().await.unwrap().data;
                    ready.send(()).await.unwrap();
                    while let Some(chunk) = output.recv().await {
                        all.extend(chunk.data);
                    }
                    String::from_utf8(all).unwrap()
                };
                let (receipt, output) = tokio::join!(acode_rt::run(&engine, spec, io, &canceller), collect);
                (number, receipt.unwrap(), output)
            });
        }
        for _ in 0..8 {
            readies.recv().await.unwrap();
        }
        let states: Vec<String> = acode_rt::sweep::owned_containers(&engine)
            .await
            .unwrap()
            .into_iter()
            .filter(|(_, labels)| labels.session == ctx.session)
            .map(|(container, _)| container.state)
            .collect();
        assert_eq!(states, ["running"; 8]);
        for mut input in inputs {
            input.shutdown().await.unwrap();
        }
        while let Some(ended) = tasks.join_next().await {
            let (number, receipt, output) = ended.unwrap();
            assert_eq!(output, format!("ready\n{number}\n1\n{}\n", &receipt.container.id[..12]));
            assert!(receipt.status == 0 && receipt.removed, "{receipt:?}");
        }
    });
}
