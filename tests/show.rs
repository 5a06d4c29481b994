//! `patchadm show`: everything about a patch, applied or delivered.

use std::fs;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::everyman::as_ordinary_user;
use crate::packages::Package;
use crate::scenario::Scenario;

const README: &str = "Patch-ID# 100-01\nSynopsis: web server: memory leak\nDate: Nov/20/26\n\
                      Install Requirements: Reboot after installing this patch\n";

fn stage() -> Scenario {
    let web = Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n").file("bin/old", 0o755, "old\n");
    let stage = Scenario::with(&[web]);
    let package = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "two\n")
        .file("bin/new", 0o755, "new\n")
        .deletes(&["bin/old"]);
    Patch::of("100-01", package)
        .says("SUNW_INCOMPAT", "999-01")
        .beside("README.100-01", README)
        .directory(&stage);
    stage
}

/// The output of `show`, without the size of the undo data.
fn shown(stage: &Scenario, words: &str) -> String {
    let text = stage.run(&format!("show -R @ROOT@ {words}")).ok();
    let line = |line: &str| match (line.split_once("Undo data: ACMEweb "), line.split_once("  Run: ")) {
        (Some((before, _)), _) => format!("{before}Undo data: ACMEweb SIZE\n"),
        (_, Some((before, _))) => format!("{before}  Run: RUN\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn everything_about_an_applied_patch_is_shown() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let expected = format!(
        "       Patch: 100-01
    Synopsis: web server: memory leak
       State: effective
     Applied: 2026-11-20 07:00
          On: {}
         Run: RUN
         Why: named by the user
    Packages: ACMEweb
Incompatible: 999-01
     Changed: 1 replaced, 1 added, 1 deleted
     Restart: Reboot this machine when convenient to put the patch into effect.
   Undo data: ACMEweb SIZE
     Removal: can probably be removed; `check --contents` verifies it
",
        host.trim()
    );
    assert_eq!(shown(&stage, "100-01"), expected);
    let objects = "ACMEweb:
  replaced   @ROOT@/opt/ACMEweb/bin/httpd
  added      @ROOT@/opt/ACMEweb/bin/new
  deleted    @ROOT@/opt/ACMEweb/bin/old
";
    assert_eq!(shown(&stage, "--files 100-01"), expected + objects);
    assert_eq!(stage.run("show -q -R @ROOT@ 100-01").ok(), "");

    let document: Value =
        serde_json::from_str(&stage.run("show --files --json -R @ROOT@ 100-01").ok()).unwrap();
    let patch = &document["answers"][0];
    assert_eq!(patch["date"], "2026-11-20T07:00:00+00:00");
    assert_eq!(patch["reboot"], "rebootafter");
    assert_eq!(patch["files"], json!({ "replaced": 1, "added": 1, "deleted": 1, "kept": 0 }));
    assert_eq!(patch["objects"][0]["objects"][2]["action"], "deleted");
    assert_eq!(patch["objects"][0]["objects"][2]["path"], "/opt/ACMEweb/bin/old");
    assert_eq!(patch["removable"], json!({ "now": true, "code": 0, "blocked_by": [], "reason": null }));
}

#[test]
fn the_patch_that_is_in_the_way_of_a_backout_is_named() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let later = Package::new("ACMEweb").of_class("none", 'e', "bin/httpd", 0o755, "three\n");
    stage.patchadd("", &Patch::of("200-01", later)).ok();
    let needs = Package::new("ACMEweb").file("bin/x", 0o755, "x\n");
    stage.patchadd("", &Patch::of("300-01", needs).says("SUNW_REQUIRES", "200-01")).ok();
    let list: Value = serde_json::from_str(&stage.run("list --json -R @ROOT@").ok()).unwrap();
    let verified: Value = serde_json::from_str(&stage.run("check --contents --json -R @ROOT@").ok()).unwrap();
    for (at, (id, code, by)) in
        [("100-01", 3, json!(["200-01"])), ("200-01", 3, json!(["300-01"])), ("300-01", 0, json!([]))]
            .into_iter()
            .enumerate()
    {
        let removable = &list["patches"][at]["removable"];
        assert_eq!((&removable["code"], &removable["blocked_by"]), (&code.into(), &by), "{id}");
        assert_eq!(removable, &verified["patches"][at]["removable"], "{id}: check says the same");
        let shown: Value =
            serde_json::from_str(&stage.run(&format!("show --json -R @ROOT@ {id}")).ok()).unwrap();
        assert_eq!(removable, &shown["answers"][0]["removable"], "{id}: show says the same");
        assert_eq!(stage.run(&format!("remove --dry-run -R @ROOT@ {id}")).code, code, "{id}: and remove");
    }
    let path = "@ROOT@/opt/ACMEweb/bin/httpd";
    let text = stage.run("show -R @ROOT@ 100-01").ok();
    let because = "it is a configuration file, and its change depends on the earlier content";
    let why =
        format!("cannot be removed: patch 200-01, which was applied later, also changes {path}: {because}");
    assert!(text.ends_with(&format!("     Removal: {why}\n")), "{text}");
}

