//! The effect of a patch on a later operation of dpkg: it is announced when the patch is applied, and dpkg really has
//! it.

use crate::native_root::{Deb, DpkgRoot, patch_of};

const DIRECTORY: &str = "/usr/share/dts/doc";

/// The version that turns a directory into a link.
fn dts_2() -> Deb {
    let turn = format!("dpkg-maintscript-helper dir_to_symlink {DIRECTORY} real 2~ -- \"$@\"");
    let deb = Deb::new("dts", "2").file("/usr/share/dts/real/a", "a of 2\n").link(DIRECTORY, "real");
    ["preinst", "postinst", "postrm"].iter().fold(deb, |deb, name| deb.script(name, &turn))
}

#[test]
fn files_added_to_a_directory_that_dpkg_may_turn_into_a_link_are_announced_and_the_backout_clears_the_way() {
    for root in DpkgRoot::both("a directory that becomes a link") {
        root.install(&Deb::new("dts", "1").file(&format!("{DIRECTORY}/a"), "a of 1\n"));
        root.adopt(&["dts"]);
        let added = format!("{DIRECTORY}/added");
        let said = root.applied(&patch_of("100-01", "dts", "1", &[(&added, "added\n")]));
        assert!(said.contains("cannot switch to symlink") && said.contains(DIRECTORY), "{said}");
        assert!(said.contains("remove 100-01"), "{said}");
        root.build(&dts_2());
        let refused = root.dpkg("--force-script-chrootless -i [dts_2]");
        assert!(
            refused.code != 0 && refused.said().contains("cannot switch to symlink"),
            "{}",
            refused.said()
        );
        root.run("adopt --refresh -R @ROOT@");
        assert_eq!(root.content(&added), "added\n", "dpkg has gone back");
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        root.dpkg_done("--force-script-chrootless -i [dts_2]");
        root.refresh();
        assert_eq!(root.content(DIRECTORY), "-> real");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
        assert_eq!(root.unwatched("list --check -R @ROOT@").code, 0);
    }
}

#[test]
fn a_patch_that_adds_nothing_to_directories_of_the_package_is_not_announced() {
    let Some(root) = DpkgRoot::opened("a patch that is not announced") else { return };
    let own = format!("{DIRECTORY}/a");
    root.install(&Deb::new("dts", "1").file(&own, "a of 1\n").file("/etc/dts", "as of 1\n"));
    root.adopt(&["dts"]);
    // No package turns /etc into a link.
    let files = [(own.as_str(), "fixed\n"), ("/etc/dts.more", "more\n")];
    let said = root.applied(&patch_of("100-01", "dts", "1", &files));
    assert!(!said.contains("symlink") && !said.contains("overwrite"), "{said}");
}
