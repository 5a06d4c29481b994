//! The scripts that our patches carry, as another pkgadd runs them: by every installed shell, with our own tools
//! beside them, and checked by tools for such scripts.

mod driver;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use patchadm_inputs::patch_scripts::{UNDO_CLASS, of_patch};

use crate::delivery::Patch;
use crate::packages::{DELIVERED, Package};
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};
use driver::ScriptDriver;

/// A shell and an awk that run the scripts together.
#[derive(Clone, Debug)]
struct Interpreters {
    shell: Vec<String>,
    awk: Vec<String>,
}

/// The pairs that each test uses: every shell and every awk is in one of them. The original awk is the `nawk` of
/// Solaris.
const INTERPRETERS: [(&[&str], &[&str]); 5] = [
    (&["dash"], &["original-awk"]),
    (&["bash", "--posix"], &["mawk"]),
    (&["busybox", "sh"], &["busybox", "awk"]),
    (&["ksh93"], &["gawk"]),
    (&["mksh"], &["original-awk"]),
];

/// The pairs whose shell is installed.
fn interpreters(test: &str) -> Vec<Interpreters> {
    INTERPRETERS.into_iter().filter_map(|pair| found(pair, test)).collect()
}

/// A pair, if its shell is installed. Reports missing programs; the awk of the system replaces a missing one.
fn found((shell, awk): (&[&str], &[&str]), test: &str) -> Option<Interpreters> {
    let is_here = |words: &[&str]| {
        let there = ["/bin", "/usr/bin"].iter().any(|place| Path::new(place).join(words[0]).is_file());
        if !there {
            crate::missing(words[0], test);
        }
        there
    };
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    is_here(shell).then(|| Interpreters {
        shell: owned(shell),
        awk: if is_here(awk) { owned(awk) } else { owned(&["awk"]) },
    })
}

/// Makes a test of a long story for each pair.
macro_rules! under_every_shell {
    ($($story:ident,)+) => {
        $(
            mod $story {
                fn play(number: usize) {
                    let pair = super::found(super::INTERPRETERS[number], stringify!($story));
                    pair.iter().for_each(super::$story);
                }

                #[test]
                fn dash() {
                    play(0);
                }

                #[test]
                fn bash() {
                    play(1);
                }

                #[test]
                fn busybox() {
                    play(2);
                }

                #[test]
                fn ksh93() {
                    play(3);
                }

                #[test]
                fn mksh() {
                    play(4);
                }
            }
        )+
    };
}

under_every_shell! {
    revisions_are_marked_and_come_back_one_after_the_other,
    revisions_are_taken_back_to_the_last_word_of_the_records,
    the_undo_package_can_be_entered_and_read_by_the_user_of_its_checkinstall,
    what_an_interrupted_run_has_saved_is_kept,
    what_is_built_of_two_releases_is_applied_and_taken_back,
    what_they_apply_they_take_back,
    without_undo_data_and_elsewhere,
}

fn base() -> Package {
    Package::new("ACMEweb")
        .directory("bin")
        .file("bin/httpd", 0o755, "one\n")
        .link("bin/httpd-again", "./httpd")
        .symlink("bin/www", "httpd")
        .directory("lib")
        .file("lib/liba.so.1", 0o755, "library one\n")
        .directory("share")
        .file("share/old", 0o640, "old\n")
        .file("share/kept", 0o644, "kept\n")
        .file("/etc/web.conf", 0o644, "port=80\n")
}

/// A patch with all that a script can take back: contents, links, types, modes, new objects, deleted ones.
fn patch(id: &str) -> Patch {
    let package = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, format!("httpd of {id}\n"))
        .link("bin/httpd-again", "./httpd")
        .symlink("bin/www", "../lib/liba.so.1")
        .symlink("lib/liba.so.1", "liba.so.2")
        .file("lib/liba.so.2", 0o755, format!("library of {id}\n"))
        .directory("new")
        .file("new/file", 0o600, "new\n")
        .file("share/kept", 0o600, "kept\n")
        .file("/etc/web.conf", 0o644, format!("port=8080 {id}\n"))
        .file("/etc/web.new", 0o644, "new\n")
        .deletes(&["share/old"]);
    with_scripts(id, package)
}

fn with_scripts(id: &str, package: Package) -> Patch {
    let scripts = of_patch(["none"]);
    Patch::of(id, scripts.into_iter().fold(package, |package, (name, text)| package.information(&name, text)))
}

