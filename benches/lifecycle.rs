//! The life cycle on a real engine, phase by phase, under the documented names, and the short calls.
//! `Benchmark_NameGen` needs no engine and stands in `protocol`.
//!
//! `cargo bench --bench lifecycle`; needs an engine with a `busybox` image, and says so where there is none.

use std::future::Future;
use std::time::{Duration, Instant};

use acode_rt::engine::{Engine, Host, ListOptions};
use acode_rt::sweep::{Sweep, sweep};
use acode_rt::task::generated_id;
use acode_rt::{ImageRef, TaskContainer, TaskSpec};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;

fn spec(command: &[&str]) -> TaskSpec {
    let image = ImageRef::parse("busybox").expect("a valid reference");
    let id = || generated_id().expect("random bytes");
    TaskSpec::new(id(), id(), image, command.iter().copied())
}

async fn create(engine: &Engine, command: &[&str]) -> TaskContainer {
    TaskContainer::create(engine, spec(command))
        .await
        .expect("create")
}

async fn started(engine: &Engine) -> TaskContainer {
    let container = create(engine, &["sleep", "60"]).await;
    container.start().await.expect("start");
    container
}

/// The time of `work` alone.
async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let begun = Instant::now();
    let result = work.await;
    (begun.elapsed(), result)
}

fn benchmarks(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let connected = runtime.block_on(async {
        let engine = Engine::connect(&Host::find(None)?).await?;
        engine
            .image_inspect(&ImageRef::parse("busybox").expect("a valid reference"))
            .await?;
        Ok::<_, acode_rt::Error>(engine)
    });
    let engine = match connected {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("skipped, not measured: {error}");
            return;
        }
    };
    life(criterion, &runtime, &engine);
    calls(criterion, &runtime, &engine);
}

/// Measures one step of `rounds` containers, the rest of whose life is not counted.
macro_rules! step {
    ($criterion:expr, $runtime:expr, $name:literal, || $round:block) => {
        $criterion.bench_function($name, |bencher| {
            bencher.iter_custom(|rounds| {
                $runtime.block_on(async {
                    let mut total = Duration::ZERO;
                    for _ in 0..rounds {
                        total += $round;
                    }
                    total
                })
            });
        });
    };
}

fn life(criterion: &mut Criterion, runtime: &Runtime, engine: &Engine) {
    step!(criterion, runtime, "Benchmark_Create", || {
        let (time, container) = timed(create(engine, &["true"])).await;
        container.remove().await.expect("remove");
        time
    });
    step!(criterion, runtime, "Benchmark_Start", || {
        let container = create(engine, &["sleep", "60"]).await;
        let (time, result) = timed(container.start()).await;
        result.expect("start");
        container.remove().await.expect("remove");
        time
    });
    step!(criterion, runtime, "Benchmark_Stop", || {
        let container = started(engine).await;
        let (time, result) = timed(container.stop(Duration::from_secs(10))).await;
        result.expect("stop");
        container.remove().await.expect("remove");
        time
    });
    step!(criterion, runtime, "Benchmark_Remove", || {
        let container = started(engine).await;
        container.stop(Duration::from_secs(10)).await.expect("stop");
        let (time, result) = timed(container.remove()).await;
        result.expect("remove");
        time
    });
    step!(criterion, runtime, "Benchmark_ParallelCreate", || {
        let (time, containers) = timed(Box::pin(async {
            tokio::join!(
                create(engine, &["true"]),
                create(engine, &["true"]),
                create(engine, &["true"]),
                create(engine, &["true"]),
                create(engine, &["true"]),
            )
        }))
        .await;
        for container in <[TaskContainer; 5]>::from(containers) {
            container.remove().await.expect("remove");
        }
        time
    });
    let ten: Vec<TaskContainer> = runtime.block_on(async {
        let mut ten = Vec::new();
        for _ in 0..10 {
            ten.push(create(engine, &["true"]).await);
        }
        ten
    });
    step!(criterion, runtime, "Benchmark_OrphanScan", || {
        let scan = Sweep {
            session: None,
            dry_run: true,
            timeout: Duration::from_secs(30),
        };
        let (time, entries) = timed(sweep(engine, &scan)).await;
        assert!(entries.expect("scan").len() >= 10);
        time
    });
    runtime.block_on(async {
        for container in ten {
            container.remove().await.expect("remove");
        }
    });
}

fn calls(criterion: &mut Criterion, runtime: &Runtime, engine: &Engine) {
    step!(criterion, runtime, "ping", || {
        timed(engine.ping()).await.0
    });
    let container = runtime.block_on(create(engine, &["true"]));
    let id = container.id().as_str();
    step!(criterion, runtime, "inspect", || {
        timed(engine.container_inspect(id)).await.0
    });
    step!(criterion, runtime, "list", || {
        timed(engine.container_list(&ListOptions::managed()))
            .await
            .0
    });
    runtime.block_on(container.remove()).expect("remove");
}

criterion_group! {
    name = lifecycle;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(5)).warm_up_time(Duration::from_secs(1));
    targets = benchmarks
}
criterion_main!(lifecycle);
