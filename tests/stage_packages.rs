//! `stage refresh` after packages were installed on the root, or removed from it, since its stage was made.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::records::records;
use crate::scenario::Scenario;
use crate::tree::Tree;

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
        Self::with(&[web(), mail()])
    }

    fn with(packages: &[Package]) -> Self {
        let live = Scenario::with(packages);
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
        self.refused_with(&[words, "pkgrm"]);
    }

    fn refused_with(&self, words: &[&str]) {
        for options in ["--dry-run", "", "--edited replace"] {
            let before = records(&self.stage);
            let said = self.live.run(&format!("stage refresh web -R @ROOT@ {options}")).fails(3);
            assert!(words.iter().all(|words| said.contains(words)), "{words:?}\n{said}");
            assert_eq!(records(&self.stage), before, "nothing was changed");
        }
    }

    /// Applies a patch in the stage.
    fn patchadd(&self, patch: &Patch) {
        let at = patch.directory(&self.live);
        self.live.run(&format!("patchadd -R {} {}", self.stage(), at.display())).ok();
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
        assert_eq!(self.live.run("stage promote web -R @ROOT@").ok(), "nothing to promote in /opt\n");
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
    // The stage continues with them: a patch in the stage follows the patch of the root, and can be backed out there.
    let next = Patch::of("400-02", Package::new("ACMEnews").file("share/all", 0o644, "all 3\n"));
    let at = next.directory(&staged.live);
    staged.live.run(&format!("patchadd -R {} {}", staged.stage(), at.display())).ok();
    staged.live.run("stage promote web -R @ROOT@").ok();
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
    let reason = "the stage has its own object at /opt/ACMEmail/bin/mail";
    let kept = json!([{"name": "ACMEmail", "change": "removed", "brought": false, "reason": reason}]);
    let document = staged.refresh("");
    assert_eq!((&document["exit_code"], &document["packages"]), (&json!(3), &kept), "{document}");
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
    // The same package on both sides is no conflict.
    let staged = Staged::new();
    staged.pkgadd("@ROOT@", &news());
    staged.pkgadd(&staged.stage(), &news());
    assert_eq!(staged.refresh("--edited replace")["packages"], json!([]));
    assert_eq!(staged.live.run("stage promote web -R @ROOT@").ok(), "nothing to promote in /opt\n");
    // The stage keeps a package that it installed itself when the root's is removed, and reports that.
    staged.pkgrm("@ROOT@", "ACMEnews");
    let reason = "the stage has its own object at /opt/ACMEnews/bin/news";
    let kept = json!([{"name": "ACMEnews", "change": "removed", "brought": false, "reason": reason}]);
    assert_eq!(staged.refresh("")["packages"], kept);
}

#[test]
fn another_version_on_the_root_is_told_and_the_local_package_of_a_promotion_is_none_of_the_stage() {
    let staged = Staged::new();
    fs::write(staged.stage.join("opt/own"), "of the stage\n").unwrap();
    staged.live.run("stage promote web -R @ROOT@").ok();
    assert_eq!(staged.refresh("")["packages"], json!([]), "LOCLweb");
    staged.pkgrm("@ROOT@", "ACMEweb");
    staged.pkgadd("@ROOT@", &web().param("VERSION", "2.0"));
    let replaced = json!([{"name": "ACMEweb", "change": "replaced", "brought": true}]);
    assert_eq!(staged.refresh("--edited replace")["packages"], replaced);
}

/// The next version of `ACMEweb`: a changed, a new and a removed file.
fn next_web() -> Package {
    let next = Package::new("ACMEweb").param("VERSION", "2.0").file("bin/httpd", 0o755, "httpd 2\n");
    next.file("share/new", 0o644, "new 2\n")
}

