//! The ways to the objects of a patch: symbolic links in the root, roots that are named in different ways, package
//! directories with a suffix.

use std::fs;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::records::Before;
use crate::scenario::Scenario;
use crate::tree::Tree;

fn base() -> Package {
    Package::new("ACMEweb").file("lib/x", 0o644, "one\n")
}

fn patch() -> Patch {
    Patch::of("100-01", Package::new("ACMEweb").file("lib/x", 0o644, "two\n").file("lib/new", 0o644, "new\n"))
}

#[test]
fn links_of_the_root_are_followed_inside_the_root_and_never_out_of_it() {
    for target in ["/srv/web", "../../srv/web", "../../../../../../../../../../srv/web"] {
        let stage = Scenario::new();
        stage.directory("/srv/web");
        stage.directory("/opt/ACMEweb");
        stage.symlink("/opt/ACMEweb/lib", target);
        stage.install(&base());
        assert_eq!(stage.text("/srv/web/x"), "one\n", "{target}");
        let before = Before::of(&stage);
        stage.patchadd("", &patch()).ok();
        assert_eq!((stage.text("/srv/web/x"), stage.text("/srv/web/new")), ("two\n".into(), "new\n".into()));
        assert!(stage.at("/opt/ACMEweb/lib").is_symlink());
        stage.run("patchrm -R @ROOT@ 100-01").ok();
        before.assert_again(&stage, target);
    }
}

#[test]
fn one_place_under_two_names_is_refused() {
    let stage = Scenario::new();
    stage.directory("/opt/ACMEweb/lib");
    stage.symlink("/opt/ACMEweb/lib64", "lib");
    stage.install(&base());
    let both = Package::new("ACMEweb").file("lib/y", 0o644, "two\n").file("lib64/y", 0o644, "other\n");
    let before = stage.everything();
    let said = stage.patchadd("", &Patch::of("100-01", both)).fails(10);
    assert!(said.contains("it is the same place as @ROOT@/opt/ACMEweb/lib"), "{said}");
    assert_eq!(stage.everything(), before);
}

#[test]
fn a_root_may_be_named_by_a_relative_path_or_by_the_environment() {
    let mut stage = Scenario::with(&[base()]);
    patch().directory(&stage);
    stage.run("patchadd -R root delivered/100-01").ok();
    stage.run("patchrm -R ./root/ 100-01").ok();
    let root = stage.root();
    stage.set("PKG_INSTALL_ROOT", root);
    stage.run("patchadd delivered/100-01").ok();
    assert_eq!(stage.run("pkgparam ACMEweb PATCHLIST").ok(), "100-01\n");
    let said = stage.run("patchrm -R /elsewhere 100-01").fails(1);
    assert_eq!(said, "patchrm: ERROR: Command line install root contends with environment.\n");
    stage.run("patchrm 100-01").ok();
}

#[test]
fn a_package_directory_may_have_a_suffix_and_options_of_old_scripts_are_taken() {
    let stage = Scenario::with(&[base()]);
    let directory = patch().directory(&stage);
    fs::rename(directory.join("ACMEweb"), directory.join("ACMEweb.p1")).unwrap();
    fs::write(directory.join(".diPatch"), "").unwrap();
    stage.run("patchadd -t -G -n -R @ROOT@ delivered/100-01").ok();
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok(), "100-01\n");
    stage.run("patchrm -t -G -R @ROOT@ 100-01").ok();
}

#[test]
fn an_object_that_is_there_already_byte_for_byte_is_left_alone() {
    let stage = Scenario::with(&[base()]);
    let same = Package::new("ACMEweb").file("lib/x", 0o644, "one\n").file("lib/new", 0o644, "new\n");
    let inode = |tree: &str| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(stage.at(tree)).unwrap().ino()
    };
    let before = (Tree::of(&stage.root(), &["var"]), inode("/opt/ACMEweb/lib/x"));
    stage.patchadd("", &Patch::of("100-01", same)).ok();
    assert_eq!(inode("/opt/ACMEweb/lib/x"), before.1);
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(Tree::of(&stage.root(), &["var"]), before.0);
    // the same size and the same sum are not the same bytes
    let stage = Scenario::with(&[Package::new("ACMEweb").file("lib/x", 0o644, "limit=12\n")]);
    let other = Package::new("ACMEweb").file("lib/x", 0o644, "limit=21\n");
    stage.patchadd("", &Patch::of("100-02", other)).ok();
    assert_eq!(stage.text("/opt/ACMEweb/lib/x"), "limit=21\n");
}
