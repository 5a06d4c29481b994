//! Undo data as files: the old files stay as they are, and come back themselves.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::records::Before;
use crate::scenario::{Scenario, is_root};

fn package(text: &str) -> Package {
    Package::new("ACMEweb")
        .file("bin/httpd", 0o4755, format!("httpd {text}\n"))
        .file("bin/tool", 0o755, format!("tool {text}\n"))
        .file("share/data", 0o644, format!("data {text}\n"))
}

/// A root whose policy keeps old files.
fn stage() -> Scenario {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/admin/default", NOCHECK);
    stage.install(&package("one").file("share/gone", 0o644, "gone\n"));
    stage.file("/etc/patchadm/policy", "undo_format=files\n");
    stage
}

fn first() -> Patch {
    Patch::of("100-01", package("two").file("share/more", 0o644, "more\n").deletes(&["share/gone"]))
}

fn second() -> Patch {
    Patch::of("200-01", package("three"))
}

fn inode(stage: &Scenario, path: &str) -> u64 {
    fs::symlink_metadata(stage.at(path)).unwrap().ino()
}

/// The undo directories of the first file system.
fn undo_directories(stage: &Scenario) -> Vec<PathBuf> {
    let found = fs::read_dir(stage.at("/var/sadm/patchadm/undo")).into_iter().flatten();
    found.map(|entry| entry.unwrap().path()).collect()
}

/// The old file in an undo directory with these bytes.
fn stored(stage: &Scenario, bytes: &str) -> PathBuf {
    let files = undo_directories(stage).into_iter().flat_map(|run| fs::read_dir(run).unwrap());
    let mut files = files.map(|file| file.unwrap().path());
    files.find(|file| fs::read_to_string(file).is_ok_and(|text| text == bytes)).unwrap()
}

const FILES: [&str; 3] = ["/opt/ACMEweb/bin/tool", "/opt/ACMEweb/share/data", "/opt/ACMEweb/share/gone"];

#[test]
fn a_backout_brings_back_the_old_files_themselves() {
    let stage = stage();
    let before = Before::of(&stage);
    let inodes = FILES.map(|path| inode(&stage, path));
    stage.patchadd("", &first()).ok();
    assert!(stage.at("/var/sadm/pkg/ACMEweb/save/100-01/undo.files").exists());
    let told = stage.run("list -R @ROOT@").ok();
    assert!(told.contains("undo data: files ("), "{told}");
    stage.run("check --contents -R @ROOT@").ok();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "old files are back");
    assert_eq!(FILES.map(|path| inode(&stage, path)), inodes);
    assert!(!stage.at("/var/sadm/patchadm/undo").exists(), "nothing is left");
}