fn what_they_apply_they_take_back(pair: &Interpreters) {
    let stage = Scenario::with(&[base()]);
    let before = stage.tree();
    let driver = ScriptDriver::new(&stage, pair);
    let delivered = patch("900-01").directory(&stage).join("ACMEweb");
    driver.apply(&delivered, "PATCH_NO_UNDO=\n").expect_end(0);
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "httpd of 900-01\n", "{pair:?}");
    assert!(!stage.at("/opt/ACMEweb/share/old").exists());
    assert_eq!(driver.parameter("PATCHLIST"), "900-01");
    assert_eq!(driver.saved("900-01"), ["undo.Z"], "{pair:?}");
    driver.back_out("900-01").expect_end(0);
    assert_same(&stage.tree(), &before);
    assert_eq!(driver.parameter("PATCHLIST"), "");
    assert!(!stage.at("/var/sadm/pkg/ACMEweb/save/900-01").exists());
}

/// Makes a patch of the software in the root and a copy of it that `change` has changed.
fn built(stage: &Scenario, id: &str, change: impl Fn(&Path)) -> PathBuf {
    let copy = stage.beside(&format!("new-{id}"));
    let copied = Command::new("cp").arg("-a").arg(stage.at("/opt/ACMEweb")).arg(&copy).status();
    assert!(copied.unwrap().success());
    change(&copy);
    let named = "--pkg ACMEweb --arch i386 --base-version 1.0 --basedir /opt/ACMEweb --owner root:root";
    let line = format!("build --id {id} --from root/opt/ACMEweb --to new-{id} -o built-{id} {named}");
    stage.run(&line).ok();
    stage.beside(&format!("built-{id}")).join("ACMEweb")
}

/// Writes a file with a time in whole seconds, which is all that a pkgmap has.
fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(path);
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Everything that scripts can carry over: contents, modes, new objects, links of both kinds, deleted objects.
fn change(new: &Path) {
    write(&new.join("bin/httpd"), "two\n", 0o755);
    fs::remove_file(new.join("bin/httpd-again")).unwrap();
    fs::hard_link(new.join("bin/httpd"), new.join("bin/httpd-again")).unwrap();
    fs::remove_file(new.join("bin/www")).unwrap();
    symlink("../lib/liba.so.1", new.join("bin/www")).unwrap();
    write(&new.join("share/kept"), "kept\n", 0o600);
    fs::remove_file(new.join("share/old")).unwrap();
    write(&new.join("new/file"), "new\n", 0o600);
}

fn what_is_built_of_two_releases_is_applied_and_taken_back(pair: &Interpreters) {
    let stage = Scenario::with(&[base()]);
    let before = stage.tree();
    let driver = ScriptDriver::new(&stage, pair);
    let delivered = built(&stage, "900-01", change);
    driver.apply(&delivered, "PATCH_NO_UNDO=\n").expect_end(0);
    let installed = Tree::of(&stage.at("/opt/ACMEweb"), &[]);
    assert_same(&installed, &Tree::of(&stage.beside("new-900-01"), &[]));
    assert_eq!(driver.parameter("PATCHLIST"), "900-01", "{pair:?}");
    driver.back_out("900-01").expect_end(0);
    assert_same(&stage.tree(), &before);
    assert_eq!(driver.parameter("PATCHLIST"), "");
}

/// A package whose records tell more than its files: types, and which name of a file is the file.
fn recorded() -> Package {
    base()
        .directory("sbin")
        .link("sbin/httpd", "../bin/httpd")
        .link("bin/httpd-again", "httpd")
        .content('e', "share/conf", 0o644, "root root", DELIVERED, "conf\n")
        .content('v', "share/log", 0o600, "root root", DELIVERED, "log\n")
}

/// A patch that records these objects differently.
fn recorded_otherwise(id: &str) -> Patch {
    let text = format!("httpd of {id}\n");
    let package = Package::new("ACMEweb")
        .file("bin/httpd-again", 0o755, text)
        .link("bin/httpd", "./httpd-again")
        .link("sbin/httpd", "/opt/ACMEweb/bin/httpd-again")
        .file("share/conf", 0o644, format!("conf of {id}\n"))
        .file("share/log", 0o600, format!("log of {id}\n"))
        .file("share/new", 0o644, "new\n")
        .deletes(&["share/old"]);
    with_scripts(id, package)
}

