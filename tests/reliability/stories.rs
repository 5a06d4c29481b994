//! The stories that are interrupted: small roots, and the commands that are run on them, in this process and through a
//! door.
//!
//! A story begins on a root that is copied for every trial, so that trials are alike to the last attribute (but for
//! inode numbers). Its acts run as one command; after each of them the root is in a legal state, and in no other.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use chrono::DateTime;
use patchadm_changeset::plan::UndoFormat;
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_core::operation::adopt::{
    AdoptAllRequest, AdoptRequest, AdoptSource, AdoptWishes, adopt_all, adopt_software, forget_software,
};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::object_check::{
    CheckScope, ObjectCheckError, ObjectCheckRequest, check_and_fix,
};
use patchadm_core::operation::packages::add::{AddRequest, add_packages};
use patchadm_core::operation::packages::remove::{RemoveRequest, remove_packages};
use patchadm_core::operation::packages::report::SilentObserver;
use patchadm_core::operation::patches::apply::ApplyRequest;
use patchadm_core::operation::patches::back_out::{BackOutRequest, back_out_patches};
use patchadm_core::operation::patches::offered::apply_patches;
use patchadm_core::operation::patches::overtaken::{RegistrationRefreshRequest, refresh_registrations};
use patchadm_core::operation::patches::prepared::PreparationRequest;
use patchadm_core::operation::patches::scripts::PatchScriptRequest;
use patchadm_core::operation::patches::undo::{run_to_undo, undo_application};
use patchadm_core::operation::patches::undo_drop::{UndoDropRequest, drop_undo_data};
use patchadm_core::operation::patches::undo_repack::{RepackRequest, repack_undo};
use patchadm_core::operation::patches::undo_transfer::{
    UndoExportRequest, UndoImportRequest, export_undo, import_undo,
};
use patchadm_core::operation::queries::select::PackagePattern;
use patchadm_core::operation::recover::{Recovery, RecoveryAid, recover_root, recover_with_aid};
use patchadm_core::operation::scripts::ScriptSettings;
use patchadm_core::operation::session::Caller;
use patchadm_core::operation::trial::{TrialRequest, confirm_trial};
use patchadm_inputs::trial::{Moment, TrialDuration};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::patch::engine::Engine;
use patchadm_rootfs::{Door, Root};
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};
use tempfile::TempDir;

use crate::delivery::Patch;
use crate::elf_sample::Sample;
use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::reliability::natives::{
    adopted_on_demand, all_adopted, registration_ended, registration_refreshed,
};
use crate::reliability::promotions::{copy_stage, promote};
use crate::reliability::stored::{STORED, STORED_BY_EXCHANGE};
use crate::reliability::trials::{put_on_trial, trial_confirmed, trial_over, trial_undone};
use crate::scenario::{NOW, Scenario};

#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// `patchadd`, or `patchadd -u`, of patches in directories beside the root.
    Apply { patches: Vec<PathBuf>, again: bool },
    /// `patchrm`.
    BackOut(Vec<String>),
    /// `patchadm undo` of the last run.
    Undo,
    /// `patchrm --scripts run`.
    BackOutByScripts(Vec<String>),
    /// `pkgadd -n` of packages in this spool directory.
    Add { spool: PathBuf, packages: Vec<String> },
    /// `pkgadd -n --update` of packages in this spool directory.
    Update { spool: PathBuf, packages: Vec<String> },
    /// `pkgrm -n`.
    Remove(Vec<String>),
    /// `pkgchk -f` of these packages, or of the root.
    Repair(Vec<String>),
    /// `patchadm adopt` of a directory of the root, as this package.
    Adopt { package: &'static str, tree: &'static str },
    /// `patchadm adopt --forget`.
    Forget(&'static str),
    /// `patchadm adopt --all`.
    AdoptAll,
    /// `patchadm adopt --refresh`.
    Refresh,
    /// `patchadm add --adopt` of patches in directories beside the root.
    ApplyAdopting(Vec<PathBuf>),
    /// `patchadm add --trial` of patches in directories beside the root.
    ApplyOnTrial(Vec<PathBuf>),
    /// `patchadm confirm`.
    Confirm,
    /// `patchadm recover` after the time of a trial is up: two hours later.
    Expire,
    /// `patchadm undo-data drop`.
    Commit(Vec<String>),
    /// `patchadm undo-data repack`.
    Repack(Vec<String>, UndoFormat),
    /// `patchadm undo-data export` to a new file beside the root.
    UndoExport(Vec<String>),
    /// `patchadm undo-data import` of this file.
    UndoImport(PathBuf),
    /// `patchadm stage promote` of the stage beside the root.
    Promote,
    /// A command with `--exchange` of this directory.
    Exchange(&'static str, Box<Self>),
}

/// A root and what happens to it.
pub(crate) struct Story {
    pub(crate) name: &'static str,
    pub(crate) stage: Scenario,
    /// The acts, each a run of its own when it is played alone.
    pub(crate) acts: Vec<Command>,
    /// All acts in one command.
    pub(crate) whole: Command,
}

impl Story {
    /// A story of one act.
    pub(crate) fn of(name: &'static str, stage: Scenario, act: Command) -> Self {
        Self { name, stage, acts: vec![act.clone()], whole: act }
    }
}

/// The package that is patched, with something for every kind of change.
pub(super) fn package() -> Package {
    Package::new("ACMEweb")
        .directory("bin")
        .directory("share")
        .directory("tree")
        .directory("tree/sub")
        .file("bin/httpd", 0o4755, "first httpd\n".repeat(300))
        .file("bin/same", 0o755, "the same\n")
        .link("bin/httpd.again", "httpd")
        .file("share/gone", 0o644, "gone\n")
        .file("share/flat", 0o644, "flat\n")
        .file("share/pointed", 0o644, "a file\n")
        .file("tree/sub/leaf", 0o640, "leaf\n")
        .symlink("share/current", "v1")
}

/// A patch with every kind of change.
pub(super) fn patch() -> Patch {
    let changed = Package::new("ACMEweb")
        .line("share", "d none share 0750 root root")
        .file("bin/httpd", 0o755, "second httpd\n".repeat(400))
        .link("bin/httpd.again", "httpd")
        .file("bin/same", 0o700, "the same\n")
        .file("bin/added", 0o555, "added\n")
        .directory("new")
        .file("new/tool", 0o755, "tool\n")
        .link("new/tool.again", "tool")
        .directory("share/flat")
        .file("share/flat/leaf", 0o600, "leaf of flat\n")
        .symlink("share/pointed", "flat/leaf")
        .symlink("share/current", "v2")
        .file("tree", 0o644, "a tree no more\n")
        .deletes(&["share/gone", "tree/sub/leaf", "tree/sub"]);
    Patch::of("100-01", changed)
}

/// A later patch of the same package, small, over some of the same objects.
pub(super) fn second_patch() -> Patch {
    let changed = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "third httpd\n".repeat(200))
        .link("bin/httpd.again", "httpd")
        .file("bin/added", 0o555, "added and changed\n")
        .file("new/other", 0o755, "other\n");
    Patch::of("200-01", changed)
}

