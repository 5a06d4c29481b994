//! File systems without room: a change that does not fit is refused in one line, with the file system and the needed
//! space, and the root stays unchanged.

use std::fs;

use crate::delivery::Patch;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::assert_same;

const KIB: usize = 1024;

fn package(size: usize, letter: &str) -> Package {
    Package::new("ACMEweb").param("BASEDIR", "/opt/web").file("lib/big", 0o644, noise(size, letter))
}

/// Bytes that do not compress much.
fn noise(size: usize, seed: &str) -> Vec<u8> {
    let mut state = u32::from(seed.as_bytes()[0]);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

/// A root with the package (300 KiB) installed through these mounts, and a patch of another 300 KiB.
fn mounted(test: &str, mounts: &str) -> Option<Mounted> {
    let stage = Scenario::new();
    package(300 * KIB, "a").write(&stage.beside("spool"));
    Patch::of("100-01", package(300 * KIB, "b")).directory(&stage);
    let root = Mounted::new(test, stage, mounts)?;
    let run = root.run("pkgadd -n -R @ROOT@ -d spool ACMEweb");
    assert_eq!(run.code, 0, "{}", run.stderr);
    Some(root)
}

/// Fills a file system of the root until this many KiB are free.
fn fill(root: &Mounted, directory: &str, left: usize) {
    let free = || {
        let seen = rustix::fs::statvfs(root.at(directory)).unwrap();
        usize::try_from(seen.f_bavail * seen.f_frsize).unwrap()
    };
    let size = free() - left * KIB;
    fs::write(root.at(&format!("{directory}/filler")), vec![1; size]).unwrap();
}

/// Asserts that a command is refused with this code and one line with these words, and changes nothing.
#[track_caller]
fn refused(root: &Mounted, line: &str, code: i32, words: &[&str]) {
    let before = root.everything();
    let run = root.run(line);
    assert_same(&root.everything(), &before);
    assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
    let first = run.stderr.lines().next().unwrap();
    for word in words {
        assert!(first.contains(word), "{word} is not in: {first}");
    }
    assert_eq!(
        run.stderr.matches(": error: ").count() + run.stderr.matches("ERROR").count(),
        1,
        "{}",
        run.stderr
    );
}

#[test]
fn a_patch_that_does_not_fit_is_18_and_fits_when_there_is_room() {
    let mounts = "mkdir -p $ROOT/opt; mount -t tmpfs -o mode=755,size=4m tmpfs $ROOT/opt";
    let Some(root) = mounted("a patch that does not fit", mounts) else { return };
    fill(&root, "/opt", 200);
    let words = ["atch 100-01", "@ROOT@/opt has ", " free, but ", " are needed"];
    refused(&root, "patchadd -R @ROOT@ delivered/100-01", 18, &words);
    refused(&root, "patchadd -a -R @ROOT@ delivered/100-01", 18, &words);
    fs::remove_file(root.at("/opt/filler")).unwrap();
    root.run("patchadd -R @ROOT@ delivered/100-01").ok();
}

#[test]
fn records_that_do_not_fit_are_18() {
    let mounts = "mkdir -p $ROOT/keep; cp -a $ROOT/var/. $ROOT/keep; mount -t tmpfs -o mode=755,size=4m tmpfs $ROOT/var
        cp -a $ROOT/keep/. $ROOT/var; rm -r $ROOT/keep";
    let Some(root) = mounted("records that do not fit", mounts) else { return };
    fill(&root, "/var", 100);
    refused(&root, "patchadd -R @ROOT@ delivered/100-01", 18, &["atch 100-01", "@ROOT@/var has "]);
}

#[test]
fn an_undo_archive_that_does_not_fit_in_its_new_form_is_7() {
    let mounts = "mkdir -p $ROOT/keep; cp -a $ROOT/var/. $ROOT/keep; mount -t tmpfs -o mode=755,size=4m tmpfs $ROOT/var
        cp -a $ROOT/keep/. $ROOT/var; rm -r $ROOT/keep";
    let Some(root) = mounted("an archive that does not fit in its new form", mounts) else { return };
    root.run("patchadd -R @ROOT@ delivered/100-01").ok();
    fill(&root, "/var", 500);
    refused(&root, "undo-data repack -R @ROOT@ --undo-format none 100-01", 1, &["o space"]);
    fs::remove_file(root.at("/var/filler")).unwrap();
    root.run("undo-data repack -R @ROOT@ --undo-format none 100-01").ok();
}

#[test]
fn a_file_system_without_inodes_is_18() {
    let mounts = "mkdir -p $ROOT/opt; mount -t tmpfs -o mode=755,size=4m,nr_inodes=16 tmpfs $ROOT/opt";
    let Some(root) = mounted("a file system without inodes", mounts) else { return };
    let web = Package::new("ACMEweb").param("BASEDIR", "/opt/web");
    let many = (0..20).fold(web, |package, number| package.file(&format!("new/{number}"), 0o644, "x\n"));
    Patch::of("200-01", many).directory(root.stage());
    let words = ["atch 200-01", "@ROOT@/opt has room for ", " objects, "];
    refused(&root, "patchadd -R @ROOT@ delivered/200-01", 18, &words);
}

#[test]
fn a_backout_that_does_not_fit_is_20() {
    let mounts = "mkdir -p $ROOT/opt; mount -t tmpfs -o mode=755,size=4m tmpfs $ROOT/opt";
    let Some(root) = mounted("a backout that does not fit", mounts) else { return };
    root.run("patchadd -R @ROOT@ delivered/100-01").ok();
    fill(&root, "/opt", 200);
    refused(&root, "patchrm -R @ROOT@ 100-01", 20, &["atch 100-01", "@ROOT@/opt has "]);
    fs::remove_file(root.at("/opt/filler")).unwrap();
    root.run("patchrm -R @ROOT@ 100-01").ok();
}

#[test]
fn undo_data_that_does_not_fit_elsewhere_is_4() {
    let mounts = "mkdir -p $BESIDE/undo; mount -t tmpfs -o mode=755,size=64k tmpfs $BESIDE/undo";
    let Some(root) = mounted("undo data that does not fit", mounts) else { return };
    let undo = root.stage().beside("undo");
    let line = format!("patchadd -B {} -R @ROOT@ delivered/100-01", undo.display());
    refused(&root, &line, 4, &["100-01", &format!("{}/100-01/ACMEweb/", undo.display()), "No space left"]);
    let left = root.outside(&undo);
    assert_eq!(fs::read_dir(left).unwrap().count(), 0, "nothing is left there");
}