fn revisions_are_taken_back_to_the_last_word_of_the_records(pair: &Interpreters) {
    let stage = Scenario::with(&[recorded()]);
    let driver = ScriptDriver::new(&stage, pair);
    let mut before = vec![(stage.tree(), stage.lines())];
    for id in ["900-01", "900-02"] {
        driver.apply(&recorded_otherwise(id).directory(&stage).join("ACMEweb"), "").expect_end(0);
        before.push((stage.tree(), stage.lines()));
    }
    for id in ["900-02", "900-01"] {
        before.pop();
        driver.back_out(id).expect_end(0);
        let (tree, lines) = before.last().unwrap();
        assert_same(&stage.tree(), tree);
        assert_eq!(&stage.lines(), lines, "{id}, {pair:?}");
        assert_eq!(driver.parameter("PATCH_FORMER"), "");
        driver.mark_active("900-01");
    }
}

fn the_undo_package_can_be_entered_and_read_by_the_user_of_its_checkinstall(pair: &Interpreters) {
    let stage = Scenario::with(&[base()]);
    let driver = ScriptDriver::new(&stage, pair);
    driver.apply(&patch("900-01").directory(&stage).join("ACMEweb"), "").expect_end(0);
    let archive = stage.at("/var/sadm/pkg/ACMEweb/save/900-01/undo.Z");
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o7777, 0o600, "{pair:?}");
    let package = driver.unpack("900-01");
    for (name, mode) in [("install", 0o755), ("install/checkinstall", 0o644), ("pkgmap", 0o644)] {
        let found = fs::metadata(package.join(name)).unwrap().permissions().mode();
        assert_eq!(found & mode, mode, "{name} {:o}, {pair:?}", found & 0o7777);
    }
}

#[test]
fn every_shell_can_read_each_script() {
    let test = "every_shell_can_read_each_script";
    let (_dir, paths) = written();
    for pair in interpreters(test) {
        for path in &paths {
            let read =
                Command::new(&pair.shell[0]).args(&pair.shell[1..]).arg("-n").arg(path).output().unwrap();
            assert!(read.status.success(), "{pair:?}: {}", String::from_utf8_lossy(&read.stderr));
        }
    }
}

fn revisions_are_marked_and_come_back_one_after_the_other(pair: &Interpreters) {
    let stage = Scenario::with(&[base()]);
    let driver = ScriptDriver::new(&stage, pair);
    let mut before = vec![stage.tree()];
    for id in ["900-9", "9000-1", "900-10"] {
        driver.apply(&patch(id).directory(&stage).join("ACMEweb"), "").expect_end(0);
        before.push(stage.tree());
    }
    assert_eq!(driver.saved("900-9"), ["obsolete.Z", "obsoleted_by"]);
    assert_eq!(driver.saved("9000-1"), ["undo.Z"], "another base");
    assert_eq!(driver.saved("900-10"), ["undo.Z"]);
    let refused = driver.apply(&patch("900-9").directory(&stage).join("ACMEweb"), "");
    assert!(refused.said.contains("PaTcH_MsG 1 ") && refused.code == 3, "{}", refused.said);
    driver.back_out("900-10").expect_end(0);
    assert_same(&stage.tree(), &before[2]);
}

fn without_undo_data_and_elsewhere(pair: &Interpreters) {
    let stage = Scenario::with(&[base()]);
    let driver = ScriptDriver::new(&stage, pair);
    let delivered = patch("900-01").directory(&stage).join("ACMEweb");
    driver.apply(&delivered, "PATCH_NO_UNDO=true\n").expect_end(0);
    assert!(driver.saved("900-01").is_empty());
    let again = driver.apply(&delivered, "PATCH_UNCONDITIONAL=true\n");
    again.expect_end(0);
    assert_eq!(driver.parameter("PATCHLIST"), "900-01", "once");
    assert!(driver.saved("900-01").is_empty(), "undo data of the patch itself would be of no use");
    let elsewhere = stage.beside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let response = format!("PATCH_UNDO_ARCHIVE={}\n", elsewhere.display());
    driver.apply(&patch("900-02").directory(&stage).join("ACMEweb"), &response).expect_end(0);
    assert_eq!(driver.saved("900-02"), ["remote"]);
    assert!(elsewhere.join("900-02/ACMEweb/undo.Z").is_file());
}

