//! Roots whose own tree is hostile: directories and records that are symbolic links to somewhere else, pipes, devices,
//! loops, hard links to files of others. No command reads or changes anything outside `-R`, none hangs, and none
//! reports an internal error; a refused command leaves the root as it was.
//!
//! Beside the root is the canary, a copy of it before the hostile change: a link that is followed out of the root finds
//! there what it looks for. All of it runs in a sandbox, because packages with scripts are among those tried: a script
//! that is not refused where it should be would follow the links.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::random::Random;
use crate::reliability::canary::Canary;
use crate::reliability::{figures, is_whole, sample_or_whole};
use crate::sandbox::Sandbox;
use crate::scenario::{Scenario, is_root};
use crate::tree::Tree;

/// Directories that are replaced.
const DIRECTORIES: [&str; 20] = [
    "usr",
    "usr/sadm/install/scripts",
    "etc",
    "etc/patchadm",
    "opt",
    "opt/ACMEweb",
    "opt/ACMEweb/bin",
    "var",
    "var/tmp",
    "var/sadm",
    "var/sadm/install",
    "var/sadm/install/admin",
    "var/sadm/patch",
    "var/sadm/patchadm",
    "var/sadm/patchadm/stage",
    "var/sadm/pkg",
    "var/sadm/pkg/ACMEweb",
    "var/sadm/pkg/ACMEweb/save",
    "var/sadm/pkg/ACMEweb/save/100-01",
    "var/sadm/pkg/ACMEscr/install",
];

/// Files that are replaced.
const FILES: [&str; 24] = [
    "etc/passwd",
    "etc/group",
    "etc/patchadm/policy",
    "opt/ACMEweb/bin/httpd",
    "opt/ACMEweb/lib/x",
    "usr/sadm/install/scripts/i.mine",
    "var/sadm/install/.lockfile",
    "var/sadm/install/admin/nocheck",
    "var/sadm/install/contents",
    "var/sadm/patch/100-01/README.100-01",
    "var/sadm/patch/100-01/log",
    "var/sadm/patchadm/contents.stamp",
    "var/sadm/patchadm/history",
    "var/sadm/patchadm/journal",
    "var/sadm/patchadm/ledger/ACMEweb",
    "var/sadm/patchadm/journal.new",
    "var/sadm/patchadm/log",
    "var/sadm/patchadm/script.lock",
    "var/sadm/pkg/ACMEscr/install/preremove",
    "var/sadm/pkg/ACMEweb/pkginfo",
    "var/sadm/pkg/ACMEweb/save/100-01/undo.gz",
    "var/sadm/pkg/ACMEweb/save/100-01/undo.paths",
    "var/sadm/pkg/ACMEweb/save/100-01/undo.b3",
    "var/sadm/pkg/ACMEweb/save/100-01/remote",
];

/// The replacement of a directory or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A link to the same path of the canary.
    Absolute,
    /// A relative link, by `..`, to the same path of the canary.
    Upward,
    /// A link to the top of the host.
    Top,
    /// A link to itself.
    Loop,
    /// A link to a device that gives bytes without end.
    Zero,
    /// A pipe that nobody writes to.
    Pipe,
    /// A directory for a file, a file for a directory.
    Other,
    /// A second name of the canary's file.
    Shared,
    /// A device that gives bytes without end.
    Device,
}

const OF_DIRECTORIES: [Form; 6] =
    [Form::Absolute, Form::Upward, Form::Top, Form::Loop, Form::Pipe, Form::Other];
const OF_FILES: [Form; 8] = [
    Form::Absolute,
    Form::Upward,
    Form::Loop,
    Form::Zero,
    Form::Pipe,
    Form::Other,
    Form::Shared,
    Form::Device,
];

