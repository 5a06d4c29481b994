//! `patchadm stage enter` and `drop`: the view and the changes inside, as root and as an ordinary user; the leftovers
//! of every kill; and that the removal of a stage removes nothing else.

mod drop;
mod killed;
mod prompts;
mod refused;
mod views;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use patchadm_inputs::stage::{
    BaseHeader, BaseObjects, Scope, StageId, StageIdentity, StageName, staged_path, write_base,
};
use patchadm_svr4::package::ObjectPath;

use crate::everyman::as_ordinary_user;
use crate::scenario::{Run, Scenario, is_root};

/// A live root with a stage of `/opt/web` and `/var/db/web`, beside the root. The root has the directories on which
/// programs of the host are mounted, and no programs of its own.
pub(crate) struct StagedRoot {
    pub(crate) scenario: Scenario,
    is_ordinary: bool,
}

/// The options that mount the programs of the host for a shell inside.
pub(crate) const PROGRAMS: &str = "--mount /usr --mount /bin --mount /lib --mount /lib64";

impl StagedRoot {
    pub(crate) fn new(is_ordinary: bool) -> Self {
        // Not in memory: inside a stage `/dev` is another one.
        let scenario = Scenario::on_disk();
        for directory in ["usr", "bin", "lib", "lib64", "proc", "dev", "tmp", "opt/web/bin", "var/db/web"] {
            scenario.directory(&format!("/{directory}"));
        }
        for path in ["/opt/web/bin/httpd", "/var/db/web/list", "/opt/other"] {
            scenario.file(path, "live\n");
        }
        let staged = Self { scenario, is_ordinary };
        make_stage(&staged.stage(), &staged.scenario.root(), &["/opt/web", "/var/db/web"]);
        for path in ["opt/web/bin/httpd", "var/db/web/list"] {
            staged.write(path, "staged\n");
        }
        staged
    }

    /// One for root, if the test is root, and one for an ordinary user.
    pub(crate) fn for_everybody(test: &str) -> Vec<Self> {
        let everybody = if is_root() { vec![false, true] } else { vec![true] };
        everybody.into_iter().filter_map(|is_ordinary| Self::for_test(test, is_ordinary)).collect()
    }

    /// One for root if the test is root, else for the ordinary user who runs it.
    pub(crate) fn for_caller(test: &str) -> Option<Self> {
        Self::for_test(test, !is_root())
    }

    fn for_test(test: &str, is_ordinary: bool) -> Option<Self> {
        let staged = Self::new(is_ordinary);
        let tried = staged.enter("", &["true"]);
        if tried.code == 1 && tried.stderr.contains("namespaces are not allowed here") {
            let who = if is_ordinary { "an ordinary user" } else { "root" };
            crate::skipped(&format!("{test}: {who} may not make namespaces here"));
            return None;
        }
        assert_eq!((tried.code, tried.stderr.as_str()), (0, ""));
        Some(staged)
    }

    pub(crate) fn stage(&self) -> PathBuf {
        self.scenario.beside("theirs/jail")
    }

    /// Makes a file of the stage.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let at = self.stage().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }

    pub(crate) fn staged_text(&self, path: &str) -> String {
        fs::read_to_string(self.stage().join(path)).unwrap()
    }

    /// `patchadm stage ACTION` of the stage with these options, as its user.
    pub(crate) fn action(&self, action: &str, options: &str) -> Command {
        let line = format!("-R @ROOT@ stage {action} {options} {}", self.stage().display());
        if self.is_ordinary {
            as_ordinary_user(&self.scenario, &line, &[&self.scenario.root(), &self.scenario.beside("theirs")])
        } else {
            self.scenario.command(&line)
        }
    }

    /// The call that enters the stage with the programs of the host and runs a command.
    pub(crate) fn entering(&self, options: &str, command: &[&str]) -> Command {
        let mut entering = self.action("enter", &format!("{PROGRAMS} {options}"));
        entering.arg("--").args(command);
        entering
    }

    /// Enters the stage and runs a command in it.
    pub(crate) fn enter(&self, options: &str, command: &[&str]) -> Run {
        run(&self.scenario, self.entering(options, command))
    }

    /// Enters the stage and runs a script of the shell; the live root must be as before.
    #[track_caller]
    pub(crate) fn script(&self, options: &str, script: &str) -> Run {
        // For an ordinary user, this also gives them the new objects of the root.
        let entering = self.entering(options, &["sh", "-c", script]);
        let before = self.scenario.everything();
        let ended = run(&self.scenario, entering);
        assert_eq!(self.scenario.everything(), before, "the live root after <{script}>");
        ended
    }

    pub(crate) fn who(&self) -> &'static str {
        if self.is_ordinary { "an ordinary user" } else { "root" }
    }
}

/// Runs a command to its end, with `@ROOT@` for the root in its output.
#[track_caller]
pub(crate) fn run(scenario: &Scenario, mut command: Command) -> Run {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let root = scenario.root();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(root.to_str().unwrap(), "@ROOT@");
    let code = output.status.code().expect("the program ended by itself");
    Run { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Makes a stage by hand: its identity, its base and the directories that are staged.
pub(crate) fn make_stage(at: &Path, root: &Path, paths: &[&str]) {
    let id = StageId::of(0x5f0c_2a9b_e1d4_7788);
    for directory in paths.iter().copied().chain(["/tmp", "/usr/tmp", "/.patchadm-stage"]) {
        fs::create_dir_all(at.join(directory.trim_start_matches('/'))).unwrap();
    }
    let root = fs::canonicalize(root).unwrap();
    let identity = StageIdentity {
        id,
        name: StageName::parse("web").unwrap(),
        root: ObjectPath::new(root.to_str().unwrap().as_bytes()).unwrap(),
        marker: None,
        created: "2026-11-20T23:10:05Z".to_owned(),
        records: false,
        owners: true,
    };
    fs::write(at.join(".patchadm-stage/identity"), identity.write()).unwrap();
    let paths = paths.iter().map(|path| staged_path(path.as_bytes()).unwrap()).collect();
    let header = BaseHeader {
        stage: id,
        promotion: None,
        paths: Scope::new(paths).unwrap(),
        packages: std::collections::BTreeMap::default(),
    };
    let mut base = Vec::new();
    write_base(&mut base, &header, &BaseObjects::new(Vec::new())).unwrap();
    fs::write(at.join(".patchadm-stage/base.0"), base).unwrap();
}