#[test]
fn a_set_id_program_loses_its_bits_in_the_undo_directory_and_has_them_again_after_the_backout() {
    let stage = stage();
    let before = Before::of(&stage);
    stage.patchadd("", &first()).ok();
    assert_eq!(fs::metadata(stored(&stage, "httpd one\n")).unwrap().mode() & 0o7777, 0o755);
    stage.run("remove -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "with its bits");
}

#[test]
fn patches_of_one_run_go_one_by_one_and_a_patch_below_another_leaves_its_files_to_that() {
    for order in [["200-01", "100-01"], ["100-01", "200-01"]] {
        let stage = stage();
        let before = Before::of(&stage);
        let [one, two] = [first(), second()].map(|patch| patch.directory(&stage).display().to_string());
        stage.run(&format!("add -R @ROOT@ {one} {two}")).ok();
        assert_eq!(undo_directories(&stage).len(), 1, "it was one run");
        for id in order {
            stage.run(&format!("remove -R @ROOT@ {id}")).ok();
            stage.run("check --contents -R @ROOT@").ok();
        }
        before.assert_again(&stage, "both are gone");
        assert!(!stage.at("/var/sadm/patchadm/undo").exists(), "nothing is left");
    }
}

#[test]
fn what_a_commit_or_the_end_of_a_package_makes_useless_is_removed() {
    let committed = stage();
    committed.patchadd("", &first()).ok();
    committed.patchadd("", &second()).ok();
    committed.run("undo-data drop -R @ROOT@ 100-01").ok();
    assert_eq!(undo_directories(&committed).len(), 1);
    committed.run("remove -R @ROOT@ 200-01").ok();
    assert_eq!(committed.text("/opt/ACMEweb/bin/tool"), "tool two\n");
    let removed = stage();
    removed.patchadd("", &first()).ok();
    assert_eq!(removed.run("pkgrm -n -R @ROOT@ ACMEweb").code, 0);
    for stage in [committed, removed] {
        assert!(!stage.at("/var/sadm/patchadm/undo").exists());
    }
}

#[test]
fn a_file_with_a_name_that_the_patch_does_not_change_is_copied() {
    let stage = stage();
    stage.directory("/home");
    stage.link("/home/mine", "/opt/ACMEweb/share/data");
    stage.patchadd("", &first()).ok();
    fs::write(stage.at("/home/mine"), "an edit by another name\n").unwrap();
    stage.run("check --contents -R @ROOT@ 100-01").ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/opt/ACMEweb/share/data"), "data one\n");
    assert_eq!(stage.text("/home/mine"), "an edit by another name\n");
}

#[test]
fn what_is_written_through_an_old_descriptor_does_not_reach_the_undo_data() {
    let stage = stage();
    let data = "/opt/ACMEweb/share/data";
    let mut open = fs::OpenOptions::new().append(true).open(stage.at(data)).unwrap();
    stage.patchadd("", &first()).ok();
    open.write_all(b"late\n").unwrap();
    stage.run("check --contents -R @ROOT@ 100-01").ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text(data), "data one\n");
}

#[test]
fn a_stored_file_that_is_not_what_was_saved_is_named_and_nothing_is_changed() {
    type Spoil = fn(&PathBuf);
    let spoiled: [(&str, Spoil); 5] = [
        ("changed", |file| fs::write(file, "data 1ne\n").unwrap()),
        ("cut short", |file| fs::write(file, "data").unwrap()),
        ("a link", |file| {
            fs::remove_file(file).unwrap();
            symlink("/etc/passwd", file).unwrap();
        }),
        ("gone", |file| fs::remove_file(file).unwrap()),
        ("with its directory", |file| fs::remove_dir_all(file.parent().unwrap()).unwrap()),
    ];
    for (what, spoil) in spoiled {
        let stage = stage();
        stage.patchadd("", &first()).ok();
        spoil(&stored(&stage, "data one\n"));
        let before = stage.tree();
        let told = stage.run("patchrm -R @ROOT@ 100-01");
        assert_eq!(told.code, 4, "{what}: {}", told.stderr);
        assert_eq!(before.difference(&stage.tree()), "", "{what}");
        assert_eq!(stage.run("check --contents -R @ROOT@ 100-01").code, 4, "{what}");
    }
}

#[test]
fn an_undo_directory_that_others_can_write_to_is_not_believed() {
    let stage = stage();
    stage.patchadd("", &first()).ok();
    let directory = undo_directories(&stage).pop().unwrap();
    let shown = format!("/{}", directory.strip_prefix(stage.root()).unwrap().display());
    stage.mode(&shown, 0o777);
    let told = stage.run("remove -R @ROOT@ 100-01");
    assert_eq!(told.code, 1, "{}", told.stderr);
    let reason = if is_root() { "everyone can write to" } else { "is writable by others" };
    assert!(told.stderr.contains(reason), "{}", told.stderr);
    stage.mode(&shown, 0o700);
    stage.run("remove -R @ROOT@ 100-01").ok();
}