/// Commands that change nothing.
const QUERIES: [&str; 12] = [
    "pkginfo -R @ROOT@",
    "pkginfo -l -R @ROOT@ ACMEweb",
    "pkgparam -R @ROOT@ ACMEweb PATCHLIST",
    "showrev -p -R @ROOT@",
    "patchadd -p -R @ROOT@",
    "list -R @ROOT@",
    "show -R @ROOT@ 100-01",
    "pkgchk -R @ROOT@",
    "pkgchk -l -R @ROOT@ -p /opt/ACMEweb/bin/httpd",
    "patchadd -a -R @ROOT@ delivered/101-01",
    "plan -R @ROOT@ delivered/101-01",
    "pkgask -R @ROOT@ -r answers -d spool ACMEask",
];

/// Commands that change a root.
const CHANGES: [&str; 12] = [
    "patchadd -R @ROOT@ delivered/101-01",
    "patchadd -d -R @ROOT@ delivered/101-01",
    "patchrm -R @ROOT@ 100-01",
    "pkgadd -n -a nocheck -R @ROOT@ -d spool ACMEnew",
    "pkgadd -n -a nocheck -R @ROOT@ -d spool ACMEdo",
    "pkgrm -n -a nocheck -R @ROOT@ ACMEweb",
    "pkgrm -n -a nocheck -R @ROOT@ ACMEscr",
    "installf -R @ROOT@ ACMEweb /opt/ACMEweb/lib/x f 0600 root root",
    "removef -R @ROOT@ ACMEweb /opt/ACMEweb/lib/x",
    "removef -f -R @ROOT@ ACMEweb",
    "pkgchk -f -R @ROOT@",
    "recover -R @ROOT@",
];

/// A script that works in the directories it is told to use: it leaves marks, and clears its own places.
const SCRIPT: &str = "for at in $PKGSAV $PKG_INSTALL_ROOT/var/tmp ${BASEDIR:-/none}; do \
    [ -d $at ] && { echo mark > $at/mark; rm -rf $at/old; }; done; exit 0\n";

/// A root with two packages, a patch and a policy, from which hostile ones are made.
fn good() -> Scenario {
    let mut stage = Scenario::new();
    stage.file("/var/sadm/install/admin/nocheck", NOCHECK);
    stage.file("/etc/patchadm/policy", "scripts=run\n");
    stage.file("/usr/sadm/install/scripts/i.mine", "while read src dst; do cp $src $dst; done\n");
    stage.directory("/var/tmp");
    let web = Package::new("ACMEweb").directory("bin").directory("lib");
    stage.install(&web.clone().file("bin/httpd", 0o755, "one\n").file("lib/x", 0o600, "x\n"));
    let scripted = Package::new("ACMEscr").file("a", 0o644, "a\n");
    let scripted = scripted.information("preremove", SCRIPT).information("postremove", SCRIPT);
    stage.install(&scripted);
    let patched = web.file("bin/httpd", 0o755, "two\n");
    let applied = stage.patchadd("", &Patch::of("100-01", patched.clone()));
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    let later = patched.file("bin/httpd", 0o755, "three\n").file("lib/new", 0o644, "new\n");
    Patch::of("101-01", later).directory(&stage);
    Package::new("ACMEnew").directory("bin").file("bin/n", 0o755, "n\n").write(&stage.beside("spool"));
    let mut scripts = Package::new("ACMEdo").param("CLASSES", "none mine").param("BASEDIR", "/opt/ACMEweb");
    // The checkinstall of an ordinary user may write to the user's root, though the command fails later.
    let names = ["checkinstall", "preinstall", "postinstall"];
    for name in names.into_iter().skip(usize::from(!is_root())) {
        scripts = scripts.information(name, SCRIPT);
    }
    scripts.of_class("mine", 'f', "bin/do", 0o755, "do\n").write(&stage.beside("spool"));
    let asking = Package::new("ACMEask").file("a", 0o644, "a\n").information("request", SCRIPT);
    asking.write(&stage.beside("spool"));
    // Unprivileged scripts need access to these directories.
    for open in ["", "root", "spool"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(stage.beside(open), mode).unwrap();
    }
    stage.set("TMPDIR", stage.beside("").join("temporary"));
    fs::create_dir(stage.beside("temporary")).unwrap();
    stage
}

