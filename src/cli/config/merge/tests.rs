use super::*;
use crate::cli::config::combine_on;
use crate::cli::config::file::Found;

/// Of the tests: one that has more than the program gives.
pub(super) const BIG: HostCapacity = HostCapacity {
    cpus: 64,
    memory: 256 << 30,
};

fn found(name: &str, text: &str) -> Found {
    Found {
        name: name.into(),
        bytes: text.as_bytes().to_vec(),
    }
}

fn both_on(host: HostCapacity, operator: &str, repository: &str) -> Result<Settings> {
    combine_on(
        host,
        Some(found("/o", operator)),
        Some(found("/r", repository)),
    )
}

pub(in crate::cli::config) fn both(operator: &str, repository: &str) -> Result<Settings> {
    both_on(BIG, operator, repository)
}

pub(super) fn option(settings: &Settings, name: &str) -> Option<(String, String)> {
    let setting = settings.options.get(name)?;
    let text = match setting.values.as_slice() {
        [Given::Text(text)] => text.clone(),
        [Given::Truth(on)] => on.to_string(),
        other => format!("{other:?}"),
    };
    Some((text, setting.place.to_string()))
}

/// The example of the container strategy.
const EXAMPLE: &str = "\
docker:
  enabled: true
  images:
    dotnet: mcr.microsoft.com/dotnet/sdk:8.0
    node: node:20-alpine
    python: python:3.12-slim
  resources:
    memory: 4g
    cpus: 2.0
    pids_limit: 1000
  cleanup:
    on_task_complete: true
    on_agent_exit: true
    orphan_on_startup: true
    timeout_seconds: 30
";

#[test]
fn fr_020a_37_the_documented_example_is_right_on_any_host() {
    let small = HostCapacity {
        cpus: 1,
        memory: 512 << 20,
    };
    for host in [BIG, small, HostCapacity::default()] {
        for (operator, repository) in [(EXAMPLE, ""), ("", EXAMPLE), (EXAMPLE, EXAMPLE)] {
            both_on(host, operator, repository).unwrap();
        }
        let settings = both_on(host, "", EXAMPLE).unwrap();
        assert!(settings.options.is_empty(), "{:?}", settings.options);
    }
}

#[test]
fn a_repository_lowers_limits() {
    let settings = both(
        "docker: {resources: {memory: 2g, pids_limit: 500}}\n",
        "docker:\n  resources:\n    memory: 256m\n    cpus: 0.5\n    pids_limit: 500\n    shm_size: 1m\n  cleanup:\n    timeout_seconds: 20\n  network: none\n",
    )
    .unwrap();
    let at = |name: &str| option(&settings, name).unwrap();
    assert_eq!(at("memory"), ("256m".into(), "/r:3".into()));
    assert_eq!(at("cpus"), ("0.5".into(), "/r:4".into()));
    assert_eq!(at("pids"), ("500".into(), "/o:1".into()));
    assert_eq!(at("shm-size"), ("1m".into(), "/r:6".into()));
    assert_eq!(at("cleanup-timeout"), ("20s".into(), "/r:8".into()));
    assert_eq!(at("network"), ("none".into(), "/r:9".into()));
}

#[test]
fn a_repository_cannot_raise_or_switch_off() {
    for (operator, repository, said) in [
        (
            "",
            "docker: {resources: {memory: 5g}}",
            "may only lower it; 4g holds (built-in)",
        ),
        ("", "docker: {resources: {cpus: 2.1}}", "2.0 holds"),
        ("", "docker: {resources: {pids_limit: 1001}}", "1000 holds"),
        ("", "docker: {resources: {shm_size: 65m}}", "64m holds"),
        (
            "defaults: {memory: 1g}",
            "docker: {resources: {memory: 2g}}",
            "1g holds (defaults.memory in /o:1)",
        ),
        (
            "docker: {resources: {memory: 1g}}",
            "docker: {resources: {memory: 2g}}",
            "1g holds (docker.resources.memory in /o:1)",
        ),
        (
            "policy: {max: {memory: 1g}}",
            "docker: {resources: {memory: 2g}}",
            "1g holds (policy.max.memory in /o:1)",
        ),
        (
            "policy: {max: {pids: 10}}",
            "docker: {resources: {pids_limit: 11}}",
            "10 holds (policy.max.pids in /o:1)",
        ),
        ("", "docker: {cleanup: {timeout_seconds: 31}}", "30s holds"),
        (
            "",
            "docker: {cleanup: {timeout_seconds: 9}}",
            "10 seconds, no further",
        ),
        ("", "docker: {enabled: false}", "only true is right here"),
        ("docker: {enabled: false}", "", "only true is right here"),
        (
            "",
            "docker: {cleanup: {on_task_complete: false}}",
            "only true is right here",
        ),
        (
            "",
            "docker: {cleanup: {on_agent_exit: false}}",
            "only true is right here",
        ),
        (
            "docker: {cleanup: {on_agent_exit: false}}",
            "",
            "only true is right here",
        ),
        (
            "",
            "docker: {cleanup: {orphan_on_startup: false}}",
            "only true is right here",
        ),
        ("", "docker: {network: bridge}", "may only say none"),
        (
            "docker: {network: bridge}",
            "docker: {network: bridge}",
            "may only say none",
        ),
        (
            "",
            "defaults: {writable-root: true}",
            "only the operator's file",
        ),
        ("", "policy: {}", "only the operator's file"),
    ] {
        let error = both(operator, repository).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(said), "{operator} {repository}: {text}");
        assert!(text.contains("/r:1") || text.contains("/o:1"), "{text}");
        assert_eq!(error.code(), Code::PolicyRefused, "{text}");
    }
}

