//! `pkgadd --update` replaces a package with another version, older or newer, in one run.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use crate::delivery::Patch;
use crate::everyman::{as_ordinary_user, ordinary_ids};
use crate::packages::{Package, datastream};
use crate::procedure_scripts::NOCHECK;
use crate::records::{Before, records};
use crate::scenario::{Run, Scenario};
use crate::tree::assert_same;

/// The first version of a package: an object that stays, one that changes, and many that only this version has.
fn first() -> Package {
    Package::new("ACMEfoo")
        .directory("bin")
        .directory("old")
        .directory("old/deep")
        .file("bin/tool", 0o755, "tool 1\n")
        .file("bin/same", 0o755, "the same\n")
        .file("old/deep/file", 0o644, "old\n")
        .file("turns", 0o644, "a file\n")
        .file("back/inside", 0o644, "inside\n")
        .link("bin/again", "tool")
        .symlink("current", "old")
        .content('e', "etc/conf", 0o644, "root root", 1_000_000_000, "colour=red\n")
        .information("copyright", "Copyright 2020 Acme\n")
        .information("space", "/opt 100 1\n")
}

fn second() -> Package {
    Package::new("ACMEfoo")
        .param("VERSION", "2.0")
        .directory("bin")
        .file("bin/tool", 0o755, "tool 2\n")
        .file("bin/same", 0o755, "the same\n")
        .file("bin/added", 0o755, "added\n")
        .directory("turns")
        .file("turns/leaf", 0o644, "leaf\n")
        .file("back", 0o644, "a file now\n")
        .symlink("current", "new")
        .content('e', "etc/conf", 0o644, "root root", 1_100_000_000, "colour=blue\n")
        .information("copyright", "Copyright 2026 Acme\n")
}

/// Updates to another version of a package, written into a spool directory of its own.
fn update(stage: &Scenario, options: &str, package: &Package) -> Run {
    let spool = stage.beside("updates");
    let _ = fs::remove_dir_all(&spool);
    let written = package.write(&spool);
    let name = written.file_name().unwrap().to_str().unwrap();
    stage.run(&format!("pkgadd -n -R @ROOT@ -d {} --update {options} {name}", spool.display()))
}

/// Updates successfully, and returns the output.
#[track_caller]
fn updated(stage: &Scenario, options: &str, package: &Package) -> String {
    let run = update(stage, options, package);
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stderr
}

/// The option for an admin file with these lines.
fn admin(stage: &Scenario, lines: &str) -> String {
    let file = stage.beside("admin");
    fs::write(&file, format!("instance=unique\nbasedir=default\naction=nocheck\n{lines}\n")).unwrap();
    format!("-a {}", file.display())
}

/// The records of a root without the times at which they were written and without `UPDATE`, which only an update leaves.
fn untimed_records(stage: &Scenario) -> BTreeMap<String, String> {
    let untimed = |record: String| {
        let mut columns: Vec<&str> = record.split('\t').collect();
        if let Some(mtime) = columns.get_mut(6) {
            *mtime = "";
        }
        columns.join("\t").replace("\nUPDATE=yes\n", "\n")
    };
    records(&stage.root()).into_iter().map(|(path, record)| (path, untimed(record))).collect()
}

#[test]
fn another_version_leaves_what_it_would_leave_on_an_empty_root() {
    for (from, to) in [(first(), second()), (second(), first())] {
        let stage = Scenario::with(&[from]);
        let said = update(&stage, "", &to);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(said.stderr.ends_with("\nInstallation of <ACMEfoo> was successful.\n"), "{}", said.stderr);
        assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
        stage.run("check --contents -R @ROOT@").ok();
        let fresh = Scenario::with(&[to]);
        assert_same(&stage.tree(), &fresh.tree());
        assert_eq!(stage.lines(), fresh.lines());
        assert_eq!(untimed_records(&stage), untimed_records(&fresh));
        assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEfoo UPDATE").ok(), "yes\n");
    }
}

#[test]
fn a_version_and_back_again_leaves_the_first_one() {
    let stage = Scenario::with(&[first()]);
    let all = |stage: &Scenario| (stage.tree(), stage.lines(), untimed_records(stage));
    let before = all(&stage);
    let said = update(&stage, "", &second()).stderr;
    assert!(said.contains("NOTE: package ACMEfoo: version 1.0 is replaced by 2.0\n"), "{said}");
    assert!(!stage.at("/opt/ACMEfoo/old").exists());
    let said = update(&stage, "", &first()).stderr;
    assert!(said.contains("NOTE: package ACMEfoo: version 2.0 is replaced by 1.0\n"), "{said}");
    assert_eq!(all(&stage), before);
}