#[test]
fn in_a_copied_root_all_files_are_read_and_it_is_backed_out_the_same() {
    let stage = stage();
    let before = Before::of(&stage);
    stage.patchadd("", &first()).ok();
    let copy = stage.beside("copy");
    let copied = std::process::Command::new("cp").arg("-a").arg(stage.root()).arg(&copy).status();
    assert!(copied.unwrap().success());
    fs::remove_dir_all(stage.root()).unwrap();
    fs::rename(copy, stage.root()).unwrap();
    stage.run("check --contents -R @ROOT@").ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "a copied root");
}

#[test]
fn undo_data_is_an_archive_where_files_cannot_be_kept() {
    let with_script = || {
        let package = package("two").information("postinstall", "exit 0\n");
        Patch::of("100-01", package)
    };
    let scripted = stage();
    let patch = with_script().directory(&scripted);
    let told = scripted.run(&format!("add -R @ROOT@ {}", patch.display()));
    assert_eq!(told.code, 0, "{}", told.stderr);
    let said = told.stdout + &told.stderr;
    assert!(said.contains("scripts run, so the undo data is an archive"), "{said}");
    assert!(scripted.at("/var/sadm/pkg/ACMEweb/save/100-01/undo.gz").exists());
    let elsewhere = stage();
    let directory = elsewhere.beside("backout");
    fs::create_dir(&directory).unwrap();
    elsewhere.patchadd(&format!("-B {}", directory.display()), &first()).ok();
    assert!(directory.join("100-01/ACMEweb/undo.gz").exists());
}

#[test]
fn lost_lines_of_the_ledger_are_bound_again() {
    let stage = stage();
    let before = Before::of(&stage);
    stage.patchadd("", &first()).ok();
    stage.forget_ledgers();
    stage.run("remove -R @ROOT@ 100-01").fails(3);
    stage.run("recover --adopt-undo 100-01 -R @ROOT@").ok();
    let told = stage.run("list -R @ROOT@").ok();
    assert!(told.contains("undo data: files ("), "{told}");
    stage.run("remove -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "bound again");
}

#[test]
fn an_obsolete_patch_keeps_its_old_files_and_is_active_again_later() {
    let stage = stage();
    let before = Before::of(&stage);
    stage.patchadd("", &first()).ok();
    stage.patchadd("", &Patch::of("100-02", package("three"))).ok();
    assert!(stage.at("/var/sadm/pkg/ACMEweb/save/100-01/obsolete.files").exists());
    stage.run("check --contents -R @ROOT@").ok();
    stage.run("patchrm -R @ROOT@ 100-02").ok();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "one after the other");
}

#[test]
fn an_ordinary_user_keeps_old_files_in_a_tree_of_their_own() {
    if !is_root() {
        crate::skipped("an ordinary user keeps old files: only root can become one");
        return;
    }
    if !crate::has("setpriv", "an ordinary user keeps old files") {
        return;
    }
    let plain = |text: &str| {
        let package = Package::new("ACMEweb").file("bin/tool", 0o755, format!("tool {text}\n"));
        package.file("share/data", 0o644, format!("data {text}\n"))
    };
    let stage = Scenario::with(&[plain("one").file("share/gone", 0o644, "gone\n")]);
    stage.file("/etc/patchadm/policy", "undo_format=files\n");
    let patch = Patch::of("100-01", plain("two").deletes(&["share/gone"])).directory(&stage);
    for path in [stage.root(), stage.root().parent().unwrap().to_owned()] {
        let owned = std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(path).status();
        assert!(owned.unwrap().success());
    }
    let inodes = FILES.map(|path| inode(&stage, path));
    let as_owner = |line: &str| {
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(env!("CARGO_BIN_EXE_patchadm"));
        command.args(line.split(' ')).arg("-R").arg(stage.root());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    as_owner(&format!("add {}", patch.display()));
    as_owner("remove 100-01");
    assert_eq!(FILES.map(|path| inode(&stage, path)), inodes);
}
