//! Run with `cargo +nightly fuzz run records`.
#![no_main]

#[path = "../process_1.rs"]
#[expect(dead_code, reason = "each target checks one of the properties")]
mod process_1;

libfuzzer_sys::fuzz_target!(|data: &[u8]| process_1::records(data));
