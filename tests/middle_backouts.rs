//! Backouts of patches below later ones with the same paths: the saved objects move to the undo data of the later ones.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use patchadm_rootfs::Digest;
use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::scenario::Scenario;

const ORDERS: [[&str; 3]; 6] = [
    ["100-01", "200-01", "300-01"],
    ["100-01", "300-01", "200-01"],
    ["200-01", "100-01", "300-01"],
    ["200-01", "300-01", "100-01"],
    ["300-01", "100-01", "200-01"],
    ["300-01", "200-01", "100-01"],
];

fn web() -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, "h0\n").file("lib/w", 0o644, "w0\n")
}

/// The patches of the worked example of patchadm-rules(7).
fn patch(id: &str) -> Patch {
    let package = Package::new("ACMEweb");
    let package = match id {
        "100-01" => package.file("bin/httpd", 0o755, "hA\n").file("bin/x", 0o755, "x\n"),
        "200-01" => {
            package.file("bin/httpd", 0o755, "hB\n").file("bin/x", 0o755, "xB\n").file("lib/w", 0o644, "wB\n")
        }
        _ => package.file("bin/httpd", 0o711, "hC\n"),
    };
    Patch::of(id, package)
}

fn with(ids: &[&str], options: &str) -> Scenario {
    let stage = Scenario::with(&[web()]);
    for id in ids {
        let at = patch(id).directory(&stage);
        let options = if *id == "200-01" { options } else { "" };
        stage.run(&format!("add {options} -R @ROOT@ {}", at.display())).ok();
    }
    stage
}

/// Asserts that a root equals the one that these patches alone would have made.
#[track_caller]
fn is_as_with(stage: &Scenario, ids: &[&str]) {
    let alone = with(ids, "");
    let differences = alone.tree().difference(&stage.tree());
    assert!(differences.is_empty(), "{ids:?}: {differences}");
    assert_eq!(stage.lines(), alone.lines(), "{ids:?}");
    stage.run("check --contents -R @ROOT@").ok();
}

fn save(stage: &Scenario, id: &str) -> PathBuf {
    stage.at(&format!("/var/sadm/pkg/ACMEweb/save/{id}"))
}

fn line_of(stage: &Scenario, id: &str) -> Value {
    let lines = stage.text("/var/sadm/patchadm/ledger/ACMEweb");
    let mut lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.find(|line| line["patch"] == id).unwrap()
}

fn digest(path: &Path) -> String {
    format!("b3:{}", Digest::of(&fs::read(path).unwrap()))
}

#[test]
fn patches_go_in_every_order() {
    for order in ORDERS {
        let stage = with(&["100-01", "200-01", "300-01"], "");
        let mut left = vec!["100-01", "200-01", "300-01"];
        for id in order {
            stage.run(&format!("patchrm -R @ROOT@ {id}")).ok();
            left.retain(|other| *other != id);
            is_as_with(&stage, &left);
        }
    }
}

#[test]
fn patches_go_together_in_one_run() {
    for going in ["100-01 200-01", "100-01 300-01", "200-01 300-01", "100-01 200-01 300-01"] {
        let stage = with(&["100-01", "200-01", "300-01"], "");
        stage.run(&format!("remove -R @ROOT@ {going}")).ok();
        let left: Vec<&str> =
            ["100-01", "200-01", "300-01"].into_iter().filter(|id| !going.contains(id)).collect();
        is_as_with(&stage, &left);
        let history = stage.text("/var/sadm/patchadm/history");
        let lines: Vec<Value> =
            history.lines().rev().take(2).map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["run"], lines[1]["run"], "one run");
    }
}

/// The objects that a backout moved, by its document: patch, path, and the patch that has the object now.
fn moved(stage: &Scenario, line: &str) -> Vec<String> {
    let document = stage.command(line).output().unwrap().stdout;
    crate::schema::assert_document(line, &document);
    let document: Value = serde_json::from_slice(&document).unwrap();
    let objects = |patch: &Value| {
        let moved = patch["moved"].as_array().cloned().unwrap_or_default();
        let one = |object: &Value| {
            let [from, path, to] =
                [&patch["id"], &object["path"], &object["to"]].map(|text| text.as_str().unwrap());
            format!("{from} {path} {to}")
        };
        moved.iter().map(one).collect::<Vec<_>>()
    };
    document["patches"].as_array().unwrap().iter().flat_map(objects).collect()
}

