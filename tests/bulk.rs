//! Bulk builds as root and as an ordinary user: changed trees, failures and interruptions, and everything that a build
//! sees, may use and leaves behind.

mod arguments;
mod at_once;
mod bad_records;
mod changed_sets;
mod clean;
mod clock;
mod control_groups;
mod copied_layers;
mod cut_off;
mod damaged;
mod directory_base;
mod distfiles;
mod dry_run;
mod enter;
mod failures;
mod fetch;
mod flushed;
mod followed;
mod forbidden;
mod history;
mod hostile;
mod hostile_results;
mod hostile_scans;
mod killed;
mod killed_at_calls;
mod large_trees;
mod limits;
mod machines;
mod manual_page;
mod moments;
mod outputs;
mod overtime;
mod own_mounts;
mod patch_trials;
mod patches;
mod pbulk_reader;
mod pkgsrc_tree;
mod power_cuts;
mod real_sources;
mod rebuilt;
mod report_page;
mod same_bytes;
mod scan;
mod sets_read;
mod shared_paths;
mod slurm;
mod space;
mod ssh;
mod tree_faults;
mod verified;
mod whole_tree;
mod why;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::everyman::{NOBODY, as_ordinary_user};
use crate::scenario::{Run, Scenario, is_root};
use crate::stage_enter::StagedRoot;
use crate::workshop::eventually;

/// The driver of the trees that tests make by hand: a location has a `record`, or a `scan` that prints it, and a `build`.
const SCAN: &str = "#!/bin/sh\n\
    if [ $# = 0 ]; then exec find . -mindepth 1 -type d -printf '%P\\n'; fi\n\
    if [ -e \"$1/scan\" ]; then exec sh \"$1/scan\"; fi\n\
    exec cat \"$1/record\"\n";
const BUILD: &str = "#!/bin/sh\nset -eu\nmkdir -p \"$DESTDIR\"\n. \"$TREE/$PKG_LOCATION/build\"\n";

/// Settings of every test. The digest of a real base takes longer than a test.
const SETTINGS: &str = "base_id=echo base\ncores=2\n";

/// Facts that a run read from the files of this machine. Reading them again for every directory takes longer than a
/// test.
static FACTS_OF_HOST: OnceLock<Vec<u8>> = OnceLock::new();

/// The directory of a bulk build, its tree, and the user who runs it.
pub(crate) struct BulkBuild {
    pub(crate) scenario: Scenario,
    is_ordinary: bool,
    /// True if subordinate ids are allocated to the ordinary user.
    has_subordinate_ids: bool,
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct BulkRun {
    pub(crate) code: i32,
    pub(crate) report: Value,
    pub(crate) said: String,
}

/// The files of a result, by name.
type ResultFiles = BTreeMap<String, Vec<u8>>;

impl BulkBuild {
    /// A bulk build of the sample tree; `None`, with a note, if this machine cannot build it.
    pub(crate) fn of_sample(test: &str, is_ordinary: bool, settings: &str) -> Option<Self> {
        for tool in ["cc", "make", "patch"] {
            if Command::new(tool).arg("--version").output().is_err() {
                crate::missing(tool, test);
                return None;
            }
        }
        let build = Self::empty(test, is_ordinary)?;
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bulk/tree");
        let copied = Command::new("cp").args(["-RP", sample]).arg(build.tree()).status().unwrap();
        assert!(copied.success());
        build.begin("--driver recipes", settings);
        Some(build)
    }

    /// A bulk build of a tree that the test creates.
    pub(crate) fn of_recipes(test: &str, is_ordinary: bool, settings: &str) -> Option<Self> {
        let build = Self::empty(test, is_ordinary)?;
        fs::create_dir(build.tree()).unwrap();
        for (name, text) in [("scan", SCAN), ("build", BUILD)] {
            let at = build.scenario.beside("driver").join(name);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(&at, text).unwrap();
            fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
        }
        build.begin("", &format!("driver={}\n{settings}", build.scenario.beside("driver").display()));
        Some(build)
    }

