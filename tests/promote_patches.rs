//! Patches that were applied to a stage with records go live with its promotion, and can be backed out again.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::cases::{expected, found, installed};
use crate::delivery::Patch;
use crate::packages::Package;
use crate::records::{Before, records};
use crate::scenario::{Run, Scenario};
use crate::tree::assert_same;

/// A root with two packages and a stage of it with records, `web`.
struct Patched {
    live: Scenario,
    stage: PathBuf,
    before: Before,
}

fn web() -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, "httpd 1\n").file("bin/tool", 0o755, "tool 1\n").file(
        "lib/libw.so.1",
        0o644,
        "library 1\n",
    )
}

fn mail() -> Package {
    Package::new("ACMEmail").file("bin/mail", 0o755, "mail 1\n")
}

/// A patch of both packages: a changed, a new and a removed file.
fn first() -> Patch {
    let of_web = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "httpd 2\n")
        .file("share/new", 0o644, "new 2\n")
        .deletes(&["bin/tool"]);
    Patch::of("100-01", of_web).package(Package::new("ACMEmail").file("bin/mail", 0o755, "mail 2\n"))
}

/// A patch on top of it.
fn second() -> Patch {
    let of_web = Package::new("ACMEweb").file("bin/httpd", 0o755, "httpd 3\n").file(
        "lib/libw.so.1",
        0o644,
        "library 3\n",
    );
    Patch::of("100-02", of_web)
}

impl Patched {
    fn new() -> Self {
        let live = Scenario::with(&[web(), mail()]);
        live.run("stage new web -R @ROOT@ --records --path opt").ok();
        let stage = live.beside("web");
        let before = Before::of(&live);
        Self { live, stage, before }
    }

    /// The same with patches applied in the stage.
    fn with(patches: &[Patch]) -> Self {
        let patched = Self::new();
        patches.iter().for_each(|patch| patched.patchadd("", patch));
        patched
    }

    fn patchadd(&self, options: &str, patch: &Patch) {
        let at = patch.directory(&self.live);
        self.live.run(&format!("patchadd -R {} {options} {}", self.stage.display(), at.display())).ok();
    }

    /// Installs a package in the stage.
    fn pkgadd(&self, name: &str, package: &Package) {
        let at = package.write(&self.live.beside("spool"));
        let (stage, device) = (self.stage.display(), at.parent().unwrap().display());
        let run = self.live.run(&format!("pkgadd -n -R {stage} -d {device} {name}"));
        assert_eq!(run.code, 0, "{}", run.stderr);
    }

    fn promote(&self, options: &str) -> Run {
        self.live.run(&format!("stage promote web -R @ROOT@ {options}"))
    }

    fn document(&self, options: &str) -> Value {
        serde_json::from_str(&self.promote(&format!("--json {options}")).stdout).unwrap()
    }

    fn patchrm(&self, ids: &str) {
        self.live.run(&format!("patchrm -R @ROOT@ {ids}")).ok();
    }

    fn at(&self, path: &str) -> PathBuf {
        self.stage.join("opt").join(path)
    }

    fn refused(&self, options: &str, code: i32, words: &str) -> String {
        let before = Before::of(&self.live);
        let said = self.promote(options).fails(code);
        assert!(said.contains(words), "{words}\n{said}");
        before.assert_again(&self.live, "nothing was changed");
        said
    }
}

/// The records of a root without dates, and without the records of the promotion.
fn undated(root: &Scenario) -> BTreeMap<String, String> {
    let mut all = records(&root.root());
    all.retain(|path, _| !path.contains("LOCL") && !path.contains("/web-") && !path.ends_with("undo.b3"));
    all.retain(|path, _| !path.contains("/undo.") && !path.contains("/obsolete.") && !path.ends_with("/log"));
    for (path, text) in &mut all {
        let is_tree_line = !path.ends_with("/pkginfo") && !path.ends_with("/contents");
        let columns: Vec<&str> = text.split('\t').collect();
        if is_tree_line && columns.len() > 6 {
            *text =
                columns.iter().enumerate().filter(|(at, _)| *at != 6).map(|(_, column)| *column).collect();
        }
    }
    all
}