#[test]
fn the_document_of_a_backout_names_what_moved_and_the_patch_that_has_it_now() {
    let stage = with(&["100-01", "200-01", "300-01"], "");
    let of_first = ["100-01 /opt/ACMEweb/bin/httpd 200-01", "100-01 /opt/ACMEweb/bin/x 200-01"];
    assert_eq!(moved(&stage, "remove --json --dry-run -R @ROOT@ 100-01"), of_first);
    let together = "remove --json --dry-run -R @ROOT@ 100-01 200-01";
    assert_eq!(moved(&stage, together), ["100-01 /opt/ACMEweb/bin/httpd 300-01"]);
    assert_eq!(moved(&stage, "remove --json -R @ROOT@ 100-01"), of_first);
    let of_second = ["200-01 /opt/ACMEweb/bin/httpd 300-01"];
    assert_eq!(moved(&stage, "patchrm --json -R @ROOT@ 200-01"), of_second);
    assert!(moved(&stage, "remove --json -R @ROOT@ 300-01").is_empty(), "nobody came later");
}

#[test]
fn the_archive_of_the_next_patch_is_written_anew_and_its_line_of_the_ledger_with_it() {
    let stage = with(&["100-01", "200-01", "300-01"], "--undo-format Z");
    let before = line_of(&stage, "200-01");
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    let archive = save(&stage, "200-01").join("undo.Z");
    let line = line_of(&stage, "200-01");
    assert_eq!(line["undo"], digest(&archive));
    assert_eq!((&line["where"], &line["applied"]), (&"save".into(), &before["run"]));
    assert!(line["run"] != before["run"] && line["undo"] != before["undo"]);
    let text = fs::read_to_string(save(&stage, "200-01").join("undo.b3")).unwrap();
    assert!(text.contains(line["undo"].as_str().unwrap().strip_prefix("b3:").unwrap()), "{text}");
    stage.run("patchrm -R @ROOT@ 200-01").ok();
    is_as_with(&stage, &["300-01"]);
}

#[test]
fn an_archive_elsewhere_is_written_beside_the_old_one_which_goes() {
    let stage = Scenario::with(&[web()]);
    let elsewhere = stage.beside("undo");
    fs::create_dir(&elsewhere).unwrap();
    for (id, options) in [("100-01", ""), ("200-01", "-B"), ("300-01", "")] {
        let options = if options.is_empty() { String::new() } else { format!("-B {}", elsewhere.display()) };
        stage.patchadd(&options, &patch(id)).ok();
    }
    let directory = elsewhere.join("200-01/ACMEweb");
    assert!(directory.join("undo.gz").exists());
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    let names: Vec<String> = fs::read_dir(&directory)
        .unwrap()
        .map(|one| one.unwrap().file_name().into_string().unwrap())
        .collect();
    let run = line_of(&stage, "200-01")["run"].as_str().unwrap().to_owned();
    assert_eq!(names, [format!("undo-{run}.gz")]);
    let pointer = fs::read_to_string(save(&stage, "200-01").join("remote")).unwrap();
    assert!(pointer.contains(&format!("FIND_AT={}/undo-{run}.gz\n", directory.display())), "{pointer}");
    is_as_with(&stage, &["200-01", "300-01"]);
    stage.run("patchrm -R @ROOT@ 200-01").ok();
    assert!(!elsewhere.join("200-01").exists(), "nothing is left there");
    is_as_with(&stage, &["300-01"]);
}

#[test]
fn what_an_administrator_wrote_between_two_patches_is_kept_beside_the_file() {
    let stage = with(&["100-01"], "");
    fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "mine\n").unwrap();
    let at = patch("300-01").directory(&stage);
    stage.run(&format!("add --edited replace -R @ROOT@ {}", at.display())).ok();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "hC\n");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd.edited-100-01"), "mine\n");
    stage.run("patchrm -R @ROOT@ 300-01").ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "h0\n");
}

#[test]
fn what_an_administrator_wrote_is_kept_beside_the_file_where_a_patch_without_undo_data_would_get_it_back() {
    for is_edited in [true, false] {
        let stage = with(&[], "");
        if is_edited {
            fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "mine\n").unwrap();
        }
        for (id, options) in [("100-01", "--edited replace"), ("300-01", "--no-undo")] {
            let at = patch(id).directory(&stage);
            stage.run(&format!("add {options} -R @ROOT@ {}", at.display())).ok();
        }
        stage.run("patchrm -R @ROOT@ 100-01").ok();
        assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "hC\n");
        let kept = stage.at("/opt/ACMEweb/bin/httpd.edited-300-01");
        let bytes = fs::read_to_string(kept).ok();
        assert_eq!(bytes.as_deref(), is_edited.then_some("mine\n"), "as if 300-01 had found it");
    }
}