#[test]
fn what_cannot_be_saved_is_not_replaced() {
    for pair in interpreters("what_cannot_be_saved_is_not_replaced") {
        let stage = Scenario::with(&[base()]);
        let before = stage.tree();
        let driver = ScriptDriver::new(&stage, &pair);
        driver.tool("pkgmk", "#!/bin/sh\nexit 1\n");
        let failed = driver.apply(&patch("900-01").directory(&stage).join("ACMEweb"), "");
        assert!(failed.code == 1 && failed.said.contains("PaTcH_MsG 4 "), "{}", failed.said);
        assert_same(&stage.tree(), &before);
        let left = fs::read_dir(stage.at("/var/sadm/pkg/ACMEweb/save")).unwrap();
        let left: Vec<_> =
            left.map(|entry| entry.unwrap().file_name()).filter(|name| name != "pspool").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn what_an_interrupted_run_has_saved_is_kept(pair: &Interpreters) {
    let stage = Scenario::with(&[base()]);
    let before = stage.tree();
    let driver = ScriptDriver::new(&stage, pair);
    let delivered = patch("900-01").directory(&stage).join("ACMEweb");
    driver.apply_without_postinstall(&delivered, "");
    let refused = driver.apply(&delivered, "");
    assert!(refused.code == 1 && refused.said.contains("is there from an earlier run"), "{}", refused.said);
    driver.apply(&delivered, "INTERRUPTION=yes\n").expect_end(0);
    driver.back_out("900-01").expect_end(0);
    assert_same(&stage.tree(), &before);
}

#[test]
fn a_file_that_cannot_be_put_in_place_ends_the_class_action_script() {
    for pair in interpreters("a_file_that_cannot_be_put_in_place_ends_the_class_action_script") {
        let stage = Scenario::with(&[base()]);
        let driver = ScriptDriver::new(&stage, &pair);
        let script = stage.beside("i.none");
        fs::write(&script, of_patch(["none"])["i.none"]).unwrap();
        let text = |name: &str| stage.beside(name).display().to_string();
        fs::create_dir_all(stage.beside("from/a b")).unwrap();
        fs::create_dir_all(stage.beside("to/a b")).unwrap();
        fs::write(stage.beside("from/a b/c\\d 'e"), "blank\n").unwrap();
        let list = format!("/dev/null /nowhere\n{}/a b/c\\d 'e {}/a b/c\\d 'e\n", text("from"), text("to"));
        driver.run_class(&script, &list).expect_end(0);
        assert_eq!(fs::read_to_string(stage.beside("to/a b/c\\d 'e")).unwrap(), "blank\n");
        let missing = driver.run_class(&script, &format!("{} {}\n", text("nothing"), text("to/x")));
        assert_eq!(missing.code, 1, "{}", missing.said);
        let over = driver.run_class(&script, &format!("{} {}\n", text("i.none"), text("to")));
        assert!(over.code == 1 && over.said.contains("is a directory"), "{}", over.said);
        assert_eq!(fs::read_dir(stage.beside("to")).unwrap().count(), 1, "nothing else is left");
    }
}

#[test]
fn whatever_stands_against_a_patch_is_told_with_the_code_of_patchadd() {
    for pair in interpreters("whatever_stands_against_a_patch_is_told_with_the_code_of_patchadd") {
        let stage = Scenario::with(&[base(), Package::new("ACMElib")]);
        let driver = ScriptDriver::new(&stage, &pair);
        let said = |own: &str, other: &str, params: &[(&str, &str)]| {
            driver.set_parameters("ACMEweb", own);
            driver.set_parameters("ACMElib", other);
            let told = params.iter().fold(patch("900-02"), |patch, (name, value)| patch.says(name, value));
            let checked = driver.check(&told.directory(&stage).join("ACMEweb"), "");
            checked.said.split(' ').nth(1).unwrap_or("0").to_owned()
        };
        let info = "PATCH_INFO_700-03=Installed: x From: y Obsoletes: 650-04 Requires: Incompatibles: 900-02";
        assert_eq!(said("", "", &[]), "0");
        assert_eq!(said("PATCHLIST=900-02", "", &[]), "2");
        assert_eq!(said("PATCHLIST=900-002", "", &[]), "2", "leading zeros");
        assert_eq!(said("PATCHLIST=1-1 900-10", "", &[]), "1");
        assert_eq!(said("PATCHLIST=900-1 9900-10", "", &[]), "0");
        assert_eq!(said("", "PATCH_OBSOLETES=900-03@1", &[]), "6");
        assert_eq!(said("PATCHLIST=IDR12-01", "", &[]), "23");
        assert_eq!(said("", "PATCHLIST=IDR12-01", &[]), "0", "of another package");
        assert_eq!(said("", "", &[("SUNW_REQUIRES", "650-03")]), "25");
        assert_eq!(said("", "PATCHLIST=650-04", &[("SUNW_REQUIRES", "650-03")]), "0");
        assert_eq!(said("", "PATCH_OBSOLETES=650-04@1", &[("SUNW_REQUIRES", "650-03")]), "0");
        assert_eq!(said("", "PATCHLIST=2-2", &[("SUNW_REQUIRES", "( 1-1 | 2-1 )")]), "0");
        assert_eq!(said("", "PATCHLIST=3-2", &[("SUNW_REQUIRES", "(1-1|2-1)")]), "25");
        assert_eq!(said("", "PATCHLIST=5-02", &[("SUNW_INCOMPAT", "5-2")]), "24");
        assert_eq!(said("", "PATCHLIST=5-02 5-3", &[("SUNW_INCOMPAT", "5-2")]), "0", "a later revision");
        assert_eq!(said("", "PATCHLIST=5-02 5-3", &[("SUNW_INCOMPAT", "5-00")]), "24");
        assert_eq!(said("", &format!("PATCHLIST=700-03\n{info}"), &[]), "24", "it is named by the other");
        assert_eq!(said("", &format!("PATCHLIST=700-04 700-03\n{info}"), &[]), "0");
    }
}

#[test]
fn lists_are_computed_as_the_program_does_it() {
    for pair in interpreters("lists_are_computed_as_the_program_does_it") {
        let stage = Scenario::with(&[base()]);
        let driver = ScriptDriver::new(&stage, &pair);
        driver.set_parameters("ACMEweb", "PATCHLIST=100-01 200-01\nPATCH_OBSOLETES=100-01@1 101-03@1");
        let patch =
            patch("300-02").says("SUNW_OBSOLETES", "100-1, 200-01 200-1").says("SUNW_INCOMPAT", "7-1");
        let delivered = patch.directory(&stage).join("ACMEweb");
        let checked = driver.check(&delivered, "PATCH_UNCONDITIONAL=false");
        checked.expect_end(0);
        let lines: Vec<&str> = checked.added.lines().skip_while(|line| line.is_empty()).collect();
        assert_eq!(
            lines[..3],
            [
                "Patch_label=300-02",
                "PATCHLIST=100-01 200-01 300-02",
                "PATCH_OBSOLETES=100-01@2 101-03@1 200-01@1"
            ]
        );
        assert!(lines[3].starts_with("PATCH_INFO_300-02=Installed: "), "{}", lines[3]);
        assert!(lines[3].ends_with(" Obsoletes: 100-1 200-01 Requires: Incompatibles: 7-1"), "{}", lines[3]);
        assert_eq!(lines[4], "ACTIVE_OBSOLETES=100-1 200-01");
        // The record in `contents` of an object that the patch records differently.
        assert_eq!(lines[5], "PATCH_FORMER=10:f:none:");
        assert_eq!(lines[6], format!("SCRIPTS_DIR={}/install", delivered.display()));
        assert_eq!(lines.len(), 7);
    }
}

/// The scripts as files, to be read by tools.
fn written() -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = crate::scenario::directory();
    let mut scripts = of_patch(["none"]);
    scripts.insert("undo_class".to_owned(), UNDO_CLASS);
    let write = |(name, text): (String, &str)| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let paths = scripts.into_iter().map(write).collect();
    (dir, paths)
}

#[test]
fn the_tools_for_scripts_find_nothing() {
    let (_dir, paths) = written();
    for tool in [&["shellcheck", "-s", "sh"][..], &["checkbashisms", "-p"]] {
        let checked = Command::new(tool[0]).args(&tool[1..]).args(&paths).stdin(Stdio::null()).output();
        let Ok(checked) = checked else {
            crate::missing(tool[0], "the_tools_for_scripts_find_nothing");
            continue;
        };
        let said = [checked.stdout, checked.stderr].concat();
        assert!(checked.status.success(), "{tool:?}: {}", String::from_utf8_lossy(&said));
    }
}