#[test]
fn what_is_not_of_its_kind_is_refused_with_its_line() {
    let values = [
        "memory: 0x10",
        "memory: 010",
        "memory: 1e9",
        "memory: -1",
        "memory: .nan",
        "memory: .inf",
        "memory: yes",
        "memory: true",
        "memory:",
        "memory: ~",
        "memory: [4g]",
        "memory: {a: 1}",
        "memory: 99999999999999999999g",
        "memory: 4 g",
        "memory: 5",
        "memory: 0",
        "memory: ''",
        "memory: |\n        4g",
        "cpus: .nan",
        "cpus: 1e3",
        "cpus: 0",
        "cpus: -1",
        "cpus: 02",
        "cpus: two",
        "cpus: .5",
        "pids_limit: 0",
        "pids_limit: -1",
        "pids_limit: 1.0",
        "pids_limit: '10'",
        "pids_limit: 0o10",
        "pids_limit: 1_000",
        "pids_limit: +5",
        "pids_limit: 99999999999",
        "pids_limit: 99999999999999999999999",
        "pids_limit: 010",
        "pids_limit: unlimited",
        "shm_size: 0",
    ];
    for value in values {
        let text = format!("docker:\n  resources:\n    # a comment\n    {value}\n");
        for (operator, repository) in [("", text.as_str()), (text.as_str(), "")] {
            let error = both(operator, repository).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.code(), Code::Configuration, "{value}: {text}");
            let line = if value.contains('\n') {
                ":"
            } else {
                ":4: docker.resources."
            };
            assert!(text.contains(line), "{value}: {text}");
        }
    }
    for text in [
        "docker: {enabled: yes}",
        "docker: {enabled: 'true'}",
        "docker: {enabled: True}",
        "docker: {enabled: 1}",
        "docker: {enabled: on}",
        "docker: {enabled:}",
        "docker: true",
        "docker: []",
        "[docker]",
        "docker",
        "docker: {images: []}",
        "docker: {images: {node: 20}}",
        "docker: {images: {node: 3.12}}",
        "docker: {images: {node: true}}",
        "docker: {images: {node: Upper/Case}}",
        "docker: {images: {node:}}",
        "docker: {images: {Node: node}}",
        "docker: {images: {node: [a, b]}}",
        "docker: {images: {'': x}}",
        "docker: {images: {'../x': x}}",
        "docker: {images: {combined: {}}}",
        "docker: {images: {combined: [x]}}",
        "docker: {images: {combined: [{languages: [a]}]}}",
        "docker: {images: {combined: [{languages: [a], image: x}]}}",
        "docker: {images: {combined: [{languages: [a, a], image: x}]}}",
        "docker: {images: {combined: [{languages: [a, b], image: x, user: 0}]}}",
        "docker: {network: [none]}",
        "docker: {network: off}",
        "docker: {cleanup: {timeout_seconds: 30s}}",
        "docker: {cleanup: {timeout_seconds: 0}}",
        "docker: {cleanup: {timeout_seconds: 1.5}}",
    ] {
        let error = both("", text).unwrap_err();
        assert_eq!(error.code(), Code::Configuration, "{text}: {error}");
        assert!(error.to_string().contains("/r:1: "), "{text}: {error}");
    }
}

#[test]
fn the_operator_may_say_what_a_repository_may_not() {
    let settings = both(
        "docker:\n  resources: {memory: 8g}\n  network: bridge\n  cleanup: {on_task_complete: false, orphan_on_startup: false}\n",
        "",
    )
    .unwrap();
    let at = |name: &str| option(&settings, name).unwrap();
    assert_eq!(at("memory"), ("8g".into(), "/o:2".into()));
    assert_eq!(at("network"), ("bridge".into(), "/o:3".into()));
    assert_eq!(at("keep").0, "true");
    assert_eq!(at("sweep").0, "off");
    // Below what the operator raised a repository lowers, and it may switch clean-up on again.
    let settings = both(
        "docker:\n  resources: {memory: 8g}\n  cleanup: {on_task_complete: false, orphan_on_startup: false}\n",
        "docker:\n  resources: {memory: 6g}\n  cleanup: {on_task_complete: true, orphan_on_startup: true}\n",
    )
    .unwrap();
    let at = |name: &str| option(&settings, name).unwrap();
    assert_eq!(at("memory"), ("6g".into(), "/r:2".into()));
    assert_eq!(at("keep").0, "false");
    assert_eq!(at("sweep").0, "beside");
}

