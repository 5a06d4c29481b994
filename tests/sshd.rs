//! A real login by `ssh`, without a daemon or a port: `ProxyCommand` starts an `sshd -i` of the test's own, with keys
//! and a configuration in one directory. It works for any user, who logs in to their own account.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::scenario::{directory, is_root};
use crate::workshop::runs;

const SSHD: &str = "/usr/sbin/sshd";

/// The directory with the keys and the configuration of an `sshd`.
pub(crate) struct Sshd {
    directory: PathBuf,
}

/// The reason why this user cannot log in here; `None` if there is none.
static OBSTACLE: LazyLock<Option<String>> = LazyLock::new(|| {
    let directory = directory();
    let sshd = Sshd::new(directory.path().join("ssh"), "");
    let mut login = Command::new("/bin/sh");
    login.args(["-c", &format!("exec ssh {} there true", sshd.options())]).env("PATH", "/usr/bin:/bin");
    match logging_in(login).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
        Err(error) => Some(error.to_string()),
    }
});

/// True if both programs and the prerequisites of the superuser's `sshd` are here, and a login works. Otherwise
/// reports the test.
pub(crate) fn has_ssh(test: &str) -> bool {
    let is_there = Path::new(SSHD).exists() && Command::new("ssh").arg("-V").output().is_ok();
    let has_user = fs::read_to_string("/etc/passwd").unwrap().lines().any(|line| line.starts_with("sshd:"));
    if !is_there {
        crate::missing("sshd", test);
        return false;
    }
    if is_root() && !has_user {
        crate::skipped(&format!("{test}: sshd(8) has no user"));
        return false;
    }
    if let Some(obstacle) = &*OBSTACLE {
        crate::skipped(&format!("{test}: a login fails here: {obstacle}"));
    }
    OBSTACLE.is_none()
}

impl Sshd {
    /// Makes keys and a configuration, with these additional lines, in a new directory.
    pub(crate) fn new(directory: PathBuf, lines: &str) -> Self {
        fs::create_dir(&directory).unwrap();
        for name in ["host", "id"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(directory.join(name));
            assert!(keygen.status().unwrap().success());
        }
        let at = directory.display();
        let configuration = format!(
            "HostKey {at}/host\nAuthorizedKeysFile {at}/id.pub\nStrictModes no\nUsePAM no\nPidFile none\n\
             PermitRootLogin yes\n{lines}"
        );
        fs::write(directory.join("sshd_config"), configuration).unwrap();
        Self { directory }
    }

    /// The options of `ssh` that lead here, as words of a shell.
    pub(crate) fn options(&self) -> String {
        let at = self.directory.display();
        format!(
            "-F none -oBatchMode=yes -oLogLevel=ERROR -oStrictHostKeyChecking=no -oUserKnownHostsFile={at}/known \
             -i {at}/id '-oProxyCommand={SSHD} -i -f {at}/sshd_config'"
        )
    }

    /// A text that the command lines of its processes contain.
    pub(crate) fn mark(&self) -> String {
        self.directory.display().to_string()
    }
}

/// The command in an environment where the superuser's `sshd` finds its directory, `/run/sshd`.
pub(crate) fn logging_in(run: Command) -> Command {
    if !is_root() {
        return run;
    }
    let mut command = Command::new("/usr/bin/unshare");
    let script = "mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec \"$@\"";
    command.args(["--mount", "/bin/sh", "-c", script, "sh"]).arg(run.get_program()).args(run.get_args());
    command.env_clear();
    for (name, value) in run.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    if let Some(directory) = run.get_current_dir() {
        command.current_dir(directory);
    }
    command
}

/// The processes whose command line contains this text.
pub(crate) fn processes_about(text: &str) -> Vec<String> {
    let numbers =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is_about = |number: &String| {
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text) && runs(number)
    };
    numbers.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit())).filter(is_about).collect()
}
