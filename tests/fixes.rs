//! Fixes of patches: recorded with the applied patch, shown by `list`, `show` and `why`, and gone with the backout.

use std::fs;

use serde_json::{Value, json};

use crate::adopt_refresh::{ONE, TWO, adopted, delivered, dpkg_installs};
use crate::delivery::{Patch, indexed_depot};
use crate::packages::Package;
use crate::patch_documents::document;
use crate::records::Before;
use crate::scenario::Scenario;

fn web(content: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, content)
}

/// A patch whose patchinfo lists these fixes.
fn fixing(id: &str, fixes: &str) -> Patch {
    Patch::of(id, web(id)).beside("patchinfo", &format!("PATCH_FIXES=\"{fixes}\"\n"))
}

/// A root on which this patch was applied; the source of the patch is gone.
fn patched(id: &str, fixes: &str) -> Scenario {
    let stage = Scenario::with(&[web("one\n")]);
    stage.patchadd("", &fixing(id, fixes)).ok();
    fs::remove_dir_all(stage.beside("delivered").join(id)).unwrap();
    stage
}

fn recorded(stage: &Scenario, package: &str, name: &str) -> String {
    let run = stage.run(&format!("pkgparam -R @ROOT@ {package} {name}"));
    run.stdout.trim_end().to_owned()
}

fn ids(document: &Value) -> Vec<&str> {
    document["patches"].as_array().unwrap().iter().map(|patch| patch["id"].as_str().unwrap()).collect()
}

/// The answer for the only operand.
fn shown(stage: &Scenario, words: &str) -> Value {
    document(stage, &format!("show -R @ROOT@ {words}"))["answers"][0].clone()
}

#[test]
fn an_applied_patch_knows_what_it_fixes_without_its_source_until_it_is_backed_out() {
    let stage = Scenario::with(&[web("one\n")]);
    let before = Before::of(&stage);
    stage.patchadd("", &fixing("100-01", "CVE-2026-1234, ACME-17 CVE-2026-1234")).ok();
    let delivered = stage.beside("delivered/100-01");
    let list = "find -type f -printf '%P\\0' | xargs -0 sha256sum | LC_ALL=C sort | sha256sum";
    let mut shell = std::process::Command::new("sh");
    let printed = shell.args(["-c", list]).current_dir(&delivered).output().unwrap().stdout;
    let digest = String::from_utf8(printed).unwrap()[..64].to_owned();
    fs::remove_dir_all(delivered).unwrap();
    assert_eq!(recorded(&stage, "ACMEweb", "PATCH_FIXES_100-01"), "CVE-2026-1234 ACME-17");
    assert_eq!(recorded(&stage, "ACMEweb", "PATCH_SHA256_100-01"), digest);
    let said = stage.run("show -R @ROOT@ 100-01").ok();
    assert!(said.contains("       Fixes: CVE-2026-1234, ACME-17\n"), "{said}");
    let patch = &document(&stage, "list -R @ROOT@")["patches"][0];
    assert_eq!(patch["fixes"], json!(["CVE-2026-1234", "ACME-17"]));
    assert_eq!(patch["sha256"], digest);
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "the patch is backed out");
}

#[test]
fn every_form_of_delivery_brings_the_fixes_and_the_digest_of_the_file() {
    for form in [".zip", ".tar.gz", ".ds"] {
        let stage = Scenario::with(&[web("one\n")]);
        let patch = Patch::of("100-01", web("two\n").param("PATCH_FIXES", "CVE-2026-1234"));
        let file = patch.pack(&stage.beside("delivered"), form);
        stage.run(&format!("add -R @ROOT@ {}", file.display())).ok();
        let patch = &document(&stage, "list -R @ROOT@")["patches"][0];
        assert_eq!(patch["fixes"], json!(["CVE-2026-1234"]), "{form}");
        assert_eq!(patch["sha256"], crate::depots::digest(&fs::read(&file).unwrap()), "{form}");
    }
}

#[test]
fn a_patch_that_says_nothing_of_fixes_records_nothing_of_them() {
    let stage = Scenario::with(&[web("one\n")]);
    stage.patchadd("", &Patch::of("100-01", web("two\n"))).ok();
    let pkginfo = stage.text("/var/sadm/pkg/ACMEweb/pkginfo");
    assert!(!pkginfo.contains("PATCH_FIXES") && !pkginfo.contains("PATCH_SHA256"), "{pkginfo}");
    let patch = &document(&stage, "list -R @ROOT@")["patches"][0];
    assert_eq!((&patch["fixes"], &patch["sha256"]), (&json!([]), &Value::Null));
}