/// A root on which the package is installed and these patches are applied, and the paths of both patches beside it.
fn patched_with(applied: &[&Patch]) -> (Scenario, [PathBuf; 2]) {
    patched_under("", applied)
}

/// Like [`patched_with`], under a policy.
fn patched_under(policy: &str, applied: &[&Patch]) -> (Scenario, [PathBuf; 2]) {
    let stage = Scenario::new();
    if !policy.is_empty() {
        stage.file("/etc/patchadm/policy", policy);
    }
    stage.file("/var/sadm/install/admin/default", NOCHECK);
    stage.install(&package());
    let delivered = [patch().directory(&stage), second_patch().directory(&stage)];
    for patch in applied {
        stage.patchadd("", patch).ok();
    }
    (stage, delivered)
}

fn apply(patches: &[&PathBuf]) -> Command {
    Command::Apply { patches: patches.iter().map(|path| (*path).clone()).collect(), again: false }
}

fn one_patch() -> Story {
    let (stage, [first, _]) = patched_with(&[]);
    Story::of("apply", stage, apply(&[&first]))
}

pub(crate) fn two_patches() -> Story {
    let (stage, [first, second]) = patched_with(&[]);
    let acts = vec![apply(&[&first]), apply(&[&second])];
    Story { name: "apply two", stage, acts, whole: apply(&[&first, &second]) }
}

/// A patch whose changes become visible at once.
fn exchanged() -> Story {
    let (stage, [first, _]) = patched_with(&[]);
    let act = Command::Exchange("/opt/ACMEweb", Box::new(apply(&[&first])));
    Story::of("apply by exchange", stage, act)
}

/// A patch over a database whose last change another tool has logged beside it.
fn log_taken_over() -> Story {
    let (stage, [first, _]) = patched_with(&[]);
    let contents = stage.at("/var/sadm/install/contents");
    let text = fs::read_to_string(&contents).unwrap();
    let (logged, left): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("/opt/ACMEweb/bin/httpd "));
    fs::write(contents, left.join("\n") + "\n").unwrap();
    stage.file("/var/sadm/install/pkglog", format!("+{}\n###Marker\n", logged.join("\n+")));
    Story::of("apply over a log", stage, apply(&[&first]))
}

/// The backout by exchange.
fn exchanged_back() -> Story {
    let (stage, _) = patched_with(&[&patch()]);
    let act = Command::BackOut(vec!["100-01".to_owned()]);
    Story::of("back out by exchange", stage, Command::Exchange("/opt/ACMEweb", Box::new(act)))
}

/// Three patches that are one run: all of them or none.
fn one_run() -> Story {
    let (stage, _) = patched_with(&[]);
    let package = |content: &str| Package::new("ACMEweb").file("bin/same", 0o755, content);
    let patches = [
        Patch::of("300-01", package("one\n").deletes(&["share/gone"]).file("bin/comes", 0o755, "comes\n")),
        Patch::of(
            "400-01",
            package("two\n").file("share/gone", 0o600, "is back\n").symlink("share/current", "v2"),
        ),
        Patch::of("500-01", package("three\n").deletes(&["bin/comes"])),
    ];
    let delivered = patches.map(|patch| patch.directory(&stage));
    Story::of("apply three as one run", stage, apply(&delivered.each_ref()))
}

/// The patch is applied once more after an administrator changed attributes.
fn applied_again() -> Story {
    let (stage, [first, _]) = patched_with(&[&patch()]);
    stage.mode("/opt/ACMEweb/bin/httpd", 0o711);
    stage.mode("/opt/ACMEweb/new", 0o700);
    Story::of("apply again", stage, Command::Apply { patches: vec![first], again: true })
}

fn after_backout() -> Story {
    let (stage, [first, _]) = patched_with(&[&patch()]);
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    Story::of("apply after backout", stage, apply(&[&first]))
}

pub(crate) fn backout() -> Story {
    let (stage, _) = patched_with(&[&patch()]);
    Story::of("back out", stage, Command::BackOut(vec!["100-01".to_owned()]))
}

fn two_backouts() -> Story {
    let (stage, _) = patched_with(&[&patch(), &second_patch()]);
    let ids = ["200-01", "100-01"].map(str::to_owned);
    let acts = ids.iter().map(|id| Command::BackOut(vec![id.clone()])).collect();
    Story { name: "back out two", stage, acts, whole: Command::BackOut(ids.to_vec()) }
}

