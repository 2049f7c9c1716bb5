//! What must hold for any archive that an engine could send: nothing outside of the destination changes, the limit holds, and the receipt says
//! what is there. As `properties.rs`, called by the fuzz target and with what is in `corpus/`.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use acode_rt::task::{ArtifactRequest, FilesReceipt, unpack};

const LIMIT: u64 = 64 * 1024;
const PATTERNS: [&str; 5] = ["out", ".", "**/a*", "/workspace/*", "out/[a-c]?"];

/// `[pattern, whether sums are set right, chunk, archive..]`.
pub(crate) fn extract(data: &[u8]) {
    let [pattern, repair, chunk, archive @ ..] = data else {
        return;
    };
    let pattern = PATTERNS[usize::from(*pattern) % PATTERNS.len()];
    let mut archive = archive.to_vec();
    if repair % 2 == 0 {
        set_sums(&mut archive);
    }
    let whole = unpacked(pattern, &archive, 1 << 20);
    let pieces = unpacked(pattern, &archive, usize::from(*chunk) + 1);
    assert_eq!(whole, pieces, "the same in any pieces");
}

/// What is there afterwards, and what the receipt says.
fn unpacked(pattern: &str, archive: &[u8], chunk: usize) -> (BTreeMap<String, u64>, String) {
    let place = Place::new();
    let request = ArtifactRequest {
        path: pattern.into(),
        destination: Some(place.0.join("in/")),
    };
    let archive = BufReader::with_capacity(chunk, archive);
    let receipt = unpack(archive, &request, LIMIT).expect("the destination can be written");
    let found = place.check(&receipt);
    let said = format!(
        "{:?} {:?} {:?}",
        receipt.skipped, receipt.missing, receipt.error
    );
    (found, said.replace(&place.0.display().to_string(), ""))
}

/// A destination with traps in it, and something beside it that must not change.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let base = Path::new("/dev/shm");
        let base = if base.is_dir() {
            base.to_owned()
        } else {
            std::env::temp_dir()
        };
        let dir = base.join(format!("acode-fuzz-{}-{number}", std::process::id()));
        fs::create_dir_all(dir.join("in/out")).expect("a directory can be made");
        fs::write(dir.join("outside"), "untouched").expect("a file can be made");
        symlink("..", dir.join("in/up")).expect("a link can be made");
        symlink("../../outside", dir.join("in/out/trap")).expect("a link can be made");
        Self(dir)
    }

    fn check(&self, receipt: &FilesReceipt) -> BTreeMap<String, u64> {
        let outside = fs::read(self.0.join("outside")).expect("it is there");
        assert_eq!(outside, b"untouched");
        assert_eq!(fs::read_dir(&self.0).expect("it is there").count(), 2);
        let mut found = BTreeMap::new();
        let mut open = vec![self.0.join("in")];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).expect("it can be read") {
                let path = entry.expect("it can be read").path();
                let meta = fs::symlink_metadata(&path).expect("it is there");
                let name = path.strip_prefix(&self.0).expect("it is below");
                if meta.is_symlink() {
                    assert!(["in/up", "in/out/trap"].contains(&name.to_str().expect("ours")));
                    continue;
                }
                assert_eq!(meta.permissions().mode() & 0o7000, 0);
                if meta.is_dir() {
                    open.push(path);
                } else {
                    assert!(meta.is_file());
                    found.insert(
                        name.to_str().expect("no other is made").to_owned(),
                        meta.len(),
                    );
                }
            }
        }
        let listed: BTreeMap<String, u64> = receipt
            .artifacts
            .iter()
            .map(|artifact| {
                let name = Path::new(&artifact.file).strip_prefix(&self.0);
                let name = name.expect("it is below").to_str().expect("it is text");
                (name.to_owned(), artifact.bytes)
            })
            .collect();
        assert_eq!(found, listed, "the receipt lists what is there");
        assert_eq!(listed.len(), receipt.artifacts.len(), "each once");
        assert!(found.values().sum::<u64>() <= LIMIT);
        assert!(receipt.skipped.len() <= 100);
        assert!(receipt.skipped.len() as u64 <= receipt.skipped_count);
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A fuzzer does not find sums.
fn set_sums(archive: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = archive.get_mut(at..at + 512) {
        if header.iter().all(|byte| *byte == 0) {
            return;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = header[124..136]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        let size = digits.fold(0, |size: usize, digit| {
            (size * 8 + usize::from(digit - b'0')).min(1 << 30)
        });
        at += 512 + size.next_multiple_of(512);
    }
}