#[test]
fn patches_of_a_stage_go_live_as_if_they_had_been_applied_there() {
    let patched = Patched::with(&[first(), second()]);
    let said = patched.promote("").ok();
    assert!(said.contains("100-01: applied") && said.contains("100-02: applied"), "{said}");
    assert!(said.contains("web-01: applied"), "{said}");
    let other = Scenario::with(&[web(), mail()]);
    other.patchadd("", &first()).ok();
    other.patchadd("", &second()).ok();
    assert_same(&patched.live.tree(), &other.tree());
    assert_eq!(patched.live.lines(), other.lines());
    assert_eq!(undated(&patched.live), undated(&other));
    assert_eq!(patched.live.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(patched.live.run("check --contents -R @ROOT@").code, 0);
    assert_eq!(patched.promote("").ok(), "nothing to promote in /opt\n");
}

#[test]
fn each_patch_comes_off_alone_by_its_own_archive() {
    let patched = Patched::with(&[first(), second()]);
    fs::write(patched.at("ACMEweb/own"), "of the stage\n").unwrap();
    patched.promote("").ok();
    patched.patchrm("100-02");
    assert_eq!(patched.live.text("/opt/ACMEweb/bin/httpd"), "httpd 2\n");
    assert_eq!(patched.live.text("/opt/ACMEweb/lib/libw.so.1"), "library 1\n");
    patched.patchrm("100-01");
    assert_eq!(patched.live.text("/opt/ACMEweb/bin/httpd"), "httpd 1\n");
    assert_eq!(patched.live.text("/opt/ACMEweb/own"), "of the stage\n");
    patched.patchrm("web-01");
    patched.before.assert_again(&patched.live, "newest first, then the promotion");
}

#[test]
fn the_promotion_takes_what_it_brought_back_with_it() {
    for command in ["patchrm -R @ROOT@ web-01", "undo -R @ROOT@", "remove -R @ROOT@ web-01"] {
        let patched = Patched::with(&[first(), second()]);
        fs::write(patched.at("ACMEweb/own"), "of the stage\n").unwrap();
        patched.promote("").ok();
        patched.live.run(command).ok();
        patched.before.assert_again(&patched.live, command);
        let said = patched.promote("").ok();
        assert!(said.contains("100-02: applied") && said.contains("web-02: applied"), "{said}");
        patched.patchrm("100-02");
        patched.patchrm("web-02");
        patched.before.assert_again(&patched.live, "what it brought and was gone before is no matter");
    }
}

#[test]
fn a_later_promotion_brings_what_came_since() {
    let patched = Patched::with(&[first()]);
    fs::write(patched.at("ACMEweb/lib/libw.so.1"), "of the stage\n").unwrap();
    patched.promote("").ok();
    let middle = Before::of(&patched.live);
    patched.patchadd("", &Patch::of("100-02", Package::new("ACMEweb").file("bin/httpd", 0o755, "httpd 3\n")));
    patched.promote("").ok();
    assert_eq!(patched.live.text("/opt/ACMEweb/bin/httpd"), "httpd 3\n");
    let list = patched.live.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok();
    assert_eq!(list, "100-01 web-01 100-02\n");
    patched.patchrm("web-02");
    middle.assert_again(&patched.live, "the second");
    patched.patchrm("web-01");
    patched.before.assert_again(&patched.live, "the first");
}

#[test]
fn documents_list_the_brought_patches_before_the_promotion() {
    let patched = Patched::with(&[first(), second()]);
    let ids = |document: &Value| -> Vec<(String, String)> {
        let patches = document["patches"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        patches.map(|patch| (text(&patch["id"]), text(&patch["verdict"]))).collect()
    };
    let said =
        |verdict: &str| ["100-01", "100-02", "web-01"].map(|id| (id.to_owned(), verdict.to_owned())).to_vec();
    assert_eq!(ids(&patched.document("--dry-run")), said("planned"));
    let document = patched.document("");
    assert_eq!(ids(&document), said("applied"));
    assert_eq!(document["patches"][1]["files"]["replaced"], 2, "{document}");
    let record = fs::read_to_string(patched.live.at("/var/sadm/patch/web-01/promotion")).unwrap();
    assert!(record.contains("\"brought\":[\"100-01\",\"100-02\"]"), "{record}");
    let history = patched.live.run("history -R @ROOT@").ok();
    assert!(history.contains("100-01") && history.contains("web-01"), "{history}");
}

#[test]
fn without_their_records_patches_are_plain_differences() {
    let patched = Patched::with(&[first()]);
    patched.promote("--tree-only").ok();
    assert_eq!(patched.live.text("/opt/ACMEweb/bin/httpd"), "httpd 2\n");
    assert_eq!(patched.live.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok(), "web-01\n");
    patched.patchrm("web-01");
    patched.before.assert_again(&patched.live, "objects only");
}

#[test]
fn a_patch_of_the_live_root_meanwhile_is_refused_with_what_to_type() {
    let patched = Patched::with(&[first()]);
    let meanwhile = Patch::of("200-01", Package::new("ACMEweb").file("lib/libw.so.1", 0o644, "meanwhile\n"));
    patched.live.patchadd("", &meanwhile).ok();
    let said = patched.refused("", 3, "only the stage has 100-01, only the root 200-01");
    assert!(
        said.contains("ACMEweb") && said.contains("remove 200-01`") && said.contains("remove 100-01`"),
        "{said}"
    );
    patched.patchrm("200-01");
    patched.promote("").ok();
}

#[test]
fn a_patched_file_that_is_edited_on_either_side_is_refused() {
    let patched = Patched::with(&[first()]);
    fs::write(patched.at("ACMEweb/bin/httpd"), "edited\n").unwrap();
    for options in ["", "--edited replace"] {
        patched.refused(options, 3, "in the stage differs from the object that patch 100-01 delivered");
    }
    fs::write(patched.at("ACMEweb/bin/httpd"), "httpd 2\n").unwrap();
    patched.live.file("/opt/ACMEweb/bin/httpd", "edited\n");
    patched.live.mode("/opt/ACMEweb/bin/httpd", 0o755);
    patched.refused(
        "--edited keep",
        3,
        "bin/httpd differs from the object that patch 100-01 replaced in the stage",
    );
}

#[test]
fn what_is_not_promoted_is_refused() {
    let live = Scenario::with(&[web(), mail()]);
    live.run("stage new web -R @ROOT@ --records --path opt/ACMEweb --path opt/ACMEmail").ok();
    let at = first().directory(&live);
    live.run(&format!("patchadd -R {} {}", live.beside("web").display(), at.display())).ok();
    let said = live.run("stage promote web -R @ROOT@ --path opt/ACMEweb").fails(3);
    assert!(
        said.contains("patch 100-01 of the stage changed /opt/ACMEmail/bin/mail, which is not promoted"),
        "{said}"
    );
    live.run("stage promote web -R @ROOT@").ok();
}

#[test]
fn an_archive_that_was_cut_short_is_damage() {
    let patched = Patched::with(&[first()]);
    let archive = patched.stage.join("var/sadm/pkg/ACMEweb/save/100-01/undo.gz");
    let bytes = fs::read(&archive).unwrap();
    fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
    patched.refused("", 1, "it is not the archive that run");
    patched.refused("--dry-run", 1, "it is not the archive that run");
}

#[test]
fn packages_that_are_new_in_the_stage_come_and_go_with_it() {
    let patched = Patched::with(&[first()]);
    patched.pkgadd("ACMEnew", &Package::new("ACMEnew").file("bin/new", 0o755, "new\n").directory("empty"));
    let document = patched.document("");
    assert_eq!(document["result"], "done", "{document}");
    let packages: Vec<(&str, bool)> = document["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["name"].as_str().unwrap(), package["new"].as_bool().unwrap()))
        .collect();
    assert!(packages.contains(&("ACMEnew", true)) && packages.contains(&("LOCLweb", true)), "{document}");
    assert_eq!(patched.live.text("/opt/ACMEnew/bin/new"), "new\n");
    assert_eq!(patched.live.run("pkgchk -R @ROOT@").ok(), "");
    assert!(patched.live.run("pkginfo -R @ROOT@").ok().contains("ACMEnew"));
    assert_eq!(patched.promote("").ok(), "nothing to promote in /opt\n");
    patched.patchrm("web-01");
    patched.before.assert_again(&patched.live, "a new package");
}

fn new_package() -> Package {
    Package::new("ACMEnew")
        .file("bin/new", 0o755, "new 1\n")
        .file("bin/old", 0o755, "old 1\n")
        .file("lib/same", 0o644, "same 1\n")
        .directory("empty")
}

/// A patch of the new package and of one that the root has: a changed, a new and a removed file.
fn of_new() -> Patch {
    let of_new = Package::new("ACMEnew")
        .file("bin/new", 0o755, "new 2\n")
        .file("share/more/added", 0o644, "added 2\n")
        .deletes(&["bin/old"]);
    Patch::of("300-01", of_new).package(Package::new("ACMEmail").file("bin/mail", 0o755, "mail 3\n"))
}

/// A patch of the new package alone, on top of [`of_new`].
fn of_new_alone() -> Patch {
    let of_new = Package::new("ACMEnew")
        .file("bin/new", 0o755, "new 3\n")
        .file("bin/old", 0o755, "old 3\n")
        .deletes(&["share/more/added"]);
    Patch::of("300-02", of_new)
}

/// A stage with a new package that has these patches.
fn with_new_package(patches: &[Patch]) -> Patched {
    let patched = Patched::with(&[first()]);
    patched.pkgadd("ACMEnew", &new_package());
    patches.iter().for_each(|patch| patched.patchadd("", patch));
    patched
}

#[test]
fn packages_that_are_new_and_patched_in_the_stage_come_with_their_patches() {
    let patched = with_new_package(&[of_new(), of_new_alone()]);
    let plan = patched.promote("--dry-run").ok();
    assert!(plan.contains("300-01: would be applied") && plan.contains("300-02: would be applied"), "{plan}");
    let said = patched.promote("").ok();
    assert!(said.contains("100-01: applied") && said.contains("300-02: applied"), "{said}");
    let other = Scenario::with(&[web(), mail(), new_package()]);
    for patch in [first(), of_new(), of_new_alone()] {
        other.patchadd("", &patch).ok();
    }
    assert_same(&patched.live.tree(), &other.tree());
    assert_eq!(patched.live.lines(), other.lines());
    let list = |package: &str| patched.live.run(&format!("pkgparam -R @ROOT@ {package} PATCHLIST")).ok();
    assert_eq!(
        (list("ACMEnew"), list("ACMEmail")),
        ("web-01 300-01 300-02\n".into(), "100-01 300-01\n".into())
    );
    assert_eq!(patched.live.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(patched.live.run("check --contents -R @ROOT@").code, 0);
    assert_eq!(patched.promote("").ok(), "nothing to promote in /opt\n");
    let record = fs::read_to_string(patched.live.at("/var/sadm/patch/web-01/promotion")).unwrap();
    assert!(record.contains("\"brought\":[\"100-01\",\"300-01\",\"300-02\"]"), "{record}");
    // The next promotion brings a patch that was applied later.
    let later = Patch::of("300-03", Package::new("ACMEnew").file("lib/same", 0o644, "same 4\n"));
    let middle = Before::of(&patched.live);
    patched.patchadd("", &later);
    patched.promote("").ok();
    assert_eq!(list("ACMEnew"), "web-01 300-01 300-02 300-03\n");
    patched.patchrm("web-02");
    middle.assert_again(&patched.live, "the second");
    patched.patchrm("web-01");
    patched.before.assert_again(&patched.live, "a new package with patches");
}

#[test]
fn patches_of_a_new_package_come_off_alone_and_leave_it_as_it_was_installed() {
    let patched = with_new_package(&[of_new(), of_new_alone()]);
    patched.promote("").ok();
    patched.patchrm("300-02");
    assert_eq!(patched.live.text("/opt/ACMEnew/share/more/added"), "added 2\n");
    assert!(!patched.live.at("/opt/ACMEnew/bin/old").exists());
    patched.patchrm("300-01");
    let other = Scenario::with(&[web(), mail(), new_package()]);
    other.patchadd("", &first()).ok();
    assert_same(&patched.live.tree(), &other.tree());
    assert_eq!(patched.live.lines(), other.lines());
    assert_eq!(patched.live.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(patched.live.run("check --contents -R @ROOT@").code, 0);
    patched.patchrm("web-01");
    patched.before.assert_again(&patched.live, "one by one");
}

#[test]
fn a_patched_new_package_alone_comes_over_what_was_there_and_goes_again() {
    for command in ["patchrm -R @ROOT@ web-01", "undo -R @ROOT@"] {
        let live = Scenario::with(&[web()]);
        live.file("/opt/ACMEnew/bin/new", "nobody's\n");
        live.run("stage new web -R @ROOT@ --records --path opt").ok();
        let patched = Patched { stage: live.beside("web"), before: Before::of(&live), live };
        patched.pkgadd("ACMEnew", &new_package());
        let alone = Patch::of("300-01", Package::new("ACMEnew").file("bin/new", 0o755, "new 2\n"));
        patched.patchadd("", &alone);
        patched.promote("").ok();
        assert_eq!(patched.live.text("/opt/ACMEnew/bin/new"), "new 2\n");
        assert!(patched.live.at("/var/sadm/patch/300-01").exists());
        patched.live.run(command).ok();
        patched.before.assert_again(&patched.live, command);
        // Content that the live tree got at such a path meanwhile is an edit.
        patched.live.file("/opt/ACMEnew/bin/new", "of somebody\n");
        patched.refused("", 3, "bin/new");
        patched.refused(
            "--edited keep",
            3,
            "bin/new differs from the object that patch 300-01 replaced in the stage",
        );
    }
}

#[test]
fn a_package_that_was_removed_or_replaced_in_the_stage_is_refused() {
    let patched = Patched::new();
    let stage = patched.stage.display().to_string();
    assert_eq!(patched.live.run(&format!("pkgrm -n -R {stage} ACMEmail")).code, 0);
    let said = patched.refused("--max-delete 100%", 3, "package ACMEmail is removed in the stage");
    assert!(said.contains("pkgrm -R") && said.contains(" ACMEmail`"), "{said}");
    patched.pkgadd("ACMEmail", &mail().param("VERSION", "2.0"));
    let said = patched.refused("", 3, "package ACMEmail has version 2.0 in the stage");
    assert!(said.contains("pkgadd -R") && said.contains("-d DEVICE ACMEmail`"), "{said}");
}

#[test]
fn a_run_that_was_not_finished_in_the_stage_is_refused() {
    let patched = Patched::with(&[first()]);
    let journal = patched.stage.join("var/sadm/patchadm/journal");
    let bytes = fs::read(&journal).unwrap();
    let mut open = bytes.clone();
    // Blanks the outcome and the end.
    for sector in [3, 4] {
        open[sector * 512..(sector + 1) * 512].fill(b' ');
    }
    fs::write(&journal, &open).unwrap();
    for options in ["", "--dry-run"] {
        let said = patched.refused(options, 9, "was not finished");
        assert!(said.ends_with(" recover\n"), "{said}");
    }
}

/// A case with patches applied in a stage of all of its directories.
fn patched_case(test: &str, case: &str, patches: &[&str]) -> Option<(Scenario, PathBuf)> {
    let (live, from) = installed(test, case)?;
    live.run("stage new site -R @ROOT@ --records --path usr --path etc").ok();
    let stage = live.beside("site");
    for patch in patches {
        live.run(&format!("patchadd -R {} {}", stage.display(), from.join(patch).display())).ok();
    }
    Some((live, from))
}

#[test]
fn patches_of_a_real_release_come_off_one_by_one_and_all_at_once() {
    let ids = ["300001-01", "300001-02"];
    for one_by_one in [true, false] {
        let Some((live, from)) = patched_case("patches of a real release go live", "openssl", &ids) else {
            return;
        };
        let before = Before::of(&live);
        live.run("stage promote site -R @ROOT@").ok();
        assert_same(&found(&live), &expected(&from, "300001-02"));
        assert_eq!(live.run("pkgchk -R @ROOT@").ok(), "");
        if one_by_one {
            live.run("patchrm -R @ROOT@ 300001-02").ok();
            assert_same(&found(&live), &expected(&from, "300001-01"));
            live.run("patchrm -R @ROOT@ 300001-01").ok();
            assert_same(&found(&live), &expected(&from, "base"));
        }
        live.run("patchrm -R @ROOT@ site-01").ok();
        assert_same(&found(&live), &expected(&from, "base"));
        before.assert_again(&live, "a real release");
    }
}

#[test]
fn a_refresh_brings_the_records_of_what_was_patched_on_the_root() {
    let patched = Patched::new();
    fs::write(patched.at("ACMEweb/own"), "of the stage\n").unwrap();
    patched.promote("").ok();
    patched.live.patchadd("", &first()).ok();
    patched.live.run("stage refresh web -R @ROOT@").ok();
    let stage = patched.stage.display();
    let list = |package: &str| patched.live.run(&format!("pkgparam -R {stage} {package} PATCHLIST")).ok();
    assert_eq!((list("ACMEweb").as_str(), list("ACMEmail").as_str()), ("100-01\n", "100-01\n"));
    assert_eq!(patched.live.run(&format!("check --contents -R {stage}")).code, 0);
    assert_eq!(patched.promote("").ok(), "nothing to promote in /opt\n");
    patched.patchadd("", &second());
    patched.promote("").ok();
    let list = patched.live.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok();
    assert_eq!(list, "100-01 100-02\n");
    patched.patchrm("web-02");
    patched.patchrm("100-01");
    patched.patchrm("web-01");
    patched.before.assert_again(&patched.live, "all of them");
}

#[test]
fn what_a_patch_of_the_root_changed_and_the_stage_kept_leaves_its_records_as_they_are() {
    let patched = Patched::new();
    fs::write(patched.at("ACMEweb/bin/httpd"), "of the stage\n").unwrap();
    patched.live.patchadd("", &first()).ok();
    patched.live.run("stage refresh web -R @ROOT@ --edited keep").ok();
    let stage = patched.stage.display();
    let list = |package: &str| patched.live.run(&format!("pkgparam -R {stage} {package} PATCHLIST")).stdout;
    assert_eq!((list("ACMEweb").as_str(), list("ACMEmail").as_str()), ("", "100-01\n"));
}

#[test]
fn a_patch_without_undo_data_keeps_the_promotion_that_brought_it() {
    let patched = Patched::new();
    patched.patchadd("-d", &first());
    patched.promote("").ok();
    let applied = Before::of(&patched.live);
    let said = patched.live.run("patchrm -R @ROOT@ web-01").fails(4);
    assert!(said.contains("100-01"), "{said}");
    applied.assert_again(&patched.live, "nothing comes off");
}

#[test]
fn a_stage_with_an_identity_of_its_own_brings_no_patches() {
    let patched = Patched::with(&[first()]);
    let stage = patched.stage.display();
    assert_eq!(patched.live.run(&format!("recover -R {stage} --new-identity")).code, 0);
    let said = patched.refused("", 3, "have different identities");
    assert!(said.contains("promote only the files with `--tree-only`"), "{said}");
    patched.promote("--tree-only").ok();
}

#[test]
fn a_patch_with_scripts_comes_with_them_and_they_run_when_it_goes() {
    let patched = Patched::new();
    let hook = "#!/bin/sh\necho gone > \"$ROOTDIR/opt/said\"\n";
    patched.patchadd("", &first().beside("postbackout", hook));
    patched.promote("").ok();
    assert!(patched.live.at("/var/sadm/patch/100-01/postbackout").exists());
    assert_eq!(patched.live.run("check --contents -R @ROOT@").code, 0);
    let run = patched.live.run("patchrm -R @ROOT@ 100-01");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(patched.live.text("/opt/said"), "gone\n");
    assert_eq!(patched.live.text("/opt/ACMEweb/bin/httpd"), "httpd 1\n");
}

/// The `contents` of the stage, edited.
fn edit_contents(patched: &Patched, edit: impl Fn(&str) -> String) {
    let file = patched.stage.join("var/sadm/install/contents");
    let text = fs::read_to_string(&file).unwrap();
    let edited = edit(&text);
    assert_ne!(edited, text);
    fs::write(&file, edited).unwrap();
}

/// The number of the line of a path in the `contents` of the stage.
fn line_of(patched: &Patched, path: &str) -> usize {
    let text = fs::read_to_string(patched.stage.join("var/sadm/install/contents")).unwrap();
    1 + text.lines().position(|line| line.starts_with(&format!("{path} "))).unwrap()
}

/// Asserts that a stage with these records is not promoted, and that the root is unchanged and usable.
#[track_caller]
fn records_refused(patched: &Patched, code: i32, words: &[&str]) {
    for options in ["", "--dry-run"] {
        let said = patched.refused(options, code, words[0]);
        for words in words {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    patched.live.run("list -R @ROOT@").ok();
    assert_eq!(patched.live.run("check --contents -R @ROOT@").code, 0);
}

const HTTPD: &str = "/opt/ACMEweb/bin/httpd";

#[test]
fn an_owner_that_neither_the_root_nor_the_stage_has_is_refused() {
    let patched = Patched::with(&[first()]);
    edit_contents(&patched, |text| text.replace(" ACMEmail\n", " ACMEmail EVIL\n"));
    let contents = format!("{}/var/sadm/install/contents: line ", patched.stage.display());
    let words = "package EVIL owns objects, and";
    records_refused(&patched, 1, &[words, &contents]);
    // With a directory of its own, which the stage would not bring.
    edit_contents(&patched, |text| text.replace(" ACMEmail EVIL\n", " ACMEmail\n"));
    patched.pkgadd("ACMEevil", &Package::new("ACMEevil").file("x", 0o644, "x\n"));
    patched.live.run("stage promote web -R @ROOT@").ok();
    patched.live.run("pkgrm -n -R @ROOT@ ACMEevil");
    patched.patchadd("", &second());
    edit_contents(&patched, |text| {
        let lines = text.lines().map(|line| {
            let more = if line.starts_with(HTTPD) { " ACMEevil" } else { "" };
            format!("{line}{more}\n")
        });
        lines.collect()
    });
    let line = format!("{contents}{}: ", line_of(&patched, HTTPD));
    let words = "its owner ACMEevil is neither installed on the root nor brought by the stage";
    records_refused(&patched, 3, &[words, &line, HTTPD, "stage refresh"]);
}

#[test]
fn a_line_that_cannot_be_read_an_owner_twice_and_a_path_of_another_package_are_refused() {
    let contents =
        |patched: &Patched| format!("{}/var/sadm/install/contents: line ", patched.stage.display());
    let patched = Patched::with(&[first()]);
    let number = line_of(&patched, HTTPD);
    edit_contents(&patched, |text| text.replace(&format!("{HTTPD} f "), &format!("{HTTPD} ? ")));
    records_refused(&patched, 1, &[&format!("{}{number}: ", contents(&patched))]);
    for (owners, reason) in [
        ("ACMEweb ACMEweb", "it lists the owner ACMEweb twice"),
        ("ACMEmail", "package ACMEweb, which owns it on the root, would lose it"),
    ] {
        let patched = Patched::with(&[first()]);
        edit_contents(&patched, |text| {
            let lines = text.lines().map(|line| match line.strip_suffix(" ACMEweb") {
                Some(rest) if line.starts_with(HTTPD) => format!("{rest} {owners}\n"),
                _ => format!("{line}\n"),
            });
            lines.collect()
        });
        let line = format!("{}{}: {HTTPD}: ", contents(&patched), line_of(&patched, HTTPD));
        records_refused(&patched, 3, &[reason, &line]);
    }
}

#[test]
fn a_pkginfo_of_the_stage_that_cannot_be_read_is_refused() {
    let patched = Patched::with(&[first()]);
    fs::write(patched.stage.join("var/sadm/pkg/ACMEmail/pkginfo"), "").unwrap();
    let file = format!("{}/var/sadm/pkg/ACMEmail/pkginfo", patched.stage.display());
    records_refused(&patched, 1, &[&file]);
}

#[test]
fn a_new_package_that_shares_a_patched_path_comes_and_goes_with_the_promotion() {
    let sharing = || Package::new("ACMEnew").param("BASEDIR", "/opt/ACMEweb");
    for is_patched_first in [true, false] {
        let patched = Patched::new();
        let text = if is_patched_first { "httpd 2\n" } else { "httpd 1\n" };
        let new = sharing().file("bin/httpd", 0o755, text);
        if is_patched_first {
            patched.patchadd("", &first());
            patched.pkgadd("ACMEnew", &new);
        } else {
            patched.pkgadd("ACMEnew", &new);
            patched.patchadd("", &first());
        }
        patched.promote("").ok();
        let contents = patched.live.text("/var/sadm/install/contents");
        let line = contents.lines().find(|line| line.starts_with(&format!("{HTTPD} "))).unwrap();
        assert!(line.ends_with(" ACMEweb ACMEnew"), "{line}");
        assert_eq!(patched.live.run("pkgchk -R @ROOT@").ok(), "");
        assert_eq!(patched.live.run("check --contents -R @ROOT@").code, 0);
        patched.patchrm("web-01");
        patched.before.assert_again(&patched.live, "everything came off");
        patched.live.run("list -R @ROOT@").ok();
    }
}

#[test]
fn a_package_that_the_root_has_removed_since_owns_nothing_there_again() {
    let patched = Patched::new();
    patched.pkgadd(
        "ACMEnew",
        &Package::new("ACMEnew").param("BASEDIR", "/opt/ACMEweb").file("bin/httpd", 0o755, "httpd 1\n"),
    );
    patched.promote("").ok();
    patched.patchadd("", &first());
    let run = patched.live.run("pkgrm -n -R @ROOT@ ACMEnew");
    assert_eq!(run.code, 0, "{run:?}");
    let words = "its owner ACMEnew is neither installed on the root nor brought by the stage";
    records_refused(&patched, 3, &[words, "stage refresh"]);
}

#[test]
fn a_stage_of_another_user_brings_no_packages_and_patches() {
    if !crate::scenario::is_root() {
        return crate::skipped("a_stage_of_another_user…: another user is needed");
    }
    let patched = Patched::new();
    let live = &patched.live;
    fs::create_dir(live.beside("open")).unwrap();
    let user = |line: &str| {
        let open = live.beside("open");
        let output = crate::everyman::as_ordinary_user(live, line, &[&open]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    fs::set_permissions(live.root(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    user("stage new open/theirs -R @ROOT@ --records --path opt");
    let at = first().directory(live);
    user(&format!("patchadd -R {} {}", live.beside("open/theirs").display(), at.display()));
    let before = Before::of(live);
    for options in ["", " --dry-run"] {
        let said = live.run(&format!("stage promote open/theirs -R @ROOT@{options}")).fails(3);
        assert!(said.contains("no packages and patches come from this stage: "), "{said}");
        assert!(said.contains("promote only the files with `--tree-only`"), "{said}");
        before.assert_again(live, "nothing was changed");
    }
    let said = live.run("stage promote open/theirs -R @ROOT@ --tree-only");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(live.text(HTTPD), "httpd 2\n");
    assert_eq!(live.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok(), "theirs-01\n");
}

#[test]
fn a_record_or_a_directory_of_another_user_in_a_stage_of_root_brings_no_packages_and_patches() {
    if !crate::scenario::is_root() {
        return crate::skipped("a_record_or_a_directory_of_another_user…: another user is needed");
    }
    for (theirs, reason) in [
        ("var/sadm/pkg/ACMEweb/pkginfo", "var/sadm/pkg/ACMEweb/pkginfo belongs to uid"),
        ("var/sadm/patch", "var/sadm/patch belongs to uid"),
        ("opt/ACMEweb/bin", "opt/ACMEweb/bin, it belongs to uid"),
    ] {
        let patched = Patched::with(&[first()]);
        let live = &patched.live;
        let user = Some(crate::everyman::NOBODY);
        std::os::unix::fs::chown(patched.stage.join(theirs), user, None).unwrap();
        if theirs == "opt/ACMEweb/bin" {
            std::os::unix::fs::chown(patched.stage.join("opt/ACMEweb/bin/httpd"), user, None).unwrap();
        }
        let before = Before::of(live);
        let said = live.run("stage promote web -R @ROOT@ --allow-set-id").fails(3);
        assert!(said.contains("no packages and patches come from this stage: "), "{said}");
        assert!(said.contains(reason), "{reason}: {said}");
        before.assert_again(live, "nothing was changed");
    }
}

#[test]
fn a_damaged_journal_of_a_stage_is_no_matter_of_its_root() {
    let Patched { live, stage, .. } = Patched::new();
    fs::write(stage.join("opt/ACMEweb/bin/tool"), "tool 2\n").unwrap();
    let journal = stage.join("var/sadm/patchadm/journal");
    fs::create_dir_all(journal.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&journal);
    assert!(std::process::Command::new("mkfifo").arg(&journal).status().unwrap().success());
    for line in [
        "stage promote web -R @ROOT@",
        "stage promote web -R @ROOT@ --dry-run",
        "stage refresh web -R @ROOT@",
    ] {
        let run = live.run(line);
        assert_ne!(run.code, 0, "{run:?}");
        let said = run.stdout + &run.stderr;
        let stage = stage.display();
        assert!(said.contains(&format!("the package database of the stage {stage}: ")), "{line}: {said}");
        assert!(said.contains(&format!("-R {stage} recover")), "{line}: {said}");
        assert!(!said.contains(&format!("-R {} recover", live.root().display())), "{line}: {said}");
    }
    assert_eq!(live.text("/opt/ACMEweb/bin/tool"), "tool 1\n");
}
