//! Registries that want a password.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::registry_server::{PASSWORD, USER, base64};
use crate::running::{Run, Running};
use crate::{Pulls, pulls};

pulls![
    fr_020a_39_a_password_of_dockers_configuration_is_used,
    fr_020a_39_a_credential_helper_is_asked,
    a_configuration_that_cannot_be_read_is_ctn_015_when_it_is_needed,
    a_helper_that_hangs_or_is_missing_is_ctn_015,
];

struct Login<'a> {
    pulls: &'a Pulls,
    image: String,
    registry: String,
}

impl<'a> Login<'a> {
    fn new(pulls: &'a Pulls) -> Self {
        pulls.push_locked(1000);
        Self {
            pulls,
            image: format!("{}:1", pulls.locked.name("none", &pulls.name())),
            registry: format!("localhost:{}", pulls.locked.port),
        }
    }

    /// The program, with what docker's configuration is then.
    fn program(&self, options: &[&str], config: &str) -> Command {
        let dir = self.pulls.ctx.file("docker");
        fs::create_dir_all(&dir).unwrap();
        fs::write(format!("{dir}/config.json"), config).unwrap();
        let mut program = self.pulls.ctx.program();
        program
            .env("DOCKER_CONFIG", &dir)
            .env("PATH", format!("{dir}:/usr/bin:/bin"));
        let options = [&["-vv"], options].concat();
        program.args(self.pulls.exec_arguments(&self.image, &options));
        program
    }

    fn run(&self, config: &Value) -> Run {
        self.run_with(&[], config)
    }

    /// It never shows the password.
    fn run_with(&self, options: &[&str], config: &Value) -> Run {
        let run = Running::start(&mut self.program(options, &config.to_string())).finish();
        for secret in [PASSWORD.to_owned(), base64(&format!("{USER}:{PASSWORD}"))] {
            assert!(!run.err().contains(&secret) && !run.out().contains(&secret));
        }
        run
    }

    fn helper(&self, script: &str) {
        let path = self.pulls.ctx.file("docker/docker-credential-acode");
        fs::create_dir_all(self.pulls.ctx.file("docker")).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn fr_020a_39_a_password_of_dockers_configuration_is_used(pulls: &Pulls) {
    let login = Login::new(pulls);
    let with = |password: &str| {
        let auth = base64(&format!("{USER}:{password}"));
        json!({"auths": {&login.registry: {"auth": auth}, "elsewhere": {"auth": "!"}}})
    };
    login.run(&json!({})).expect_error("ACODE-CTN-006");
    let wrong = login.run(&with("wrong")).expect_error("ACODE-CTN-006");
    assert!(!wrong.err().contains("trying again in"), "{}", wrong.err());
    assert_eq!(login.run(&with(PASSWORD)).expect(0).out(), "ran\n");
}

fn fr_020a_39_a_credential_helper_is_asked(pulls: &Pulls) {
    let login = Login::new(pulls);
    let asked = pulls.ctx.file("asked");
    login.helper(&format!(
        "read server; echo \"$1 $server\" >> {asked}\n\
         printf '{{\"ServerURL\":\"%s\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}' \"$server\""
    ));
    login
        .run(&json!({"credHelpers": {&login.registry: "acode"}}))
        .expect(0);
    assert_eq!(
        fs::read_to_string(&asked).unwrap(),
        format!("get {}\n", login.registry)
    );
    // Nothing of the registry's there: it is asked without.
    login.helper("echo 'credentials not found in native keychain'; exit 1");
    let store = json!({"credsStore": "acode"});
    login
        .run_with(&["--pull", "always"], &store)
        .expect_error("ACODE-CTN-006");
}

fn a_configuration_that_cannot_be_read_is_ctn_015_when_it_is_needed(pulls: &Pulls) {
    let login = Login::new(pulls);
    for config in ["{", "[]", r#"{"auths": 1}"#] {
        let run = Running::start(&mut login.program(&[], config)).finish();
        let run = run.expect_error("ACODE-CTN-015");
        assert!(run.err().contains("docker/config.json"), "{}", run.err());
    }
    // An image that is there needs none.
    let mut local = pulls.ctx.exec_program(&[], &["echo", "ran"]);
    local.env("DOCKER_CONFIG", pulls.ctx.file("docker"));
    assert_eq!(Running::start(&mut local).finish().expect(0).out(), "ran\n");
}

fn a_helper_that_hangs_or_is_missing_is_ctn_015(pulls: &Pulls) {
    let login = Login::new(pulls);
    let config = json!({"credsStore": "acode"});
    login.run(&config).expect_error("ACODE-CTN-015");
    login.helper("yes");
    let run = login.run(&config).expect_error("ACODE-CTN-015");
    assert!(run.err().contains("64 KiB"), "{}", run.err());
    let begun = Instant::now();
    login.helper("sleep 60 & sleep 60");
    let run = login.run(&config).expect_error("ACODE-CTN-015");
    assert!(run.err().contains("within 10s"), "{}", run.err());
    assert!(begun.elapsed() < Duration::from_secs(30));
}
