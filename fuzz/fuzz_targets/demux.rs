//! Run with `cargo +nightly fuzz run demux`.
#![no_main]

#[path = "../properties.rs"]
#[expect(dead_code, reason = "each target checks one of the properties")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::demux(data));