#[test]
fn each_package_and_the_patchinfo_add_to_what_a_patch_fixes() {
    let shop = |content: &str| Package::new("ACMEshop").file("bin/shop", 0o755, content);
    let stage = Scenario::with(&[web("one\n"), shop("one\n")]);
    let patch = Patch::of("100-01", web("two\n").param("PATCH_FIXES", "CVE-2026-1"))
        .package(shop("two\n").param("PATCH_FIXES", "CVE-2026-2"))
        .beside("patchinfo", "PATCH_FIXES=ACME-17\n");
    stage.patchadd("", &patch).ok();
    assert_eq!(recorded(&stage, "ACMEweb", "PATCH_FIXES_100-01"), "CVE-2026-1 ACME-17");
    assert_eq!(recorded(&stage, "ACMEshop", "PATCH_FIXES_100-01"), "CVE-2026-2 ACME-17");
    let patch = &shown(&stage, "100-01");
    let mut fixes: Vec<&str> = patch["fixes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    fixes.sort_unstable();
    assert_eq!(fixes, ["ACME-17", "CVE-2026-1", "CVE-2026-2"]);
}

#[test]
fn a_later_patch_leaves_the_fixes_of_an_earlier_one_and_takes_only_its_own_away() {
    let stage = patched("100-01", "CVE-2026-1001");
    let first = Before::of(&stage);
    stage.patchadd("", &fixing("100-02", "CVE-2026-1001 CVE-2026-1002")).ok();
    let obsoleting = Patch::of("200-01", web("four\n")).says("SUNW_OBSOLETES", "100-02");
    stage.patchadd("", &obsoleting.says("PATCH_FIXES", "CVE-2026-1003")).ok();
    let said = document(&stage, "list -R @ROOT@ --fixes CVE-2026-1001");
    assert_eq!(ids(&said), ["100-01", "100-02"]);
    assert_eq!(shown(&stage, "CVE-2026-1002")["fixed"], true);
    stage.run("patchrm -R @ROOT@ 200-01").ok();
    stage.run("patchrm -R @ROOT@ 100-02").ok();
    first.assert_again(&stage, "the later ones are backed out");
    assert_eq!(shown(&stage, "CVE-2026-1001")["fixed"], true);
    stage.run("show -R @ROOT@ CVE-2026-1002").fails(4);
}

#[test]
fn a_patch_that_is_backed_out_from_under_a_later_one_takes_its_fixes_with_it() {
    let stage = Scenario::with(&[web("one\n")]);
    stage.patchadd("", &fixing("100-01", "CVE-2026-1001")).ok();
    let later = Package::new("ACMEweb").file("bin/other", 0o755, "x\n").param("PATCH_FIXES", "CVE-2026-1002");
    stage.patchadd("", &Patch::of("200-01", later)).ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert_eq!(recorded(&stage, "ACMEweb", "PATCH_FIXES_100-01"), "");
    assert_eq!(ids(&document(&stage, "list -R @ROOT@ --fixes CVE-2026-1002")), ["200-01"]);
    stage.run("remove -R @ROOT@ 200-01").ok();
    assert!(!stage.text("/var/sadm/pkg/ACMEweb/pkginfo").contains("CVE-"));
}

#[test]
fn list_tells_the_patches_that_fix_something_and_compares_the_exact_text() {
    let stage = patched("100-01", "CVE-2026-1234");
    stage.patchadd("", &Patch::of("200-01", Package::new("ACMEweb").file("x", 0o644, "x\n"))).ok();
    let said = stage.run("list -R @ROOT@ --fixes CVE-2026-1234").ok();
    assert!(said.starts_with("100-01  effective") && said.lines().count() == 1, "{said}");
    let verbose = stage.run("list -v -R @ROOT@").ok();
    assert!(verbose.contains("        fixes CVE-2026-1234\n"), "{verbose}");
    let said = stage.run("list -R @ROOT@ --fixes CVE-2026-12345").ok();
    assert_eq!(said, "No applied patch fixes CVE-2026-12345.\n");
    assert_eq!(ids(&document(&stage, "list -R @ROOT@ --fixes cve-2026-1234")), Vec::<&str>::new());
    let refused = stage.run("list -R @ROOT@ --fixes <b>").fails(2);
    assert!(refused.contains("it does not begin with a letter or a digit"), "{refused}");
    let refused = stage.run("list -R @ROOT@ --fixes CVE-2026-1234 --missing 100-01").fails(2);
    assert!(refused.contains("--missing"), "{refused}");
}

#[test]
fn show_says_which_patch_brought_a_fix_since_when_and_by_which_run() {
    let stage = patched("100-01", "CVE-2026-1234 ACME-17");
    for id in ["CVE-2026-1234", "ACME-17"] {
        let said = shown(&stage, id);
        assert_eq!((&said["fix"], &said["fixed"]), (&json!(id), &json!(true)));
        let brought = &said["brought"][0];
        assert_eq!((&brought["id"], &brought["state"]), (&json!("100-01"), &json!(["effective"])));
        assert_eq!(brought["packages"], json!(["ACMEweb"]));
        assert!(brought["run"].is_string() && brought["date"].is_string(), "{said}");
        assert_eq!((&said["ended"], &said["offered"]), (&json!([]), &Value::Null));
        let text = stage.run(&format!("show -R @ROOT@ {id}")).ok();
        let start = format!("         Fix: {id}\n       Fixed: yes\n    Fixed by: 100-01, effective, since ");
        assert!(text.starts_with(&start) && text.contains(", by run "), "{text}");
    }
    let said = stage.run("show -R @ROOT@ CVE-2026-9999").fails(4);
    assert!(said.contains("no patch of this root fixes CVE-2026-9999"), "{said}");
}

#[test]
fn a_word_that_is_a_patch_of_the_root_is_that_patch_and_a_cve_is_always_a_fix() {
    let stage = patched("ACME-17", "CVE-2026-1234 ACME-17 ACME-16");
    assert_eq!(shown(&stage, "ACME-17")["id"], "ACME-17");
    let said = stage.run("show -R @ROOT@ ACME-16").fails(4);
    assert!(said.contains("patch ACME-16 is not applied: its later revision ACME-17 is applied"), "{said}");
    assert_eq!(shown(&stage, "CVE-2026-1234")["fix"], "CVE-2026-1234");
    assert!(stage.run("show -R @ROOT@ OTHER-01").fails(4).contains("patch OTHER-01 is not applied"));
}

#[test]
fn the_depot_says_which_patch_would_bring_a_fix() {
    let stage = Scenario::with(&[web("one\n")]);
    let other = Package::new("ACMEshop").file("x", 0o644, "x\n").param("PATCH_FIXES", "CVE-2026-1234");
    let patches = [
        fixing("100-01", "CVE-2026-1234 ACME-17")
            .beside("README.100-01", "Patch-ID# 100-01\nSynopsis: a fix\n"),
        fixing("100-02", "CVE-2026-1234"),
        Patch::of("300-01", other),
        Patch::of("400-01", web("x\n")),
    ];
    let depot = indexed_depot(&stage, &patches);
    let index = fs::read_to_string(depot.join("index.json")).unwrap();
    let line = |id: &str| index.lines().find(|line| line.contains(&format!("\"id\":\"{id}\""))).unwrap();
    assert!(line("100-01").contains("\"fixes\":[\"CVE-2026-1234\",\"ACME-17\"]"), "{index}");
    assert!(!line("400-01").contains("fixes"), "a patch that does not say has the entry that it always had");
    let depot = depot.display();
    for id in ["CVE-2026-1234", "ACME-17"] {
        let said = shown(&stage, &format!("-M {depot} {id}"));
        let offered = said["offered"].as_array().unwrap();
        let told = |one: &Value| (one["id"].as_str().unwrap().to_owned(), one["fits"].as_bool().unwrap());
        let offered: Vec<_> = offered.iter().map(told).collect();
        let expected = [("100-01", true), ("100-02", true), ("300-01", false)];
        let expected = expected.iter().take(if id == "ACME-17" { 1 } else { 3 });
        assert_eq!(offered, expected.map(|(id, fits)| ((*id).to_owned(), *fits)).collect::<Vec<_>>());
    }
    let text = stage.run(&format!("show -R @ROOT@ -M {depot} ACME-17")).ok();
    assert!(text.contains("       Fixed: no\n  Offered by: 100-01, a fix\n"), "{text}");
    let said = stage.run(&format!("show -R @ROOT@ -M {depot} CVE-2026-9999")).fails(4);
    assert!(
        said.contains(&format!("no patch of this root fixes CVE-2026-9999, and none in {depot}")),
        "{said}"
    );
    assert!(stage.run(&format!("show -R @ROOT@ -M {depot} OTHER-17")).fails(4).contains("OTHER-17"));
}

#[test]
fn a_fix_that_an_upgrade_took_is_lost_until_a_version_that_has_it_is_there() {
    let stage = adopted();
    let package = delivered("1.0-1")
        .param("PATCH_FIXED_IN", "dpkg web >= 1.0-3")
        .param("PATCH_FIXES", "CVE-2026-1234")
        .file("usr/lib/libweb.so", 0o644, "lib fixed\n");
    stage.patchadd("", &Patch::of("100-01", package)).ok();
    assert_eq!(shown(&stage, "CVE-2026-1234")["fixed"], true);
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    let said = shown(&stage, "CVE-2026-1234");
    assert_eq!((&said["fixed"], &said["brought"][0]["state"]), (&json!(false), &json!(["lost"])));
    let text = stage.run("show -R @ROOT@ CVE-2026-1234").done();
    assert!(text.contains("       Fixed: no: the fix is lost\n"), "{text}");
    assert!(text.contains("100-01, LOST to web 1.0-2 (dpkg)"), "{text}");
    assert!(text.contains("note: package DEBweb: dpkg changed web from 1.0-1 to 1.0-2"), "{text}");
    stage.run("adopt --refresh -R @ROOT@").ok();
    let said = shown(&stage, "CVE-2026-1234");
    assert_eq!((&said["fixed"], &said["brought"]), (&json!(false), &json!([])));
    assert_eq!((&said["ended"][0]["id"], &said["ended"][0]["outcome"]), (&json!("100-01"), &json!("lost")));
    let listed = document(&stage, "list -R @ROOT@ --fixes CVE-2026-1234");
    assert_eq!(listed["lost"][0]["fixes"], json!(["CVE-2026-1234"]));
    assert_eq!(listed["overtaken"][0]["id"], "100-01");
    assert!(document(&stage, "list -R @ROOT@ --fixes ACME-17")["overtaken"].is_null());
    let three = crate::adopt_refresh::Version { version: "1.0-3", ..TWO };
    dpkg_installs(&stage, Some(&TWO), &three, &[]);
    stage.run("adopt --refresh -R @ROOT@").ok();
    assert_eq!(shown(&stage, "CVE-2026-1234")["fixed"], true);
}

/// A patch for the first version of the adopted package, with a fix.
fn fixing_lib(id: &str) -> Patch {
    let package = delivered("1.0-1").param("PATCH_FIXES", "CVE-2026-1234");
    Patch::of(id, package.file("usr/lib/libweb.so", 0o644, format!("lib of {id}\n")))
}

#[test]
fn a_fix_of_a_superseded_patch_is_lost_with_the_patch_that_replaced_it() {
    let stage = adopted();
    stage.patchadd("", &fixing_lib("100-01")).ok();
    stage.patchadd("", &fixing_lib("100-02")).ok();
    assert_eq!(shown(&stage, "CVE-2026-1234")["fixed"], true);
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    for when in ["before a refresh", "after it"] {
        assert_eq!(shown(&stage, "CVE-2026-1234")["fixed"], false, "{when}");
        stage.run("adopt --refresh -R @ROOT@").done();
    }
}

#[test]
fn whether_a_fix_is_there_is_unknown_while_dpkg_has_not_finished_with_its_package() {
    const STATUS: &str = "/var/lib/dpkg/status";
    let stage = adopted();
    stage.patchadd("", &fixing_lib("100-01")).ok();
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    let status = stage.text(STATUS);
    stage.file(STATUS, status.replace("install ok installed", "install ok unpacked"));
    let said = shown(&stage, "CVE-2026-1234");
    assert_eq!(
        (&said["fixed"], &said["uncertain"]),
        (&json!(false), &json!("dpkg has not finished with web"))
    );
    assert_eq!(said["brought"][0]["state"], json!(["effective", "uncertain"]));
    let text = stage.run("show -R @ROOT@ CVE-2026-1234").done();
    assert!(text.contains("       Fixed: unknown: dpkg has not finished with web\n"), "{text}");
    let finish = "run `dpkg --root=@ROOT@ --configure -a`, then `patchadm -R @ROOT@ adopt --refresh`";
    for line in ["list", "show 100-01", "show CVE-2026-1234"] {
        let said = stage.run(&format!("{line} -R @ROOT@")).done();
        assert!(said.contains(finish), "{line}: {said}");
    }
    let next = "\nNext         `dpkg --root=@ROOT@ --configure -a` finishes the change that dpkg began; \
                `patchadm -R @ROOT@ adopt --refresh` updates the registrations of dpkg or rpm packages\n";
    let said = stage.run("status -R @ROOT@").ok();
    assert!(said.ends_with(next), "{said}");
    stage.file(STATUS, status.replace("install ok installed", "install reinstreq half-installed"));
    let said = stage.run("status -R @ROOT@").ok();
    assert!(said.contains("\nNext         `patchadm -R @ROOT@ list` names the packages"), "{said}");
    stage.file(STATUS, status);
    assert_eq!(shown(&stage, "CVE-2026-1234")["brought"][0]["state"], json!(["lost"]));
}

#[test]
fn what_somebody_wrote_into_a_record_is_believed_only_where_it_is_an_id() {
    let stage = patched("100-01", "CVE-2026-1234");
    let path = stage.at("/var/sadm/pkg/ACMEweb/pkginfo");
    let text = fs::read_to_string(&path).unwrap();
    let lie = "PATCH_FIXES_100-01=CVE-2026-1234 <script>alert(1)</script> \u{1b}[31mred \u{202e}X ACME-17";
    let lied = text.replace("PATCH_FIXES_100-01=CVE-2026-1234", lie);
    let lied = lied.replace("PATCH_SHA256_100-01=", "PATCH_SHA256_100-01=\u{1b}[31m");
    assert_ne!(lied, text);
    fs::write(&path, format!("{lied}PATCH_FIXES_200-01=CVE-2026-5555\n")).unwrap();
    let patch = &document(&stage, "list -R @ROOT@")["patches"][0];
    assert_eq!((&patch["fixes"], &patch["sha256"]), (&json!(["CVE-2026-1234", "ACME-17"]), &Value::Null));
    let said = stage.run("show -R @ROOT@ CVE-2026-5555").fails(4);
    assert!(
        said.contains("no patch of this root fixes"),
        "the patch that should fix it is not applied: {said}"
    );
}

#[test]
fn no_patch_writes_the_record_of_another_one() {
    let stage = patched("100-01", "CVE-2026-1001");
    let liar = Package::new("ACMEweb")
        .file("x", 0o644, "x\n")
        .param("PATCH_FIXES_100-01", "CVE-2026-6666")
        .param("PATCH_SHA256_100-01", &"0".repeat(64));
    stage.patchadd("", &Patch::of("200-01", liar)).ok();
    assert_eq!(recorded(&stage, "ACMEweb", "PATCH_FIXES_100-01"), "CVE-2026-1001");
    assert_ne!(recorded(&stage, "ACMEweb", "PATCH_SHA256_100-01"), "0".repeat(64));
    stage.run("show -R @ROOT@ CVE-2026-6666").fails(4);
}

#[test]
fn a_word_that_is_no_id_keeps_no_patch_from_being_applied() {
    let stage = Scenario::with(&[web("one\n")]);
    stage.patchadd("", &fixing("100-01", "CVE-2026-1234 see/the/page")).ok();
    assert_eq!(recorded(&stage, "ACMEweb", "PATCH_FIXES_100-01"), "CVE-2026-1234");
}

#[test]
fn a_patch_that_comes_back_in_another_spelling_has_its_fixes() {
    let stage = patched("100-1", "CVE-2026-1001");
    stage.run("patchrm -R @ROOT@ 100-1").ok();
    stage.patchadd("", &fixing("100-01", "CVE-2026-1002")).ok();
    let said = document(&stage, "list -R @ROOT@ --fixes CVE-2026-1002");
    assert_eq!(ids(&said), ["100-1"]);
}

#[test]
fn many_roots_are_asked_for_a_fix_at_once() {
    let stage = patched("100-01", "CVE-2026-1234");
    let other = stage.beside("other");
    fs::create_dir_all(other.join("var/sadm/install")).unwrap();
    fs::create_dir_all(other.join("var/sadm/pkg")).unwrap();
    fs::write(other.join("var/sadm/install/contents"), "").unwrap();
    fs::write(stage.beside("roots"), format!("{}\n{}\n", stage.root().display(), other.display())).unwrap();
    let roots = stage.beside("roots");
    let said = document(&stage, &format!("list --fixes CVE-2026-1234 --roots {}", roots.display()));
    let counts: Vec<usize> = said["roots"].as_array().unwrap().iter().map(|root| ids(root).len()).collect();
    assert_eq!(counts, [1, 0]);
}
