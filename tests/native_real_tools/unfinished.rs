//! Unfinished operations of dpkg, damaged records, and files that the administrator left out.

use std::fs;

use crate::delivery::Patch;
use crate::native_root::{Deb, DpkgRoot, End, NOTHING, of_dpkg, patch_of};

const LIB: &str = "/usr/lib/acme/a.so";
const DATA: &str = "/usr/share/acme/data/d";

/// Options of an administrator that exclude a directory and everything in it.
const EXCLUDED: &str = "--path-exclude=/usr/share/acme --path-exclude=/usr/share/acme/*";

fn acme(version: &str) -> Deb {
    Deb::new("acme", version)
        .file(LIB, &format!("a of {version}\n"))
        .file(DATA, &format!("data of {version}\n"))
}

fn patched(root: &DpkgRoot) {
    root.install(&acme("1"));
    root.adopt(&["acme"]);
    root.applied(&patch_of("100-01", "acme", "1", &[(LIB, "a fixed\n")]));
}

#[test]
fn everybody_says_of_an_unfinished_package_that_dpkg_has_to_finish_it() {
    for root in DpkgRoot::both("an unfinished package") {
        patched(&root);
        root.build(&acme("2"));
        root.dpkg_done("--unpack [acme_2]");
        for line in ["list", "status", "check --contents", "adopt --refresh", "show 100-01"] {
            let run = root.run(&format!("{line} -R @ROOT@"));
            assert!(!run.said().contains("takes it up"), "{line}: {}", run.said());
        }
        let list = root.unwatched("list --check -R @ROOT@");
        assert!(list.code == 4 && list.said().contains("--configure -a"), "{} {}", list.code, list.said());
        let refresh = root.run("adopt --refresh -R @ROOT@");
        assert!(refresh.said().contains("--configure -a"), "{} {}", refresh.code, refresh.said());
        let refused = root.add("", &patch_of("200-01", "acme", "1", &[(DATA, "fixed\n")]));
        assert!(refused.code == 3 && refused.said().contains("--configure -a"), "{}", refused.said());
        assert_eq!(root.remove("100-01").code, 3);
        root.run("remove --refresh -R @ROOT@ 100-01");
        assert_eq!(root.content(LIB), "a of 2\n");
        root.dpkg_done("--configure -a");
        root.refresh();
        assert_eq!(root.content(LIB), "a of 2\n");
        root.tells(&[("100-01", End::Lost(&[LIB]))]);
    }
}

#[test]
fn a_package_that_dpkg_left_half_installed_owns_its_paths_and_changes_nothing_for_others() {
    for root in DpkgRoot::both("a package left half-installed") {
        patched(&root);
        root.install(&Deb::new("other", "1").file("/usr/share/other/b", "b of 1\n"));
        root.adopt(&["other"]);
        let broken = Deb::new("fdo", "1").file("/usr/share/fdo/x", "x of 1\n").script("preinst", "exit 1");
        root.build(&broken);
        assert_ne!(root.dpkg("--force-script-chrootless -i [fdo_1]").code, 0);
        root.upgrade(&Deb::new("other", "2").file("/usr/share/other/b", "b of 2\n"));
        assert_eq!(root.ok("pkgparam -R @ROOT@ DEBother NATIVE_VERSION"), "2\n");
        root.tells(&[("100-01", End::Stands)]);
    }
}

#[test]
fn a_damaged_registration_is_made_good_by_adopting_again() {
    let Some(root) = DpkgRoot::opened("a damaged registration") else { return };
    patched(&root);
    let pkginfo = root.at("/var/sadm/pkg/DEBacme/pkginfo");
    fs::write(&pkginfo, "=\u{1}damaged\n").unwrap();
    let mut said = String::new();
    for line in
        ["list", "check --contents", "check --offline", "show 100-01", "adopt --refresh", "remove 100-01"]
    {
        said += &root.run(&format!("{line} -R @ROOT@")).said();
    }
    assert!(!said.contains("pkgadd"), "{said}");
    assert!(said.contains("adopt"), "{said}");
}

#[test]
fn one_package_that_cannot_be_refreshed_stays_stale_with_its_reason_and_the_others_follow() {
    for root in DpkgRoot::both("one package that cannot be refreshed") {
        patched(&root);
        root.install(&Deb::new("other", "1").file("/usr/share/other/b", "b of 1\n"));
        root.adopt(&["other"]);
        root.build(&acme("2"));
        let other = Deb::new("other", "2").file("/usr/share/other/b", "b of 2\n");
        root.build(&other);
        // dpkg has installed both, and the list of one is damaged.
        let unhooked = root.with_hooks(false);
        unhooked.dpkg_done("-i [acme_2] [other_2]");
        fs::write(unhooked.at("/var/lib/dpkg/info/acme.list"), [0xff, 0xfe, b'\n', 0, b'\n']).unwrap();
        let refresh = unhooked.run("adopt --refresh -R @ROOT@");
        assert!(refresh.said().contains("acme"), "{} {}", refresh.code, refresh.said());
        assert_eq!(unhooked.ok("pkgparam -R @ROOT@ DEBother NATIVE_VERSION"), "2\n");
        let list = unhooked.unwatched("list --check -R @ROOT@");
        assert_eq!(list.code, 4, "{}", list.said());
        assert_eq!(unhooked.content(LIB), "a of 2\n");
    }
}