#[test]
fn another_version_on_the_root_comes_with_its_records_and_takes_the_place_of_the_old_one() {
    let old = web().file("etc/conf", 0o644, "port 1\n").information("copyright", "of version 1\n");
    let staged = Staged::with(&[old, mail()]);
    let first = Patch::of("400-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "httpd 1.1\n"));
    staged.live.patchadd("", &first).ok();
    staged.refresh("");
    assert_eq!(staged.says("pkgparam ACMEweb PATCHLIST"), ("400-01\n".into(), "400-01\n".into()));
    staged.pkgrm("@ROOT@", "ACMEweb");
    staged.pkgadd("@ROOT@", &next_web());
    let of_next = Package::new("ACMEweb").param("VERSION", "2.0").file("share/new", 0o644, "new 3\n");
    staged.live.patchadd("", &Patch::of("500-01", of_next)).ok();
    let replaced = json!([{"name": "ACMEweb", "change": "replaced", "brought": true}]);
    assert_eq!(staged.refresh("--dry-run")["packages"], replaced);
    assert_eq!(staged.refresh("")["packages"], replaced);
    staged.assert_alike();
    assert!(!records(&staged.stage).keys().any(|path| path.contains("400-01")), "of the old version");
    let names = |root: PathBuf| {
        let tree = Tree::of(&root.join("var/sadm/pkg/ACMEweb"), &[]);
        tree.objects().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(staged.stage.clone()), names(staged.live.root()));
    staged.live.run(&format!("patchrm -R {} 500-01", staged.stage())).ok();
    assert_eq!(fs::read_to_string(staged.stage.join("opt/ACMEweb/share/new")).unwrap(), "new 2\n");
}

#[test]
fn another_version_on_the_root_is_refused_where_the_stage_has_patched_the_old_one() {
    let staged = Staged::new();
    staged.patchadd(&Patch::of("500-01", Package::new("ACMEweb").file("share/own", 0o644, "own\n")));
    staged.pkgrm("@ROOT@", "ACMEweb");
    staged.pkgadd("@ROOT@", &next_web());
    staged.refused_with(&["2.0 on the root", &format!("-R {} remove 500-01", staged.stage())]);
    let packages = staged.refresh("--dry-run")["packages"].clone();
    assert_eq!((&packages[0]["change"], &packages[0]["brought"]), (&json!("replaced"), &json!(false)));
    assert!(packages[0]["reason"].as_str().is_some_and(|reason| reason.contains("500-01")), "{packages}");
    staged.live.run(&format!("patchrm -R {} 500-01", staged.stage())).ok();
    assert_eq!(staged.refresh("")["packages"][0]["brought"], true);
    staged.assert_alike();
}

/// A package with a file that others have as well, and a file with its own name.
fn of_same(name: &str) -> Package {
    let package = Package::new(name).param("BASEDIR", "/opt/ACMEsame");
    package.file("bin/same", 0o755, "same 1\n").file(&format!("share/{name}"), 0o644, "own 1\n")
}

#[test]
fn a_package_under_a_new_name_comes_in_the_place_of_the_old_one() {
    for (old, new) in [("ACMEaaa", "ACMEzzz"), ("ACMEzzz", "ACMEaaa")] {
        let staged = Staged::with(&[of_same(old), mail()]);
        staged.pkgrm("@ROOT@", old);
        staged.pkgadd("@ROOT@", &of_same(new));
        let packages = staged.refresh("")["packages"].clone();
        let moves = packages.as_array().unwrap();
        assert!(moves.len() == 2 && moves.iter().all(|package| package["brought"] == true), "{packages}");
        staged.assert_alike();
    }
}

#[test]
fn a_package_under_a_new_name_waits_for_the_old_one_of_which_the_stage_keeps_something() {
    for (old, new) in [("ACMEaaa", "ACMEzzz"), ("ACMEzzz", "ACMEaaa")] {
        let staged = Staged::with(&[of_same(old), mail()]);
        fs::write(staged.stage.join("opt/ACMEsame/share").join(old), "of the stage\n").unwrap();
        staged.pkgrm("@ROOT@", old);
        staged.pkgadd("@ROOT@", &of_same(new));
        let said = staged.live.run("stage refresh web -R @ROOT@").fails(3);
        assert!(said.contains("--edited replace") && !said.contains("pkgrm"), "{said}");
        let packages = staged.refresh("--edited keep")["packages"].clone();
        let by_name = |name: &str| {
            let all = packages.as_array().unwrap();
            all.iter().find(|package| package["name"] == name).unwrap().clone()
        };
        let reason = |name: &str| by_name(name)["reason"].as_str().unwrap().to_owned();
        assert!(reason(old).contains(&format!("/opt/ACMEsame/share/{old}")), "{packages}");
        assert!(reason(new).contains("/opt/ACMEsame/bin/same") && reason(new).contains(old), "{packages}");
        let said = staged.live.run("stage refresh web -R @ROOT@ --edited keep").ok();
        assert!(said.contains(&reason(old)) && said.contains(&reason(new)), "{said}");
        staged.refresh("--edited replace");
        staged.assert_alike();
    }
}

#[test]
fn a_path_that_a_new_package_shares_is_recorded_as_the_root_has_it() {
    let shared = |name: &str, text: &str| {
        Package::new(name).param("BASEDIR", "/opt/ACMEsame").file("share/all", 0o644, text)
    };
    let staged = Staged::with(&[shared("ACMEweb", "all 1\n"), mail()]);
    staged.live.file("/var/sadm/install/admin/nocheck", NOCHECK);
    let at = shared("ACMEnews", "all of the news\n").write(&staged.live.beside("spool"));
    let spool = at.parent().unwrap().display();
    let run = staged.live.run(&format!("pkgadd -n -a nocheck -R @ROOT@ -d {spool} ACMEnews"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(staged.refresh("")["packages"][0]["brought"], true);
    staged.assert_alike();
}

#[test]
fn what_the_root_gave_up_stays_in_the_stage_for_a_package_that_is_there_alone() {
    for choice in ["", "--edited replace"] {
        let common = |name: &str| {
            let package = Package::new(name).param("BASEDIR", "/opt/ACMEsame");
            package.file("share/all", 0o644, "all 1\n")
        };
        let staged = Staged::with(&[web(), mail()]);
        // Both sides have the path by a package that both remove, and the stage has it again by another one.
        staged.pkgadd("@ROOT@", &common("ACMEsame"));
        assert_eq!(staged.refresh("")["packages"][0]["brought"], true);
        staged.pkgrm("@ROOT@", "ACMEsame");
        staged.pkgrm(&staged.stage(), "ACMEsame");
        staged.pkgadd(&staged.stage(), &common("ACMEnews"));
        staged.live.run(&format!("stage refresh web -R @ROOT@ {choice}")).ok();
        let at = staged.stage.join("opt/ACMEsame/share/all");
        assert_eq!(fs::read_to_string(&at).unwrap(), "all 1\n", "{choice}");
        assert_eq!(staged.live.run(&format!("pkgchk -R {}", staged.stage())).ok(), "");
        // It is new in the stage from then on, and goes live with its package.
        staged.live.run("stage promote web -R @ROOT@").ok();
        assert_eq!(staged.live.text("/opt/ACMEsame/share/all"), "all 1\n");
        assert_eq!(staged.live.run("pkgchk -R @ROOT@").ok(), "");
        assert_eq!(staged.live.run("stage promote web -R @ROOT@").ok(), "nothing to promote in /opt\n");
    }
}

#[test]
fn a_package_that_is_held_in_the_stage_keeps_all_of_its_objects() {
    let staged = Staged::with(&[web(), mail().file("share/mail", 0o644, "share 1\n")]);
    staged.patchadd(&Patch::of("500-01", Package::new("ACMEmail").file("bin/more", 0o755, "more\n")));
    staged.pkgrm("@ROOT@", "ACMEmail");
    assert_eq!(staged.refresh("--edited keep")["packages"][0]["brought"], false);
    assert_eq!(fs::read_to_string(staged.stage.join("opt/ACMEmail/share/mail")).unwrap(), "share 1\n");
    assert_eq!(staged.live.run(&format!("pkgchk -R {}", staged.stage())).ok(), "");
}

#[test]
fn all_that_both_sides_did_to_packages_is_told_at_once() {
    let staged = Staged::new();
    staged.pkgadd("@ROOT@", &news());
    staged.pkgadd(&staged.stage(), &news().param("VERSION", "2.0"));
    staged.pkgadd("@ROOT@", &of_same("ACMEsame"));
    let claim = Package::new("ACMEclaim").param("BASEDIR", "/opt/ACMEsame");
    let claim = claim.file("bin/same", 0o755, "same 1\n").file("share/ACMEsame", 0o644, "own 1\n");
    staged.pkgadd(&staged.stage(), &claim);
    staged.refused_with(&[
        "package ACMEnews was installed on both sides",
        "/opt/ACMEsame/bin/same is owned by package ACMEclaim",
        "/opt/ACMEsame/share/ACMEsame is owned by package ACMEclaim",
        &format!("pkgrm -R {} ACMEnews", staged.stage()),
        &format!("pkgrm -R {} ACMEclaim", staged.stage()),
    ]);
}

#[test]
fn an_interrupted_refresh_that_no_option_completes_says_what_does() {
    let staged = Staged::new();
    staged.pkgadd("@ROOT@", &news());
    staged.pkgadd(&staged.stage(), &news().param("VERSION", "2.0"));
    fs::create_dir(staged.stage.join(".patchadm-stage/refresh")).unwrap();
    for options in ["", "--dry-run"] {
        let said = staged.live.run(&format!("stage promote web -R @ROOT@ {options}")).fails(3);
        assert!(said.contains("a refresh of the stage web was interrupted"), "{said}");
        assert!(said.contains(&format!("pkgrm -R {} ACMEnews", staged.stage())), "{said}");
        assert!(!said.contains("--edited"), "{said}");
    }
    staged.pkgrm(&staged.stage(), "ACMEnews");
    staged.live.run("stage promote web -R @ROOT@").ok();
    staged.assert_alike();
}

#[test]
fn a_patched_line_has_the_owners_of_the_stage_there_and_those_of_the_root_here() {
    let staged = Staged::new();
    staged.pkgadd(&staged.stage(), &news());
    let promoted = "stage promote web -R @ROOT@ --tree-only --max-delete 100%";
    staged.live.run(promoted).ok();
    let shared = Package::new("ACMEmail").file("/opt/ACMEnews/share/all", 0o644, "all 1\n");
    staged.live.patchadd("", &Patch::of("300-01", shared)).ok();
    staged.live.run("stage refresh web -R @ROOT@").ok();
    let owners = |root: PathBuf| {
        let contents = fs::read_to_string(root.join("var/sadm/install/contents")).unwrap();
        let line = contents.lines().find(|line| line.starts_with("/opt/ACMEnews/share/all ")).unwrap();
        line.split(' ').skip(9).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(owners(staged.stage.clone()), ["ACMEmail", "ACMEnews"]);
    assert_eq!(owners(staged.live.root()), ["LOCLweb", "ACMEmail"]);
    assert_eq!(staged.says("pkgchk -n"), (String::new(), String::new()));
}
