//! The roots that lie: at rest with applied patches, also one in which the scripts of a patch may run; with a run that
//! was cut in the middle, on one file system and on two, during a script, or after its commit. Each is made once by the
//! program itself and then copied for every lie.
//!
//! A copy has other inodes than its template. The inodes in the records of each copy are corrected, so that the copy is
//! as believable as the original.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::records::Record;
use crate::delivery::Patch;
use crate::everyman::NOBODY;
use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::reliability::hostile_roots::{killed_at, killed_at_rename};
use crate::reliability::killed::journal;
use crate::scenario::Scenario;
use crate::trial::{kill_waiter, let_it_expire};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// No run is unfinished.
    Rest,
    /// No run is unfinished, and scripts may run: the backout of a patch has some.
    Hooks,
    /// A patch was being applied.
    Cut,
    /// A patch was being applied to two file systems.
    CutOnTwo,
    /// A patch was backed out; its archive outside the root and the old objects are still there.
    Committed,
    /// The last script of a package was running.
    InScript,
    /// A run is on trial.
    OnTrial,
    /// A run was on trial until the machine was booted.
    OverTrial,
    /// A patch was being applied that keeps the old files.
    CutStoring,
    /// Such a patch was applied; its stage is not an undo directory yet.
    CommittedStoring,
    /// Such a patch was backed out; its undo directory is still there.
    CommittedDropping,
}

impl State {
    /// All of them.
    pub(super) const ALL: [Self; 11] = [
        Self::Rest,
        Self::Hooks,
        Self::Cut,
        Self::CutOnTwo,
        Self::InScript,
        Self::Committed,
        Self::OnTrial,
        Self::OverTrial,
        Self::CutStoring,
        Self::CommittedStoring,
        Self::CommittedDropping,
    ];

