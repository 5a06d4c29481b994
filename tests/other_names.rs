//! Objects with several names: hard links that cannot be made, and those of symbolic links.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::delivery::Patch;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::assert_same;

fn apart(test: &str) -> Option<Mounted> {
    let stage = Scenario::new();
    let base = Package::new("ACMEx").param("BASEDIR", "/").file("opt/acme/a", 0o644, "1\n");
    base.write(&stage.beside("spool"));
    let linked = Package::new("ACMEx").param("BASEDIR", "/").file("opt/acme/a", 0o644, "2\n");
    let linked = linked.link("srv/acme/b", "/opt/acme/a");
    Patch::of("100-01", linked).directory(&stage);
    Patch::of("200-01", Package::new("ACMEx").param("BASEDIR", "/").link("srv/b", "/opt/acme/a"))
        .directory(&stage);
    let package = Package::new("ACMEy").param("BASEDIR", "/").file("opt/y/a", 0o644, "y\n");
    package.link("srv/y/b", "/opt/y/a").write(&stage.beside("spool"));
    let root = Mounted::new(test, stage, "mkdir -p $ROOT/srv\nmount -t tmpfs -o mode=755 tmpfs $ROOT/srv")?;
    assert_eq!(root.run("pkgadd -n -R @ROOT@ -d spool ACMEx").code, 0);
    Some(root)
}

#[test]
fn a_hard_link_into_another_file_system_is_refused_when_the_plan_is_made() {
    let Some(root) = apart("a hard link into another file system") else { return };
    let before = root.everything();
    for (line, paths) in [
        ("plan -R @ROOT@ delivered/100-01", ["/srv/acme/b", "/opt/acme/a"]),
        ("patchadd -R @ROOT@ delivered/100-01", ["/srv/acme/b", "/opt/acme/a"]),
        ("plan -R @ROOT@ delivered/200-01", ["/srv/b", "/opt/acme/a"]),
        ("pkgadd -n -R @ROOT@ -d spool ACMEy", ["/srv/y/b", "/opt/y/a"]),
    ] {
        let run = root.run(line);
        let said = format!("{}{}", run.stdout, run.stderr);
        let [link, source] = paths.map(|path| format!("@ROOT@{path}"));
        let why =
            format!("path {link}: {source}, to which it should be a hard link, is on another file system");
        assert!(run.code != 0 && said.contains(&why), "{line}: {}: {said}", run.code);
    }
    assert_same(&root.everything(), &before);
}

fn inode(path: &Path) -> (u64, u64) {
    let seen = fs::symlink_metadata(path).unwrap();
    (seen.ino(), seen.nlink())
}

#[test]
fn a_symbolic_link_is_installed_under_several_names() {
    let base = Package::new("ACMEl").symlink("a", "x").link("b", "a").link("c", "b");
    let stage = Scenario::with(&[base]);
    let at = |name: &str| stage.at(&format!("/opt/ACMEl/{name}"));
    assert_eq!(inode(&at("a")).1, 3);
    assert_eq!((inode(&at("a")), inode(&at("a"))), (inode(&at("b")), inode(&at("c"))));
    stage.run("pkgchk -R @ROOT@").ok();
    let before = stage.tree();

    let patch = Patch::of("100-01", Package::new("ACMEl").symlink("a", "y"));
    stage.patchadd("", &patch).ok();
    for name in ["a", "b", "c"] {
        assert_eq!(fs::read_link(at(name)).unwrap(), Path::new("y"), "{name}: recorded names follow");
    }
    assert_eq!(inode(&at("a")), inode(&at("c")));
    stage.run("pkgchk -R @ROOT@").ok();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_same(&stage.tree(), &before);
    assert_eq!(inode(&at("a")), inode(&at("c")));
}

#[test]
fn names_of_a_symbolic_link_that_somebody_made_one_come_back_as_one() {
    let base = Package::new("ACMEl").symlink("a", "x").symlink("b", "x").file("f", 0o644, "1\n");
    let stage = Scenario::with(&[base]);
    let at = |name: &str| stage.at(&format!("/opt/ACMEl/{name}"));
    fs::remove_file(at("b")).unwrap();
    fs::hard_link(at("a"), at("b")).unwrap();
    let before = stage.tree();
    for package in [
        Package::new("ACMEl").symlink("a", "y").symlink("b", "z"),
        Package::new("ACMEl").file("a", 0o644, "a file\n").deletes(&["b"]),
    ] {
        stage.patchadd("", &Patch::of("100-01", package)).ok();
        stage.run("patchrm -R @ROOT@ 100-01").ok();
        assert_same(&stage.tree(), &before);
        assert_eq!(inode(&at("a")), inode(&at("b")));
    }
}

#[test]
fn releases_in_archives_and_packages_may_have_such_names() {
    if !crate::has("tar", "releases_in_archives_and_packages_may_have_such_names") {
        return;
    }
    let stage = Scenario::new();
    for (tree, target) in [("old", "x"), ("new", "y")] {
        let top = stage.beside(tree);
        fs::create_dir_all(top.join("opt")).unwrap();
        symlink(target, top.join("opt/a")).unwrap();
        fs::hard_link(top.join("opt/a"), top.join("opt/b")).unwrap();
        let archive = stage.beside(&format!("{tree}.tar"));
        let made = Command::new("tar").arg("-cf").arg(archive).arg("-C").arg(&top).arg(".").status().unwrap();
        assert!(made.success());
    }
    let said = stage
        .run("build --id 100-01 --from old.tar --to new.tar --pkg ACMEl --base-version 1 --arch all -o made");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let pkgmap = fs::read_to_string(stage.beside("made/ACMEl/pkgmap")).unwrap();
    assert!(pkgmap.contains(" s none opt/a=y\n") && pkgmap.contains(" s none opt/b=y\n"), "{pkgmap}");

    let package = |version: &str, target: &str| {
        let package = Package::new("ACMEp").param("VERSION", version).symlink("a", target).link("b", "a");
        package.write(&stage.beside(version))
    };
    let (one, two) = (package("1.0", "x"), package("1.1", "y"));
    let line = format!("build --id 200-01 --from {} --to {} -o second", one.display(), two.display());
    let said = stage.run(&line);
    assert_eq!(said.code, 0, "{}", said.stderr);
}