/// Copies a tree as it is.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// Replaces `path` by `form`; false if that cannot be made here.
fn spoil(stage: &Scenario, outside: &Path, path: &str, form: Form) -> bool {
    let at = stage.root().join(path);
    if form == Form::Shared && !outside.join(path).exists() {
        return false;
    }
    if let Ok(seen) = fs::symlink_metadata(&at) {
        if seen.is_dir() { fs::remove_dir_all(&at).unwrap() } else { fs::remove_file(&at).unwrap() }
    }
    let upward = "../".repeat(path.split('/').count() + 12);
    let link = |target: PathBuf| symlink(target, &at).unwrap();
    match form {
        Form::Absolute => link(outside.join(path)),
        Form::Upward => link(PathBuf::from(format!("{upward}{}", outside.join(path).display()))),
        Form::Top => link("/".into()),
        Form::Loop => link(at.file_name().unwrap().into()),
        Form::Zero => link("/dev/zero".into()),
        Form::Pipe => stage.pipe(path),
        Form::Other if DIRECTORIES.contains(&path) => fs::write(&at, "a file\n").unwrap(),
        Form::Other => fs::create_dir(&at).unwrap(),
        Form::Shared => fs::hard_link(outside.join(path), &at).unwrap(),
        Form::Device => {
            let made = Command::new("mknod").arg(&at).args(["c", "1", "5"]).stderr(Stdio::null()).status();
            return made.unwrap().success();
        }
    }
    true
}

/// Runs a command to its end. Returns its code and output; the test fails if it does not end by itself.
fn run(mut command: Command, what: &str) -> (i32, String) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("{what} hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), None, "{what}: {said}");
    (output.status.code().unwrap(), said.into_owned())
}

/// Everything of a root except what a refused change may leave: the lock file and our own directory. These are in other
/// places if the directories above them lead there.
fn everything(stage: &Scenario) -> Tree {
    Tree::of(
        &stage.root(),
        &["var/sadm/install/.lockfile", "var/sadm/patchadm", ".lockfile", "script.lock", "log"],
    )
}

/// Counts of what was tried.
#[derive(Default)]
struct Tried {
    commands: u64,
    refused: u64,
    traced: u64,
}

/// A stage on which roots are spoiled, and the failures found there.
struct Arena {
    stage: Scenario,
    canary: Canary,
    outside: PathBuf,
    /// True if the root has an unfinished run: a command that changes the root recovers first, and may refuse then.
    is_interrupted: bool,
    roots: BTreeSet<(String, String)>,
    tried: Tried,
    wrong: Vec<String>,
}

impl Arena {
    fn new(is_interrupted: bool) -> Self {
        let stage = good();
        if is_interrupted {
            interrupt(&stage);
        }
        let outside = stage.beside("outside");
        copy(&stage.root(), &outside);
        copy(&stage.root(), &stage.beside("good"));
        let canary = Canary::watch(&outside);
        let (roots, tried, wrong) = (BTreeSet::new(), Tried::default(), Vec::new());
        Self { stage, canary, outside, is_interrupted, roots, tried, wrong }
    }

    /// Makes a root with `form` in the place of `path`; false if that cannot be made.
    fn root(&mut self, path: &str, form: Form) -> bool {
        fs::remove_dir_all(self.stage.root()).unwrap();
        copy(&self.stage.beside("good"), &self.stage.root());
        spoil(&self.stage, &self.outside, path, form)
    }