    /// True if a command can begin its own work at once.
    pub(super) fn is_at_rest(self) -> bool {
        matches!(self, Self::Rest | Self::Hooks)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// An unprivileged user.
    User,
    /// uid 0, as in the tree of a container.
    Root,
}

/// A root to be copied.
pub(super) struct Template {
    pub(super) state: State,
    pub(super) owner: Owner,
    at: PathBuf,
    /// The path of each inode in it.
    inodes: HashMap<u64, String>,
}

/// The rename at which the program is killed: most names have changed places by then.
const CUT: u64 = 12;

/// Upper limit for the number of calls that remove a name before a run commits.
const BEFORE_COMMIT: u64 = 60;

/// The directory of a root that is a file system of its own in one state.
pub(super) const MOUNT: &str = "opt/ACMEweb/mnt";

/// The last script of the package whose script is cut: registers an existing object and new ones, then kills the
/// process that waits for it.
const POSTINSTALL: &str = "installf $PKGINST $BASEDIR/made d 0755 root root || exit 1
installf $PKGINST $BASEDIR/dir d 0700 root root || exit 1
installf $PKGINST $BASEDIR/late=a s || exit 1
installf $PKGINST $BASEDIR/turned=b s || exit 1
read -r _ _ _ parent _ < /proc/$PPID/stat
kill -9 $parent
sleep 60
";

/// The scripts of a patch that are kept for its backout.
const HOOKS: [&str; 2] = ["prebackout", "postbackout"];

/// The package that is patched, as first delivered.
fn web() -> Package {
    let web = Package::new("ACMEweb").directory("bin").directory("lib").directory("share").directory("old");
    let web =
        web.file("bin/httpd", 0o755, "one\n").file("bin/su", 0o4755, "su one\n").file("lib/x", 0o600, "x\n");
    let web = web
        .file("lib/gone", 0o644, "gone\n")
        .file("old/file", 0o644, "old\n")
        .file("lib/twin", 0o644, "twin\n")
        .directory("mnt")
        .file("mnt/changed", 0o644, "one\n")
        .file("mnt/gone", 0o644, "gone\n");
    web.symlink("lib/link", "x").link("lib/other", "twin")
}

/// A scene with everything that the commands read, and a root at rest.
pub(super) fn scene() -> Scenario {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/admin/nocheck", NOCHECK);
    stage.file("/etc/patchadm/policy", "scripts=run\nundo_format=none\n");
    let library = Package::new("ACMElib").file("a", 0o644, "a\n").file("su", 0o4755, "su\n");
    let zone = Package::new("ACMEzone").file("z", 0o644, "z\n");
    let old = Package::new("ACMEold").file("a", 0o644, "a\n").file("b", 0o600, "b\n");
    let old = old.file("su", 0o4755, "su\n").file("gone", 0o644, "gone\n");
    for package in [&web(), &library, &zone, &old] {
        package.write(&stage.beside("spool"));
    }
    let installed = stage.run("pkgadd -n -a nocheck -R @ROOT@ -d spool ACMEweb ACMElib ACMEzone ACMEold");
    assert_eq!(installed.code, 0, "{}{}", installed.stdout, installed.stderr);
    let first = web().file("bin/httpd", 0o755, "two\n").file("bin/su", 0o4755, "su two\n");
    let first = first
        .file("lib/new1", 0o644, "new\n")
        .symlink("lib/link", "twin")
        .line("share", "d none share 0750 root root");
    let applied = stage.patchadd("", &Patch::of("100-01", first.clone()));
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    fs::create_dir(stage.beside("backout")).unwrap();
    let backout = stage.beside("backout").display().to_string();
    let second = library.file("a", 0o644, "b\n").file("su", 0o4755, "su two\n");
    let applied = stage.patchadd(&format!("-B {backout}"), &Patch::of("101-01", second));
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    with_hooks(&stage, zone.clone().file("z", 0o644, "y\n"));
    Patch::of("104-01", zone.file("tried", 0o644, "tried\n")).directory(&stage);
    let stored = |text: &str| {
        let changed = Package::new("ACMEold").file("a", 0o644, text).file("b", 0o644, text);
        changed.file("su", 0o4755, text)
    };
    let third = Patch::of("103-01", stored("two\n").deletes(&["gone"])).directory(&stage);
    stage.run(&format!("add --undo-format files -R @ROOT@ {}", third.display())).ok();
    Patch::of("103-02", stored("three\n")).directory(&stage);
    let next = first.file("bin/httpd", 0o755, "three\n").file("bin/su", 0o4755, "su three\n");
    let next = next.file("lib/new2", 0o644, "new\n").directory("fresh").file("fresh/a", 0o644, "a\n");
    let next = next.symlink("lib/link", "gone").line("share", "d none share 0711 root root");
    let next = next.file("mnt/changed", 0o644, "three\n").file("mnt/new", 0o4755, "new\n");
    Patch::of("100-02", next.deletes(&["lib/x", "old/file", "old", "mnt/gone"])).directory(&stage);
    Package::new("ACMEnew").directory("bin").file("bin/n", 0o755, "n\n").write(&stage.beside("spool"));
    let scripted = Package::new("ACMEdo").directory("dir").file("a", 0o644, "a\n").symlink("turned", "a");
    scripted.information("postinstall", POSTINSTALL).write(&stage.beside("spool"));
    take_apart(&stage, "100-01", "ACMEweb", &stage.at("/var/sadm/pkg/ACMEweb/save/100-01/undo"));
    stage
}

/// Applies a patch whose scripts are kept for its backout.
fn with_hooks(stage: &Scenario, package: Package) {
    let patch = Patch::of("102-01", package);
    let patch = HOOKS.iter().fold(patch, |patch, name| patch.beside(name, "#!/bin/sh\necho told\nexit 0\n"));
    let delivered = patch.directory(stage);
    for name in HOOKS {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(delivered.join(name), mode).unwrap();
    }
    let applied = stage.run("patchadd -R @ROOT@ delivered/102-01");
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
}

/// Unpacks an undo archive, from whose contents lying ones are put together.
fn take_apart(stage: &Scenario, id: &str, package: &str, archive: &Path) {
    let to = stage.beside("apart").join(id);
    fs::create_dir_all(&to).unwrap();
    let done = stage.run(&format!("pkgtrans {} {} {package}", archive.display(), to.display()));
    assert_eq!(done.code, 0, "{}", done.stderr);
}

/// Brings the root into a state; false if that cannot be done here.
fn bring(stage: &Scenario, state: State) -> bool {
    let interrupted = || journal(&stage.at("/var/sadm/patchadm/journal")).is_some_and(|(_, is_open)| is_open);
    match state {
        State::Rest | State::Hooks => true,
        State::Cut | State::CutOnTwo => {
            let is_cut = killed_at_rename(stage, "patchadd -R @ROOT@ delivered/100-02", CUT);
            if is_cut {
                note_alone(stage);
            }
            is_cut
        }
        State::InScript => {
            let _ = stage.command("pkgadd -n -a nocheck -R @ROOT@ -d spool ACMEdo").output().unwrap();
            interrupted()
        }
        State::Committed => killed_after_commit(stage),
        State::OnTrial | State::OverTrial => put_on_trial(stage, state == State::OverTrial),
        State::CutStoring => killed_at_rename(stage, STORING, CUT),
        State::CommittedStoring => killed_at_call(stage, STORING, "renameat2", ", \"o\", "),
        State::CommittedDropping => {
            killed_at_call(stage, "remove -R @ROOT@ 103-01", "unlinkat", "patchadm/undo/")
        }
    }
}

/// Kills a backout after its commit and before any cleanup: at the first name that it removes then.
fn killed_after_commit(stage: &Scenario) -> bool {
    let (good, backout) = (stage.beside("good"), stage.beside("backout/101-01"));
    let is_committed = || {
        let bytes = fs::read(stage.at("/var/sadm/patchadm/journal")).unwrap();
        let head = patchadm_changeset::format::journal::parse_head(&bytes[..4096]).unwrap();
        head.outcome.is_some() && !head.done
    };
    let mut calls = 1..BEFORE_COMMIT;
    calls.any(|number| {
        fs::remove_dir_all(stage.root()).unwrap();
        copy(&good, &stage.root());
        killed_at(stage, "patchrm -R @ROOT@ 101-01", "unlinkat", number) && is_committed() && backout.exists()
    })
}

/// Puts a patch on trial without a process that waits for its end; with `is_over`, in an earlier boot.
fn put_on_trial(stage: &Scenario, is_over: bool) -> bool {
    let put = stage.run("add --trial 30d --undo-format none -R @ROOT@ delivered/104-01");
    assert_eq!(put.code, 0, "{}{}", put.stdout, put.stderr);
    kill_waiter(stage);
    if is_over {
        let_it_expire(stage);
    }
    true
}

/// A command that keeps old files.
const STORING: &str = "add --undo-format files -R @ROOT@ delivered/100-02";

/// Kills a command after its commit, at the first call whose trace contains this text.
fn killed_at_call(stage: &Scenario, line: &str, call: &str, text: &str) -> bool {
    let (command, trace) = (stage.command(line), stage.beside("calls"));
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-y", "-e", &format!("trace={call}"), "-o"]).arg(&trace).arg("--");
    traced.arg(command.get_program()).args(command.get_args()).env_clear();
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced.current_dir(command.get_current_dir().unwrap());
    if !traced.output().is_ok_and(|output| output.status.success()) {
        return false;
    }
    let calls = fs::read_to_string(&trace).unwrap();
    fs::remove_file(trace).unwrap();
    let calls = calls.lines().filter(|line| line.contains(&format!("{call}(")));
    let Some(number) = (1..).zip(calls).find(|(_, line)| line.contains(text)) else { return false };
    fs::remove_dir_all(stage.root()).unwrap();
    copy(&stage.beside("good"), &stage.root());
    let bytes = || fs::read(stage.at("/var/sadm/patchadm/journal")).unwrap();
    let head = || patchadm_changeset::format::journal::parse_head(&bytes()[..4096]).unwrap();
    let is_committed = || head().outcome.is_some() && !head().done;
    killed_at(stage, line, call, number.0) && is_committed()
}

/// Mounts a directory of a root on itself, as if it were another file system.
fn mount(root: &Path) -> bool {
    let at = root.join(MOUNT);
    rustix::mount::mount_bind(&at, &at).is_ok()
}

/// Unmounts the directory of a root, if it is mounted.
pub(super) fn unmount(root: &Path) {
    // Usually it is not mounted.
    let _ = rustix::mount::unmount(root.join(MOUNT), rustix::mount::UnmountFlags::DETACH);
}

/// Records a stage in a directory of its own, as a run does before it makes one; the stage itself was never made.
fn note_alone(stage: &Scenario) {
    let stages = stage.at("/var/sadm/patchadm/stage");
    let own = fs::read_dir(stages).unwrap().next().unwrap().unwrap().path();
    let path =
        json!(format!("/opt/ACMEweb/.patchadm-{}", own.file_name().unwrap().to_str().unwrap())).to_string();
    fs::write(own.join("alone"), format!("{:08x} {path}\n", crc32c::crc32c(path.as_bytes()))).unwrap();
}

impl Template {
    /// All templates that can be made here from a scene; the scene's root is gone afterwards.
    pub(super) fn all(stage: &Scenario) -> Vec<Self> {
        let good = stage.beside("good");
        fs::rename(stage.root(), &good).unwrap();
        let mut templates = Vec::new();
        for state in State::ALL {
            copy(&good, &stage.root());
            let is_possible = (state != State::CutOnTwo || mount(&stage.root())) && bring(stage, state);
            unmount(&stage.root());
            if !is_possible {
                crate::skipped(&format!("lies: no root in the state {state:?} can be made here"));
                fs::remove_dir_all(stage.root()).unwrap();
                continue;
            }
            let scripts = if state == State::Hooks { "run" } else { "none" };
            stage.file("/etc/patchadm/policy", format!("scripts={scripts}\nundo_format=none\n"));
            for owner in [Owner::User, Owner::Root] {
                let at = stage.beside(&format!("{state:?}-{owner:?}"));
                copy(&stage.root(), &at);
                if owner == Owner::User {
                    give(&at);
                }
                let own = inodes(&stage.root());
                let template = Self { state, owner, at, inodes: own };
                template.rebase(&template.at);
                templates.push(Self { inodes: inodes(&template.at), ..template });
            }
            fs::remove_dir_all(stage.root()).unwrap();
        }
        templates
    }