#[test]
fn files_that_the_administrator_excluded_do_not_come_with_a_patch() {
    for root in DpkgRoot::both("excluded files") {
        root.build(&acme("1"));
        root.dpkg_done(&format!("{EXCLUDED} -i [acme_1]"));
        assert_eq!(root.content(DATA), NOTHING);
        root.adopt(&["acme"]);
        let said =
            root.applied(&patch_of("100-01", "acme", "1", &[(LIB, "a fixed\n"), (DATA, "data fixed\n")]));
        assert!(said.contains(DATA), "{said}");
        assert_eq!(root.content(DATA), NOTHING);
        assert_eq!(root.content(LIB), "a fixed\n");
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!(root.content(DATA), NOTHING);
        assert_eq!(root.content(LIB), "a of 1\n");
    }
}

#[test]
fn links_directories_and_files_without_sums_that_were_excluded_do_not_come_with_a_patch_either() {
    const LINK: &str = "/usr/share/acme/data/link";
    const EMPTY: &str = "/usr/share/acme/data/empty";
    for root in DpkgRoot::both("excluded objects without sums") {
        let acme = acme("1").link(LINK, "d").directory(EMPTY).without_sums();
        root.build(&acme);
        root.dpkg_done(&format!("{EXCLUDED} -i [acme_1]"));
        root.adopt(&["acme"]);
        let package = of_dpkg("acme", "1")
            .file(&LIB[1..], 0o644, "a fixed\n")
            .directory(&EMPTY[1..])
            .file(&DATA[1..], 0o644, "data fixed\n")
            .symlink(&LINK[1..], "other");
        let said = root.applied(&Patch::of("100-01", package));
        for path in [LINK, EMPTY, DATA] {
            assert!(
                said.contains(&format!("{path} did not exist when its package was registered")),
                "{said}"
            );
        }
        assert_eq!((&*root.content(LIB), &*root.content("/usr/share/acme")), ("a fixed\n", NOTHING));
        root.tells(&[("100-01", End::Stands)]);
        assert_eq!(root.ok("pkgchk -R @ROOT@"), "");
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!((&*root.content(LIB), &*root.content("/usr/share/acme")), ("a of 1\n", NOTHING));
    }
}

#[test]
fn what_was_excluded_from_an_upgrade_does_not_come_with_the_next_patch() {
    const LINK: &str = "/usr/share/acme/data/link";
    for root in DpkgRoot::both("objects excluded from an upgrade") {
        root.install(&acme("1").link(LINK, "d").without_sums());
        root.adopt(&["acme"]);
        root.build(&acme("2").link(LINK, "d").without_sums());
        root.dpkg_done(&format!("{EXCLUDED} -i [acme_2]"));
        root.refresh();
        assert_eq!(root.content("/usr/share/acme"), NOTHING);
        let package = of_dpkg("acme", "2").file(&LIB[1..], 0o644, "a fixed\n");
        let package = package.file(&DATA[1..], 0o644, "data fixed\n").symlink(&LINK[1..], "other");
        root.applied(&Patch::of("100-01", package));
        assert_eq!((&*root.content(LIB), &*root.content("/usr/share/acme")), ("a fixed\n", NOTHING));
        root.tells(&[("100-01", End::Stands)]);
    }
}

#[test]
fn an_excluded_directory_goes_with_the_patch_that_put_something_into_it() {
    for root in DpkgRoot::both("an excluded directory with a file of a patch") {
        root.build(&acme("1"));
        root.dpkg_done(&format!("{EXCLUDED} -i [acme_1]"));
        root.adopt(&["acme"]);
        let more = "/usr/share/acme/data/more";
        let patch = patch_of("100-01", "acme", "1", &[(LIB, "a fixed\n"), (more, "more\n")]);
        root.applied(&patch);
        assert_eq!(root.content(more), "more\n");
        root.ok("remove -R @ROOT@ 100-01");
        assert_eq!(root.content("/usr/share/acme"), NOTHING, "a backout takes it along");
        root.applied(&patch);
        root.build(&acme("2"));
        root.dpkg_done(&format!("{EXCLUDED} -i [acme_2]"));
        root.refresh();
        root.tells(&[("100-01", End::Lost(&[LIB]))]);
        assert_eq!(root.content("/usr/share/acme"), NOTHING, "and an upgrade");
        assert_eq!(root.ok("pkgchk -R @ROOT@"), "");
    }
}

