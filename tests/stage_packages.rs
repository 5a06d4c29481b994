//! `stage refresh` and packages that came to the root, or went from it, since its stage was made.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::records::records;
use crate::scenario::Scenario;

/// A root with two packages and a stage of it with records, `web`.
struct Staged {
    live: Scenario,
    stage: PathBuf,
}

fn web() -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, "httpd 1\n")
}

fn mail() -> Package {
    Package::new("ACMEmail").file("bin/mail", 0o755, "mail 1\n")
}

fn news() -> Package {
    Package::new("ACMEnews").file("bin/news", 0o755, "news 1\n").file("share/all", 0o644, "all 1\n")
}

fn patch_of_news() -> Patch {
    Patch::of("400-01", Package::new("ACMEnews").file("bin/news", 0o755, "news 2\n"))
}

impl Staged {
    fn new() -> Self {
        let live = Scenario::with(&[web(), mail()]);
        live.run("stage new web -R @ROOT@ --records --path opt").ok();
        let stage = live.beside("web");
        Self { live, stage }
    }

    fn pkgadd(&self, root: &str, package: &Package) {
        let at = package.write(&self.live.beside("spool"));
        let name = at.file_name().unwrap().to_str().unwrap();
        let run = self.live.run(&format!("pkgadd -n -R {root} -d {} {name}", at.parent().unwrap().display()));
        assert_eq!(run.code, 0, "{}", run.stderr);
    }

    fn pkgrm(&self, root: &str, name: &str) {
        let run = self.live.run(&format!("pkgrm -n -R {root} {name}"));
        assert_eq!(run.code, 0, "{}", run.stderr);
    }

    fn stage(&self) -> String {
        self.stage.display().to_string()
    }

    fn refresh(&self, options: &str) -> Value {
        let run = self.live.run(&format!("stage refresh web -R @ROOT@ --json {options}"));
        serde_json::from_str(&run.stdout).unwrap()
    }

    fn refused(&self, words: &str) {
        for options in ["--dry-run", "", "--edited replace"] {
            let before = records(&self.stage);
            let said = self.live.run(&format!("stage refresh web -R @ROOT@ {options}")).fails(10);
            assert!(said.contains(words) && said.contains("pkgrm"), "{words}\n{said}");
            assert_eq!(records(&self.stage), before, "nothing was changed");
        }
    }

    fn says(&self, query: &str) -> (String, String) {
        let of = |root: &str| self.live.run(&format!("{query} -R {root}")).ok();
        (of("@ROOT@"), of(&self.stage()))
    }