/// A policy that keeps old objects as they are.
const FILES: &str = "undo_format=files\n";

pub(crate) fn old_files_kept() -> Story {
    let (stage, [first, second]) = patched_under(FILES, &[]);
    let acts = vec![apply(&[&first]), apply(&[&second])];
    Story { name: "apply two and keep the old files", stage, acts, whole: apply(&[&first, &second]) }
}

pub(crate) fn old_files_brought_back() -> Story {
    let (stage, _) = patched_under(FILES, &[&patch(), &second_patch()]);
    let ids = ["200-01", "100-01"].map(str::to_owned);
    let acts = ids.iter().map(|id| Command::BackOut(vec![id.clone()])).collect();
    Story { name: "back out two by old files", stage, acts, whole: Command::BackOut(ids.to_vec()) }
}

fn old_files_given_up() -> Story {
    let (stage, _) = patched_under(FILES, &[&patch(), &second_patch()]);
    Story::of("commit of old files", stage, Command::Commit(vec!["100-01".to_owned()]))
}

/// A patch is backed out from under two others whose undo data is files.
fn middle_backout_of_files() -> Story {
    under_two_others("back out in the middle of old files", |stage| {
        stage.file("/etc/patchadm/policy", FILES);
        String::new()
    })
}

/// A patch is backed out from under two others, whose undo archives are rewritten.
fn middle_backout() -> Story {
    under_two_others("back out in the middle", |_| String::new())
}

/// Like [`middle_backout`], with one of the two archives outside the root.
pub(crate) fn middle_backout_elsewhere() -> Story {
    under_two_others("back out under an archive elsewhere", |stage| {
        let directory = stage.beside(OUTSIDE);
        fs::create_dir(&directory).unwrap();
        format!("-B {}", directory.display())
    })
}

/// The backout of a patch under two others; the last one is applied with `options`.
fn under_two_others(name: &'static str, options: impl Fn(&Scenario) -> String) -> Story {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/admin/default", NOCHECK);
    let files = |one: &str, other: &str, text: &str| {
        let mut package = Package::new("ACMEweb");
        for path in [one, other].into_iter().filter(|path| !path.is_empty()) {
            package = package.file(path, 0o755, format!("{text}\n").repeat(50));
        }
        package
    };
    let options = options(&stage);
    stage.install(&files("bin/a", "bin/b", "first"));
    let earlier = files("bin/a", "bin/b", "second").file("bin/added", 0o755, "added\n");
    stage.patchadd("", &Patch::of("100-01", earlier)).ok();
    stage.patchadd("", &Patch::of("200-01", files("bin/a", "", "third"))).ok();
    stage.patchadd(&options, &Patch::of("300-01", files("bin/b", "", "fourth"))).ok();
    Story::of(name, stage, Command::BackOut(vec!["100-01".to_owned()]))
}

/// A run of two patches with the same files is undone.
pub(crate) fn run_undone() -> Story {
    let (stage, [first, second]) = patched_with(&[]);
    let line = format!("add -R @ROOT@ {} {}", first.display(), second.display());
    stage.run(&line).ok();
    Story::of("undo", stage, Command::Undo)
}

/// A root whose policy keeps libraries: a library, a program made for it, and these patches applied. Beside it are
/// patches with the next library, with the next program, and with the first library again.
fn with_library(applied: &[usize]) -> (Scenario, [PathBuf; 3]) {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/admin/default", NOCHECK);
    stage.file("/etc/patchadm/policy", "shlibs=keep\n");
    let library = |name: &str| {
        let bytes = Sample { soname: Some(name), ..Sample::default() }.bytes();
        let directory = Package::new("ACMEx").directory("lib").directory("lib/deep");
        directory
            .file(&format!("lib/deep/{name}.0"), 0o755, bytes)
            .symlink(&format!("lib/{name}"), &format!("deep/{name}.0"))
    };
    let program = |name: &str| {
        let (needed, interpreter) = ([name], Some("/lib/ld.so"));
        let sample =
            Sample { needed: &needed, runpath: Some("/opt/ACMEx/lib"), interpreter, ..Sample::default() };
        Package::new("ACMEp").file("bin/p", 0o755, sample.bytes())
    };
    stage.install(&library("libx.so.1"));
    stage.install(&program("libx.so.1"));
    let gone = ["lib/libx.so.1", "lib/deep/libx.so.1.0"];
    let patches = [
        Patch::of("100-01", library("libx.so.2").deletes(&gone)),
        Patch::of("200-01", program("libx.so.2")),
        Patch::of("300-01", library("libx.so.1")),
    ];
    for number in applied {
        stage.patchadd("", &patches[*number]).ok();
    }
    let delivered = patches.each_ref().map(|patch| patch.directory(&stage));
    (stage, delivered)
}

/// A library is kept for a program that was made for it.
fn library_kept() -> Story {
    let (stage, [library, ..]) = with_library(&[]);
    Story::of("keep a library", stage, apply(&[&library]))
}

/// The program comes for which the new library was made: the old library is dropped.
pub(crate) fn library_dropped() -> Story {
    let (stage, [_, program, _]) = with_library(&[0]);
    Story::of("drop a kept library", stage, apply(&[&program]))
}

/// A patch delivers a kept library itself.
fn library_taken_over() -> Story {
    let (stage, [.., again]) = with_library(&[0]);
    Story::of("take a kept library over", stage, apply(&[&again]))
}

/// The library is backed out under the new program: the new library is kept for it.
fn library_backed_out() -> Story {
    let (stage, _) = with_library(&[0, 1]);
    Story::of("back out a library that is kept", stage, Command::BackOut(vec!["100-01".to_owned()]))
}

/// The new program is backed out: the library of the old one comes from the undo archive.
fn library_brought_back() -> Story {
    let (stage, _) = with_library(&[0, 1]);
    Story::of("bring back a kept library", stage, Command::BackOut(vec!["200-01".to_owned()]))
}

