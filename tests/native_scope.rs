//! Commands leave objects of a dpkg package alone unless their package stands for it: the classic commands about
//! packages, promotions, hard links.

use std::fs;

use crate::delivery::Patch;
use crate::native_root::{Deb, DpkgRoot, of_dpkg};
use crate::packages::Package;
use crate::promote::Staged;

const DATA: &str = "/usr/share/other/data";

/// A root in which a package of dpkg and one of ours share a file and its directory: ours was installed over it with
/// `conflict=nocheck`, and then dpkg installed its package again.
fn shared(test: &str) -> Option<DpkgRoot> {
    let root = DpkgRoot::opened(test)?;
    let other = Deb::new("other", "2").file(DATA, "other\n");
    root.install(&other);
    let ours = Package::new("ACMEours").param("BASEDIR", "/").file("opt/ours", 0o644, "ours\n");
    let at = ours.file(&DATA[1..], 0o644, "ours\n").write(&root.stage.beside("delivered"));
    root.stage.file(
        "/var/sadm/install/admin/over",
        "mail=\nconflict=nocheck\naction=nocheck\nsetuid=nocheck\nbasedir=default\ninstance=unique\n",
    );
    let spool = at.parent().unwrap().display().to_string();
    let run = root.unwatched(&format!("pkgadd -n -a over -R @ROOT@ -d {spool} ACMEours"));
    assert_eq!(run.code, 0, "{}", run.said());
    assert!(run.said().contains("@ROOT@/usr/share/other/data belongs to other 2 (dpkg)"), "{}", run.said());
    assert_eq!(root.content(DATA), "ours\n", "the admin file decides");
    root.install(&other);
    Some(root)
}

#[test]
fn pkgchk_repairs_no_file_that_a_package_of_dpkg_has() {
    let Some(root) = shared("pkgchk_repairs_no_file_that_a_package_of_dpkg_has") else { return };
    root.stage.mode(DATA, 0o600);
    root.stage.mode("/opt/ours", 0o600);
    let run = root.run("pkgchk -f -a -R @ROOT@ ACMEours");
    assert!(run.said().contains("left unchanged: it belongs to other 2 (dpkg)"), "{}", run.said());
    assert_eq!(root.attributes("/opt/ours"), "644 0:0");
    assert_eq!(root.attributes(DATA), "600 0:0");
}

#[test]
fn removef_gives_up_a_file_of_dpkg_and_does_not_name_it_for_removal() {
    let Some(root) = shared("removef_gives_up_a_file_of_dpkg_and_does_not_name_it_for_removal") else {
        return;
    };
    let run = root.run(&format!("removef -R @ROOT@ ACMEours {DATA} /opt/ours"));
    assert_eq!((run.code, run.stdout.as_str()), (0, "@ROOT@/opt/ours\n"), "{}", run.stderr);
    assert!(
        run.stderr.contains("@ROOT@/usr/share/other/data stays: it belongs to other 2 (dpkg)"),
        "{}",
        run.stderr
    );
}

#[test]
fn pkgrm_leaves_a_file_of_dpkg_and_its_directory() {
    let Some(root) = shared("pkgrm_leaves_a_file_of_dpkg_and_its_directory") else { return };
    let run = root.run("pkgrm -n -R @ROOT@ ACMEours");
    assert_eq!(run.code, 0, "{}", run.said());
    assert_eq!((root.content(DATA).as_str(), root.at("/opt/ours").exists()), ("other\n", false));
    assert_eq!(root.verified(), [""; 0]);
}

/// A root with two packages of dpkg whose files somebody turned into one file, the first package adopted.
fn linked(test: &str) -> Option<DpkgRoot> {
    let root = DpkgRoot::opened(test)?;
    root.install(&Deb::new("lib", "1").file("/usr/share/lib/copyright", "same\n"));
    root.install(&Deb::new("other", "2").file("/usr/share/other/copyright", "same\n"));
    root.adopt(&["lib"]);
    let [own, other] = ["/usr/share/lib/copyright", "/usr/share/other/copyright"].map(|path| root.at(path));
    fs::remove_file(&own).unwrap();
    fs::hard_link(&other, &own).unwrap();
    Some(root)
}

#[test]
fn pkgchk_changes_no_attributes_through_another_name_that_a_package_of_dpkg_has() {
    let test = "pkgchk_changes_no_attributes_through_another_name_that_a_package_of_dpkg_has";
    let Some(root) = linked(test) else { return };
    root.stage.mode("/usr/share/lib/copyright", 0o600);
    let run = root.run("pkgchk -f -a -R @ROOT@ DEBlib");
    assert!(run.said().contains("left unchanged: it belongs to other 2 (dpkg)"), "{}", run.said());
    assert_eq!(root.attributes("/usr/share/other/copyright"), "600 0:0");
    fs::remove_file(root.at("/usr/share/other/copyright")).unwrap();
    root.run("pkgchk -f -a -R @ROOT@ DEBlib");
    assert_eq!(root.attributes("/usr/share/lib/copyright"), "644 0:0", "its one name is its own");
}

#[test]
fn a_patch_leaves_the_other_names_of_a_file_alone() {
    for (mode, text) in [(0o644, "fixed\n"), (0o600, "same\n")] {
        let Some(root) = linked("a_patch_leaves_the_other_names_of_a_file_alone") else { return };
        let package = of_dpkg("lib", "1").file("usr/share/lib/copyright", mode, text);
        let at = Patch::of("100-01", package).directory(&root.stage);
        for line in [format!("add -R @ROOT@ {}", at.display()), "remove -R @ROOT@ 100-01".to_owned()] {
            // The file has fewer names afterwards, so the command is not watched.
            let run = root.unwatched(&line);
            assert_eq!(run.code, 0, "{}", run.said());
            assert_eq!(root.content("/usr/share/other/copyright"), "same\n");
            assert_eq!(root.attributes("/usr/share/other/copyright"), "644 0:0");
        }
        assert_eq!(root.content("/usr/share/lib/copyright"), "same\n");
        assert_eq!(root.attributes("/usr/share/lib/copyright"), "644 0:0");
    }
}

#[test]
fn a_promotion_over_files_of_dpkg_names_their_owner() {
    let staged = Staged::new();
    let live = &staged.live;
    let list = "/.\n/usr\n/usr/pkg\n/usr/pkg/share\n/usr/pkg/share/0\n/usr/pkg/share/1\n/usr/pkg/share/2\n";
    live.file("/var/lib/dpkg/info/other.list", list);
    let status = "Package: other\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2\n";
    live.file("/var/lib/dpkg/status", status);
    staged.write("share/0", "new\n");
    staged.write("share/1", "new\n");
    fs::remove_file(staged.at("share/2")).unwrap();
    let run = staged.promote("");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(said.contains("@ROOT@/usr/pkg/share/0 and 2 more belong to other 2 (dpkg)"), "{said}");
    assert_eq!(live.text("/usr/pkg/share/0"), "new\n");
}
