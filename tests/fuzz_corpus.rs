//! Replays the fuzz corpus: what fuzzing has found stays found, without the fuzzer.

use std::path::Path;

#[path = "../fuzz/archive.rs"]
mod archive;
#[path = "../fuzz/images.rs"]
mod images;
#[path = "../fuzz/process_1.rs"]
mod process_1;
#[path = "../fuzz/properties.rs"]
mod properties;

/// Calls `property` with every file of `fuzz/corpus/{target}`.
fn replay(target: &str, property: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files = 0;
    for file in std::fs::read_dir(&corpus).expect("the corpus is a directory") {
        let path = file.expect("its files can be listed").path();
        // Shown by a failing test: which file it was.
        println!("{}", path.display());
        property(&std::fs::read(&path).expect("its files can be read"));
        files += 1;
    }
    assert!(files > 0, "{} is empty", corpus.display());
}

#[test]
fn names() {
    replay("name", properties::name);
}

#[test]
fn demultiplexing() {
    replay("demux", properties::demux);
}

#[test]
fn references_and_patterns() {
    replay("image", images::image);
}

#[test]
fn pulls() {
    replay("pull", images::pull);
}

#[test]
fn json_values() {
    replay("json_lines", properties::json_lines);
}

#[test]
fn orders_to_process_1() {
    replay("orders", process_1::orders);
}

#[test]
fn records_of_process_1() {
    replay("records", process_1::records);
}

#[test]
fn archives_of_artifacts() {
    replay("extract", archive::extract);
}