/// Two patches of one run: the first keeps a library, the second removes the last need for it.
fn library_kept_within_a_run() -> Story {
    let (stage, [library, program, _]) = with_library(&[]);
    Story::of("keep a library and drop it", stage, apply(&[&library, &program]))
}

/// Two patches are backed out in one run, between which an archived library is needed.
fn library_needed_within_a_backout() -> Story {
    let (stage, _) = with_library(&[0, 1]);
    let ids = ["100-01", "200-01"].map(str::to_owned);
    Story::of("back out a library and its program", stage, Command::BackOut(ids.to_vec()))
}

fn undo_data_given_up() -> Story {
    let (stage, _) = patched_with(&[&patch(), &second_patch()]);
    let ids = ["100-01", "200-01"].map(str::to_owned);
    Story::of("commit", stage, Command::Commit(ids.to_vec()))
}

fn undo_data_in_another_form() -> Story {
    let (stage, _) = patched_with(&[&patch(), &second_patch()]);
    let ids = ["100-01", "200-01"].map(str::to_owned);
    Story::of("repack", stage, Command::Repack(ids.to_vec(), UndoFormat::Plain))
}

fn undo_data_in_zstandard() -> Story {
    let (stage, _) = patched_with(&[&patch(), &second_patch()]);
    let ids = ["100-01", "200-01"].map(str::to_owned);
    Story::of("repack to zst", stage, Command::Repack(ids.to_vec(), UndoFormat::Zstd))
}

fn undo_data_in_xz() -> Story {
    let (stage, _) = patched_with(&[&patch(), &second_patch()]);
    let ids = ["100-01", "200-01"].map(str::to_owned);
    Story::of("repack to xz", stage, Command::Repack(ids.to_vec(), UndoFormat::Xz))
}

fn undo_data_exported() -> Story {
    let (stage, _) = patched_with(&[&patch(), &second_patch()]);
    let ids = ["100-01", "200-01"].map(str::to_owned);
    Story::of("undo-export", stage, Command::UndoExport(ids.to_vec()))
}

fn undo_data_imported() -> Story {
    let (stage, _) = patched_with(&[&patch(), &second_patch()]);
    let file = stage.beside("exported");
    stage.run(&format!("undo-data export -R @ROOT@ -o {} 100-01 200-01", file.display())).ok();
    Story::of("undo-import", stage, Command::UndoImport(file))
}

/// The path of the next export of a root: beside it, under a unique name.
pub(super) fn next_export(root: &Path) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    root.with_file_name(format!("exported-{}-{number}", std::process::id()))
}

/// A package beside the first one, sharing a directory with it.
pub(super) fn another_package() -> Package {
    let package = Package::new("ACMEdoc").param("BASEDIR", "/opt/ACMEweb").directory("share");
    package
        .directory("doc")
        .file("doc/index", 0o644, "index\n")
        .link("doc/again", "index")
        .symlink("doc/s", "index")
}

fn package_added() -> Story {
    let (stage, _) = patched_with(&[]);
    let spool = stage.beside("added");
    another_package().write(&spool);
    let act = Command::Add { spool, packages: vec!["ACMEdoc".to_owned()] };
    Story::of("pkgadd", stage, act)
}

/// Another version of a patched package, beside one that shares a directory with it: objects are added, changed, given
/// another type, removed with their directory, or stay for the other package.
fn package_updated() -> Story {
    let (stage, _) = patched_with(&[&patch()]);
    stage.install(&another_package());
    let spool = stage.beside("updates");
    Package::new("ACMEweb")
        .param("VERSION", "2.0")
        .directory("bin")
        .file("bin/httpd", 0o755, "httpd of another version\n".repeat(500))
        .file("bin/same", 0o755, "the same\n")
        .file("bin/later", 0o755, "later\n")
        .link("bin/later.again", "later")
        .file("new", 0o644, "a file now\n")
        .directory("share")
        .symlink("share/current", "v3")
        .information("copyright", "Copyright 2026 Acme\n")
        .write(&spool);
    let act = Command::Update { spool, packages: vec!["ACMEweb".to_owned()] };
    Story::of("pkgadd --update", stage, act)
}

pub(crate) fn package_removed() -> Story {
    let (stage, _) = patched_with(&[&patch()]);
    stage.install(&another_package());
    Story::of("pkgrm", stage, Command::Remove(vec!["ACMEweb".to_owned()]))
}

/// A root with a package, and with software that no package has.
fn with_software() -> Scenario {
    let (stage, _) = patched_with(&[]);
    stage.file("/opt/own/bin/tool", "tool\n");
    stage.link("/opt/own/bin/again", "/opt/own/bin/tool");
    stage.symlink("/opt/own/current", "bin");
    stage
}

fn software_adopted() -> Story {
    Story::of("adopt", with_software(), Command::Adopt { package: "ACMEown", tree: "/opt/own" })
}

fn software_forgotten() -> Story {
    let stage = with_software();
    stage.run("adopt --pkg ACMEown --pkg-version 1 --dir /opt/own -R @ROOT@").ok();
    Story::of("adopt --forget", stage, Command::Forget("ACMEown"))
}

/// Scripts that write into the root, including a class script, and only to objects of the package.
fn with_scripts() -> Story {
    let (stage, _) = patched_with(&[]);
    let spool = stage.beside("added");
    let write = |text: &str| format!("{text}; touch -d @1600000000 $PKG_INSTALL_ROOT/opt/ACMEsrv/etc/*\n");
    let package = Package::new("ACMEsrv")
        .param("CLASSES", "none mine")
        .directory("etc")
        .file("etc/plain", 0o644, "plain\n")
        .of_class("mine", 'e', "etc/conf", 0o644, "conf\n")
        .information("preinstall", "exit 0\n")
        .information("i.mine", write("while read from to; do cp $from $to; done"))
        .information("postinstall", write("echo ready >> $PKG_INSTALL_ROOT/opt/ACMEsrv/etc/conf"));
    package.write(&spool);
    Story::of("pkgadd with scripts", stage, Command::Add { spool, packages: vec!["ACMEsrv".to_owned()] })
}

