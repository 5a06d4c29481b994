//! Roots that act as hosts for Ansible, and the plays on them.
//!
//! Each host is a local connection with a root of its own. The collection comes from the checkout, and the program is
//! the one under test. A play prints one JSON value for each task and host. On the second host, the modules run tasks
//! as on a remote machine; on the others, the action plugins of the collection run them on the control node. A fleet
//! over ssh logs in to the second host, and to the third without pipelining.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{NOW, Scenario, directory, is_root};
use crate::sshd::{Sshd, logging_in};
use crate::tree::Tree;

pub(super) const COLLECTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/ansible");

/// Output of `ansible-playbook --version`; `None` if Ansible is not installed.
static VERSION: LazyLock<Option<String>> = LazyLock::new(|| {
    let output = Command::new("ansible-playbook").arg("--version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
});

/// True if Ansible is installed; otherwise reports it as missing for the test.
pub(super) fn has_ansible(test: &str) -> bool {
    let is_there = VERSION.is_some();
    if !is_there {
        crate::missing("ansible-playbook", test);
    }
    is_there
}

/// The Python interpreter of Ansible, which has its modules.
pub(super) fn python() -> String {
    let version = VERSION.as_deref().unwrap_or_default();
    let line = version.lines().find(|line| line.contains("python version =")).unwrap_or_default();
    let path = line.rsplit_once('(').map(|(_, path)| path.trim_end_matches(')').to_owned());
    path.filter(|path| path.starts_with('/')).unwrap_or_else(|| "python3".to_owned())
}

/// Roots that act as hosts, called `one`, `two` and `three`.
pub(super) struct Fleet {
    directory: TempDir,
    /// The server that the remote hosts log in to, if there are any.
    sshd: Option<Sshd>,
    pub(super) roots: Vec<Scenario>,
}

/// Results of a play.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) code: i32,
    results: Vec<Value>,
    complaint: String,
}

const NAMES: [&str; 3] = ["one", "two", "three"];

/// The host whose tasks have an environment of their own, and therefore use a module.
const BY_MODULE: &str = "two";

impl Fleet {
    /// Roots with the same packages.
    pub(super) fn with(count: usize, packages: &[Package]) -> Self {
        Self::of((0..count).map(|_| Scenario::with(packages)).collect())
    }

    pub(super) fn of(roots: Vec<Scenario>) -> Self {
        let fleet = Self { directory: directory(), sshd: None, roots };
        let collections = fleet.at("collections/ansible_collections/patchadm");
        fs::create_dir_all(&collections).unwrap();
        fs::create_dir(fleet.at("tmp")).unwrap();
        symlink(COLLECTION, collections.join("patch")).unwrap();
        let host = |(name, root): (&&str, &Scenario)| {
            let root = root.root();
            let by = if *name == BY_MODULE { " other_environment=\"{'LC_ALL': 'C.UTF-8'}\"" } else { "" };
            format!("{name} patchadm_root={root} root={root}{by}\n", root = root.display())
        };
        let hosts: String = NAMES.iter().zip(&fleet.roots).map(host).collect();
        let all = "[all:vars]\nansible_connection=local\nansible_python_interpreter=\"{{ ansible_playbook_python }}\"\n";
        fs::write(fleet.at("hosts"), hosts + all).unwrap();
        fleet
    }

    /// A fleet whose first root is local. The others are behind ssh logins with a nearly empty environment.
    pub(super) fn over_ssh(roots: Vec<Scenario>) -> Self {
        let mut fleet = Self::of(roots);
        let (home, program) = (fleet.at("far home"), Path::new(env!("CARGO_BIN_EXE_patchadm")));
        fs::create_dir(&home).unwrap();
        let environment = format!(
            "SetEnv PATH=/usr/bin:/bin:{} \"HOME={}\" SOURCE_DATE_EPOCH={NOW} TZ=UTC0 PATCHADM_EVENTS=none\n",
            program.parent().unwrap().display(),
            home.display()
        );
        let sftp = "Subsystem sftp internal-sftp\n";
        let sshd = Sshd::new(fleet.at("ssh"), &(environment + sftp));
        fs::create_dir(fleet.at("host_vars")).unwrap();
        for (name, is_pipelined) in [(NAMES[1], true), (NAMES[2], false)] {
            let variables = json!({
                "ansible_connection": "ssh",
                "ansible_pipelining": is_pipelined,
                "ansible_ssh_args": "",
                // The sshd of an ordinary user may not be able to hand over a terminal.
                "ansible_ssh_use_tty": is_root(),
                "ansible_ssh_common_args": sshd.options(),
                "other_environment": {},
            });
            fs::write(fleet.at(&format!("host_vars/{name}.json")), variables.to_string()).unwrap();
        }
        fleet.sshd = Some(sshd);
        fleet
    }

    /// A text in the command lines of processes that its logins leave behind.
    pub(super) fn mark(&self) -> String {
        self.sshd.as_ref().unwrap().mark()
    }

    /// A path in the directory of the fleet.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Delivers a patch as an archive; returns its path.
    pub(super) fn deliver(&self, patch: &Patch) -> String {
        patch.pack(&self.at("delivered"), ".tar.gz").display().to_string()
    }