/// By the program's own restoration, and by the scripts of the archive if the root has no record of it.
#[test]
fn pkgadd_takes_a_rewritten_archive_back() {
    for is_known in [true, false] {
        let stage = with(&["100-01", "200-01"], "");
        stage.file("/var/sadm/install/admin/default", NOCHECK);
        stage.run("patchrm -R @ROOT@ 100-01").ok();
        fs::copy(save(&stage, "200-01").join("undo.gz"), stage.beside("taken-back")).unwrap();
        fs::write(stage.beside("response"), "OLDLIST=\"200-01\"\n").unwrap();
        if !is_known {
            stage.forget_ledgers();
        }
        let response = stage.beside("response");
        let line = format!("pkgadd -n -R @ROOT@ -r {} -d taken-back ACMEweb", response.display());
        // pkgadd reports on standard error that the package is already there.
        let run = stage.run(&line);
        assert_eq!(run.code, 0, "known: {is_known}: {run:?}");
        let alone = with(&[], "");
        alone.file("/var/sadm/install/admin/default", NOCHECK);
        let differences = alone.tree().difference(&stage.tree());
        assert!(differences.is_empty(), "known: {is_known}: {differences}");
        assert_eq!(stage.lines(), alone.lines());
    }
}

/// Parameters and record files that a patch found move to the next archive, in every form that is read back.
#[test]
fn parameters_and_records_come_back_from_a_rewritten_archive_by_patchrm_and_by_pkgadd() {
    let package = |id: &str, text: &str| {
        let package = Package::new("ACMEweb").file(&format!("share/{id}"), 0o644, id).param("WORD", text);
        package.information("copyright", format!("{text}\n"))
    };
    let base = || Package::new("ACMEweb").file("share/base", 0o644, "base").param("WORD", "base");
    let shown = |stage: &Scenario| {
        let word = stage.run("pkgparam -R @ROOT@ ACMEweb WORD").ok();
        (word, fs::read_to_string(stage.at("/var/sadm/pkg/ACMEweb/install/copyright")).ok())
    };
    for how in ["patchrm -R @ROOT@ 200-01", "known", "unknown"] {
        let stage = Scenario::with(&[base()]);
        stage.file("/var/sadm/install/admin/default", NOCHECK);
        let at_first = shown(&stage);
        stage.patchadd("", &Patch::of("100-01", package("100-01", "first"))).ok();
        stage.patchadd("", &Patch::of("200-01", package("200-01", "second"))).ok();
        stage.run("patchrm -R @ROOT@ 100-01").ok();
        assert!(!save(&stage, "200-01").join("handed-down").exists());
        assert_eq!(line_of(&stage, "200-01")["undo"], digest(&save(&stage, "200-01").join("undo.gz")));
        assert_eq!(shown(&stage), ("second\n".to_owned(), Some("second\n".to_owned())));
        if how.starts_with("patchrm") {
            stage.run(how).ok();
        } else {
            fs::copy(save(&stage, "200-01").join("undo.gz"), stage.beside("taken-back")).unwrap();
            fs::write(stage.beside("response"), "OLDLIST=\"200-01\"\n").unwrap();
            if how == "unknown" {
                stage.forget_ledgers();
            }
            let response = stage.beside("response");
            let line = format!("pkgadd -n -R @ROOT@ -r {} -d taken-back ACMEweb", response.display());
            let run = stage.run(&line);
            assert_eq!(run.code, 0, "{how}: {run:?}");
        }
        // A pkgadd that knows nothing of the root leaves the information files of the archive, which has none.
        let found = shown(&stage);
        assert_eq!(found.0, at_first.0, "{how}");
        assert!(how == "unknown" || found == at_first, "{how}: {found:?}");
    }
}

/// A run with scripts rewrites undo data of other patches, too.
#[test]
fn a_patch_with_a_script_of_its_own_leaves_the_next_archive_as_if_it_had_never_been() {
    let stage = Scenario::with(&[web().param("WORD", "base")]);
    let earlier = Package::new("ACMEweb").file("lib/w", 0o644, "wA\n").param("WORD", "first");
    let earlier = Patch::of("100-01", earlier).beside("prebackout", "#!/bin/sh\nexit 0\n");
    let delivered = earlier.directory(&stage);
    fs::set_permissions(delivered.join("prebackout"), fs::Permissions::from_mode(0o755)).unwrap();
    stage.run(&format!("patchadd -R @ROOT@ {}", delivered.display())).ok();
    let later = Package::new("ACMEweb").file("bin/new", 0o755, "new\n").param("WORD", "second");
    stage.patchadd("", &Patch::of("200-01", later)).ok();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(line_of(&stage, "200-01")["undo"], digest(&save(&stage, "200-01").join("undo.gz")));
    stage.run("check --contents -R @ROOT@").ok();
    stage.run("patchrm -R @ROOT@ 200-01").ok();
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb WORD").ok(), "base\n");
    is_as_with(&stage, &[]);
}