    fn empty(test: &str, is_ordinary: bool) -> Option<Self> {
        if !has_namespaces(is_ordinary) {
            let who = if is_ordinary { "an ordinary user" } else { "root" };
            crate::skipped(&format!("{test}: {who} may not make namespaces here"));
            return None;
        }
        let has_overlay =
            fs::read_to_string("/proc/filesystems").is_ok_and(|known| known.contains("overlay"));
        if !has_overlay {
            crate::skipped(&format!("{test}: there is no overlayfs"));
            return None;
        }
        let scenario = if memory_has_overlays() { Scenario::new() } else { Scenario::on_disk() };
        fs::create_dir(scenario.beside("theirs")).unwrap();
        // The user that fetches for root needs access.
        fs::set_permissions(scenario.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
        Some(Self { scenario, is_ordinary, has_subordinate_ids: false })
    }

    /// Initializes the directory and writes the configuration.
    fn begin(&self, options: &str, settings: &str) {
        let line = format!("init {} --tree {} {options}", self.work().display(), self.tree().display());
        let made = self.command(&line).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let user = if is_root() && !self.is_ordinary { "build_user=nobody\n" } else { "" };
        let sources = format!("file_source={}\n", self.scenario.beside("theirs").display());
        self.set(&format!("{SETTINGS}{sources}{user}{settings}"));
        let owner = fs::metadata(self.work().join("build"));
        if let (Some(facts), Ok(owner)) = (FACTS_OF_HOST.get(), owner) {
            fs::write(self.facts(), facts).unwrap();
            fs::set_permissions(self.facts(), fs::Permissions::from_mode(0o600)).unwrap();
            chown(self.facts(), Some(owner.uid()), Some(owner.gid())).unwrap();
        }
    }

    fn facts(&self) -> PathBuf {
        self.work().join("build/base.facts")
    }

    fn keep_facts(&self) {
        let conf = fs::read_to_string(self.work().join("bulk.conf"));
        let is_of_host = conf.is_ok_and(|conf| !conf.contains("\nbase=/"));
        if FACTS_OF_HOST.get().is_none() && is_of_host {
            let _ = fs::read(self.facts()).map(|facts| FACTS_OF_HOST.set(facts));
        }
    }

    /// Adds lines to the configuration.
    pub(crate) fn set(&self, lines: &str) {
        let at = self.work().join("bulk.conf");
        let text = fs::read_to_string(&at).unwrap() + lines;
        fs::write(at, text).unwrap();
    }

    /// The directory of the bulk build.
    pub(crate) fn work(&self) -> PathBuf {
        self.scenario.beside("theirs/work")
    }

    /// The tree of recipes.
    pub(crate) fn tree(&self) -> PathBuf {
        self.scenario.beside("theirs/tree")
    }

    /// Makes a file of the tree.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let at = self.tree().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }

    /// Writes a file outside the tree that the user who runs the builds can read. Returns its address.
    pub(crate) fn write_elsewhere(&self, name: &str, text: &str) -> String {
        let at = self.scenario.beside("theirs").join(name);
        fs::write(&at, text).unwrap();
        format!("file:{}", at.display())
    }

    /// Replaces words in a file of the tree. Panics if they are absent.
    pub(crate) fn change(&self, path: &str, (from, to): (&str, &str)) {
        let text = fs::read_to_string(self.tree().join(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from}");
        self.write(path, text.replace(from, to));
    }

    /// Makes a recipe: `NAME-1.0` with these fields, built by this script.
    pub(crate) fn recipe(&self, name: &str, fields: &str, script: &str) {
        self.write(&format!("{name}/record"), format!("PKGNAME={name}-1.0\n{fields}"));
        self.write(&format!("{name}/build"), script);
    }

    /// `patchadm bulk` with these arguments, run by the user of this build.
    pub(crate) fn command(&self, line: &str) -> Command {
        let line = format!("bulk {line}");
        if self.is_ordinary {
            // No change of owner: files that builds made belong to subordinate ids.
            if self.has_subordinate_ids {
                return self.with_subordinate_ids(&as_ordinary_user(&self.scenario, &line, &[]));
            }
            as_ordinary_user(&self.scenario, &line, &[&self.scenario.beside("theirs")])
        } else {
            self.scenario.command(&line)
        }
    }

    /// Allocates subordinate ids to the ordinary user, like root of the machine, but only for the commands of this
    /// test.
    pub(crate) fn set_subordinate_ids_aside(&mut self) {
        for (file, line) in [
            ("passwd", format!("ordinary:x:{NOBODY}:{NOBODY}::/:/bin/sh\n")),
            ("group", format!("ordinary:x:{NOBODY}:\n")),
            ("subuid", "ordinary:700000:65536\n".to_owned()),
            ("subgid", "ordinary:700000:65536\n".to_owned()),
        ] {
            let text = fs::read_to_string(format!("/etc/{file}")).unwrap_or_default() + &line;
            fs::write(self.scenario.beside(file), text).unwrap();
        }
        self.has_subordinate_ids = true;
    }

    fn with_subordinate_ids(&self, theirs: &Command) -> Command {
        let here = self.scenario.beside("").display().to_string();
        let mounts = "for file in passwd group subuid subgid; do mount --bind \"$0/$file\" /etc/$file || exit; done\n\
                      exec setpriv --reuid 54321 --regid 54321 --clear-groups \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", mounts, &here]).arg(theirs.get_program()).args(theirs.get_args());
        command.current_dir(&here).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        for (name, value) in theirs.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command
    }

