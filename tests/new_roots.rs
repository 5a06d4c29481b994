//! Roots that have no package database yet, or half of one.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};

/// Writes a package with a postinstall, and an admin file that asks nothing.
fn spool(stage: &Scenario, postinstall: &str) {
    let package = Package::new("ACMEweb").file("lib/a", 0o644, "x\n");
    package.information("postinstall", postinstall).write(&stage.beside("spool"));
    fs::write(stage.beside("admin"), NOCHECK).unwrap();
    fs::set_permissions(stage.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_package_that_cannot_be_installed_leaves_an_empty_directory_empty() {
    let stage = Scenario::bare();
    spool(&stage, "exit 1\n");
    let admin = stage.beside("admin");
    let line = format!("pkgadd -n -a {} -R @ROOT@ -d spool ACMEweb", admin.display());
    let run = stage.run(&line);
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    assert_eq!(Tree::of(&stage.root(), &[]).paths(), "");

    fs::create_dir_all(stage.at("/var/sadm/mine")).unwrap();
    let before = Tree::of(&stage.root(), &[]);
    assert_eq!(stage.run(&line).code, 1);
    assert_same(&Tree::of(&stage.root(), &[]), &before);

    spool(&stage, "exit 0\n");
    let run = stage.run(&line);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    stage.run("pkgchk -R @ROOT@ ACMEweb").ok();
}

#[test]
fn the_other_half_of_a_database_is_made() {
    for half in ["/var/sadm/pkg", "/var/sadm/install", "/var/sadm/patch"] {
        let stage = Scenario::bare();
        stage.directory(half);
        Package::new("ACMEweb").file("lib/a", 0o644, "x\n").write(&stage.beside("spool"));
        let run = stage.run("pkgadd -n -R @ROOT@ -d spool ACMEweb");
        assert_eq!(run.code, 0, "{half}: {}{}", run.stdout, run.stderr);
        assert!(stage.at("/var/sadm/patch").is_dir(), "{half}");
        stage.run("pkgchk -R @ROOT@ ACMEweb").ok();
    }
}

#[test]
fn a_promotion_that_records_no_path_makes_the_list_of_paths_all_the_same() {
    let stage = Scenario::new();
    for number in 0..8 {
        stage.file(&format!("/usr/pkg/{number}"), "1\n");
    }
    stage.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    fs::remove_file(stage.beside("web/usr/pkg/0")).unwrap();
    stage.run("stage promote web -R @ROOT@").ok();
    assert_eq!(stage.lines(), Vec::<String>::new());
    fs::remove_file(stage.beside("web/usr/pkg/1")).unwrap();
    stage.run("stage promote web -R @ROOT@").ok();
    for id in ["web-02", "web-01"] {
        stage.run(&format!("patchrm -R @ROOT@ {id}")).ok();
    }
    assert_eq!(stage.text("/usr/pkg/0"), "1\n");
}
