//! Run with `cargo +nightly fuzz run extract`.
#![no_main]

#[path = "../archive.rs"]
mod archive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| archive::extract(data));