#[test]
fn a_patchinfo_is_kept_and_asks_for_the_restart() {
    let stage = stage();
    let package = Package::new("ACMEweb").file("bin/x", 0o755, "x\n");
    let patch = Patch::of("200-01", package)
        .beside("patchinfo", "PATCHID=200-01\nPATCH_PROPERTIES='reconfigimmediate'\n");
    stage.patchadd("", &patch).fails(0);
    let text = stage.run("show -R @ROOT@ 200-01").ok();
    assert!(
        text.contains("     Restart: Do a reconfiguration reboot now to put the patch into effect.\n"),
        "{text}"
    );
    stage.run("remove -R @ROOT@ 200-01").ok();
    assert!(!stage.at("/var/sadm/patch/200-01").exists());
}

#[test]
fn a_patch_that_asks_for_nothing_says_so_and_one_without_files_says_nothing() {
    let stage = stage();
    stage.patchadd("", &Patch::of("200-01", Package::new("ACMEweb").file("bin/x", 0o755, "x\n"))).ok();
    assert!(stage.run("show -R @ROOT@ 200-01").ok().contains("     Restart: none needed\n"));
    fs::remove_dir_all(stage.at("/var/sadm/patch/200-01")).unwrap();
    let text = stage.run("show -R @ROOT@ 200-01").ok();
    assert!(!text.contains("Restart") && !text.contains("Synopsis"), "{text}");
}

#[test]
fn who_may_not_read_undo_data_is_shown_what_the_records_say() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let output = as_ordinary_user(&stage, "show -R @ROOT@ 100-01", &[]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    if fs::metadata(stage.beside("")).unwrap().permissions().readonly() || crate::scenario::is_root() {
        assert!(text.contains("     Changed: unknown: its undo data does not record it\n"), "{text}");
    }
    assert!(
        text.contains("     Removal: can probably be removed; `check --contents` verifies it\n"),
        "{text}"
    );
}

#[test]
fn a_delivered_patch_is_shown_with_its_objects_on_request() {
    let stage = stage();
    let text = stage.run("show -R @ROOT@ delivered/100-01").ok();
    assert_eq!(
        text,
        "       Patch: 100-01
    Synopsis: web server: memory leak
       State: delivered
    Packages: ACMEweb
         For: ACMEweb (i386) 1.0 (installed as ACMEweb)
Incompatible: 999-01
     Restart: Reboot this machine when convenient to put the patch into effect.
       Files: 2
     Deletes: 1
"
    );
    let more = stage.run("show --files -R @ROOT@ delivered/100-01").ok();
    assert!(more.starts_with(&text), "{more}");
    assert!(more.contains("  replaced   @ROOT@/opt/ACMEweb/bin/httpd\n"), "{more}");
    assert!(more.contains("  deleted    @ROOT@/opt/ACMEweb/bin/old\n"), "{more}");
}

#[test]
fn a_patch_for_another_version_is_refused_with_the_version_that_is_installed() {
    let stage = stage();
    let other = Package::new("ACMEweb").param("VERSION", "2.0").file("bin/httpd", 0o755, "two\n");
    let patch = Patch::of("200-01", other).package(Package::new("ACMEdb").file("bin/db", 0o755, "two\n"));
    patch.directory(&stage);
    let said = stage.run("add -R @ROOT@ delivered/200-01").fails(3);
    let installed = stage.run("pkgparam -R @ROOT@ ACMEweb VERSION").ok();
    assert!(said.contains("2.0 (installed: ACMEweb ("), "{said}");
    assert!(said.contains(&format!(" {})", installed.trim())), "{said}");
    assert!(said.contains("ACMEdb (") && said.contains(" (not installed)"), "{said}");
}

#[test]
fn who_mistypes_an_id_is_told_which_one_is_applied() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let said = stage.run("show -R @ROOT@ 100-02").fails(4);
    assert!(said.contains("did you mean `100-01`?"), "{said}");
}

#[test]
fn a_patch_of_the_depot_that_is_named_is_shown_by_its_id() {
    let stage = stage();
    let by_path = stage.run("show --files -R @ROOT@ delivered/100-01").ok();
    assert_eq!(stage.run("show --files -R @ROOT@ -M delivered 100-01").ok(), by_path);
    let said = stage.run("show -R @ROOT@ -M delivered 100-07").fails(4);
    assert!(
        said.contains("patch 100-07 is not applied") && said.contains("delivered does not have it"),
        "{said}"
    );
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let applied = stage.run("show -R @ROOT@ -M delivered 100-01").ok();
    assert!(applied.contains("State: effective"), "{applied}");
}
