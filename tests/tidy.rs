//! What no tool checks: purity, the direction of the arrows, readable files, documents that keep up.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this is not read in one sitting.
const MAX_LINES: usize = 420;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root().join(dir)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|e| e == extension) {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} files under {dir}");
    found.sort();
    found
}

/// The part that ships, without its unit tests.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

#[test]
fn pure_code_does_no_io() {
    let pure_elsewhere = [
        "src/guard/book.rs",
        "src/task/policy.rs",
        "src/task/state.rs",
        "src/task/state/verdict.rs",
        "src/task/applied.rs",
        "src/task/applied/unasked.rs",
        "src/task/protections.rs",
        "src/task/protections/host.rs",
        "src/task/protections/task.rs",
        "src/sweep/policy.rs",
    ];
    for (name, text) in files("src", "rs") {
        if !name.starts_with("src/protocol/") && !pure_elsewhere.contains(&name.as_str()) {
            continue;
        }
        for forbidden in [
            "tokio",
            "hyper",
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "Instant",
            "SystemTime",
            "tracing",
        ] {
            assert!(
                !shipped(&text).contains(forbidden),
                "{name} uses {forbidden}"
            );
        }
    }
}

#[test]
fn arrows_point_down() {
    let above = |layer: &str| -> &[&str] {
        match layer {
            "protocol" | "model" => &["engine", "init", "guard", "task", "sweep", "cli"],
            "engine" => &["init", "guard", "task", "sweep", "cli"],
            "init" => &["engine", "guard", "task", "sweep", "cli"],
            "task" | "sweep" | "guard" => &["cli"],
            _ => &[],
        }
    };
    for (name, text) in files("src", "rs") {
        let layer = name.split('/').nth(1).unwrap();
        for upper in above(layer) {
            for path in [
                format!("crate::{upper}::"),
                format!("super::super::{upper}::"),
            ] {
                assert!(!shipped(&text).contains(&path), "{name} knows {path}");
            }
        }
    }
}

#[test]
fn only_transport_knows_the_socket() {
    for (name, text) in files("src/engine", "rs") {
        if name != "src/engine/transport.rs" {
            for forbidden in ["UnixConnector", "http1::", "tokio::net"] {
                assert!(!text.contains(forbidden), "{name} uses {forbidden}");
            }
        }
    }
}

#[test]
fn files_are_read_in_one_sitting() {
    for dir in ["src", "tests", "benches", "examples", "fuzz"] {
        for (name, text) in files(dir, "rs") {
            let lines = shipped(&text).lines().count();
            // The table of error codes is data.
            let most = if name == "src/error/code.rs" {
                500
            } else {
                MAX_LINES
            };
            assert!(lines <= most, "{name} has {lines} lines");
        }
    }
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert!(architecture.lines().count() <= 150);
}

#[test]
fn every_source_file_is_on_the_map() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (name, _) in files("src", "rs") {
        let layer = name.split('/').nth(1).unwrap();
        let stem = Path::new(&name).file_stem().unwrap().to_str().unwrap();
        let listed = match layer {
            "model" | "cli" => map.contains(&format!("{layer}/")),
            _ if stem == "mod" || name.contains("/image/") || name.contains("/system/") => true,
            _ => map.contains(stem),
        };
        assert!(listed, "ARCHITECTURE.md does not mention {name}");
    }
}

#[test]
fn the_changelog_and_the_schema_keep_up() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    assert!(changelog.contains("## [Unreleased]"));
    assert!(changelog.contains(&format!("## [{}]", env!("CARGO_PKG_VERSION"))));
    let schema = fs::read_to_string(root().join("docs/receipt.schema.json")).unwrap();
    assert!(
        schema.contains(&format!("\"const\": {}", acode_rt::task::SCHEMA)),
        "the schema's version"
    );
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest
        .split("[dependencies]")
        .nth(1)
        .unwrap()
        .split("[dev-dependencies]")
        .next()
        .unwrap();
    let mut reason = false;
    for line in section.lines() {
        if line.starts_with('#') {
            reason = true;
        } else if line.is_empty() {
            reason = false;
        } else {
            assert!(reason, "no comment above: {line}");
        }
    }
}

#[test]
fn documented_error_codes_are_all_there_are() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for code in acode_rt::Code::ALL {
        assert!(
            readme.contains(code.as_str()),
            "README.md does not list {}",
            code.as_str()
        );
    }
}

/// Every item of the benchmark is in the table, and what is held names a test that there is.
#[test]
fn what_the_security_document_claims_is_tested() {
    let document = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let tests = fs::read_to_string(root().join("tests/live/cis.rs")).unwrap();
    let rows: Vec<Vec<&str>> = document
        .lines()
        .filter(|line| line.starts_with("| 5."))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let numbers: Vec<String> = rows.iter().map(|row| row[1].to_owned()).collect();
    let all: Vec<String> = (1..=32).map(|item| format!("5.{item}")).collect();
    assert_eq!(numbers, all);
    let mut named = 0;
    for row in &rows {
        let test = row[4].trim_matches('`');
        if row[3].starts_with("held") {
            let number: u32 = row[1][2..].parse().unwrap();
            assert!(test.starts_with(&format!("cis_5_{number:02}_")), "{row:?}");
            assert!(tests.contains(&format!("fn {test}(")), "there is no {test}");
            assert!(tests.contains(&format!("    {test},")), "{test} is not run");
            named += 1;
        } else {
            assert!(row[3].starts_with("not applicable: "), "{row:?}");
            assert_eq!(test, "", "{row:?}");
        }
    }
    assert_eq!(named, tests.matches("fn cis_5_").count());
}