    /// Runs one command on one hostile root, and records what is wrong.
    fn trial(&mut self, path: &str, form: Form, line: &str, traced: bool) {
        if !self.root(path, form) {
            return;
        }
        let before = everything(&self.stage);
        self.canary.events();
        let _ = fs::remove_file(self.stage.beside("answers"));
        let what = format!("{path} as {form:?}: {line}");
        let trace = self.stage.beside("trace");
        let command = if traced { traced_by(&self.stage, line, &trace) } else { self.stage.command(line) };
        let (code, said) = run(command, &what);
        self.tried.commands += 1;
        self.roots.insert((path.to_owned(), format!("{form:?}")));
        let events = self.canary.events();
        // A file with a name outside is opened by its name in the root, which raises an event.
        if form != Form::Shared && !events.is_empty() {
            self.wrong.push(format!("{what}: {events:?}"));
        }
        let changes = self.canary.changes();
        if !changes.is_empty() {
            self.wrong.push(format!("{what} changed {changes:?}"));
        }
        if code == 70 || code == 101 || said.contains("panicked") {
            self.wrong.push(format!("{what} failed itself ({code}): {said}"));
        }
        if code != 0 {
            self.tried.refused += 1;
            let difference = before.difference(&everything(&self.stage));
            let may_differ = self.is_interrupted || line.starts_with("pkgchk -f");
            // pkginfo(1) prints nothing if there is no package.
            let may_be_silent = line.starts_with("pkginfo -R");
            if said.is_empty() && !may_be_silent || !difference.is_empty() && !may_differ {
                self.wrong.push(format!("{what} ({code}): {said}\n{difference}"));
            }
        }
        if traced {
            self.tried.traced += 1;
            let outside = format!("<{}", self.outside.display());
            let text = fs::read_to_string(&trace).unwrap();
            // Opening a path with `O_PATH` only checks whether a script would see another place than we do.
            let opened = text.lines().filter(|line| line.contains(&outside) && !line.contains("O_PATH"));
            self.wrong.extend(opened.map(|line| format!("{what}: {line}")));
        }
    }
}

/// The command under strace(1), which follows all child processes and prints the paths of descriptors.
fn traced_by(stage: &Scenario, line: &str, trace: &Path) -> Command {
    let command = stage.command(line);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-y", "-qq", "-e", "trace=open,openat,openat2,creat", "-o"]).arg(trace).arg("--");
    traced.arg(command.get_program()).args(command.get_args()).env_clear();
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null());
    traced
}

