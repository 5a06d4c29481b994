//! Roots on several file systems, and on small ones: mounts in a private mount namespace, which only root can make.
//!
//! A holder process keeps the namespace. Commands run in it by nsenter(1), and the test looks into it through
//! `/proc/PID/root`. Everything is gone when the value is dropped.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::scenario::{Run, Scenario, is_root};
use crate::tree::Tree;

/// A scenario seen through mounts of its own.
pub(crate) struct Mounted {
    stage: Scenario,
    holder: Child,
}

impl Mounted {
    /// Runs a script that mounts, with `$ROOT` for the root and `$BESIDE` for the directory beside it, in a new
    /// namespace. `None`, with a note that names the test, if the caller is not root or may not mount here.
    #[allow(clippy::print_stdout)] // a test that is skipped says so
    pub(crate) fn new(test: &str, stage: Scenario, script: &str) -> Option<Self> {
        if !is_root() {
            crate::skipped(&format!("{test}: only root can mount"));
            return None;
        }
        // `set -e` does not stop the shell if a command before `&&` fails.
        let script = format!("set -e\n{}\necho mounted\nread end", script.replace("&&", "\n"));
        let spawned = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", &script])
            .env("ROOT", stage.root())
            .env("BESIDE", stage.beside(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut holder) = spawned else {
            crate::missing("unshare", test);
            return None;
        };
        // Programs that make file systems may print something first.
        let mut said = BufReader::new(holder.stdout.take().unwrap()).lines();
        if !said.any(|line| line.unwrap() == "mounted") {
            crate::skipped(&format!("{test}: this machine does not let us mount"));
            holder.wait().unwrap();
            return None;
        }
        Some(Self { stage, holder })
    }

    /// The scenario as it is without the mounts.
    pub(crate) fn stage(&self) -> &Scenario {
        &self.stage
    }

    /// The path outside the namespace of a path in the root.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.outside(&self.stage.at(path))
    }

    /// The path outside the namespace of a path of this machine in the namespace.
    pub(crate) fn outside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// The program in the namespace.
    pub(crate) fn command(&self, line: &str) -> Command {
        let command = self.stage.command(line);
        let mut inside = Command::new("nsenter");
        inside
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .arg(format!("--wd={}", self.stage.beside("").display()))
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null());
        inside
    }

    /// Runs the program in the namespace.
    pub(crate) fn run(&self, line: &str) -> Run {
        let output = self.command(line).output().unwrap();
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(self.stage.root().to_str().unwrap(), "@ROOT@")
        };
        let status = output.status;
        Run {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The root through its mounts, without these paths.
    pub(crate) fn tree(&self, without: &[&str]) -> Tree {
        Tree::of(&self.at("/"), without)
    }

    /// The root without files that a refused change may leave.
    pub(crate) fn everything(&self) -> Tree {
        self.tree(&["var/sadm/install/.lockfile", "var/sadm/patchadm"])
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(self.holder.stdin.take()); // its `read` ends, and with it the namespace
        let _ = self.holder.wait();
    }
}