/// Another version whose scripts write to objects that change, go, or stay without an owner.
fn updated_with_scripts() -> Story {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/admin/default", NOCHECK);
    let package = |version: &str| {
        Package::new("ACMEsrv")
            .param("VERSION", version)
            .param("CLASSES", "none mine")
            .directory("etc")
            .file("etc/plain", 0o644, version)
            .of_class("mine", 'f', "etc/conf", 0o644, version)
            .information("i.mine", "while read from to; do cp $from $to; done\n")
    };
    let first = package("1.0")
        .file("old/plain", 0o644, "goes\n")
        .of_class("mine", 'f', "old/mine", 0o644, "stays\n")
        .information("preremove", "exit 1\n");
    stage.install(&first);
    stage
        .patchadd("", &Patch::of("100-01", Package::new("ACMEsrv").file("etc/plain", 0o644, "patched\n")))
        .ok();
    let spool = stage.beside("updates");
    let harm = "cd $PKG_INSTALL_ROOT/opt/ACMEsrv; for each in old/plain old/mine etc/plain; do\n\
                echo $UPDATE > $each; touch -d @1600000000 $each; done\n";
    package("2.0").information("preinstall", "exit 0\n").information("postinstall", harm).write(&spool);
    let act = Command::Update { spool, packages: vec!["ACMEsrv".to_owned()] };
    Story::of("pkgadd --update with scripts", stage, act)
}

/// The scripts of an undo archive run, and their changes are undone before everything is restored.
fn backout_by_scripts() -> Story {
    let (stage, _) = patched_with(&[&patch()]);
    Story::of("back out by scripts", stage, Command::BackOutByScripts(vec!["100-01".to_owned()]))
}

/// A pkgadd of the undo archive of a patch: its scripts run, then the package is restored.
fn archive_played() -> Story {
    let (stage, _) = patched_with(&[&patch()]);
    let archive = fs::File::open(stage.at("/var/sadm/pkg/ACMEweb/save/100-01/undo.gz")).unwrap();
    let spool = stage.beside("undo");
    let mut stream = fs::File::create(&spool).unwrap();
    std::io::copy(&mut flate2::read::MultiGzDecoder::new(archive), &mut stream).unwrap();
    let act = Command::Add { spool, packages: vec!["ACMEweb".to_owned()] };
    Story::of("pkgadd of an undo archive", stage, act)
}

/// The first package of a root: no run was ever made there.
pub(crate) fn first_run() -> Story {
    let stage = Scenario::new();
    let spool = stage.beside("added");
    another_package().write(&spool);
    let act = Command::Add { spool, packages: vec!["ACMEdoc".to_owned()] };
    Story::of("first run", stage, act)
}

/// The stories with procedure scripts.
pub(crate) const SCRIPTED: [Told; 4] =
    [with_scripts, backout_by_scripts, archive_played, updated_with_scripts];

/// A truncated pkginfo and a missing `contents` are made anew.
fn records_made_anew() -> Story {
    let (stage, _) = patched_with(&[&patch()]);
    let pkginfo = stage.text("/var/sadm/pkg/ACMEweb/pkginfo");
    fs::write(stage.at("/var/sadm/pkg/ACMEweb/pkginfo"), &pkginfo[..pkginfo.len() / 2]).unwrap();
    fs::remove_file(stage.at("/var/sadm/install/contents")).unwrap();
    let acts = vec![Command::Repair(vec!["ACMEweb".to_owned()]), Command::Repair(Vec::new())];
    Story { name: "pkgchk -f of damaged records", stage, acts, whole: Command::Repair(Vec::new()) }
}

/// `contents` names a package that is gone, alone and beside another one.
fn gone_owner() -> Story {
    let (stage, _) = patched_with(&[&patch()]);
    let contents = stage.at("/var/sadm/install/contents");
    let lines = fs::read_to_string(&contents).unwrap().replacen(" ACMEweb\n", " ACMEweb ACMEgone\n", 2);
    fs::write(contents, format!("/opt/gone f none 0644 root root 5 542 981173106 ACMEgone\n{lines}"))
        .unwrap();
    Story::of("pkgchk -f of a package that is gone", stage, Command::Repair(vec!["ACMEgone".to_owned()]))
}

/// A package whose record is damaged is installed again.
fn record_installed_again() -> Story {
    let small = Patch::of("100-01", Package::new("ACMEweb").file("share/gone", 0o644, "still here\n"));
    let (stage, _) = patched_with(&[&small]);
    let spool = stage.beside("again");
    package().write(&spool);
    fs::remove_file(stage.at("/var/sadm/pkg/ACMEweb/pkginfo")).unwrap();
    let act = Command::Add { spool, packages: vec!["ACMEweb".to_owned()] };
    Story::of("pkgadd over a damaged record", stage, act)
}

/// The stories of roots whose records are damaged.
pub(crate) const MENDED: [Told; 3] = [records_made_anew, gone_owner, record_installed_again];

/// The stories with undo archives outside the root.
pub(crate) const ELSEWHERE: [Told; 1] = [middle_backout_elsewhere];

/// The stories in which a whole directory is exchanged.
pub(crate) const EXCHANGED: [Told; 4] =
    [exchanged, exchanged_back, STORED_BY_EXCHANGE[0], STORED_BY_EXCHANGE[1]];

