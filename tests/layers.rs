//! Roots on overlayfs, as containers have them: packages in a lower layer, changes in the upper one.
//!
//! The first change of an object in the lower layer replaces it with a copy, and a directory of this layer cannot be
//! renamed. The policy of the host trusts these roots, which would otherwise count as roots of containers.

use std::fs;

use crate::delivery::Patch;
use crate::file_systems::killed_and_recovered;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};

/// The existing root becomes the lower layer. The upper layer is on another file system, with or without distinct
/// inodes.
const LAYERS: [&str; 2] = ["xino=on", "xino=off"];

pub(crate) fn mount(options: &str) -> String {
    format!(
        "mkdir -p $BESIDE/layers
        mount -t tmpfs tmpfs $BESIDE/layers
        mkdir $BESIDE/layers/upper $BESIDE/layers/work
        mkdir -p $BESIDE/etc/patchadm && cp /etc/passwd /etc/group $BESIDE/etc
        echo trusted_roots=$ROOT > $BESIDE/etc/patchadm/policy
        mount --bind $BESIDE/etc /etc
        mount -t overlay -o {options},lowerdir=$ROOT,upperdir=$BESIDE/layers/upper,workdir=$BESIDE/layers/work \
            overlay $ROOT"
    )
}

fn package(version: &str) -> Package {
    Package::new("ACMEweb")
        .file("bin/httpd", 0o755, format!("{version} httpd\n"))
        .file("lib/libw.so", 0o755, format!("{version} libw\n"))
        .symlink("lib/libw", &format!("libw.{version}"))
}

/// A root with the package, and a patch beside it that replaces, adds, deletes, and changes a directory.
fn stage() -> Scenario {
    let stage = Scenario::new();
    let base = package("first").file("old/gone", 0o644, "gone\n").directory("old").directory("lib");
    base.write(&stage.beside("spool"));
    let patch = package("second").file("new/file", 0o644, "new\n").deletes(&["old/gone", "old"]);
    let patch = patch.line("lib", "d none lib 0750 root root");
    Patch::of("100-01", patch).directory(&stage);
    let run = stage.run("pkgadd -n -R @ROOT@ -d spool ACMEweb");
    assert_eq!(run.code, 0, "{}", run.stderr);
    stage
}

fn without_records(root: &Mounted) -> Tree {
    root.tree(&["var"])
}

#[test]
fn a_patch_of_what_is_in_a_lower_layer_is_applied_and_backed_out() {
    for options in LAYERS {
        let Some(root) = Mounted::new("a patch over a lower layer", stage(), &mount(options)) else { return };
        let before = without_records(&root);
        root.run("patchadd -R @ROOT@ delivered/100-01").ok();
        assert_eq!(fs::read(root.at("/opt/ACMEweb/bin/httpd")).unwrap(), b"second httpd\n", "{options}");
        assert!(!root.at("/opt/ACMEweb/old").exists(), "{options}: the emptied directory goes");
        root.run("pkgchk -R @ROOT@").ok();
        // Nothing was written to the lower layer.
        let lower = fs::read(root.stage().at("/opt/ACMEweb/bin/httpd")).unwrap();
        assert_eq!(lower, b"first httpd\n");
        root.run("patchrm -R @ROOT@ 100-01").ok();
        assert_same(&without_records(&root), &before);
        root.run("pkgchk -R @ROOT@").ok();
    }
}

#[test]
fn a_patch_that_a_lower_layer_has_is_backed_out_with_its_records() {
    for options in LAYERS {
        let stage = stage();
        stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
        let Some(root) = Mounted::new("a patch of a lower layer", stage, &mount(options)) else { return };
        root.run("patchrm -R @ROOT@ 100-01").ok();
        assert!(!root.at("/var/sadm/patch/100-01").exists(), "{options}");
        assert!(!root.at("/var/sadm/pkg/ACMEweb/save/100-01").exists(), "{options}");
        assert_eq!(fs::read(root.at("/opt/ACMEweb/bin/httpd")).unwrap(), b"first httpd\n", "{options}");
        assert_eq!(root.run("patchadd -p -R @ROOT@").ok(), "No patches installed\n");
        let run = root.run("pkgrm -n -R @ROOT@ ACMEweb");
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(!root.at("/opt/ACMEweb").exists() && !root.at("/var/sadm/pkg/ACMEweb").exists(), "{options}");
    }
}

#[test]
fn a_run_that_is_given_up_over_a_lower_layer_leaves_everything_as_before() {
    for options in LAYERS {
        let stage = stage();
        // The last script fails, so that there is much to put back.
        let failing = package("third")
            .line("lib", "d none lib 0700 root root")
            .information("postinstall", "#!/bin/sh\nexit 1\n");
        Patch::of("100-02", failing).directory(&stage);
        let Some(root) = Mounted::new("a failing run over a lower layer", stage, &mount(options)) else {
            return;
        };
        let before = root.everything();
        let run = root.run("patchadd -R @ROOT@ delivered/100-02");
        assert_ne!(run.code, 0, "{}", run.stdout);
        assert!(!run.stderr.contains("not everything"), "{options}: {}", run.stderr);
        assert_same(&root.everything(), &before);
        root.run("recover -R @ROOT@").ok();
        root.run("pkgchk -R @ROOT@").ok();
    }
}

#[test]
fn a_directory_that_would_change_its_type_is_refused_on_layers() {
    let stage = stage();
    let turning = Package::new("ACMEweb").file("old", 0o644, "a file\n").deletes(&["old/gone"]);
    Patch::of("100-03", turning).directory(&stage);
    let Some(root) = Mounted::new("a change of type over layers", stage, &mount("xino=on")) else { return };
    let before = root.everything();
    let error = root.run("patchadd -R @ROOT@ delivered/100-03").fails(10);
    assert!(error.contains("overlayfs cannot exchange directories"), "{error}");
    assert_same(&root.everything(), &before);
}

#[test]
fn a_killed_run_over_a_lower_layer_is_recovered() {
    let stage = stage();
    let many = |version: &str| {
        (0..60).fold(package(version), |package, number| {
            package.file(&format!("many/{number}"), 0o644, format!("{version} {number}\n"))
        })
    };
    Patch::of("100-00", many("zeroth")).directory(&stage);
    let patch = many("second").line("lib", "d none lib 0750 root root").deletes(&["old/gone", "old"]);
    Patch::of("100-01", patch.clone()).directory(&stage);
    // The expected tree is the result of the patch on another root.
    let other = Scenario::new();
    package("first")
        .file("old/gone", 0o644, "gone\n")
        .directory("old")
        .directory("lib")
        .write(&other.beside("spool"));
    Patch::of("100-00", many("zeroth")).directory(&other);
    Patch::of("100-01", patch).directory(&other);
    assert_eq!(other.run("pkgadd -n -R @ROOT@ -d spool ACMEweb").code, 0);
    other.run("patchadd -R @ROOT@ delivered/100-00").ok();
    other.run("patchadd -R @ROOT@ delivered/100-01").ok();
    let after = Tree::of(&other.root(), &["var"]);
    stage.run("patchadd -R @ROOT@ delivered/100-00").ok();
    let Some(root) = Mounted::new("a killed run over a lower layer", stage, &mount("xino=off")) else {
        return;
    };
    let before = without_records(&root);
    killed_and_recovered(&root, &before, &after, 8, 15);
}
