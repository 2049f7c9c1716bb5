//! What must hold for references, patterns and a pull's stream, whatever the bytes; as `properties.rs` for the rest.

use acode_rt::ImageRef;
use acode_rt::protocol::image_pattern::ImagePattern;
use acode_rt::protocol::json_lines::JsonLines;
use acode_rt::protocol::pull_progress::{PullLayers, PullProgress, PullValue};

/// `PATTERN\nREFERENCE`: a reference in full is one, and stays what it is; what a pattern allows it denies.
pub(crate) fn image(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (pattern, image) = text.split_once('\n').unwrap_or(("**", &text));
    let everything = ImagePattern::parse("**").expect("a pattern");
    let Ok(image) = ImageRef::parse(image) else {
        let _ = ImagePattern::parse(pattern);
        return;
    };
    let canonical = ImageRef::parse(&image.canonical()).expect("in full it is a reference too");
    assert_eq!(canonical.canonical(), image.canonical());
    assert_eq!(canonical.digest(), image.digest());
    assert_eq!(everything.allows(&image), !image.is_nameless());
    if image.is_nameless() {
        return;
    }
    assert_eq!(canonical.registry(), image.registry());
    assert!(image.canonical().starts_with(&image.repository()));
    let Ok(pattern) = ImagePattern::parse(pattern) else {
        return;
    };
    assert_eq!(pattern.allows(&canonical), pattern.allows(&image));
    assert!(!pattern.allows(&image) || pattern.denies(&image));
}

/// The stream as it is: what it tells does not depend on how it is cut into pieces, never falls, and is bounded.
pub(crate) fn pull(data: &[u8]) {
    let whole = told(data, data.len().max(1));
    assert_eq!(told(data, 1), whole);
    assert_eq!(told(data, 7), whole);
    assert!(whole.is_sorted_by_key(|progress| progress.percent));
    for progress in whole {
        assert!(progress.percent <= 99 && progress.layers_done <= progress.layers);
        assert!(
            progress
                .total_bytes
                .is_none_or(|total| progress.bytes <= total)
        );
    }
}

fn told(data: &[u8], piece: usize) -> Vec<PullProgress> {
    let mut lines = JsonLines::new(64 * 1024);
    let mut layers = PullLayers::default();
    let mut all = Vec::new();
    for piece in data.chunks(piece) {
        let pushed = lines.push(piece);
        while let Some(value) = lines.next_value() {
            let Ok(value) = serde_json::from_slice::<PullValue>(&value) else {
                return all;
            };
            if value.failure().is_some() {
                return all;
            }
            all.push(layers.add(&value));
        }
        if pushed.is_err() {
            return all;
        }
    }
    all
}
