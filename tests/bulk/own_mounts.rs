//! Commands that see other mounts than the test.

use std::process::Command;

/// The command, run as root after this shell script has mounted something that nobody else sees.
pub(super) fn with_mounts(command: &Command, script: &str) -> Command {
    let mut inside = Command::new("/usr/bin/unshare");
    inside.args(["--mount", "/bin/sh", "-c", &format!("{script} && exec \"$@\""), "sh"]);
    inside.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        inside.env(name, value.unwrap_or_default());
    }
    inside
}
