//! Trees that accept no renames from outside, because they hand down a project id or are encrypted. Each is a domain of
//! its own, with its stage inside.

use std::fs;

use crate::delivery::Patch;
use crate::file_systems::killed_and_recovered;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::assert_same;

/// A file system at /opt, made by `mkfs`; `make` sets up its directory `ACMEweb`.
fn mount(mkfs: &str, make: &str) -> String {
    format!(
        "truncate -s 320M $BESIDE/image
        {mkfs} $BESIDE/image >/dev/null 2>&1
        mkdir -p $ROOT/opt
        mount -o loop $BESIDE/image $ROOT/opt
        mkdir $ROOT/opt/ACMEweb
        {make} >/dev/null 2>&1"
    )
}

fn package(version: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, format!("{version} httpd\n")).file(
        "lib/libw.so",
        0o755,
        format!("{version} libw\n"),
    )
}

fn is_patched_and_back(test: &str, mkfs: &str, make: &str) {
    let stage = Scenario::new();
    package("first").file("gone", 0o644, "gone\n").write(&stage.beside("spool"));
    let patch = package("second").file("new/file", 0o644, "new\n").deletes(&["gone"]);
    let patch = (0..60).fold(patch, |patch, number| patch.file(&format!("many/{number}"), 0o644, "new\n"));
    Patch::of("100-01", patch).directory(&stage);
    let Some(root) = Mounted::new(test, stage, &mount(mkfs, make)) else { return };
    let run = root.run("pkgadd -n -R @ROOT@ -d spool ACMEweb");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let before = root.tree(&["var"]);
    root.run("patchadd -R @ROOT@ delivered/100-01").ok();
    assert_eq!(fs::read(root.at("/opt/ACMEweb/lib/libw.so")).unwrap(), b"second libw\n");
    let journal = fs::read_to_string(root.at("/var/sadm/patchadm/journal")).unwrap();
    assert!(journal.contains("/opt/ACMEweb/.patchadm-"), "it is a domain of its own");
    root.run("pkgchk -R @ROOT@").ok();
    let after = root.tree(&["var"]);
    root.run("patchrm -R @ROOT@ 100-01").ok();
    assert_same(&root.tree(&["var"]), &before);
    assert!(fs::read_dir(root.at("/opt/ACMEweb")).unwrap().count() == 3, "no stage is left");
    killed_and_recovered(&root, &before, &after, 6, 12);
}

#[test]
fn a_tree_that_hands_down_a_project_id_is_patched_from_a_stage_in_it() {
    let make = "xfs_io -c 'chproj 42' -c 'chattr +P' $ROOT/opt/ACMEweb";
    is_patched_and_back("a tree with a project id", "mkfs.xfs -q", make);
}

#[test]
fn an_encrypted_tree_is_patched_from_a_stage_in_it() {
    let make = "key=$(head -c 64 /dev/zero | xfs_io -c add_enckey $ROOT/opt | sed 's/.*identifier //')
        xfs_io -c \"set_encpolicy -v 2 $key\" $ROOT/opt/ACMEweb";
    is_patched_and_back("an encrypted tree", "mkfs.ext4 -q -O encrypt", make);
}
