//! pkgadd runs the scripts of packages: when, as whom, with what, and what follows from how they end.
//!
//! Every script here is written by the test and touches nothing but the root of its scenario.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::packages::{DELIVERED, Package, datastream};
use crate::scenario::{Run, Scenario};
use crate::tree::assert_same;

/// An admin file that asks nothing.
const NOCHECK: &str = "mail=\ninstance=unique\npartial=nocheck\nrunlevel=nocheck\nidepend=nocheck\n\
                       rdepend=nocheck\nspace=nocheck\nsetuid=nocheck\nconflict=nocheck\naction=nocheck\n\
                       basedir=default\n";

/// A root with an admin file that asks nothing, which unprivileged scripts can get to.
fn stage() -> Scenario {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/admin/nocheck", NOCHECK);
    stage.directory("/opt");
    stage.directory("/tmp");
    fs::set_permissions(stage.at("/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(stage.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
    stage
}

/// Installs a package that is written into `spool` first.
fn add(stage: &Scenario, options: &str, package: &Package) -> Run {
    let spool = stage.beside("spool");
    package.write(&spool);
    stage.run(&format!("pkgadd -R @ROOT@ -a nocheck -d {} {options} all", spool.display()))
}

#[track_caller]
fn added(stage: &Scenario, package: &Package) -> Run {
    let run = add(stage, "-n", package);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    run
}

/// A script that notes its name, its arguments, where it is and what it reads, in a file of the root that everybody
/// may write.
const NOTE: &str = "{ echo \"`basename $0` $*\"; sed 's/^/  /'; } >> $PKG_INSTALL_ROOT/tmp/noted\n";

fn noting(name: &str, package: Package) -> Package {
    package.information(name, NOTE)
}

/// A package with every script that an installation has.
fn everything() -> Package {
    let package = Package::new("ACMEall")
        .param("CLASSES", "none mine build")
        .directory("bin")
        .file("bin/tool", 0o755, "#!/bin/sh\n")
        .of_class("mine", 'f', "mine/data", 0o640, "some data\n")
        .of_class("build", 'e', "etc/built", 0o600, "echo built for $PKGINST\n")
        .link("mine/again", "data")
        .information("i.mine", "while read src dst; do cp $src $dst; done\n");
    let package = noting("request", package).information("request", "echo ANSWER=yes >> $1\n");
    let package = noting("checkinstall", package);
    noting("postinstall", noting("preinstall", package)).information("preremove", "exit 0\n")
}

fn noted(stage: &Scenario) -> String {
    let text = fs::read_to_string(stage.at("/tmp/noted")).unwrap_or_default();
    text.replace(stage.root().to_str().unwrap(), "@ROOT@")
}

#[test]
fn every_script_runs_in_its_order_and_the_package_is_complete() {
    let stage = stage();
    fs::write(stage.at("/tmp/noted"), "").unwrap();
    fs::set_permissions(stage.at("/tmp/noted"), fs::Permissions::from_mode(0o666)).unwrap();
    let run = add(&stage, "", &everything());
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    println!("{}\n{}\n{}", run.stdout, run.stderr, noted(&stage));
    println!("{}", stage.lines().join("\n"));

    println!("{}", fs::read_to_string(stage.at("/var/sadm/patchadm/log")).unwrap());
    panic!();
}
