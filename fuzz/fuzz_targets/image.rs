//! Run with `cargo +nightly fuzz run image`.
#![no_main]

#[path = "../images.rs"]
#[expect(dead_code, reason = "each target checks one of the properties")]
mod images;

libfuzzer_sys::fuzz_target!(|data: &[u8]| images::image(data));
