//! Patches that only add files: no version of the package has these files, and none ends the patch.

use crate::native_root::{Deb, DpkgRoot, End, NOTHING, patch_of};

const NEW: &str = "/usr/share/acme/new";

fn acme(version: &str) -> Deb {
    Deb::new("acme", version).file("/usr/lib/acme/a.so", &format!("a of {version}\n"))
}

/// Version 2 with a patch that adds a file.
fn patched(root: &DpkgRoot) {
    root.install(&acme("2"));
    root.adopt(&["acme"]);
    root.applied(&patch_of("100-01", "acme", "2", &[(NEW, "new\n")]));
}

#[test]
fn a_patch_that_only_adds_files_stands_through_upgrades_and_downgrades() {
    for root in DpkgRoot::both("a patch that only adds files") {
        patched(&root);
        for version in ["3", "1", "2"] {
            root.upgrade(&acme(version));
            assert_eq!(root.content(NEW), "new\n", "version {version}");
            root.tells(&[("100-01", End::Stands)]);
        }
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!(root.content(NEW), NOTHING);
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn an_added_file_is_lost_to_a_version_that_has_another_one_there() {
    for root in DpkgRoot::both("a version with another file in the place of an added one") {
        patched(&root);
        root.applied(&patch_of("200-01", "acme", "2", &[("/usr/share/acme/other", "other\n")]));
        root.upgrade(&acme("3").file(NEW, "new of 3\n"));
        assert_eq!(root.content(NEW), "new of 3\n");
        root.tells(&[("100-01", End::Lost(&[NEW])), ("200-01", End::Stands)]);
        assert_eq!(root.content("/usr/share/acme/other"), "other\n");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn added_files_go_with_the_package() {
    for root in DpkgRoot::both("added files of a package that goes") {
        patched(&root);
        root.dpkg_done("-P acme");
        root.refresh();
        assert_eq!(root.content(NEW), NOTHING);
        root.tells(&[("100-01", End::Ended)]);
    }
}