#[test]
fn a_directory_goes_with_the_file_of_a_patch_that_kept_it_once_a_version_does_not_have_it_or_it_is_excluded()
{
    let unpatched = |version: &str| Deb::new("acme", version).file(LIB, &format!("a of {version}\n"));
    for (next, exclude) in [(unpatched("2"), ""), (acme("2"), EXCLUDED)] {
        for root in DpkgRoot::both("a directory that the file of a patch kept") {
            root.install(&acme("1"));
            root.adopt(&["acme"]);
            let more = "/usr/share/acme/data/more";
            root.applied(&patch_of("100-01", "acme", "1", &[(LIB, "a fixed\n"), (more, "more\n")]));
            root.build(&next);
            root.dpkg_done(&format!("{exclude} -i [acme_2]"));
            root.refresh();
            root.tells(&[("100-01", End::Lost(&[LIB]))]);
            assert_eq!(root.content("/usr/share/acme"), NOTHING, "{exclude}");
            assert_eq!(root.ok("pkgchk -R @ROOT@"), "");
        }
    }
}

#[test]
fn a_directory_stays_that_holds_a_file_of_the_administrator_or_that_the_next_version_has_empty() {
    for root in DpkgRoot::both("directories that stay after an upgrade") {
        root.install(&acme("1").file("/usr/share/acme/run/d", "d of 1\n"));
        root.adopt(&["acme"]);
        let more = [
            (LIB, "a fixed\n"),
            ("/usr/share/acme/data/more", "more\n"),
            ("/usr/share/acme/run/more", "more\n"),
        ];
        root.applied(&patch_of("100-01", "acme", "1", &more));
        root.stage.file("/usr/share/acme/data/own", "own\n");
        root.upgrade(&Deb::new("acme", "2").file(LIB, "a of 2\n").directory("/usr/share/acme/run"));
        root.tells(&[("100-01", End::Lost(&[LIB]))]);
        assert_eq!(root.content("/usr/share/acme/data/own"), "own\n");
        assert_eq!(root.content("/usr/share/acme/data/more"), NOTHING);
        assert_eq!(root.content("/usr/share/acme/run"), "a directory");
        assert_eq!(root.content("/usr/share/acme/run/more"), NOTHING);
    }
}

#[test]
fn a_file_that_dpkg_excludes_from_the_next_version_is_lost() {
    for root in DpkgRoot::both("a file excluded from the next version") {
        root.install(&acme("1"));
        root.adopt(&["acme"]);
        let files = [(LIB, "a fixed\n"), (DATA, "data fixed\n")];
        root.applied(&patch_of("100-01", "acme", "1", &files));
        root.build(&acme("2"));
        root.dpkg_done(&format!("{EXCLUDED} -i [acme_2]"));
        root.refresh();
        assert_eq!(root.content(LIB), "a of 2\n");
        let list = root.unwatched("list --check -R @ROOT@");
        assert_eq!(list.code, 4, "{}", list.said());
        root.remove("100-01");
        root.run("undo -R @ROOT@");
        assert_eq!(root.content(LIB), "a of 2\n");
        assert!(["nothing", "data fixed\n"].contains(&&*root.content(DATA)), "{}", root.content(DATA));
    }
}

#[test]
fn the_manual_names_a_version_with_a_fix_that_its_backport_satisfies() {
    for directory in ["man", "docs/book/src"] {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let mut open = vec![directory];
        while let Some(at) = open.pop() {
            if at.is_dir() {
                open.extend(fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = fs::read_to_string(&at).unwrap_or_default();
            for (line, rest) in
                text.lines().filter_map(|line| Some((line, line.split_once(">= 3.0.18-1")?.1)))
            {
                assert!(rest.starts_with('~'), "{}: 3.0.18-1~deb12u1 is below it: {line}", at.display());
            }
        }
    }
}

#[test]
fn a_directory_that_only_a_patch_needed_goes_with_it_after_an_upgrade() {
    for root in DpkgRoot::both("a directory of a lost patch") {
        root.install(&acme("1"));
        root.adopt(&["acme"]);
        let package = of_dpkg("acme", "1").file(&LIB[1..], 0o644, "a fixed\n");
        let package = package.file("usr/lib/acme/more/deep/file", 0o644, "more\n");
        root.applied(&Patch::of("100-01", package));
        root.upgrade(&acme("2"));
        assert_eq!(root.content("/usr/lib/acme/more"), NOTHING);
        root.tells(&[("100-01", End::Lost(&[LIB]))]);
    }
}
