//! What the program says of the protections: before a task, of the host, and after it.

use std::collections::BTreeMap;

use acode_rt::model::LogConfig;
use serde_json::Value;

use crate::support::{Ctx, IMAGE, tests};

tests![
    nfr_020a_27_explain_says_what_holds_and_what_was_switched_off,
    explain_creates_nothing_and_belongs_to_dry_run,
    doctor_says_what_the_host_has,
    what_the_engine_was_not_asked_for_is_never_there,
];

/// State and way of each protection, by its name.
fn explained(ctx: &Ctx, options: &[&str]) -> BTreeMap<String, Value> {
    let mut arguments = vec!["exec", "--dry-run", "--explain", "--json", "--image", IMAGE];
    arguments.extend(options);
    let shown = ctx
        .run(&[&arguments[..], &["--", "true"]].concat())
        .expect(0)
        .json();
    let each = shown["protections"].as_array().unwrap().iter();
    each.map(|protection| {
        let held = protection["state"] == "held";
        assert_eq!(protection["how"].is_null(), held, "{protection}");
        assert_ne!(protection["why"], "", "{protection}");
        (
            protection["name"].as_str().unwrap().to_owned(),
            protection.clone(),
        )
    })
    .collect()
}

fn nfr_020a_27_explain_says_what_holds_and_what_was_switched_off(ctx: &Ctx) {
    let plain = explained(ctx, &["--timeout", "5m"]);
    let wide = [
        "--writable-root",
        "-u",
        "0",
        "--allow-root",
        "--network",
        "bridge",
        "--cap-add",
        "CHOWN",
        "--keep",
        "--init",
        "engine",
        "--accept-ignored",
        "memory-swap",
        "--seccomp",
        "engine",
    ];
    let wide = explained(ctx, &wide);
    for (name, state) in [
        ("capabilities", "weaker"),
        ("user", "switched_off"),
        ("root file system", "switched_off"),
        ("network", "switched_off"),
        ("time", "weaker"),
        ("removal", "switched_off"),
        ("asked and applied", "weaker"),
    ] {
        assert_eq!(plain[name]["state"], "held", "{name}");
        assert_eq!(wide[name]["state"], state, "{name}");
    }
    assert_eq!(wide["process 1"]["state"], "weaker");
    assert_eq!(wide["seccomp"]["state"], "weaker");
    let ours = if ctx.target.is_podman() {
        "weaker"
    } else {
        "held"
    };
    assert_eq!(plain["seccomp"]["state"], ours);
    assert_eq!(plain.len(), wide.len());
}

fn explain_creates_nothing_and_belongs_to_dry_run(ctx: &Ctx) {
    let common = [
        "exec",
        "--image",
        IMAGE,
        "--session",
        &ctx.session,
        "--explain",
    ];
    ctx.run(&[&common[..], &["--", "true"]].concat()).expect(2);
    let run = ctx
        .run(&[&common[..], &["--dry-run", "--", "true"]].concat())
        .expect(0);
    assert!(run.out().starts_with("PROTECTION"), "{}", run.out());
    assert_eq!(ctx.containers().len(), 0);
    let shown = ctx
        .run(&["exec", "--image", IMAGE, "--dry-run", "--", "true"])
        .expect(0);
    assert!(
        !shown.out().contains("SCMP_ACT"),
        "a profile is not for reading here"
    );
}

fn doctor_says_what_the_host_has(ctx: &Ctx) {
    let found = ctx.run(&["doctor", "--json"]).expect(0).json();
    let finding = |what: &str| -> Value {
        let all = found.as_array().unwrap();
        let here = all.iter().find(|finding| finding["what"] == what);
        here.unwrap_or_else(|| panic!("no {what} in {found}"))
            .clone()
    };
    for what in [
        "kernel",
        "security module",
        "user ids",
        "cgroup",
        "swap limit",
        "no new privileges",
        "socket",
    ] {
        assert_ne!(finding(what)["detail"], "", "{what}");
    }
    assert_eq!(finding("seccomp")["good"], !ctx.target.is_podman());
    let info = ctx.with_engine(async |engine| engine.info().await.unwrap());
    let apparmor = info
        .security_options
        .iter()
        .any(|option| option.starts_with("name=apparmor"));
    let detail = finding("security module")["detail"].to_string();
    assert_eq!(detail.contains("AppArmor, with"), apparmor, "{detail}");
}

/// The comparison of asked and applied knows more than a task can ask for: with every option that there is, nothing strange is found.
fn what_the_engine_was_not_asked_for_is_never_there(ctx: &Ctx) {
    let options = [
        "--writable-root",
        "-u",
        "0",
        "--allow-root",
        "--cap-add",
        "CHOWN",
        "--tmpfs",
        "/x:size=1m",
        "--ulimit",
        "nofile=64:65",
        "--shm-size",
        "1m",
        "--label",
        "a=b",
    ];
    for options in [&options[..], &["--seccomp", "engine"]] {
        let (run, receipt) = ctx.sh_receipt(options, "true");
        run.expect(0);
        assert_eq!(receipt["ignored"], serde_json::json!([]));
    }
    let mut spec = ctx.spec("log", "true");
    spec.log = Some(LogConfig {
        driver: "json-file".into(),
        ..LogConfig::default()
    });
    ctx.with_engine(async |engine| {
        let io = acode_rt::TaskIo::default();
        let receipt = acode_rt::run(&engine, spec, io, &acode_rt::Canceller::new())
            .await
            .unwrap();
        assert!(
            receipt.ignored.is_empty() && receipt.status == 0,
            "{receipt:?}"
        );
    });
}