/// True if strace(1) works here.
pub(crate) fn can_trace() -> bool {
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// Tries commands on every hostile root: all of `lines` on each, or `each` of them in turn, of which a part of a sample
/// plays its own share. One in `traced` commands is traced.
fn try_all(
    arena: &mut Arena,
    lines: &[&str],
    (each, step): (usize, usize),
    traced: Option<usize>,
    share: (usize, usize),
) {
    let (part, parts) = share;
    let directories = DIRECTORIES.iter().flat_map(|path| OF_DIRECTORIES.map(|form| (*path, form)));
    let files = FILES.iter().flat_map(|path| OF_FILES.map(|form| (*path, form)));
    let (mut turn, mut dice) = (0, Random(1));
    for (number, (path, form)) in directories.chain(files).enumerate() {
        if number % step != 0 || (form == Form::Device && !is_root()) {
            continue;
        }
        for _ in 0..each {
            let is_traced = traced.is_some_and(|of| dice.once_in(of));
            if number / step % parts == part {
                arena.trial(path, form, lines[turn % lines.len()], is_traced);
            }
            turn += 1;
        }
    }
}

/// Applies a patch and kills the program at its third rename.
fn interrupt(stage: &Scenario) {
    assert!(killed_at_rename(stage, "patchadd -R @ROOT@ delivered/101-01", 3));
}

/// Runs a command under strace(1), which kills it at the `number`-th rename; true if a run was published by then and
/// has no outcome.
pub(crate) fn killed_at_rename(stage: &Scenario, line: &str, number: u64) -> bool {
    killed_at(stage, line, "renameat2", number)
        && crate::reliability::killed::journal(&stage.at("/var/sadm/patchadm/journal"))
            .is_some_and(|(_, is_open)| is_open)
}

/// Kills a command at the `number`-th call; true if the command got that far.
pub(crate) fn killed_at(stage: &Scenario, line: &str, call: &str, number: u64) -> bool {
    let command = stage.command(line);
    let mut killed = Command::new("strace");
    killed.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    killed.args(["-e", &format!("inject={call}:signal=SIGKILL:when={number}"), "--"]);
    killed.arg(command.get_program()).args(command.get_args()).env_clear();
    killed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    killed.current_dir(command.get_current_dir().unwrap());
    let status = killed.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    status.signal() == Some(9)
}

/// Plays inside the box, which cannot write to the checkout: the process only prints what it has played.
#[allow(clippy::print_stdout)] // to the test outside the box
fn play(share: (usize, usize)) {
    let traces = can_trace();
    if !traces {
        crate::skipped("hostile roots: no strace here, so what is opened is told by inotify alone");
    }
    let lines: Vec<&str> = QUERIES.iter().chain(&CHANGES).copied().collect();
    let mut arenas = vec![Arena::new(false)];
    let chosen = sample_or_whole((1, 3), (lines.len(), 1));
    try_all(&mut arenas[0], &lines, chosen, traces.then_some(8), share);
    if traces {
        let mut arena = Arena::new(true);
        let lines =
            ["recover -R @ROOT@", "patchadd -p -R @ROOT@", "patchrm -R @ROOT@ 100-01", "pkgchk -R @ROOT@"];
        let chosen = sample_or_whole((1, 11), (lines.len(), 1));
        try_all(&mut arena, &lines, chosen, Some(2), share);
        arenas.push(arena);
    }
    let wrong: Vec<String> = arenas.iter().flat_map(|arena| arena.wrong.clone()).collect();
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let count = |of: fn(&Tried) -> u64| arenas.iter().map(|arena| of(&arena.tried)).sum::<u64>();
    let roots = arenas.iter().map(|arena| arena.roots.len() as u64).sum();
    let counts = [roots, count(|t| t.commands), count(|t| t.refused), count(|t| t.traced)];
    println!("played: {}", counts.map(|count| count.to_string()).join(" "));
}

in_parts!(nothing_outside_a_hostile_root_is_read_or_changed, try_part, 3);

/// Plays a part of the commands on hostile roots, in a box.
fn try_part(part: usize, parts: usize) {
    const INSIDE: &str = "PATCHADM_TESTS_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return play((part, parts));
    }
    let stage = Scenario::bare();
    let Some(sandbox) = Sandbox::new(&stage.beside("")) else { return };
    let mut command = sandbox.command(std::env::current_exe().unwrap());
    let test = "reliability::hostile_roots::nothing_outside_a_hostile_root_is_read_or_changed";
    let test = format!("{test}::part_{}", part + 1);
    command.args(["--exact", &test, "--nocapture"]).env(INSIDE, "1").env("TMPDIR", "/tmp");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let played = said.lines().find_map(|line| line.strip_prefix("played: "));
    let counts: Vec<u64> = played.expect(&said).split(' ').map(|word| word.parse().unwrap()).collect();
    let least = sample_or_whole(50 / parts as u64, 50);
    assert!(counts[0] > least && counts[1] >= counts[0] && (!is_whole() || counts[1] > 2000), "{counts:?}");
    said.lines().filter(|line| line.starts_with("skipped: ")).for_each(|line| crate::skipped(&line[9..]));
    let names = ["hostile roots", "commands on them", "refusals", "under strace"];
    let mut told: Vec<(&str, u64)> = names.into_iter().zip(counts).collect();
    told.push(("escapes", 0));
    figures("hostile-roots", &told);
}