/// The directory beside a root that has its undo archives outside.
pub(crate) const OUTSIDE: &str = "undo";

/// A story is told when it is needed, because the program needs some runs to make its root.
pub(crate) type Told = fn() -> Story;

/// All stories without procedure scripts; the first four, one of each command.
pub(crate) const STORIES: [Told; OTHERS.len() + STORED.len()] = {
    let mut stories = [one_patch as Told; OTHERS.len() + STORED.len()];
    let mut number = 0;
    while number < stories.len() {
        stories[number] = if number < OTHERS.len() { OTHERS[number] } else { STORED[number - OTHERS.len()] };
        number += 1;
    }
    stories
};

/// The stories of this file, of package managers, and of trials.
const OTHERS: [Told; 40] = [
    one_patch,
    backout,
    package_added,
    package_removed,
    two_patches,
    applied_again,
    after_backout,
    two_backouts,
    one_run,
    software_adopted,
    software_forgotten,
    middle_backout,
    run_undone,
    undo_data_given_up,
    undo_data_in_another_form,
    undo_data_in_zstandard,
    undo_data_in_xz,
    undo_data_exported,
    undo_data_imported,
    package_updated,
    library_kept,
    library_dropped,
    library_taken_over,
    library_backed_out,
    library_brought_back,
    library_kept_within_a_run,
    library_needed_within_a_backout,
    registration_refreshed,
    registration_ended,
    adopted_on_demand,
    all_adopted,
    old_files_kept,
    old_files_brought_back,
    old_files_given_up,
    middle_backout_of_files,
    put_on_trial,
    trial_confirmed,
    trial_undone,
    trial_over,
    log_taken_over,
];

/// All stories, one after another.
pub(crate) fn stories() -> impl Iterator<Item = Story> {
    STORIES.iter().map(|told| told())
}

/// A root of one trial, gone when it is dropped, and a directory beside it on the same file system.
pub(crate) struct Trial {
    dir: TempDir,
}

impl Trial {
    /// A copy of the root with which a story begins.
    pub(crate) fn of(story: &Story) -> Self {
        Self::in_directory(story, crate::scenario::directory())
    }

    /// Like [`Self::of`], below another directory.
    pub(crate) fn within(story: &Story, directory: &Path) -> Self {
        Self::in_directory(story, tempfile::tempdir_in(directory).unwrap())
    }

    fn in_directory(story: &Story, dir: TempDir) -> Self {
        copy(&story.stage.root(), &dir.path().join("root"), &mut HashMap::new());
        fs::create_dir(dir.path().join("spare")).unwrap();
        let trial = Self { dir };
        let outside = story.stage.beside(OUTSIDE);
        if outside.exists() {
            trial.take_outside(&outside);
        }
        copy_stage(story, trial.dir.path());
        trial
    }

    /// Copies the archives outside the root, and makes the root name the copies instead of the originals.
    fn take_outside(&self, from: &Path) {
        let to = self.dir.path().join(OUTSIDE);
        copy(from, &to, &mut HashMap::new());
        let [from, to] = [from, &to].map(|path| path.to_str().unwrap().to_owned());
        let package = self.root().join("var/sadm/pkg/ACMEweb/save");
        let pointers = fs::read_dir(package).unwrap().map(|save| save.unwrap().path().join("remote"));
        for file in pointers.chain([self.root().join("var/sadm/patchadm/ledger/ACMEweb")]) {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let time = file.metadata().unwrap().modified().unwrap();
            fs::write(&file, text.replace(&from, &to)).unwrap();
            set_mtime(&file, time);
        }
    }