    /// `patchadm bulk run` of the directory with these names and options.
    pub(crate) fn running(&self, names: &str) -> Command {
        self.command(&format!("run {} {names} --json", self.work().display()))
    }

    /// Runs the build with these names and options to its end.
    #[track_caller]
    pub(crate) fn run(&self, names: &str) -> BulkRun {
        let mut running = self.running(names);
        let output = running.output().unwrap();
        self.keep_facts();
        BulkRun::of(&output)
    }

    /// Runs an action. `@WORK@` stands for the directory, both in its arguments and in its output.
    #[track_caller]
    pub(crate) fn action(&self, line: &str) -> Run {
        let work = self.work().display().to_string();
        let output = self.command(&line.replace("@WORK@", &work)).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&work, "@WORK@");
        let code = output.status.code().expect("the program ended by itself");
        Run { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The log of a package in the last run that has one.
    #[track_caller]
    pub(crate) fn log(&self, package: &str) -> String {
        self.action(&format!("log @WORK@ {package}")).ok()
    }

    /// The lines of the journal of a run.
    pub(crate) fn journal(&self, run: u64) -> Vec<Value> {
        let text = fs::read_to_string(self.work().join(format!("runs/{run}/journal"))).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The packages that a run started to build, in order.
    pub(crate) fn started(&self, run: u64) -> Vec<String> {
        let journal = self.journal(run);
        let started = journal.iter().filter(|line| line["state"] == "running");
        started.map(|line| line["package"].as_str().unwrap().to_owned()).collect()
    }

    /// The results of a run by package, without the files that record when and how they were made.
    pub(crate) fn results(&self, run: &BulkRun) -> BTreeMap<String, ResultFiles> {
        let with_result = run
            .packages()
            .iter()
            .filter(|package| ["done", "up-to-date"].contains(&package["state"].as_str().unwrap()));
        let result_of = |package: &Value| {
            let key = package["key"].as_str().unwrap();
            let entries = fs::read_dir(self.result(key)).unwrap().map(|entry| entry.unwrap().path());
            let own = ["result.json", "log.gz"];
            let files = entries
                .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
                .filter(|(name, _)| !own.contains(&name.as_str()));
            let files = files.map(|(name, path)| (name, fs::read(path).unwrap())).collect();
            (package["package"].as_str().unwrap().to_owned(), files)
        };
        with_result.map(result_of).collect()
    }

    /// The directory of a result.
    pub(crate) fn result(&self, key: &str) -> PathBuf {
        self.work().join("pool").join(&key[..2]).join(key)
    }

    /// Asserts that no task left a directory, a control group, a mount, or a process with this value of the variable
    /// `MARK`.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self, mark: &str) {
        let tasks = self.work().join("build/tasks");
        // The end of the run does not wait for a task that a limit ended to remove its directory.
        eventually("no directory of a task is left", || {
            fs::read_dir(&tasks).into_iter().flatten().next().is_none()
        });
        let id = fs::read_to_string(self.work().join("id")).unwrap();
        assert_eq!(control_groups(&format!("patchadm-{}.", id.trim_end())), Vec::<PathBuf>::new());
        self.assert_nothing_runs(mark);
    }

    /// Asserts that no process has this value of the variable `MARK`, and that nothing is mounted below the directory
    /// of the test.
    #[track_caller]
    pub(crate) fn assert_nothing_runs(&self, mark: &str) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = self.scenario.beside("").display().to_string();
        assert!(!mounts.contains(&here), "{mounts}");
        eventually("no process is left", || processes_with(mark).is_empty());
    }

