//! What the pure protocol code costs. The demuxer is shown next to a copy of the same payload:
//! `demux` hands out the caller's own bytes, `demux_and_copy` also copies them, as `memcpy` does.

use std::hint::black_box;

use acode_rt::protocol::demux::Demuxer;
use acode_rt::protocol::json_lines::JsonLines;
use acode_rt::protocol::name::{ContainerName, Prefix};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const PAYLOAD: usize = 4 << 20;
/// What is read from a connection at once.
const CHUNK: usize = 64 << 10;

fn framed(payload: &[u8], frame_len: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for (number, payload) in payload.chunks(frame_len).enumerate() {
        stream.extend([1 + u8::from(number % 4 == 0), 0, 0, 0]);
        let len = u32::try_from(payload.len()).expect("a frame is shorter than 4 GiB");
        stream.extend(len.to_be_bytes());
        stream.extend(payload);
    }
    stream
}

/// Calls `take` with every run and returns how long they are together.
fn demux<'a>(stream: &'a [u8], mut take: impl FnMut(usize, &'a [u8])) -> usize {
    let mut demuxer = Demuxer::new();
    let mut len = 0;
    for chunk in stream.chunks(CHUNK) {
        let mut rest = chunk;
        while let (taken, Some((_, run))) = demuxer.decode(rest).expect("good frames") {
            take(len, run);
            len += run.len();
            rest = &rest[taken..];
        }
    }
    demuxer.finish().expect("whole frames");
    len
}

fn demuxing(c: &mut Criterion) {
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(PAYLOAD).collect();
    let mut copy = vec![0; PAYLOAD];
    for frame_len in [32 << 10, 100, 10] {
        let stream = framed(&payload, frame_len);
        let mut group = c.benchmark_group(format!("demux/{frame_len}_byte_frames"));
        group.throughput(Throughput::Bytes(PAYLOAD as u64));
        group.bench_function("memcpy", |b| {
            b.iter(|| copy.copy_from_slice(black_box(&payload)));
        });
        group.bench_function("demux", |b| {
            b.iter(|| demux(black_box(&stream), |_, run| _ = black_box(run)));
        });
        group.bench_function("demux_and_copy", |b| {
            b.iter(|| {
                demux(black_box(&stream), |at, run| {
                    copy[at..at + run.len()].copy_from_slice(run);
                })
            });
        });
        assert!(copy == payload);
        group.finish();
    }
}

fn name_generation(c: &mut Criterion) {
    let prefix = Prefix::default();
    let long = "t".repeat(256);
    let mut group = c.benchmark_group("Benchmark_NameGen");
    for (form, session, task) in [
        ("exact", "a1b2c3d4", "build-001"),
        (
            "hashed",
            "6f1c2a52-6d5c-4bd7-9a1d-0c2c9e6b7a10",
            "Build step 1",
        ),
        ("hashed_longest", &long, &long),
    ] {
        group.bench_function(form, |b| {
            b.iter(|| ContainerName::new(&prefix, black_box(session), black_box(task)));
        });
    }
    group.finish();
}

fn json_lines(c: &mut Criterion) {
    let event = concat!(
        r#"{"Type":"container","Action":"die","Actor":{"ID":"4c01db0b339c","Attributes":"#,
        r#"{"exitCode":"0","image":"busybox:latest","name":"acode-a1b2c3d4-build-001"}},"#,
        r#""scope":"local","time":1735689600,"timeNano":1735689600000000001}"#,
        "\r\n"
    );
    let stream = event.repeat(5_000);
    let mut group = c.benchmark_group("json_lines");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function("events", |b| {
        b.iter(|| {
            let mut lines = JsonLines::new(1 << 20);
            let mut values = 0;
            for chunk in black_box(stream.as_bytes()).chunks(CHUNK) {
                lines.push(chunk).expect("short objects");
                while let Some(value) = lines.next_value() {
                    black_box(value);
                    values += 1;
                }
            }
            assert_eq!(values, 5_000);
        });
    });
    group.finish();
}

criterion_group!(benches, demuxing, name_generation, json_lines);
criterion_main!(benches);
