//! Files that two packages have in two spellings, which dpkg does not notice, and additions below diversions.

use crate::native_root::{Deb, DpkgRoot, End, NOTHING, patch_of};

const LISTED: &str = "/lib/acme/a.so";
const OTHER: &str = "/usr/lib/acme/a.so";
const DATA: &str = "/usr/share/acme/data";

fn acme() -> Deb {
    Deb::new("acme", "1").file(LISTED, "a of acme\n").file(DATA, "data of acme\n")
}

#[test]
fn a_file_that_another_package_has_in_the_other_spelling_is_its_own() {
    for root in DpkgRoot::both("one file in two spellings") {
        root.install(&acme());
        root.adopt(&["acme"]);
        root.applied(&patch_of("100-01", "acme", "1", &[(LISTED, "a fixed\n"), (DATA, "data fixed\n")]));
        root.upgrade(&Deb::new("taker", "1").file(OTHER, "a of taker\n"));
        assert_eq!(root.content(OTHER), "a of taker\n");
        root.tells(&[("100-01", End::PartlyLost(&[LISTED]))]);
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!(root.content(OTHER), "a of taker\n");
        assert_eq!(root.content(DATA), "data of acme\n");
    }
}

#[test]
fn a_patch_of_a_file_that_two_packages_have_in_two_spellings_is_refused() {
    let Some(root) = DpkgRoot::opened("a patch of one file in two spellings") else { return };
    root.install(&acme());
    root.install(&Deb::new("taker", "1").file(OTHER, "a of taker\n"));
    root.adopt(&["acme"]);
    for path in [LISTED, OTHER] {
        let run = root.add("--edited replace", &patch_of("100-01", "acme", "1", &[(path, "a fixed\n")]));
        assert!(run.code != 0 && run.said().contains("belongs to taker 1"), "{} {}", run.code, run.said());
        assert_eq!(root.content(OTHER), "a of taker\n");
    }
}

#[test]
fn both_packages_with_one_file_in_two_spellings_are_registered_and_follow() {
    for root in DpkgRoot::both("two adopted packages with one file in two spellings") {
        let taker = |version: &str| Deb::new("taker", version).file("/usr/share/taker/data", "data\n");
        root.install(&acme());
        root.install(&taker("1"));
        root.adopt(&["acme", "taker"]);
        for taker in [taker("2").file(OTHER, "a of taker\n"), taker("3")] {
            let found = root.install(&acme()) + &root.upgrade(&taker);
            let list = root.unwatched("list --check -R @ROOT@");
            assert_eq!(list.code, 0, "{} {found}", list.said());
        }
    }
}

#[test]
fn an_added_file_goes_to_the_diverted_name_and_a_backout_takes_it_from_there() {
    const NEW: &str = "/usr/share/acme/new";
    const DISTRIB: &str = "/usr/share/acme/new.distrib";
    for by in ["--local", "--package other"] {
        for root in DpkgRoot::both("an added file whose path is diverted") {
            root.install(&acme());
            root.done(&format!("dpkg-divert {by} --rename --divert {DISTRIB} --add {NEW}"));
            root.stage.file(NEW, "new of somebody\n");
            root.adopt(&["acme"]);
            root.applied(&patch_of("100-01", "acme", "1", &[(NEW, "new\n")]));
            assert_eq!(root.content(DISTRIB), "new\n", "{by}");
            assert_eq!(root.content(NEW), "new of somebody\n", "{by}");
            root.tells(&[("100-01", End::Stands)]);
            let removed = root.remove("100-01");
            assert_eq!(removed.code, 0, "{}", removed.said());
            assert_eq!(root.content(DISTRIB), NOTHING, "{by}");
            assert_eq!(root.content(NEW), "new of somebody\n", "{by}");
        }
    }
}
