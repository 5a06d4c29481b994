//! From the released set to the newest one: a patch for each source whose bytes changed, applied and backed out
//! before release.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{BulkBuild, BulkRun, everybody, mark};
use crate::records::Before;
use crate::scenario::{ADMIN, Run, Scenario, is_root};
use crate::tree::{Tree, assert_same};

/// Parts of the sample tree that these stories do without.
pub(super) const LEFT_OUT: [&str; 6] =
    ["chain/chain", "chain/libfive", "chain/libfour", "diamond", "static", "tools"];

/// A class action script that cannot install over an existing file.
pub(super) const ONCE_ONLY: &str = "#!/bin/sh\nwhile read source target; do\n\
    if [ -e \"$target\" ]; then echo \"$target is there already\"; exit 1; fi\n\
    cp \"$source\" \"$target\"\ndone\nexit 0\n";

/// A bulk build of the chain of libraries and of the service, with the set of its first run released.
fn released(test: &str, is_ordinary: bool, settings: &str) -> Option<BulkBuild> {
    let settings = format!("slot=local 2\ncheck=none\n{settings}");
    let build = BulkBuild::of_sample(test, is_ordinary, &settings)?;
    for part in LEFT_OUT {
        fs::remove_dir_all(build.tree().join(part)).unwrap();
    }
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    Some(build)
}

/// Makes patches; returns the exit code and the document.
pub(super) fn patches(build: &BulkBuild, options: &str) -> (i32, Value) {
    let run = build.action(&format!("patches @WORK@ {options} --json"));
    let document = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"));
    (run.code, document)
}

/// The sources of a document, one line each: `chain_libone built chain_libone-01`.
pub(super) fn told(document: &Value) -> Vec<String> {
    let word = |source: &Value, name: &str| source[name].as_str().unwrap_or("-").to_owned();
    let sources = document["sources"].as_array().unwrap_or_else(|| panic!("{document:#}"));
    let line = |source: &Value| {
        format!("{} {} {}", word(source, "source"), word(source, "state"), word(source, "id"))
    };
    sources.iter().map(line).collect()
}

/// The sources of a document that are not unchanged.
fn changed(document: &Value) -> Vec<String> {
    told(document).into_iter().filter(|line| !line.ends_with("unchanged -")).collect()
}

pub(super) fn patch_file(build: &BulkBuild, id: &str) -> PathBuf {
    build.work().join(format!("patches/patches/{id}.tar.gz"))
}

/// A root with the packages of a set.
fn root_of(build: &BulkBuild, set: u64) -> Scenario {
    let stage = Scenario::new();
    fs::write(stage.beside("admin"), ADMIN).unwrap();
    let packages = fs::read_dir(build.work().join(format!("sets/{set}/packages"))).unwrap();
    let mut packages: Vec<PathBuf> = packages.map(|entry| entry.unwrap().path()).collect();
    packages.sort();
    for package in packages {
        let admin = stage.beside("admin");
        let line = format!("pkgadd -n -R @ROOT@ -a {} -d {} all", admin.display(), package.display());
        let installed = stage.run(&line);
        assert_eq!(installed.code, 0, "{line}\n{installed:?}");
    }
    stage
}

/// The installed objects, except for a file that a package script wrote: it has the time of its installation.
fn software(stage: &Scenario) -> Tree {
    Tree::of(&stage.root(), &["var/sadm", "opt/bulk/var/marker/installed"])
}

fn add(stage: &Scenario, build: &BulkBuild, options: &str, ids: &[&str]) -> Run {
    let files: Vec<String> = ids.iter().map(|id| patch_file(build, id).display().to_string()).collect();
    stage.run(&format!("add -R @ROOT@ {options} {}", files.join(" ")))
}

#[test]
fn each_source_whose_bytes_changed_gets_a_patch_that_was_applied_and_backed_out() {
    each_source_gets_a_patch(false);
}

#[test]
fn each_source_whose_bytes_changed_gets_a_patch_of_an_ordinary_user_too() {
    each_source_gets_a_patch(true);
}

