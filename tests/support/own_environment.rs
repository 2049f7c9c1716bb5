//! What our own environment would tell the program.

use std::process::Command;

/// Keeps it from `command`.
pub(crate) fn forget_ours(command: &mut Command) {
    for key in [
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
        "DOCKER_CONFIG",
        "ACODE_SESSION",
        "ACODE_TASK",
        "ACODE_IMAGE",
        "ACODE_LANGUAGE",
        "ACODE_MEMORY",
        "ACODE_CPUS",
        "ACODE_PIDS",
        "ACODE_TIMEOUT",
        "ACODE_NETWORK",
        "ACODE_CONFIG",
        "NO_COLOR",
    ] {
        command.env_remove(key);
    }
    // No file of ours is there either.
    command.env("XDG_CONFIG_HOME", "/nonexistent");
}