#[test]
fn parameters_are_those_of_the_new_version_and_the_place_stays() {
    let stage = Scenario::new();
    stage.install(&first().param("BASEDIR", "/srv/foo").param("VENDOR", "Acme").param("OLD_WORD", "1"));
    updated(&stage, "", &second().param("NEW_WORD", "2"));
    let pkginfo = stage.text("/var/sadm/pkg/ACMEfoo/pkginfo");
    assert!(pkginfo.contains("BASEDIR=/srv/foo\n") && pkginfo.contains("NEW_WORD=2\n"), "{pkginfo}");
    assert!(!pkginfo.contains("OLD_WORD") && !pkginfo.contains("VENDOR"), "{pkginfo}");
    assert_eq!(stage.text("/srv/foo/bin/tool"), "tool 2\n");
    assert!(!stage.at("/opt/ACMEfoo").exists());
}

#[test]
fn what_others_own_too_stays_theirs() {
    let other = Package::new("ACMEbar")
        .param("BASEDIR", "/opt/ACMEfoo")
        .directory("old")
        .directory("old/deep")
        .file("old/deep/file", 0o644, "old\n")
        .file("bin/bar", 0o755, "bar\n");
    let stage = Scenario::with(&[first(), other]);
    updated(&stage, "", &second());
    let lines = stage.lines();
    for line in [
        "/opt/ACMEfoo/old d none 0755 root root ACMEbar",
        "/opt/ACMEfoo/old/deep d none 0755 root root ACMEbar",
        "/opt/ACMEfoo/bin/bar f none 0755 root root 4 319 1577836800 ACMEbar",
    ] {
        assert!(lines.iter().any(|known| known == line), "{line}: {lines:#?}");
    }
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("/opt/ACMEfoo/old/deep/file f") && line.ends_with(" ACMEbar"))
    );
    assert_eq!(stage.text("/opt/ACMEfoo/old/deep/file"), "old\n");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_directory_with_something_of_somebody_in_it_stays() {
    let stage = Scenario::with(&[first()]);
    stage.file("/opt/ACMEfoo/old/mine", "mine\n");
    updated(&stage, "", &second());
    assert_eq!(stage.text("/opt/ACMEfoo/old/mine"), "mine\n");
    assert!(!stage.at("/opt/ACMEfoo/old/deep").exists());
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn what_somebody_wrote_is_kept_under_another_name() {
    let stage = Scenario::with(&[first()]);
    stage.file("/opt/ACMEfoo/etc/conf", "colour=mine\n");
    stage.file("/opt/ACMEfoo/old/deep/file", "mine too\n");
    let said = update(&stage, "", &second());
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(stage.text("/opt/ACMEfoo/etc/conf"), "colour=blue\n");
    assert_eq!(stage.text("/opt/ACMEfoo/etc/conf.edited-ACMEfoo"), "colour=mine\n");
    assert!(!stage.at("/opt/ACMEfoo/old/deep/file").exists());
    assert_eq!(stage.text("/opt/ACMEfoo/old/deep/file.edited-ACMEfoo"), "mine too\n");
    let kept = "/opt/ACMEfoo/old/deep/file was edited; the run keeps the edited version as";
    assert!(said.stderr.contains(kept), "{}", said.stderr);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_place_that_has_another_path_in_the_new_version_is_not_taken_away() {
    let stage = Scenario::new();
    stage.directory("/usr/lib");
    stage.symlink("/lib", "usr/lib");
    let package = |version: &str, path: &str| {
        Package::new("ACMEfoo").param("BASEDIR", "/").param("VERSION", version).file(path, 0o644, version)
    };
    stage.install(&package("1.0", "/lib/foo"));
    updated(&stage, "", &package("2.0", "/usr/lib/foo"));
    assert_eq!(stage.text("/usr/lib/foo"), "2.0");
    let lines = stage.lines();
    assert!(!lines.iter().any(|line| line.starts_with("/lib/foo")), "{lines:#?}");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn patches_of_the_old_version_go_with_it_and_are_named() {
    let bar = || Package::new("ACMEbar").file("bar", 0o644, "bar 1\n");
    let patched = |id: &str, text: &str| Patch::of(id, Package::new("ACMEfoo").file("bin/tool", 0o755, text));
    let stage = Scenario::with(&[first(), bar()]);
    stage.patchadd("", &patched("100-01", "patched\n").package(bar().file("bar", 0o644, "bar 2\n"))).ok();
    stage.patchadd("", &patched("200-01", "patched again\n")).ok();
    let said = update(&stage, "", &second());
    assert_eq!(said.code, 0, "{}", said.stderr);
    for note in [
        "NOTE: patches are applied to package ACMEfoo and are removed with it: 100-01 200-01\n",
        "NOTE: other packages keep their parts of 100-01\n",
    ] {
        assert!(said.stderr.contains(note), "{}", said.stderr);
    }
    let pkginfo = stage.text("/var/sadm/pkg/ACMEfoo/pkginfo");
    assert!(!pkginfo.contains("PATCH"), "{pkginfo}");
    assert!(!stage.at("/var/sadm/pkg/ACMEfoo/save/100-01").exists());
    assert!(!stage.at("/var/sadm/pkg/ACMEfoo/save/200-01").exists());
    assert!(stage.at("/var/sadm/patch/100-01").exists() && !stage.at("/var/sadm/patch/200-01").exists());
    assert_eq!(stage.text("/opt/ACMEfoo/bin/tool"), "tool 2\n");
    let said = stage.run("patchrm -R @ROOT@ 200-01").fails(2);
    assert!(said.contains("200-01"), "{said}");
    stage.run("check --contents -R @ROOT@").ok();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/opt/ACMEbar/bar"), "bar 1\n");
    assert_eq!(stage.text("/opt/ACMEfoo/bin/tool"), "tool 2\n");
    let fresh = Scenario::with(&[second(), bar()]);
    assert_same(&stage.tree(), &fresh.tree());
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn the_new_version_can_be_patched_and_the_patch_backed_out() {
    let patch = |version: &str| {
        Patch::of(
            "100-01",
            Package::new("ACMEfoo").param("VERSION", version).file("bin/tool", 0o755, "patched\n"),
        )
    };
    let stage = Scenario::with(&[first()]);
    stage.patchadd("", &patch("1.0")).ok();
    updated(&stage, "", &second());
    let before = Before::of(&stage);
    fs::remove_dir_all(stage.beside("delivered")).ok();
    stage.patchadd("", &patch("2.0")).ok();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "the updated package");
}

/// Asserts that an update is refused with 4 and changes nothing, and returns the message.
#[track_caller]
fn refused(stage: &Scenario, options: &str, package: &Package) -> String {
    let before = stage.everything();
    let said = update(stage, options, package).fails(4);
    assert_same(&stage.everything(), &before);
    said
}

#[test]
fn only_one_installed_instance_of_the_architecture_is_updated() {
    let stage = Scenario::with(&[first()]);
    let said = refused(&stage, "", &second().param("ARCH", "sparc"));
    assert!(said.contains("no instance of ACMEfoo for sparc is installed, but ACMEfoo (i386) 1.0"), "{said}");
    let said = refused(&stage, "", &Package::new("ACMEbar").file("bar", 0o644, "bar\n"));
    assert!(
        said.contains("package ACMEbar is not installed, and only installed packages are updated"),
        "{said}"
    );
    let several = |version: &str| {
        Package::new("ACMEmany").param("MAXINST", "3").param("VERSION", version).file(version, 0o644, "x\n")
    };
    stage.install(&several("1.0"));
    stage.install(&several("2.0"));
    let said = refused(&stage, "", &several("3.0"));
    assert!(said.contains("several instances of ACMEmany are installed: ACMEmany, ACMEmany.2"), "{said}");
    stage.install(&several("4.0").param("ARCH", "sparc"));
    let sparc = several("5.0").param("ARCH", "sparc");
    updated(&stage, "", &sparc);
    let names = stage.run("pkginfo -x -R @ROOT@ ACMEmany.*").ok();
    assert!(
        names.contains("(sparc) 5.0") && !names.contains("4.0") && names.contains("(i386) 2.0"),
        "{names}"
    );
    let file = admin(&stage, "");
    fs::write(stage.beside("admin"), "instance=quit\nbasedir=default\n").unwrap();
    let said = refused(&stage, &file, &second());
    assert!(said.contains("ACMEfoo is installed already"), "{said}");
}

#[test]
fn on_a_root_without_a_database_nothing_is_made() {
    let stage = Scenario::bare();
    let before = stage.everything();
    update(&stage, "", &second()).fails(4);
    assert_same(&stage.everything(), &before);
}

#[test]
fn the_same_version_is_installed_over_as_without_the_option() {
    let again = || first().file("bin/tool", 0o755, "tool 1 again\n");
    let (with, without) = (Scenario::with(&[first()]), Scenario::with(&[first()]));
    for stage in [&with, &without] {
        stage.file("/opt/ACMEfoo/old/deep/file", "mine\n");
        fs::remove_file(stage.at("/opt/ACMEfoo/bin/same")).unwrap();
    }
    let said = update(&with, "", &again());
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("same architecture and version"), "{}", said.stderr);
    without.install(&again());
    assert_same(&with.tree(), &without.tree());
    assert_eq!(with.lines(), without.lines());
    let patch = Patch::of("100-01", Package::new("ACMEfoo").file("bin/tool", 0o755, "patched\n"));
    with.patchadd("", &patch).ok();
    let before = with.everything();
    let said = update(&with, "", &again());
    assert!(said.code != 0 && said.stderr.contains("100-01"), "{}", said.stderr);
    assert_same(&with.everything(), &before);
}

#[test]
fn without_the_option_another_version_goes_over_or_beside_as_ever() {
    let stage = Scenario::with(&[first()]);
    let spool = stage.beside("other");
    let small = || {
        let small = Package::new("ACMEfoo").param("VERSION", "2.0").param("MAXINST", "2");
        small.file("bin/tool", 0o755, "tool 2\n")
    };
    let line = |options: &str| format!("pkgadd -n -R @ROOT@ -d {} {options} ACMEfoo", spool.display());
    small().param("BASEDIR", "/opt/two").write(&spool);
    assert_eq!(stage.run(&line("")).code, 0);
    assert!(stage.at("/var/sadm/pkg/ACMEfoo.2/pkginfo").exists() && stage.at("/opt/two/bin/tool").exists());
    assert_eq!(stage.text("/opt/ACMEfoo/bin/tool"), "tool 1\n");
    assert_eq!(stage.run("pkgrm -n -R @ROOT@ ACMEfoo.2").code, 0);
    small().write(&spool);
    fs::write(stage.beside("overwrite"), NOCHECK.replace("unique", "overwrite")).unwrap();
    let overwrite = format!("-a {}", stage.beside("overwrite").display());
    assert_eq!(stage.run(&line(&overwrite)).code, 0);
    assert_eq!(stage.text("/opt/ACMEfoo/bin/tool"), "tool 2\n");
    assert_eq!(stage.text("/opt/ACMEfoo/old/deep/file"), "old\n");
    assert!(stage.lines().iter().any(|line| line.starts_with("/opt/ACMEfoo/old/deep/file f ")));
}

#[test]
fn who_needs_the_old_version_is_asked_about_by_rdepend() {
    let needs =
        |depend: &str| Package::new("ACMEneeds").file("n", 0o644, "n\n").information("depend", depend);
    let stage = Scenario::with(&[first(), needs("P ACMEfoo Foo\n\t(i386) 1.0\n")]);
    let run = update(&stage, "", &second());
    assert!(run.fails(5).contains("package ACMEneeds needs ACMEfoo (i386) 1.0"));
    let said = refused(&stage, &admin(&stage, "rdepend=quit"), &second());
    assert!(said.contains("package ACMEneeds needs ACMEfoo (i386) 1.0"), "{said}");
    updated(&stage, &admin(&stage, "rdepend=nocheck"), &second());
    for depend in ["P ACMEfoo Foo\n", "P ACMEfoo Foo\n\t(i386) 1.0\n\t(i386) 2.0\n", "I ACMEfoo Foo\n\t2.0\n"]
    {
        let stage = Scenario::with(&[first(), needs(depend)]);
        updated(&stage, &admin(&stage, "rdepend=quit"), &second());
    }
}

#[test]
fn several_packages_of_a_datastream_are_updated_and_each_ends_for_itself() {
    let bar = |version: &str| Package::new("ACMEbar").param("VERSION", version).file("bar", 0o644, version);
    let stage = Scenario::with(&[first(), bar("1.0")]);
    let spool = stage.beside("updates");
    let packages = [
        second().write(&spool),
        bar("2.0").write(&spool),
        Package::new("ACMEnew").file("n", 0o644, "").write(&spool),
    ];
    let stream = stage.beside("stream");
    datastream(&packages, &stream);
    let run = stage.run(&format!("pkgadd -n -R @ROOT@ -d {} --update all", stream.display()));
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert_eq!(
        (stage.text("/opt/ACMEbar/bar"), stage.text("/opt/ACMEfoo/bin/tool")),
        ("2.0".into(), "tool 2\n".into())
    );
    assert!(
        run.stderr.contains("Installation of <ACMEnew> was suspended (administration)."),
        "{}",
        run.stderr
    );
    assert!(!stage.at("/var/sadm/pkg/ACMEnew").exists());
}

#[test]
fn the_document_names_what_is_replaced_and_history_has_one_run() {
    let stage = Scenario::with(&[first()]);
    let patch = Patch::of("100-01", Package::new("ACMEfoo").file("bin/tool", 0o755, "patched\n"));
    stage.patchadd("", &patch).ok();
    let runs = || fs::read_to_string(stage.at("/var/sadm/patchadm/history")).unwrap().lines().count();
    let before = runs();
    let document: Value = serde_json::from_str(&update(&stage, "--json", &second()).ok()).unwrap();
    let notes = document["packages"][0]["notes"].to_string();
    assert!(
        notes.contains("version 1.0 is replaced by 2.0") && notes.contains("are removed with it: 100-01"),
        "{notes}"
    );
    assert_eq!(runs(), before + 1);
    let log = stage.text("/var/sadm/patchadm/log");
    assert!(log.contains("/opt/ACMEfoo/old/deep/file <removed>\n"), "{log}");
}

#[test]
fn undo_says_how_to_go_back() {
    let stage = Scenario::with(&[first()]);
    updated(&stage, "", &second());
    let said = stage.run("undo -R @ROOT@").fails(3);
    assert!(said.contains("it is a run of pkgadd"), "{said}");
    assert!(said.contains("reinstall that version with `patchadm pkgadd -R"), "{said}");
    assert!(said.contains("--update -d DEVICE PKG`"), "{said}");
    updated(&stage, "", &first());
    assert_eq!(stage.text("/opt/ACMEfoo/bin/tool"), "tool 1\n");
}

#[test]
fn an_adopted_package_is_left_to_the_package_manager_that_has_it() {
    let stage = Scenario::with(&[first().param("PATCHADM_ADOPTED", "dpkg foo:amd64")]);
    let before = stage.everything();
    let run = update(&stage, "", &second());
    assert!(run.code != 0, "{}", run.stderr);
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_tree_of_an_ordinary_user_is_updated_by_its_owner() {
    let stage = Scenario::with(&[first()]);
    let spool = stage.beside("updates");
    second().write(&spool);
    let line = format!("pkgadd -n -R @ROOT@ -d {} --update ACMEfoo", spool.display());
    let run = as_ordinary_user(&stage, &line, &[&stage.root(), &spool]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(stage.text("/opt/ACMEfoo/bin/tool"), "tool 2\n");
    assert!(!stage.at("/opt/ACMEfoo/old").exists());
    let owner = ordinary_ids(&stage);
    let added = fs::metadata(stage.at("/opt/ACMEfoo/bin/added")).unwrap();
    assert_eq!((added.uid(), added.gid()), owner);
}

#[test]
fn a_package_that_is_only_partly_there_is_whole_afterwards() {
    let stage = Scenario::with(&[first()]);
    stage.file("/var/sadm/pkg/ACMEfoo/!R-Lock!", "");
    let before = stage.everything();
    assert!(update(&stage, "", &second()).fails(5).contains("only partially installed"));
    assert_same(&stage.everything(), &before);
    updated(&stage, &admin(&stage, "partial=nocheck"), &second());
    assert!(!stage.at("/var/sadm/pkg/ACMEfoo/!R-Lock!").exists());
    let listing = stage.run("pkginfo -l -R @ROOT@ ACMEfoo").ok();
    assert!(listing.contains("STATUS:  completely installed"), "{listing}");
}
