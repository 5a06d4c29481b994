//! Paths that another package, or the next version, has taken over: their objects stay where they are, whichever
//! package or patch ends.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::delivery::Patch;
use crate::native_root::{Deb, DpkgRoot, End, NOTHING, an_added_file_survives, of_dpkg, patch_of};
use crate::packages::Package;

const NEW: &str = "/usr/share/fd/n/new";

/// Version 4 of `al`, with a patch that replaces a file and adds one, both spelled with `/lib`.
fn al(root: &DpkgRoot) {
    root.install(&Deb::new("al", "4").file("/lib/al/old", "old of 4\n"));
    root.adopt(&["al"]);
    let files = [("/lib/al/old", "old fixed\n"), ("/lib/al/newlib", "newlib\n")];
    root.applied(&patch_of("100-01", "al", "4", &files));
}

fn al_5() -> Deb {
    Deb::new("al", "5").file("/usr/lib/al/old", "old of 5\n").file("/usr/lib/al/newlib", "newlib\n")
}

#[test]
fn an_added_file_stays_that_the_next_version_ships_by_the_other_name_of_its_directory() {
    for root in DpkgRoot::both("an added file that the next version ships by another name") {
        al(&root);
        root.upgrade(&al_5());
        assert_eq!(root.content("/usr/lib/al/newlib"), "newlib\n");
        assert_eq!(root.content("/usr/lib/al/old"), "old of 5\n");
        root.tells(&[("100-01", End::Lost(&["/lib/al/old"]))]);
        root.remove("100-01");
        assert_eq!(root.content("/usr/lib/al/newlib"), "newlib\n");
        assert_eq!(root.content("/usr/lib/al/old"), "old of 5\n");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn a_backout_before_the_refresh_leaves_what_the_next_version_ships_by_another_name() {
    let Some(root) = DpkgRoot::opened("a backout before the refresh") else { return };
    al(&root);
    root.install(&al_5());
    assert_eq!(root.remove("100-01").code, 3, "the package is stale");
    root.run("remove --refresh -R @ROOT@ 100-01");
    assert_eq!(root.content("/usr/lib/al/newlib"), "newlib\n");
    assert_eq!(root.content("/usr/lib/al/old"), "old of 5\n");
    assert!(root.verified().is_empty(), "{:?}", root.verified());
}

#[test]
fn a_patch_whose_files_the_next_version_ships_just_so_is_contained() {
    for root in DpkgRoot::both("a version with exactly the bytes of the patch") {
        root.install(&Deb::new("al", "4").with_mode("/lib/al/tool", 0o755, "tool of 4\n"));
        root.adopt(&["al"]);
        let package = of_dpkg("al", "4").file("lib/al/tool", 0o755, "tool fixed\n").file(
            "lib/al/newlib",
            0o644,
            "newlib\n",
        );
        root.applied(&Patch::of("100-01", package));
        let fixed = Deb::new("al", "5").with_mode("/usr/lib/al/tool", 0o755, "tool fixed\n");
        root.upgrade(&fixed.file("/usr/lib/al/newlib", "newlib\n"));
        root.tells(&[("100-01", End::Contained)]);
        assert_eq!(root.content("/lib/al/newlib"), "newlib\n");
        assert_eq!(root.content("/lib/al/tool"), "tool fixed\n");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

/// `fd` in this version, with a patch that replaces its tool and adds a file in a directory of the patch's own.
fn fd(root: &DpkgRoot, version: &str) {
    let tool =
        |version: &str| Deb::new("fd", version).file("/usr/share/fd/tool", &format!("tool of {version}\n"));
    root.build(&tool("1"));
    root.install(&tool(version));
    root.install(&Deb::new("fdo", "1").file("/usr/share/fdo/data", "data of 1\n"));
    root.adopt(&["fd"]);
    let files = [("/usr/share/fd/tool", "tool fixed\n"), (NEW, "new\n")];
    root.applied(&patch_of("100-01", "fd", version, &files));
}

fn fdo_2(new: &str) -> Deb {
    Deb::new("fdo", "2").file("/usr/share/fdo/data", "data of 2\n").file(NEW, new)
}

#[test]
fn an_added_file_that_another_package_ships_now_survives_the_removal_of_the_patched_one() {
    for root in DpkgRoot::both("an added file of another package, and a removal") {
        fd(&root, "1");
        root.upgrade(&fdo_2("new\n"));
        an_added_file_survives(&root, (NEW, "new\n"), "fdo", "fd");
    }
}

#[test]
fn an_added_file_that_another_package_ships_now_survives_the_downgrade_of_the_patched_one() {
    for root in DpkgRoot::both("an added file of another package, and a downgrade") {
        fd(&root, "2");
        root.upgrade(&fdo_2("new\n"));
        root.dpkg_done("-i [fd_1]");
        root.refresh();
        assert_eq!(root.content(NEW), "new\n");
        assert_eq!(root.content("/usr/share/fd/tool"), "tool of 1\n");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
        root.tells(&[("100-01", End::Lost(&["/usr/share/fd/tool"]))]);
    }
}

#[test]
fn an_added_file_that_another_package_ships_with_other_bytes_is_a_lost_path_and_no_backout_moves_it() {
    for root in DpkgRoot::both("an added file of another package with other bytes") {
        fd(&root, "1");
        root.upgrade(&fdo_2("of fdo\n"));
        root.tells(&[("100-01", End::PartlyLost(&[NEW]))]);
        root.owned(&[NEW], "fdo");
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert!(removed.said().contains("taken over by fdo 2"), "{}", removed.said());
        assert_eq!(root.content(NEW), "of fdo\n");
        assert_eq!(root.content("/usr/share/fd/tool"), "tool of 1\n");
        let beside: Vec<_> = fs::read_dir(root.at("/usr/share/fd/n")).unwrap().collect();
        assert_eq!(beside.len(), 1, "{beside:?}");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
        root.tells(&[("100-01", End::Ended)]);
    }
}

#[test]
fn an_added_file_that_another_package_ships_just_so_stays_when_the_patch_is_backed_out() {
    for root in DpkgRoot::both("an added file of another package with the same bytes") {
        fd(&root, "1");
        root.upgrade(&fdo_2("new\n"));
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!(root.content(NEW), "new\n");
        assert_eq!(root.content("/usr/share/fd/tool"), "tool of 1\n");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn an_undo_leaves_what_another_package_ships_now() {
    for root in DpkgRoot::both("an undo after another package came") {
        fd(&root, "1");
        root.upgrade(&fdo_2("new\n"));
        let undone = root.run("undo -R @ROOT@");
        assert_eq!(root.content(NEW), "new\n", "{}", undone.said());
        assert!(root.verified().iter().all(|path| path == "/usr/share/fd/tool"), "{:?}", root.verified());
    }
}

#[test]
fn a_directory_that_a_patch_added_stays_once_another_package_has_it() {
    for root in DpkgRoot::both("an added directory of another package") {
        fd(&root, "1");
        root.upgrade(&Deb::new("fdo", "2").directory("/usr/share/fd/n"));
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!(root.content(NEW), NOTHING);
        assert_eq!(root.content("/usr/share/fd/n"), "a directory");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn a_patch_that_would_write_over_another_package_is_refused_and_names_it() {
    let Some(root) = DpkgRoot::opened("a patch over another package") else { return };
    root.install(&Deb::new("fd", "1").file("/lib/fd/tool", "tool of 1\n"));
    let fdo = Deb::new("fdo", "2").file("/usr/lib/fd/new", "of fdo\n").file("/etc/fdo.conf", "setting\n");
    root.install(&fdo);
    root.adopt(&["fd"]);
    let refused = |patch: &Patch, words: &str| {
        let before = root.stage.everything();
        let run = root.add("--edited replace", patch);
        assert_ne!(run.code, 0, "{}", run.said());
        assert!(run.said().contains(words), "{}", run.said());
        assert!(before.difference(&root.stage.everything()).is_empty(), "nothing is changed");
    };
    let adds = |path: &str| patch_of("100-01", "fd", "1", &[(path, "ours\n"), ("/lib/fd/tool", "fixed\n")]);
    refused(&adds("/usr/lib/fd/new"), "belongs to fdo 2");
    refused(&adds("/lib/fd/new"), "belongs to fdo 2");
    refused(&Patch::of("100-01", of_dpkg("fd", "1").deletes(&["/lib/fd/new"])), "belongs to fdo 2");

    root.dpkg_done("-r fdo");
    assert_eq!(root.content("/etc/fdo.conf"), "setting\n");
    refused(&adds("/etc/fdo.conf"), "belongs to fdo 2");

    root.dpkg_done("--unpack [fdo_2]");
    refused(&adds("/lib/fd/new"), "belongs to fdo 2");
    root.dpkg_done("-P fdo");
    root.applied(&adds("/lib/fd/new"));
}

#[test]
fn a_change_of_attributes_does_not_reach_another_package_through_a_hard_link() {
    let Some(root) = DpkgRoot::opened("a hard link to a file of another package") else { return };
    root.install(&Deb::new("fd", "1").file("/usr/share/fd/tool", "the same\n"));
    root.install(&Deb::new("fdo", "2").file("/usr/share/fdo/tool", "the same\n"));
    root.adopt(&["fd"]);
    fs::remove_file(root.at("/usr/share/fd/tool")).unwrap();
    fs::hard_link(root.at("/usr/share/fdo/tool"), root.at("/usr/share/fd/tool")).unwrap();
    // The watch of `run` compares links, too, so the query of the link count is left to this test.
    let mode = || fs::metadata(root.at("/usr/share/fdo/tool")).unwrap().permissions().mode() & 0o7777;
    let patch = Patch::of("100-01", of_dpkg("fd", "1").file("usr/share/fd/tool", 0o600, "the same\n"));
    let at = patch.directory(&root.stage);
    let run = root.unwatched(&format!("add -R @ROOT@ {}", at.display()));
    assert_eq!(mode(), 0o644, "{}", run.said());
    root.unwatched("remove -R @ROOT@ 100-01");
    assert_eq!(mode(), 0o644);
    assert_eq!(root.content("/usr/share/fdo/tool"), "the same\n");
}

#[test]
fn a_classic_package_over_a_file_of_dpkg_is_told_whose_it_is() {
    let Some(root) = DpkgRoot::opened("a classic package over a file of dpkg") else { return };
    root.install(&Deb::new("fdo", "2").file("/usr/share/fdo/tool", "of fdo\n"));
    let spool = root.stage.beside("spool");
    let package =
        Package::new("ACMEtool").param("BASEDIR", "/").file("usr/share/fdo/tool", 0o644, "of acme\n");
    package.write(&spool);
    fs::write(root.stage.beside("admin"), crate::scenario::ADMIN).unwrap();
    let admin = root.stage.beside("admin");
    let line = format!("pkgadd -n -a {} -R @ROOT@ -d {} ACMEtool", admin.display(), spool.display());
    let run = root.unwatched(&line);
    assert!(run.said().contains("belongs to fdo 2"), "{} {}", run.code, run.said());
}