    /// The directory with the archives outside the root, if there are any.
    fn outside(&self) -> Option<PathBuf> {
        Some(self.dir.path().join(OUTSIDE)).filter(|outside| outside.exists())
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A directory in which a model may keep its data.
    pub(crate) fn spare(&self) -> PathBuf {
        self.dir.path().join("spare")
    }

    /// Performs a command through `door`; an error is its message. Success means that the change is acknowledged.
    pub(crate) fn run(&self, command: &Command, door: Door) -> Result<(), String> {
        let root = Root::open_with(&self.root(), door).map_err(|error| error.to_string())?;
        with_caller(|caller| perform(&root, command, caller).map(drop).map_err(|error| error.to_string()))
    }

    /// Like [`Self::run`], with the notes of a success, and the failure as the command line gets it.
    pub(crate) fn perform(&self, command: &Command, door: Door) -> Result<Vec<String>, Failure> {
        let root = Root::open_with(&self.root(), door)?;
        with_caller(|caller| perform(&root, command, caller))
    }

    /// Performs `patchadm recover` with one of its options.
    pub(crate) fn recover_with(&self, aid: &RecoveryAid) -> Result<Recovery, Failure> {
        let root = Root::open_with(&self.root(), Door::default())?;
        with_caller(|caller| recover_with_aid(&root, None, aid, caller))
    }

    /// Performs the recovery with which the next command would begin, through `door`.
    pub(crate) fn recover(&self, door: Door) -> Result<Recovered, String> {
        let root = Root::open_with(&self.root(), door).map_err(|error| error.to_string())?;
        with_caller(|caller| {
            recover_root(&root, self.outside().as_deref(), caller)
                .map(|found| found.run)
                .map_err(|error| error.to_string())
        })
    }
}

/// The notes of the recovery and of all runs, or the first failure; a repair reports no recovery.
fn perform(root: &Root, command: &Command, caller: &Caller<'_>) -> Result<Vec<String>, Failure> {
    let (recovered, results): (Recovered, Vec<Result<Option<Receipt>, Failure>>) = match command {
        Command::Exchange(directory, inner) => {
            let directory = ObjectPath::new(directory.as_bytes()).unwrap();
            return perform(root, inner, &caller.exchanging(&[directory]));
        }
        Command::Apply { patches, .. } | Command::ApplyAdopting(patches) | Command::ApplyOnTrial(patches) => {
            let is_on_trial = matches!(command, Command::ApplyOnTrial(_));
            let trial = TrialDuration::parse("1h").unwrap();
            let trial = TrialRequest { duration: is_on_trial.then_some(trial), ..TrialRequest::default() };
            let adopt = matches!(command, Command::ApplyAdopting(_));
            let request = ApplyRequest {
                patches: patches.clone(),
                unconditional: matches!(command, Command::Apply { again: true, .. }),
                scripts: by_default(),
                preparation: PreparationRequest { adopt, ..PreparationRequest::default() },
                trial,
                ..ApplyRequest::default()
            };
            let report = apply_patches(root, &request, None, caller)?;
            (report.recovered, report.patches.into_iter().map(|one| one.result).collect())
        }
        Command::BackOut(ids) => {
            let request =
                BackOutRequest { ids: ids.clone(), scripts: by_default(), ..BackOutRequest::default() };
            let report = back_out_patches(root, &request, caller)?;
            (report.recovered, report.patches.into_iter().map(|one| one.result).collect())
        }
        Command::Undo => {
            let run = run_to_undo(root, None)?;
            let request = BackOutRequest { scripts: by_default(), ..BackOutRequest::default() };
            let report = undo_application(root, &run, &request, caller)?;
            (report.recovered, report.patches.into_iter().map(|one| one.result).collect())
        }
        Command::BackOutByScripts(ids) => {
            let scripts = PatchScriptRequest {
                settings: scripts(),
                engine: Engine::Script,
                ..PatchScriptRequest::default()
            };
            let request = BackOutRequest { ids: ids.clone(), scripts, ..BackOutRequest::default() };
            let report = back_out_patches(root, &request, caller)?;
            (report.recovered, report.patches.into_iter().map(|one| one.result).collect())
        }
        Command::Add { spool, packages } | Command::Update { spool, packages } => {
            let request = AddRequest {
                device: spool.clone(),
                packages: packages.clone(),
                update: matches!(command, Command::Update { .. }),
                silent: true,
                scripts: scripts(),
                ..AddRequest::default()
            };
            let report = add_packages(root, &request, caller, &mut SilentObserver)?;
            (report.recovered, report.packages.into_iter().map(|one| one.result.map(Some)).collect())
        }
        Command::Remove(packages) => {
            let request =
                RemoveRequest { packages: packages.clone(), scripts: scripts(), ..RemoveRequest::default() };
            let report = remove_packages(root, &request, caller, &mut SilentObserver)?;
            (report.recovered, report.packages.into_iter().map(|one| one.result.map(Some)).collect())
        }
        Command::Repair(packages) => {
            let packages = packages.iter().map(|word| PackagePattern::parse(word)).collect();
            let scope = CheckScope { packages, ..CheckScope::default() };
            let request = ObjectCheckRequest { scope, ..ObjectCheckRequest::default() };
            let report = check_and_fix(root, &request, caller).map_err(|error| match error {
                ObjectCheckError::Operation(failure) => failure,
                other => Failure::BadFile(other.to_string()),
            })?;
            assert!(report.mended.iter().all(|mended| mended.is_made), "{:?}", report.mended);
            (Recovered::Nothing, Vec::new())
        }
        Command::Confirm | Command::Expire => {
            let (recovered, receipt) = end_trial(root, command, caller)?;
            (recovered, vec![Ok(receipt)])
        }
        Command::Commit(_) | Command::Repack(..) | Command::UndoExport(_) | Command::UndoImport(_) => {
            let (recovered, receipt) = change_undo_data(root, command, caller)?;
            (recovered, vec![Ok(receipt)])
        }
        Command::Promote => {
            let report = promote(root, caller)?;
            (report.recovered, vec![report.result])
        }
        Command::Adopt { .. } | Command::AdoptAll | Command::Refresh | Command::Forget(_) => {
            let (recovered, receipt) = register(root, command, caller)?;
            (recovered, vec![Ok(receipt)])
        }
    };
    let receipts = results.into_iter().collect::<Result<Vec<_>, _>>()?;
    let notes = receipts.into_iter().flatten().flat_map(|receipt| receipt.notes);
    Ok(recovered.notes().iter().cloned().chain(notes).collect())
}

/// Drops undo data, rewrites it in another form, exports it, or imports it.
fn change_undo_data(
    root: &Root,
    command: &Command,
    caller: &Caller<'_>,
) -> Result<(Recovered, Option<Receipt>), Failure> {
    match command {
        Command::Commit(ids) => {
            let request = UndoDropRequest { ids: ids.clone(), ..UndoDropRequest::default() };
            let report = drop_undo_data(root, &request, caller)?;
            Ok((report.recovered, report.receipt))
        }
        Command::Repack(ids, format) => {
            let (format, cold, undo_dir) = (*format, None, None);
            let request = RepackRequest { ids: ids.clone(), cold, format, undo_dir, dry_run: false };
            let report = repack_undo(root, &request, caller)?;
            Ok((report.recovered, report.receipt))
        }
        Command::UndoExport(ids) => {
            let file = next_export(root.prefix());
            let request = UndoExportRequest { ids: ids.clone(), file, undo_dir: None };
            let report = export_undo(root, &request, caller)?;
            Ok((report.recovered, report.receipt))
        }
        Command::UndoImport(file) => {
            let request = UndoImportRequest { file: file.clone(), ids: Vec::new() };
            let report = import_undo(root, &request, caller)?;
            Ok((report.recovered, report.receipt))
        }
        other => unreachable!("{other:?}"),
    }
}

/// Ends a trial by a confirmation, or two hours later because its time is up.
fn end_trial(
    root: &Root,
    command: &Command,
    caller: &Caller<'_>,
) -> Result<(Recovered, Option<Receipt>), Failure> {
    if matches!(command, Command::Confirm) {
        let report = confirm_trial(root, None, false, caller)?;
        return Ok((report.recovered, Some(report.receipt)));
    }
    let report = at_moment(7200, caller, |caller| recover_root(root, None, caller))?;
    assert!(report.trial.is_some(), "it was over");
    Ok((report.run, None))
}

/// Performs `patchadm adopt`.
fn register(
    root: &Root,
    command: &Command,
    caller: &Caller<'_>,
) -> Result<(Recovered, Option<Receipt>), Failure> {
    match command {
        Command::Adopt { package, tree } => {
            let report = adopt_software(root, &adoption(package, tree), caller)?;
            assert!(report.conflicts.is_empty(), "{:?}", report.conflicts);
            Ok((report.recovered, report.receipt))
        }
        Command::AdoptAll => {
            let request = AdoptAllRequest { wishes: AdoptWishes::none(Params::new()), dry_run: false };
            let report = adopt_all(root, &request, caller)?;
            assert!(report.left.is_empty(), "{:?}", report.left);
            Ok((report.recovered, report.receipt))
        }
        Command::Refresh => {
            let report = refresh_registrations(root, &RegistrationRefreshRequest::default(), caller)?;
            Ok((report.recovered, report.receipt))
        }
        Command::Forget(package) => {
            let report = forget_software(root, &PkgInst::new(package).unwrap(), false, caller)?;
            Ok((report.recovered, report.receipt))
        }
        other => panic!("{other:?} registers nothing"),
    }
}

fn adoption(package: &str, tree: &str) -> AdoptRequest {
    let wishes = AdoptWishes {
        pkg: Some(package.to_owned()),
        version: Some("1".to_owned()),
        ..AdoptWishes::none(Params::new())
    };
    AdoptRequest {
        source: AdoptSource::Tree(ObjectPath::new(tree.as_bytes()).unwrap()),
        wishes,
        dry_run: false,
    }
}

/// True if a story is to be played. All are, unless `PATCHADM_STORIES` has a list of parts of names, separated by
/// commas.
pub(crate) fn is_asked_for(story: &Story) -> bool {
    is_name_asked_for(story.name)
}

/// True if something of this name is to be played.
pub(crate) fn is_name_asked_for(name: &str) -> bool {
    let is_in = |parts: String| parts.split(',').any(|part| name.contains(part));
    std::env::var("PATCHADM_STORIES").map_or(true, is_in)
}

/// Scripts run as they do by default.
fn by_default() -> PatchScriptRequest {
    PatchScriptRequest { settings: scripts(), ..PatchScriptRequest::default() }
}

/// The settings of scripts that run in the program's second process.
pub(crate) fn scripts() -> ScriptSettings {
    let executable = PathBuf::from(env!("CARGO_BIN_EXE_patchadm"));
    ScriptSettings { executable, temporary: std::env::temp_dir(), ..ScriptSettings::default() }
}

/// A caller with the clock of every scenario, which nothing interrupts.
pub(crate) fn with_caller<T>(work: impl FnOnce(&Caller<'_>) -> T) -> T {
    let now = DateTime::from_timestamp(i64::try_from(NOW).unwrap(), 0).unwrap();
    let (utc, local) = (now.naive_utc(), now.naive_utc());
    work(&Caller {
        program: "patchadd",
        now: Now { utc, local, host: "web1".to_owned() },
        time: now.to_rfc3339(),
        user: "root".to_owned(),
        // A process that another test starts holds our descriptors until it executes its program.
        wait: &|_| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            true
        },
        interrupt: &|| None,
        progress: &|_| {},
        told: &|_, _| {},
        did_first: &|_| {},
        moment: &|| Moment { wall: now, boot: None, since_boot: 0 },
        shown_time: &|moment, _| moment.to_string(),
        scripts: scripts(),
        elapsed: &|| 7,
        undoes: None,
        is_hook: false,
        typed: None,
        note: None,
        exchanges: Vec::new(),
    })
}

/// Runs `work` as this caller, `seconds` later.
fn at_moment<T>(seconds: i64, caller: &Caller<'_>, work: impl FnOnce(&Caller<'_>) -> T) -> T {
    let mut now = (caller.moment)();
    now.wall += chrono::TimeDelta::seconds(seconds);
    let noting = caller.noting(None);
    work(&Caller { moment: &|| now.clone(), ..noting })
}