/// The later patch put its object through the link of the earlier one, where it would stay.
#[test]
fn a_link_that_was_changed_stays_while_a_later_patch_has_objects_behind_it() {
    let base = || Package::new("ACMEweb").directory("v1").directory("v2").symlink("current", "v1");
    let later = || Patch::of("200-01", Package::new("ACMEweb").file("current/x", 0o644, "x\n"));
    let (stage, alone) = (Scenario::with(&[base()]), Scenario::with(&[base()]));
    let earlier = Patch::of("100-01", Package::new("ACMEweb").symlink("current", "v2"));
    stage.patchadd("", &earlier).ok();
    for stage in [&stage, &alone] {
        stage.patchadd("", &later()).ok();
    }
    assert!(stage.at("/opt/ACMEweb/v2/x").exists() && alone.at("/opt/ACMEweb/v1/x").exists());
    let before = stage.everything();
    let said = stage.run("patchrm -R @ROOT@ 100-01").fails(6);
    assert!(said.contains("200-01") && said.contains("/opt/ACMEweb/current"), "{said}");
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn an_archive_elsewhere_that_cannot_be_reached_is_asked_for_before_anything_is_changed() {
    let stage = Scenario::with(&[web()]);
    let elsewhere = stage.beside("undo");
    fs::create_dir(&elsewhere).unwrap();
    stage.patchadd("", &patch("100-01")).ok();
    stage.patchadd(&format!("-B {}", elsewhere.display()), &patch("200-01")).ok();
    fs::rename(&elsewhere, stage.beside("away")).unwrap();
    let before = stage.everything();
    let said = stage.run("patchrm -R @ROOT@ 100-01").fails(12);
    assert!(said.contains("200-01"), "{said}");
    assert!(before.difference(&stage.everything()).is_empty());
    stage.run(&format!("patchrm -B {} -R @ROOT@ 100-01", stage.beside("away").display())).ok();
    is_as_with(&stage, &["200-01"]);
}

/// The archive of the same patch in another root has what that root had.
#[test]
fn an_archive_of_another_root_is_refused_before_anything_is_changed() {
    let (stage, other) = (with(&["100-01", "200-01"], ""), with(&["200-01"], ""));
    fs::copy(save(&other, "200-01").join("undo.gz"), save(&stage, "200-01").join("undo.gz")).unwrap();
    let before = stage.everything();
    let said = stage.run("patchrm -R @ROOT@ 100-01").fails(4);
    assert!(said.contains("save/200-01/undo.gz"), "{said}");
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn an_archive_that_is_not_the_ledgers_is_refused_before_anything_is_changed() {
    let stage = with(&["100-01", "200-01"], "");
    let archive = save(&stage, "200-01").join("undo.gz");
    let mut bytes = fs::read(&archive).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let before = stage.everything();
    let said = stage.run("patchrm -R @ROOT@ 100-01").fails(4);
    assert!(said.contains("save/200-01/undo.gz"), "{said}");
    assert!(before.difference(&stage.everything()).is_empty());
}

/// Both packages have one file in common.
fn sharing(name: &str) -> Package {
    Package::new(name).param("BASEDIR", "/opt/acme").file("bin/tool", 0o755, "tool\n")
}

#[test]
fn an_owner_that_was_removed_does_not_come_back_with_a_patch_from_the_middle() {
    let stage = Scenario::with(&[sharing("ACMEa"), sharing("ACMEb")]);
    let with = |content: &str| sharing("ACMEa").file("bin/tool", 0o755, content);
    stage.patchadd("", &Patch::of("100-01", with("first\n"))).ok();
    stage.run("pkgrm -n -R @ROOT@ ACMEb").done();
    stage.patchadd("", &Patch::of("200-01", with("second\n"))).ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    stage.run("remove -R @ROOT@ 200-01").ok();
    assert_eq!(stage.text("/opt/acme/bin/tool"), "tool\n");
    let lines = stage.lines();
    let line = lines.iter().find(|line| line.starts_with("/opt/acme/bin/tool ")).unwrap();
    assert!(line.ends_with(" ACMEa"), "{line}");
}

#[test]
fn a_file_that_another_package_owns_since_stays_when_the_patches_go_from_the_first_to_the_last() {
    let stage =
        Scenario::with(&[Package::new("ACMEa").param("BASEDIR", "/opt/acme").file("a", 0o644, "a\n")]);
    let with = |content: &str| sharing("ACMEa").file("bin/tool", 0o755, content);
    stage.patchadd("", &Patch::of("100-01", with("tool\n"))).ok();
    sharing("ACMEb").write(&stage.beside("spool"));
    let spool = stage.beside("spool");
    stage.run(&format!("pkgadd -n -R @ROOT@ -d {} ACMEb", spool.display())).done();
    stage.patchadd("", &Patch::of("200-01", with("second\n"))).ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    stage.run("remove -R @ROOT@ 200-01").ok();
    assert_eq!(stage.text("/opt/acme/bin/tool"), "tool\n");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}