    /// Replaces the tree at `to` by a copy of the template.
    pub(super) fn put(&self, to: &Path) {
        if to.exists() {
            unmount(to);
            fs::remove_dir_all(to).unwrap();
        }
        copy(&self.at, to);
        self.rebase(to);
        if self.state == State::CutOnTwo {
            assert!(mount(to), "{}", to.display());
        }
    }

    /// Corrects inodes and owners in the records of a copy.
    fn rebase(&self, root: &Path) {
        for record in
            Record::all(root).iter().filter(|record| ["journal", "notes", "queue"].contains(&record.kind))
        {
            let mut values = record.read(root);
            values.iter_mut().for_each(|value| self.rebase_value(root, value));
            record.write(root, &values, false);
        }
        for record in Record::all(root).iter().filter(|record| record.kind == "identities") {
            let mut values = record.read(root);
            let directory = root.join(&record.path);
            for (name, identity) in values[1][0]["objects"].as_object_mut().unwrap() {
                let at = directory.with_file_name(name);
                let seen = fs::symlink_metadata(&at).unwrap();
                identity["inode"] = inode(&at);
                identity["ctime"] = json!({ "seconds": seen.ctime(), "nanoseconds": seen.ctime_nsec() });
            }
            record.write(root, &values, false);
        }
    }