fn each_source_gets_a_patch(is_ordinary: bool) {
    if !everybody().contains(&is_ordinary) {
        return;
    }
    let mark = mark();
    let settings = format!("env=MARK={mark}\n");
    let Some(build) = released("each_source_whose_bytes…", is_ordinary, &settings) else { return };
    build.change("chain/libone/src/one.c", (" libone %s", " the library libone %s"));
    build.change("service/settings/make-package", ("greeting=hello", "greeting=good morning"));
    build.run("").ends(0);

    let (code, planned) = patches(&build, "--dry-run");
    let expected = ["chain_libone built chain_libone-01", "service_settings built service_settings-01"];
    assert_eq!((code, changed(&planned)), (0, expected.map(str::to_owned).to_vec()), "{planned:#}");
    assert!(!build.work().join("patches").exists());

    let (code, made) = patches(&build, "");
    assert_eq!((code, changed(&made)), (0, expected.map(str::to_owned).to_vec()), "{made:#}");
    assert_eq!(
        (&made["takes_away"], &made["published"], &made["refused"]),
        (&json!([]), &json!(null), &json!(null))
    );
    assert_eq!((&made["built"], &made["to_sign"]), (&json!(2), &json!(2)));
    build.assert_nothing_left(&mark);
    let log = fs::read_to_string(build.work().join("patches/logs/chain_libone-01.log")).unwrap();
    assert!(
        log.contains("==> patchadm add /packages/") && log.contains("==> patchadm remove chain_libone-01"),
        "{log}"
    );

    let (code, kept) = patches(&build, "");
    let lines = expected.map(|line| line.replace("built", "kept")).to_vec();
    assert_eq!((code, changed(&kept)), (0, lines), "{kept:#}");
    if is_ordinary != is_root() {
        assert_patches_lead_to_the_newest_set(&build, &["chain_libone-01", "service_settings-01"]);
    }
}

/// Asserts that the patches lead from the released set to the newest one, all at once and one by one, and back.
fn assert_patches_lead_to_the_newest_set(build: &BulkBuild, ids: &[&str]) {
    let (stage, newest) = (root_of(build, 1), software(&root_of(build, 2)));
    let before = Before::of(&stage);
    add(&stage, build, "", ids).ok();
    assert_same(&software(&stage), &newest);
    stage.run(&format!("remove -R @ROOT@ {}", ids.join(" "))).ok();
    before.assert_again(&stage, "all at once");
    for id in ids {
        add(&stage, build, "", &[id]).ok();
    }
    assert_same(&software(&stage), &newest);
    for id in ids {
        stage.run(&format!("remove -R @ROOT@ {id}")).ok();
    }
    before.assert_again(&stage, "one by one");
}

#[test]
fn without_a_released_set_there_are_no_patches() {
    let Some(build) = BulkBuild::of_recipes("without_a_released…", !is_root(), "") else { return };
    build.recipe("one", "", "echo 1 > \"$DESTDIR/one\"\n");
    build.run("").ends(0);
    let said = build.action("patches @WORK@").fails(3);
    assert!(said.contains("no set is released") && said.contains("no patch was made"), "{said}");
    build.action("release @WORK@ 1").ok();
    let (code, made) = patches(&build, "");
    assert_eq!((code, told(&made)), (0, vec!["one unchanged -".to_owned()]));
}

#[test]
fn a_patch_that_fails_its_trial_is_none_and_uses_up_no_revision() {
    let Some(build) = BulkBuild::of_recipes("a_patch_that_fails…", !is_root(), "check=none\n") else {
        return;
    };
    let thing = "echo \"$TEXT\" > \"$DESTDIR/thing\"\n\
        printf 'f ours thing 0644 root root\\n' > \"$OUT/prototype\"\n\
        cp \"$TREE/thing/i.ours\" \"$OUT/i.ours\"\n";
    build.recipe("thing", "", &thing.replace("$TEXT", "one"));
    build.write("thing/i.ours", ONCE_ONLY);
    build.recipe("other", "", "echo 1 > \"$DESTDIR/other\"\n");
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    build.recipe("thing", "", &thing.replace("$TEXT", "two"));
    build.recipe("other", "", "echo 2 > \"$DESTDIR/other\"\n");
    build.run("").ends(0);

    let (code, made) = patches(&build, "");
    assert_eq!(
        (code, told(&made)),
        (5, vec!["other built other-01".to_owned(), "thing failed thing-01".to_owned()])
    );
    let failed = &made["sources"][1];
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.starts_with("its trial failed: it cannot be applied: add: exit "), "{reason}");
    let log = fs::read_to_string(build.work().join("patches/logs/thing-01.log")).unwrap();
    assert!(log.contains("is there already"), "{log}");
    assert!(!patch_file(&build, "thing-01").exists() && patch_file(&build, "other-01").exists());
    let handed = fs::read_to_string(build.work().join("patches/handover/LIST")).unwrap();
    assert_eq!(handed.lines().count(), 1, "{handed}");

    // Once repaired, it is the first revision.
    build.write("thing/i.ours", ONCE_ONLY.replace("exit 1", ":"));
    build.run("").ends(0);
    let (code, made) = patches(&build, "");
    assert_eq!(
        (code, told(&made)),
        (0, vec!["other kept other-01".to_owned(), "thing built thing-01".to_owned()])
    );
}