    fn assert_alike(&self) {
        let (live, stage) = self.says("pkginfo");
        assert_eq!(live, stage);
        assert_eq!(self.says("pkgchk"), (String::new(), String::new()));
        let contents = |root: PathBuf| fs::read_to_string(root.join("var/sadm/install/contents")).unwrap();
        let lines = |text: String| -> Vec<String> {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        assert_eq!(lines(contents(self.stage.clone())), lines(contents(self.live.root())));
        assert_eq!(self.refresh("")["result"], "nothing-to-do");
        assert_eq!(self.live.run("promote web -R @ROOT@").ok(), "nothing to promote in /opt\n");
    }
}

#[test]
fn packages_that_came_to_the_root_come_with_their_patches_and_go_again() {
    let staged = Staged::new();
    staged.pkgadd("@ROOT@", &news());
    staged.live.patchadd("", &patch_of_news()).ok();
    staged.pkgrm("@ROOT@", "ACMEmail");
    let moves = json!([
        {"name": "ACMEmail", "change": "removed", "brought": true},
        {"name": "ACMEnews", "change": "installed", "brought": true},
    ]);
    let before = records(&staged.stage);
    assert_eq!(staged.refresh("--dry-run")["packages"], moves);
    assert_eq!(records(&staged.stage), before, "a plan");
    assert_eq!(staged.refresh("")["packages"], moves);
    staged.assert_alike();
    // The stage goes on with them: a patch of it follows on the one of the root, and comes off there.
    let next = Patch::of("400-02", Package::new("ACMEnews").file("share/all", 0o644, "all 3\n"));
    let at = next.directory(&staged.live);
    staged.live.run(&format!("patchadd -R {} {}", staged.stage(), at.display())).ok();
    staged.live.run("promote web -R @ROOT@").ok();
    assert_eq!(staged.live.run("pkgparam -R @ROOT@ ACMEnews PATCHLIST").ok(), "400-01 400-02\n");
    staged.live.run("patchrm -R @ROOT@ web-01").ok();
    staged.live.run(&format!("patchrm -R {} 400-02", staged.stage())).ok();
    staged.live.run(&format!("patchrm -R {} 400-01", staged.stage())).ok();
    assert_eq!(fs::read_to_string(staged.stage.join("opt/ACMEnews/bin/news")).unwrap(), "news 1\n");
}

#[test]
fn a_package_that_went_and_was_changed_in_the_stage_is_told_and_decided_with_its_paths() {
    let change = |staged: &Staged| {
        let patch = Patch::of("500-01", Package::new("ACMEmail").file("bin/mail", 0o755, "mail 2\n"));
        let at = patch.directory(&staged.live);
        staged.live.run(&format!("patchadd -R {} {}", staged.stage(), at.display())).ok();
        staged.pkgrm("@ROOT@", "ACMEmail");
    };
    let staged = Staged::new();
    change(&staged);
    let kept = json!([{"name": "ACMEmail", "change": "removed", "brought": false}]);
    let document = staged.refresh("");
    assert_eq!((&document["exit"]["code"], &document["packages"]), (&json!(10), &kept), "{document}");
    assert_eq!(document["conflicts"][0]["path"], "/opt/ACMEmail/bin/mail", "{document}");
    assert_eq!(staged.refresh("--edited keep")["packages"], kept);
    assert_eq!(
        staged.live.run(&format!("pkgparam -R {} ACMEmail PATCHLIST", staged.stage())).ok(),
        "500-01\n"
    );
    assert_eq!(staged.refresh("--edited replace")["packages"][0]["brought"], true);
    staged.assert_alike();
}

#[test]
fn what_both_sides_did_to_a_package_is_refused_with_what_to_type() {
    let staged = Staged::new();
    staged.pkgadd("@ROOT@", &news());
    staged.pkgadd(&staged.stage(), &news().param("VERSION", "2.0"));
    staged.refused("package ACMEnews was installed on both sides: version 2.0 in the stage, 1.0 on the root");
    staged.pkgrm(&staged.stage(), "ACMEnews");
    assert_eq!(staged.refresh("")["packages"][0]["brought"], true);
    staged.assert_alike();
    let staged = Staged::new();
    staged.pkgadd("@ROOT@", &news());
    let other =
        Package::new("ACMEother").param("BASEDIR", "/opt/ACMEnews").file("share/all", 0o644, "all 1\n");
    staged.pkgadd(&staged.stage(), &other);
    staged.refused("is owned by package ACMEother in the stage, and by package ACMEnews");
    // The same on both sides is no matter.
    let staged = Staged::new();
    staged.pkgadd("@ROOT@", &news());
    staged.pkgadd(&staged.stage(), &news());
    assert_eq!(staged.refresh("--edited replace")["packages"], json!([]));
    assert_eq!(staged.live.run("promote web -R @ROOT@").ok(), "nothing to promote in /opt\n");
    // What the stage installed itself it keeps when the root's goes, and that is told.
    staged.pkgrm("@ROOT@", "ACMEnews");
    let kept = json!([{"name": "ACMEnews", "change": "removed", "brought": false}]);
    assert_eq!(staged.refresh("")["packages"], kept);
}

#[test]
fn another_version_on_the_root_is_told_and_the_local_package_of_a_promotion_is_none_of_the_stage() {
    let staged = Staged::new();
    fs::write(staged.stage.join("opt/own"), "of the stage\n").unwrap();
    staged.live.run("promote web -R @ROOT@").ok();
    assert_eq!(staged.refresh("")["packages"], json!([]), "LOCLweb");
    staged.pkgrm("@ROOT@", "ACMEweb");
    staged.pkgadd("@ROOT@", &web().param("VERSION", "2.0"));
    let replaced = json!([{"name": "ACMEweb", "change": "replaced", "brought": false}]);
    assert_eq!(staged.refresh("--edited replace")["packages"], replaced);
}