    fn rebase_value(&self, root: &Path, value: &mut Value) {
        let path = |value: &Value| {
            let number = value.pointer("/inode/number").or(value.get("number"));
            self.inodes.get(&number.and_then(Value::as_u64)?)
        };
        match value {
            Value::Object(object) if object.contains_key("born") && object.contains_key("number") => {
                if let Some(path) = path(value) {
                    *value = inode(&root.join(path));
                }
            }
            Value::Object(object) => {
                let owner =
                    path(&Value::Object(object.clone())).map(|path| fs::symlink_metadata(root.join(path)));
                // The journal leaves out the private attributes of a record, including its owner.
                let is_told = object.contains_key("file_type") && object.get("mode") != Some(&json!(0));
                if let (Some(Ok(seen)), true) = (owner, is_told) {
                    object.insert("uid".to_owned(), json!(seen.uid()));
                    object.insert("gid".to_owned(), json!(seen.gid()));
                }
                object.values_mut().for_each(|value| self.rebase_value(root, value));
            }
            Value::Array(words) if words.first() == Some(&json!("changed")) => {
                let number = words[5].as_str().and_then(|word| word.parse().ok());
                if let Some(path) = number.and_then(|number: u64| self.inodes.get(&number)) {
                    let (number, born) = number_and_birth(&root.join(path));
                    words[5] = json!(number.to_string());
                    words[6] = json!(born.map_or("?".to_owned(), |(s, ns)| format!("{s}.{ns:09}")));
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.rebase_value(root, value)),
            _ => {}
        }
    }
}

fn number_and_birth(at: &Path) -> (u64, Option<(u64, u32)>) {
    let seen = fs::symlink_metadata(at).unwrap();
    let born = seen.created().ok().map(|born| born.duration_since(UNIX_EPOCH).unwrap());
    (seen.ino(), born.map(|born| (born.as_secs(), born.subsec_nanos())))
}

/// The number and the birth time of an object, as the journal has them.
pub(super) fn inode(at: &Path) -> Value {
    let (number, born) = number_and_birth(at);
    json!({ "number": number, "born": born.map(|(seconds, nanoseconds)| json!({ "seconds": seconds, "nanoseconds": nanoseconds })) })
}

/// The entry that a journal would have for an object outside, if it belonged to the run.
pub(super) fn identity(at: &Path) -> Value {
    let seen = fs::symlink_metadata(at).unwrap();
    let mtime = json!({ "seconds": seen.mtime(), "nanoseconds": seen.mtime_nsec() });
    let b3 = super::records::digest(&fs::read(at).unwrap());
    json!({
        "file_type": "f", "mode": seen.mode() & 0o7777, "uid": seen.uid(), "gid": seen.gid(), "size": seen.len(),
        "mtime": mtime, "inode": inode(at), "b3": b3,
    })
}

/// The paths of everything below a directory, relative to it, sorted.
pub(super) fn paths(root: &Path) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
            found.push(entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned());
        }
    }
    found.sort();
    found
}

fn inodes(root: &Path) -> HashMap<u64, String> {
    let of = |path: String| (fs::symlink_metadata(root.join(&path)).unwrap().ino(), path);
    paths(root).into_iter().map(of).chain([(fs::metadata(root).unwrap().ino(), String::new())]).collect()
}

/// Gives everything of a root to an unprivileged user, whom its accounts call root.
fn give(root: &Path) {
    let is_program =
        |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|seen| seen.mode() & 0o107_777 == 0o104_755);
    let programs: Vec<PathBuf> = paths(root).iter().map(|path| root.join(path)).filter(is_program).collect();
    let given =
        Command::new("chown").arg("-Rh").arg(format!("{NOBODY}:{NOBODY}")).arg(root).status().unwrap();
    assert!(given.success());
    // chown(2) clears set-id bits.
    for path in programs {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    }
    fs::write(root.join("etc/passwd"), format!("root:x:{NOBODY}:{NOBODY}::/:/bin/sh\n")).unwrap();
    fs::write(root.join("etc/group"), format!("root:x:{NOBODY}:\n")).unwrap();
}

/// Copies a tree as it is.
pub(super) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}
