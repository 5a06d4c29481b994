//! Roots on several file systems: one run changes all of them or none.

/// Roots on each file system.
mod each;

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::delivery::Patch;
use crate::everyman::NOBODY;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::reliability::killed::until_published;
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};

/// Objects on three file systems: the root's own, a tmpfs at /opt, and a directory of the root bound to /data.
const MOUNTS: &str = "mkdir -p $ROOT/opt $ROOT/data $ROOT/usr/data
    mount -t tmpfs -o mode=755 tmpfs $ROOT/opt
    mount --bind $ROOT/usr/data $ROOT/data";

fn package(version: &str) -> Package {
    let package = Package::new("ACMEweb").param("BASEDIR", "/");
    (0..60).fold(package, |package, number| {
        let text = format!("{version} {number}\n");
        package
            .file(&format!("opt/web/{number}"), 0o644, &text)
            .file(&format!("data/web/{number}"), 0o644, &text)
            .file(&format!("usr/web/{number}"), 0o644, &text)
    })
}

/// A mounted root with the package, and two patches beside it.
fn mounted(test: &str) -> Option<Mounted> {
    let stage = Scenario::new();
    let first = package("second").symlink("opt/web/link", "0").file("data/new/file", 0o644, "new\n");
    Patch::of("100-01", first.deletes(&["opt/web/gone", "data/web/gone"])).directory(&stage);
    Patch::of("100-02", package("third")).directory(&stage);
    let base = package("first").file("opt/web/gone", 0o644, "gone\n").file("data/web/gone", 0o644, "gone\n");
    base.write(&stage.beside("spool"));
    let mounted = Mounted::new(test, stage, MOUNTS)?;
    let run = mounted.run("pkgadd -n -R @ROOT@ -d spool ACMEweb");
    assert_eq!(run.code, 0, "{}", run.stderr);
    Some(mounted)
}

/// Stages left on any of the file systems.
fn stages(root: &Mounted) -> Vec<String> {
    let tree = root.tree(&["var"]);
    tree.paths().split(' ').filter(|path| path.contains(".patchadm")).map(str::to_owned).collect()
}

#[test]
fn a_patch_over_three_file_systems_is_applied_revised_and_backed_out() {
    let Some(root) = mounted("a patch over three file systems") else { return };
    let before = root.tree(&["var"]);
    root.run("patchadd -R @ROOT@ delivered/100-01").ok();
    let between = root.tree(&["var"]);
    assert_eq!(fs::read(root.at("/opt/web/7")).unwrap(), b"second 7\n");
    assert_eq!(fs::read(root.at("/usr/data/web/7")).unwrap(), b"second 7\n");
    assert!(!root.at("/opt/web/gone").exists() && root.at("/data/new/file").exists());
    assert_eq!(stages(&root), Vec::<String>::new());
    root.run("pkgchk -R @ROOT@").ok();

    root.run("patchadd -R @ROOT@ delivered/100-02").ok();
    assert_eq!(fs::read(root.at("/data/web/7")).unwrap(), b"third 7\n");
    root.run("patchrm -R @ROOT@ 100-02").ok();
    assert_same(&root.tree(&["var"]), &between);
    root.run("patchrm -R @ROOT@ 100-01").ok();
    assert_same(&root.tree(&["var"]), &before);
    assert_eq!(stages(&root), Vec::<String>::new());
    // Nothing was written below the mount points.
    assert!(!root.stage().at("/opt/web").exists());
}

#[test]
fn the_place_for_stages_that_a_killed_run_left_empty_is_removed() {
    let Some(root) = mounted("an empty place for stages") else { return };
    // Killed between making it and making the first stage, or between removing the last stage and removing it.
    fs::create_dir(root.at("/opt/.patchadm")).unwrap();
    // A power cut after a backout: the undo data is gone, but its directory is back.
    fs::create_dir_all(root.at("/data/.patchadm/undo")).unwrap();
    root.run("recover -R @ROOT@").ok();
    assert_eq!(stages(&root), Vec::<String>::new());
}

/// Gives a root and a stage on one of its mounts to an unprivileged user, as if a run of this owner was killed before
/// it was published.
fn left_by_its_owner(root: &Mounted) {
    let run = "9-0000000000000009";
    let stage = root.at(&format!("/opt/.patchadm/{run}"));
    fs::create_dir_all(stage.join("o")).unwrap();
    fs::write(stage.join("marker"), format!("{run} 1\n")).unwrap();
    let own = root.at(&format!("/var/sadm/patchadm/stage/{run}"));
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("marker"), format!("{run} 0\n")).unwrap();
    for place in ["/", "/opt/.patchadm"] {
        let owner = format!("{NOBODY}:{NOBODY}");
        let mut chown = Command::new("chown");
        assert!(chown.args(["-Rh", &owner]).arg(root.at(place)).status().unwrap().success());
    }
}

#[test]
fn stages_that_the_trusted_owner_of_a_root_left_are_removed_and_hold_nobody_up() {
    let Some(root) = mounted("stages of a trusted owner") else { return };
    left_by_its_owner(&root);
    let refused = root.run("patchadd -R @ROOT@ delivered/100-01");
    assert!(refused.code == 3 && !stages(&root).is_empty(), "{}", refused.stderr);
    let run = root.run("patchadd --trust-root -R @ROOT@ delivered/100-01");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.starts_with("NOTE: Removed the leftovers of an interrupted run ("), "{}", run.stderr);
    assert_eq!(stages(&root), Vec::<String>::new());
    assert_eq!(fs::read_dir(root.at("/var/sadm/patchadm/stage")).unwrap().count(), 0);
}

#[test]
fn a_killed_run_over_three_file_systems_is_recovered_on_all_of_them() {
    let Some(root) = mounted("a killed run over three file systems") else { return };
    let before = root.tree(&["var"]);
    root.run("patchadd -R @ROOT@ delivered/100-01").ok();
    let after = root.tree(&["var"]);
    root.run("patchrm -R @ROOT@ 100-01").ok();
    killed_and_recovered(&root, &before, &after, 12, 9);
}

/// Kills `patchadd` of 100-01 and recovers: every other time during the switch, otherwise after growing delays. The
/// root is then as before or as after, and no stage is left. More trials follow until a switch was rolled back: a
/// switch is short, and on a busy machine the signal may come too late.
pub(crate) fn killed_and_recovered(
    root: &Mounted,
    before: &Tree,
    after: &Tree,
    trials: u32,
    milliseconds: u64,
) {
    let mut delays = 0;
    let mut rolled_back = 0;
    for trial in 0.. {
        let mut command = root.command("patchadd -R @ROOT@ delivered/100-01");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if trial % 2 == 0 || trial >= trials {
            until_published(&mut child, &root.at("/var/sadm/patchadm/journal"), None);
        } else {
            thread::sleep(Duration::from_millis(delays));
            delays += milliseconds;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let run = root.run("recover -R @ROOT@");
        assert_eq!(run.code, 0, "{}", run.stderr);
        let now = root.tree(&["var"]);
        assert_eq!(stages(root), Vec::<String>::new());
        if now == *after {
            root.run("patchrm -R @ROOT@ 100-01").ok();
        } else {
            rolled_back += usize::from(run.stdout.contains("was rolled back"));
            assert_same(&now, before);
        }
        if trial + 1 >= trials && rolled_back > 0 {
            break;
        }
        assert!(trial < trials + 100, "no run was killed while it was switching");
    }
}