    pub(crate) fn who(&self) -> &'static str {
        if self.is_ordinary { "an ordinary user" } else { "root" }
    }
}

impl BulkRun {
    #[track_caller]
    pub(crate) fn of(output: &Output) -> Self {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().expect("the program ended by itself");
        let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Self { code, report, said }
    }

    /// Asserts that the run ended with this code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        let details = self.packages().iter().filter_map(|package| package["detail"].as_str());
        let details: Vec<&str> = details.collect();
        assert_eq!(self.code, code, "{}{:#?}\n{details:#?}", self.said, self.states());
        self
    }

    pub(crate) fn packages(&self) -> &[Value] {
        self.report["packages"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn package(&self, name: &str) -> &Value {
        let found = self.packages().iter().find(|package| package["package"] == name);
        found.unwrap_or_else(|| panic!("{name} is not in {:#}", self.report))
    }

    /// The states of the packages, a line each: `chain-1.0 done`, `fails-1.0 failed (exit)`.
    pub(crate) fn states(&self) -> Vec<String> {
        let state = |package: &Value| {
            let cause = package["cause"].as_str().map(|cause| format!(" ({cause})")).unwrap_or_default();
            let word = |field: &str| package[field].as_str().unwrap().to_owned();
            format!("{} {}{cause}", word("package"), word("state"))
        };
        self.packages().iter().map(state).collect()
    }

    /// The names of the packages in a state, without their version.
    pub(crate) fn in_state(&self, state: &str) -> Vec<String> {
        let packages = self.packages().iter().filter(|package| package["state"] == state);
        packages.map(|package| package["package"].as_str().unwrap().replace("-1.0", "")).collect()
    }

    /// Why a package failed, in words.
    #[track_caller]
    pub(crate) fn detail(&self, name: &str) -> &str {
        self.package(name)["detail"].as_str().unwrap_or_default()
    }
}

/// Signals a run until it ends. A second signal counts only after the run noticed the first one.
#[track_caller]
fn signal_until_ended(running: &mut Child, signal: Signal) {
    let number = Pid::from_child(running);
    eventually("the run has ended", || {
        let has_ended = running.try_wait().unwrap().is_some();
        if !has_ended {
            kill_process(number, signal).unwrap();
        }
        has_ended
    });
}

/// The control groups whose names have this prefix.
fn control_groups(begin: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_string_lossy().starts_with(begin) {
                found.push(entry.path());
            }
            open.push(entry.path());
        }
    }
    found
}

/// True if an ordinary user can have overlays in memory. On a disk, the many writes of a build all reach the device.
fn memory_has_overlays() -> bool {
    let kernel = rustix::system::uname();
    let release = kernel.release().to_string_lossy();
    let version: Vec<u32> = release.split('.').map_while(|number| number.parse().ok()).take(2).collect();
    version.as_slice() >= &[6, 6][..]
}