#[test]
fn a_run_ends_with_signed_patches_in_the_depot_and_a_root_takes_them_and_gives_them_back() {
    let test = "a_run_ends_with_signed…";
    let Some(build) = released(test, !is_root(), "depot=depot\n") else { return };
    let stage = root_of(&build, 1);
    stage.run("keygen -o own --no-password").ok();
    build.change("chain/libone/src/one.c", (" libone %s", " the library libone %s"));
    // Without a key, the patches wait for a signature.
    let waiting = build.run("").ends(0);
    assert_eq!(changed(&waiting.report["patches"]), ["chain_libone built chain_libone-01"]);
    assert_eq!(waiting.report["published"]["result"], "refused", "{:#}", waiting.report["published"]);
    assert!(!build.work().join("depot").exists());
    let key = fs::copy(stage.beside("own.sec"), build.work().join("own.sec"));
    assert!(key.is_ok());
    build.set("key=own.sec\n");
    build.change("service/settings/make-package", ("greeting=hello", "greeting=good morning"));
    let signed = build.run("").ends(0);
    assert_eq!(signed.report["published"]["result"], "done", "{:#}", signed.report);
    assert_eq!(signed.report["published"]["added"], json!(["chain_libone-01", "service_settings-01"]));
    let text = fs::read_to_string(build.work().join("runs/3/report.txt")).unwrap();
    assert!(text.contains("\nPatches\n  service_settings-01  service_settings  built: "), "{text}");

    let (before, newest) = (Before::of(&stage), software(&root_of(&build, 3)));
    fs::create_dir(stage.beside("keys")).unwrap();
    fs::copy(stage.beside("own.pub"), stage.beside("keys/own.pub")).unwrap();
    let depot = build.work().join("depot");
    let options = "--signature require --keys keys";
    stage.run(&format!("update -R @ROOT@ {options} -M {}", depot.display())).ok();
    assert_same(&software(&stage), &newest);
    stage.run("undo -R @ROOT@").ok();
    before.assert_again(&stage, "undo");
    let again: BulkRun = build.run("").ends(0);
    assert_eq!(again.report["published"]["result"], "nothing-to-do");
}

#[test]
fn a_library_with_a_new_name_goes_with_the_patches_of_its_users_or_is_kept() {
    let Some(build) = released("a_library_with_a_new_name…", !is_root(), "") else { return };
    build.change("chain/libone/src/Makefile", ("NAME = one\n", "NAME = one\nMAJOR = 2\n"));
    build.run("").ends(0);
    let (code, made) = patches(&build, "");
    let expected = ["chain_libone built chain_libone-01", "chain_libtwo built chain_libtwo-01"];
    assert_eq!((code, changed(&made)), (0, expected.map(str::to_owned).to_vec()), "{made:#}");
    let taken = json!([{ "id": "chain_libone-01", "library": "libone.so.1", "packages": ["libtwo-1.0"] }]);
    assert_eq!(made["takes_away"], taken);

    let (stage, newest) = (root_of(&build, 1), software(&root_of(&build, 2)));
    let before = Before::of(&stage);
    add(&stage, &build, "", &["chain_libtwo-01"]).fails(3);
    add(&stage, &build, "", &["chain_libone-01", "chain_libtwo-01"]).ok();
    assert_same(&software(&stage), &newest);
    stage.run("remove -R @ROOT@ chain_libtwo-01 chain_libone-01").ok();
    before.assert_again(&stage, "together");
    add(&stage, &build, "--libs keep", &["chain_libone-01"]).ok();
    add(&stage, &build, "", &["chain_libtwo-01"]).ok();

    // The users of the library change again: they require the revision that has it, not a later one.
    build.change("chain/libtwo/src/two.c", ("libtwo", "the library libtwo"));
    build.change("chain/libone/src/one.c", ("libone", "the library libone"));
    build.run("").ends(0);
    let (code, made) = patches(&build, "");
    let expected = ["chain_libone built chain_libone-02", "chain_libtwo built chain_libtwo-02"];
    assert_eq!((code, changed(&made)), (0, expected.map(str::to_owned).to_vec()), "{made:#}");
    let shown = stage.run(&format!("show --json {}", patch_file(&build, "chain_libtwo-02").display())).ok();
    assert!(shown.contains("chain_libone-01") && !shown.contains("chain_libone-02"), "{shown}");
}
