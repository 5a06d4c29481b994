//! Nothing older than the version that dpkg installed comes back: files that move between spellings, packages and
//! diversions.

use crate::delivery::Patch;
use crate::native_root::{Deb, DpkgRoot, End, NOTHING, of_dpkg, patch_of};

const X: &str = "/usr/share/mv/x";
const Y: &str = "/usr/share/mv/y";
const DISTRIB: &str = "/usr/share/mv/x.distrib";

/// gzip 1.12 with both scripts of a later version.
fn gzip(root: &DpkgRoot) {
    let script = |name: &str| format!("{name} of 1.12\n");
    let gzip = Deb::new("gzip", "1.12").with_mode("/bin/zgrep", 0o755, &script("zgrep"));
    root.install(&gzip.with_mode("/bin/znew", 0o755, &script("znew")));
    root.adopt(&["gzip"]);
    let files = [("/bin/zgrep", "zgrep of 1.13\n"), ("/bin/znew", "znew of 1.13\n")];
    let package = of_dpkg("gzip", "1.12");
    let package = files.iter().fold(package, |package, (path, text)| package.file(&path[1..], 0o755, text));
    root.applied(&Patch::of("100-01", package));
}

#[test]
fn scripts_backported_by_a_patch_never_go_back_under_the_version_that_has_them_in_another_directory() {
    for root in DpkgRoot::both("backported scripts that the next version has") {
        gzip(&root);
        let gzip = Deb::new("gzip", "1.13").with_mode("/usr/bin/zgrep", 0o755, "zgrep of 1.13\n");
        root.upgrade(&gzip.with_mode("/usr/bin/znew", 0o755, "znew of 1.13\n"));
        root.tells(&[("100-01", End::Contained)]);
        let removed = root.remove("100-01");
        assert!(!removed.said().contains("did you mean"), "{}", removed.said());
        root.run("undo -R @ROOT@");
        for name in ["zgrep", "znew"] {
            assert_eq!(root.content(&format!("/usr/bin/{name}")), format!("{name} of 1.13\n"));
        }
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn a_version_that_has_one_of_two_backported_scripts_loses_the_patch_and_keeps_both_of_its_own() {
    for root in DpkgRoot::both("one backported script that the next version has") {
        gzip(&root);
        let gzip = Deb::new("gzip", "1.13").with_mode("/usr/bin/zgrep", 0o755, "zgrep of 1.13\n");
        root.upgrade(&gzip.with_mode("/usr/bin/znew", 0o755, "znew of another 1.13\n"));
        root.tells(&[("100-01", End::Lost(&["/bin/znew"]))]);
        root.remove("100-01");
        assert_eq!(root.content("/usr/bin/zgrep"), "zgrep of 1.13\n");
        assert_eq!(root.content("/usr/bin/znew"), "znew of another 1.13\n");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

/// Backs the patch out; asserts the content of these files, and that dpkg finds nothing changed. Returns the output.
#[track_caller]
fn backed_out(root: &DpkgRoot, files: &[(&str, &str)]) -> String {
    let removed = root.remove("100-01");
    assert_eq!(removed.code, 0, "{}", removed.said());
    for (path, text) in files {
        assert_eq!(root.content(path), *text, "{path}");
    }
    assert!(root.verified().is_empty(), "{:?}", root.verified());
    removed.said()
}

/// `mv` 1 with two files that a patch replaces.
fn mv(root: &DpkgRoot) {
    root.install(&Deb::new("mv", "1").file(X, "x of 1\n").file(Y, "y of 1\n"));
    root.adopt(&["mv"]);
    root.applied(&patch_of("100-01", "mv", "1", &[(X, "x fixed\n"), (Y, "y fixed\n")]));
}

#[test]
fn a_file_that_moved_to_another_package_with_the_bytes_of_the_patch_stays_in_a_backout() {
    for root in DpkgRoot::both("a file that moved with the bytes of the patch") {
        mv(&root);
        root.upgrade(&Deb::new("mvn", "2").field("Replaces", "mv").file(X, "x fixed\n"));
        root.owned(&[X], "mvn");
        backed_out(&root, &[(X, "x fixed\n"), (Y, "y of 1\n")]);
    }
}

#[test]
fn a_file_that_moved_to_another_package_with_other_bytes_is_lost_and_stays_in_a_backout() {
    for root in DpkgRoot::both("a file that moved with other bytes") {
        mv(&root);
        root.upgrade(&Deb::new("mvn", "2").field("Replaces", "mv").file(X, "x of mvn\n"));
        root.tells(&[("100-01", End::PartlyLost(&[X]))]);
        root.owned(&[X], "mvn");
        let said = backed_out(&root, &[(X, "x of mvn\n"), (Y, "y of 1\n")]);
        assert!(said.contains("taken over by mvn 2"), "{said}");
    }
}

#[test]
fn a_diversion_added_after_the_patch_takes_it_along_and_a_backout_restores_the_true_file() {
    for by in ["--local", "--package other"] {
        for root in DpkgRoot::both("a diversion added after the patch") {
            mv(&root);
            root.done(&format!("dpkg-divert {by} --rename --divert {DISTRIB} --add {X}"));
            if by != "--local" {
                root.upgrade(&Deb::new("other", "1").file(X, "x of other\n"));
            }
            let other = root.content(X);
            assert_eq!(root.content(DISTRIB), "x fixed\n");
            root.ok("adopt --refresh -R @ROOT@");
            root.tells(&[("100-01", End::Stands)]);
            backed_out(&root, &[(X, &other), (DISTRIB, "x of 1\n"), (Y, "y of 1\n")]);
        }
    }
}

#[test]
fn a_version_that_dpkg_writes_beside_a_diversion_is_never_touched_again() {
    for root in DpkgRoot::both("an upgrade below a diversion") {
        mv(&root);
        root.done(&format!("dpkg-divert --local --rename --divert {DISTRIB} --add {X}"));
        root.stage.file(X, "x of the administrator\n");
        root.upgrade(&Deb::new("mv", "2").file(X, "x of 2\n").file(Y, "y of 2\n"));
        root.tells(&[("100-01", End::Lost(&[X, Y]))]);
        root.remove("100-01");
        root.run("undo -R @ROOT@");
        assert_eq!(root.content(X), "x of the administrator\n");
        assert_eq!(root.content(DISTRIB), "x of 2\n");
        assert_eq!(root.content(Y), "y of 2\n");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn a_diversion_that_renames_nothing_makes_the_path_foreign_and_its_fix_lost() {
    let Some(root) = DpkgRoot::opened("a diversion that renames nothing") else { return };
    mv(&root);
    root.done(&format!("dpkg-divert --local --no-rename --divert {DISTRIB} --add {X}"));
    let list = root.unwatched("list --check -R @ROOT@");
    assert_eq!(list.code, 4, "the registration is stale: {}", list.said());
    root.refresh();
    root.tells(&[("100-01", End::PartlyLost(&[X]))]);
    let removed = root.remove("100-01");
    assert_eq!(removed.code, 0, "{}", removed.said());
    assert_eq!(root.content(X), "x fixed\n", "it belongs to nobody");
    assert_eq!(root.content(DISTRIB), NOTHING);
    assert_eq!(root.content(Y), "y of 1\n");
}

#[test]
fn a_patch_goes_to_the_diverted_name_of_a_path_and_leaves_the_diverting_file() {
    for root in DpkgRoot::both("a path that is already diverted") {
        root.install(&Deb::new("mv", "1").file(X, "x of 1\n").file(Y, "y of 1\n"));
        root.done(&format!("dpkg-divert --package other --rename --divert {DISTRIB} --add {X}"));
        root.install(&Deb::new("other", "1").file(X, "x of other\n"));
        root.adopt(&["mv"]);
        let said = root.applied(&patch_of("100-01", "mv", "1", &[(X, "x fixed\n"), (Y, "y fixed\n")]));
        assert!(!said.contains("edited"), "{said}");
        assert_eq!(root.content(DISTRIB), "x fixed\n");
        assert_eq!(root.content(X), "x of other\n");
        root.tells(&[("100-01", End::Stands)]);
        root.owned(&[X], "other");
        root.owned(&[DISTRIB], "mv");
        backed_out(&root, &[(DISTRIB, "x of 1\n"), (X, "x of other\n")]);
    }
}

#[test]
fn a_diversion_taken_back_ends_the_claim_on_its_file_and_alarms_nobody() {
    let Some(root) = DpkgRoot::opened("a diversion taken back") else { return };
    root.install(&Deb::new("mv", "1").file(X, "x of 1\n").file(Y, "y of 1\n"));
    root.done(&format!("dpkg-divert --local --rename --divert {DISTRIB} --add {X}"));
    root.adopt(&["mv"]);
    root.applied(&patch_of("100-01", "mv", "1", &[(X, "x fixed\n"), (Y, "y fixed\n")]));
    assert_eq!(root.content(DISTRIB), "x fixed\n");
    root.done(&format!("dpkg-divert --rename --remove {X}"));
    root.refresh();
    assert_eq!(root.content(X), "x fixed\n");
    root.tells(&[("100-01", End::Stands)]);
    let removed = root.remove("100-01");
    assert_eq!(removed.code, 0, "{}", removed.said());
    assert_eq!(root.content(X), "x fixed\n", "the undo data knows it by its diverted name");
    assert_eq!(root.content(DISTRIB), NOTHING);
    assert_eq!(root.content(Y), "y of 1\n");
}