/// Copies a tree with all attributes that a test compares, and the times of directories.
pub(crate) fn copy(from: &Path, to: &Path, links: &mut HashMap<u64, PathBuf>) {
    let seen = from.symlink_metadata().unwrap();
    if let Some(first) = links.get(&seen.ino()).filter(|_| !seen.is_dir()) {
        fs::hard_link(first, to).unwrap();
        return;
    }
    links.insert(seen.ino(), to.to_owned());
    let kind = seen.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(from).unwrap(), to).unwrap();
        set_mtime(to, seen.modified().unwrap());
        return;
    }
    if kind.is_dir() {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name), links);
        }
    } else if kind.is_file() {
        fs::write(to, fs::read(from).unwrap()).unwrap();
    } else {
        rustix::fs::mknodat(CWD, to, FileType::Fifo, Mode::RWXU, 0).unwrap();
    }
    if rustix::process::geteuid().is_root() {
        chown(to, Some(seen.uid()), Some(seen.gid())).unwrap();
    }
    fs::set_permissions(to, fs::Permissions::from_mode(seen.mode() & 0o7777)).unwrap();
    set_mtime(to, seen.modified().unwrap());
}

fn set_mtime(path: &Path, time: SystemTime) {
    let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let time =
        Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap(), tv_nsec: i64::from(time.subsec_nanos()) };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