    /// Every object of every root with all its attributes, except the times of directories.
    pub(super) fn trees(&self) -> Vec<Tree> {
        self.roots.iter().map(|root| Tree::of(&root.root(), &[])).collect()
    }

    /// A command of Ansible in a clean environment for this fleet.
    pub(super) fn command(&self, program: &str) -> Command {
        let built = Path::new(env!("CARGO_BIN_EXE_patchadm")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{}:{path}", built.display()))
            .env("HOME", self.at("home"))
            .env("TMPDIR", self.at("tmp"))
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC0")
            .env("SOURCE_DATE_EPOCH", NOW.to_string())
            .env("PATCHADM_EVENTS", "none")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONPATH", self.at("collections"))
            .env("ANSIBLE_COLLECTIONS_PATH", self.at("collections"))
            .env("ANSIBLE_COLLECTIONS_PATHS", self.at("collections"))
            .env("ANSIBLE_CALLBACK_PLUGINS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ansible"))
            .env("ANSIBLE_STDOUT_CALLBACK", "results")
            .env("ANSIBLE_LOCAL_TEMP", self.at("local"))
            .env("ANSIBLE_REMOTE_TEMP", self.at("remote"))
            .env("ANSIBLE_RETRY_FILES_ENABLED", "0")
            .env("ANSIBLE_DEPRECATION_WARNINGS", "0")
            .env("ANSIBLE_PIPELINING", "1")
            .current_dir(self.directory.path());
        command
    }

    /// Plays a playbook of the collection, with these arguments.
    pub(super) fn playbook(&self, name: &str, words: &[&str]) -> Played {
        self.run(&Path::new(COLLECTION).join("playbooks").join(name), words)
    }

    /// Plays these tasks on every root; each task has the root as variable `root`. A failed task does not end the
    /// play.
    pub(super) fn tasks(&self, tasks: &str, words: &[&str]) -> Played {
        let play = format!(
            "- hosts: all\n  gather_facts: false\n  ignore_errors: true\n  \
             environment: \"{{{{ other_environment | default({{}}) }}}}\"\n  tasks:\n{}",
            tasks.lines().map(|line| format!("    {line}\n")).collect::<String>()
        );
        fs::write(self.at("play.yml"), play).unwrap();
        self.run(&self.at("play.yml"), words)
    }

    fn run(&self, playbook: &Path, words: &[&str]) -> Played {
        let mut command = self.command("ansible-playbook");
        command.arg("-i").arg(self.at("hosts")).args(words).arg(playbook);
        let output = if self.sshd.is_some() { logging_in(command) } else { command }.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let result = |line: &str| {
            let result = serde_json::from_str(line);
            result.unwrap_or_else(|error| panic!("{line}: {error}"))
        };
        Played {
            code: output.status.code().unwrap(),
            results: text.lines().filter(|line| line.starts_with('{')).map(result).collect(),
            complaint: text.lines().filter(|line| !line.starts_with('{')).collect::<String>()
                + &String::from_utf8_lossy(&output.stderr),
        }
    }
}

impl Played {
    /// The result of a task on a host.
    #[track_caller]
    pub(super) fn on(&self, host: &str, task: &str) -> &Value {
        let found = self.results.iter().find(|one| one["host"] == host && one["task"] == task);
        let found = found.unwrap_or_else(|| panic!("{task} was not played on {host}: {self:?}"));
        &found["result"]
    }

    /// The result of a task on the first host.
    #[track_caller]
    pub(super) fn of(&self, task: &str) -> &Value {
        self.on(NAMES[0], task)
    }

    /// True if a task changed something on a host, or would have. Panics if it failed.
    #[track_caller]
    pub(super) fn changed_on(&self, host: &str, task: &str) -> bool {
        let result = self.on(host, task);
        assert_ne!(result["failed"], true, "{task} on {host}: {result:#}");
        result["changed"].as_bool().unwrap_or_else(|| panic!("{task} on {host}: {result:#}"))
    }

    /// As `changed_on`, for the first host.
    #[track_caller]
    pub(super) fn changed(&self, task: &str) -> bool {
        self.changed_on(NAMES[0], task)
    }

    /// The one-line message of a task that failed on the first host.
    #[track_caller]
    pub(super) fn failure(&self, task: &str) -> &str {
        self.failure_on(NAMES[0], task)
    }

    /// The one-line message of a task that failed on a host.
    #[track_caller]
    pub(super) fn failure_on(&self, host: &str, task: &str) -> &str {
        let result = self.on(host, task);
        assert_eq!(result["failed"], true, "{task}: {result:#}");
        let message = result["msg"].as_str().unwrap_or_default();
        assert!(!message.is_empty() && !message.contains('\n'), "{task}: {result:#}");
        message
    }

    /// The hosts on which something was played, in order of appearance.
    pub(super) fn hosts(&self) -> Vec<&str> {
        let mut hosts: Vec<&str> = Vec::new();
        for host in self.results.iter().filter_map(|one| one["host"].as_str()) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        hosts
    }

    /// Asserts that everything went well.
    #[track_caller]
    pub(super) fn well(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{:#?}", self.complaint, self.results);
        self
    }
}