/// Makes two tests of a slow function: builds as root, and as an ordinary user.
macro_rules! for_everybody {
    ($($story:ident,)+) => {
        $(
            mod $story {
                #[test]
                fn as_root() {
                    if crate::scenario::is_root() {
                        super::$story(false);
                    }
                }

                #[test]
                fn as_an_ordinary_user() {
                    super::$story(true);
                }
            }
        )+
    };
}

pub(crate) use for_everybody;

/// The users of a test: root, if the test runs as root, and an ordinary user.
pub(crate) fn everybody() -> Vec<bool> {
    if is_root() { vec![false, true] } else { vec![true] }
}

/// Returns true if commands of an ordinary user can get subordinate ids here. Prints a note if not.
pub(crate) fn can_have_subordinate_ids(test: &str) -> bool {
    let can = is_root() && Path::new("/usr/bin/newuidmap").exists();
    if !can {
        crate::skipped(&format!("{test}: subordinate ids need root, and newuidmap(1)"));
    }
    can && crate::has("setpriv", test) && crate::has("unshare", test)
}

/// Asserts that two sets of results are equal.
#[track_caller]
pub(crate) fn assert_same_results(
    one: &BTreeMap<String, ResultFiles>,
    other: &BTreeMap<String, ResultFiles>,
) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    assert_eq!(different(one, other), Vec::<&str>::new());
}

/// The packages whose results differ, without their version.
pub(crate) fn different<'a>(
    one: &'a BTreeMap<String, ResultFiles>,
    other: &BTreeMap<String, ResultFiles>,
) -> Vec<&'a str> {
    let differing = one.iter().filter(|(package, files)| other.get(*package) != Some(files));
    differing.map(|(package, _)| package.strip_suffix("-1.0").unwrap_or(package)).collect()
}

/// The processes that have this value of the variable `MARK`.
pub(crate) fn processes_with(mark: &str) -> Vec<i32> {
    let wanted = format!("MARK={mark}").into_bytes();
    let numbers = fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_marked = |number: &i32| {
        let environment = fs::read(Path::new("/proc").join(number.to_string()).join("environ"));
        let environment = environment.unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == wanted)
    };
    numbers.filter(is_marked).filter(|number| crate::workshop::runs(&number.to_string())).collect()
}

/// Runs a command, and kills the first process of each sandbox in which a process has one of these marks, up to the
/// given number of times per mark.
pub(crate) fn output_while_killing(mut command: Command, marks: &[(&str, u32)]) -> Output {
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (mark, most) in marks {
            let has_ended = &has_ended;
            scope.spawn(move || {
                let mut killed = 0;
                while killed < *most && !has_ended.load(Ordering::Relaxed) {
                    if let Some(first) = processes_with(mark).into_iter().find_map(first_process_above) {
                        let _ = kill_process(Pid::from_raw(first).unwrap(), Signal::KILL);
                        eventually("it is gone", || !crate::workshop::runs(&first.to_string()));
                        killed += 1;
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
        let output = command.stdin(Stdio::null()).output();
        has_ended.store(true, Ordering::Relaxed);
        output.unwrap()
    })
}

/// The process with number 1 in the process namespace of `number`.
fn first_process_above(mut number: i32) -> Option<i32> {
    loop {
        let status = fs::read_to_string(format!("/proc/{number}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let numbers: Vec<&str> = field("NSpid:")?.split_ascii_whitespace().collect();
        match numbers[..] {
            [_] => return None,
            [.., "1"] => return Some(number),
            _ => number = field("PPid:")?.trim().parse().ok()?,
        }
    }
}

/// A mark that no other test has.
pub(crate) fn mark() -> String {
    patchadm_rootfs::random().unwrap().to_string()
}

/// True if root, or an ordinary user, may make namespaces here.
fn has_namespaces(is_ordinary: bool) -> bool {
    static OF_ROOT: LazyLock<bool> = LazyLock::new(|| may_enter(false));
    static OF_USER: LazyLock<bool> = LazyLock::new(|| may_enter(true));
    if is_ordinary { *OF_USER } else { *OF_ROOT }
}

fn may_enter(is_ordinary: bool) -> bool {
    StagedRoot::new(is_ordinary).enter("", &["true"]).code == 0
}