#[test]
fn an_operator_who_says_two_things_is_told() {
    for (text, said) in [
        (
            "docker: {resources: {memory: 1g}}\ndefaults: {memory: 2g}",
            "defaults.memory in line 2 says the same",
        ),
        (
            "docker: {network: none}\ndefaults: {network: none}",
            "keep one",
        ),
        (
            "docker: {cleanup: {timeout_seconds: 5}}\ndefaults: {cleanup-timeout: 5s}",
            "keep one",
        ),
        (
            "docker: {resources: {memory: 8g}}\npolicy: {max: {memory: 4g}}",
            "8g is above policy.max.memory, 4g",
        ),
        (
            "defaults: {memory: lots}\npolicy: {max: {memory: 4g}}",
            "defaults.memory: 'lots' is not a size",
        ),
        (
            "defaults: {memory: [1g, 2g]}\npolicy: {max: {memory: 4g}}",
            "one value",
        ),
    ] {
        let error = both(text, "").unwrap_err();
        assert_eq!(error.code(), Code::Configuration, "{error}");
        assert!(error.to_string().contains(said), "{text}: {error}");
    }
}

#[test]
fn a_maximum_is_the_default_where_the_program_would_give_more() {
    let settings = both("policy: {max: {memory: 1g, cpus: 1, pids: 50}}", "").unwrap();
    let at = |name: &str| option(&settings, name).unwrap().0;
    assert_eq!(
        (at("memory"), at("cpus"), at("pids")),
        ("1g".into(), "1.0".into(), "50".into())
    );
    let settings = both("policy: {max: {memory: 8g, cpus: 3, pids: 5000}}", "").unwrap();
    assert!(settings.options.is_empty());
    let small = HostCapacity {
        cpus: 1,
        memory: 1 << 30,
    };
    let settings = both_on(small, "policy: {max: {memory: 2g, cpus: 2}}", "").unwrap();
    assert!(settings.options.is_empty(), "the host has less in any case");
}

#[test]
fn the_policy_becomes_rules() {
    let text = "\
policy:
  images: {allow: [docker.io/library/*, 'registry.example.com/**'], deny: [docker.io/library/busybox], pinned: true, local_only: true}
  mounts:
    allow:
      - path: /srv/src
      - {path: /srv/out, writable: true}
  max: {memory: 2g, cpus: 1.5, pids: 100, timeout: 10m}
  networks: [none, ci-net]
  capabilities: [CHOWN]
  deny: [root, writable-root, keep, ignored]
";
    let rules = both(text, "").unwrap().rules();
    let images = &rules.images;
    assert_eq!((images.allow.len(), images.deny.len()), (2, 1));
    assert!(images.pinned && images.local_only);
    let allowed = rules.mounts.allow.unwrap();
    let allowed: Vec<_> = allowed
        .iter()
        .map(|a| (a.path.to_str().unwrap(), a.writable))
        .collect();
    assert_eq!(allowed, [("/srv/src", false), ("/srv/out", true)]);
    assert_eq!(rules.most.memory, Some(2 << 30));
    assert_eq!(rules.most.nano_cpus, Some(1_500_000_000));
    assert_eq!(rules.most.pids, Some(100));
    assert_eq!(rules.most.timeout, Some(Duration::from_secs(600)));
    assert_eq!(rules.networks.unwrap(), ["none", "ci-net"]);
    assert_eq!(rules.capabilities.unwrap(), ["CHOWN"]);
    assert!(rules.deny_root && rules.deny_writable_root && rules.deny_keep && rules.deny_ignored);
    for (wrong, said) in [
        ("policy: {network: []}", "is networks meant?"),
        (
            "policy: {deny: [network]}",
            "root, writable-root, keep or ignored",
        ),
        ("policy: {deny: root}", "a list"),
        ("policy: {max: {disk: 1g}}", "not known"),
        ("policy: {max: {timeout: 0}}", "cannot be 0"),
        ("policy: {networks: none}", "a list"),
        ("policy: {networks:}", "a list"),
        ("policy: {mounts: {allow: [{path: srv}]}}", "absolute"),
        ("policy: {mounts: {allow: [{path: /a/../b}]}}", "absolute"),
        (
            "policy: {mounts: {allow: [{writable: true}]}}",
            "needs a path",
        ),
        ("policy: {images: {allowd: []}}", "is allow meant?"),
        ("policy: {images: {allow: []}}", "would admit nothing"),
        ("policy: {images: {allow: node}}", "a list"),
        ("policy: {images: {deny: ['a b']}}", "policy.images.deny[0]"),
        ("policy: {images: {pinned: yes}}", "true or false"),
    ] {
        let error = both(wrong, "").unwrap_err();
        assert!(error.to_string().contains(said), "{wrong}: {error}");
        assert_eq!(error.code(), Code::Configuration);
    }
}
