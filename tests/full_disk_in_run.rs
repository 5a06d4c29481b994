//! File systems that become full during a run, at every size. The registrations of a script by installf(1M) are
//! complete, or the run reports that they are not, or the run leaves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::delivery::Patch;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::reliability::is_whole;
use crate::scenario::{Run, Scenario};
use crate::tree::assert_same;

const KIB: usize = 1024;

/// The range of free space, in KiB.
const ROOM: std::ops::RangeInclusive<usize> = 0..=3072;

/// An admin file that asks nothing.
const NOCHECK: &str = "mail=\ninstance=overwrite\npartial=nocheck\nrunlevel=nocheck\nidepend=nocheck\nrdepend=nocheck\nspace=quit\nsetuid=nocheck\nconflict=nocheck\naction=nocheck\nbasedir=default\n";

/// A script that ignores errors of its calls.
const REGISTERS: &str = "\
R=${PKG_INSTALL_ROOT:-/}
installf -R $R $PKGINST /opt/web/run d 0755 root root
echo state > $R/opt/web/state
installf -R $R $PKGINST /opt/web/state f 0644 root root
installf -R $R -f $PKGINST
exit 0
";

fn package() -> Package {
    Package::new("ACMEweb").param("BASEDIR", "/opt/web").file("lib/big", 0o644, noise(200 * KIB, 7))
}

/// A root, and an admin file that asks nothing about scripts and room.
fn stage() -> Scenario {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/admin/nocheck", NOCHECK);
    stage
}

/// Bytes that do not compress.
fn noise(size: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

/// A root on one file system of 8 MiB.
fn small_root(test: &str, stage: Scenario) -> Option<Mounted> {
    let mounts = "cp -a $ROOT $BESIDE/copy; mount -t tmpfs -o mode=755,size=8m tmpfs $ROOT; cp -a $BESIDE/copy/. $ROOT";
    Mounted::new(test, stage, mounts)
}

/// Restores the root from `copy`.
fn reset(root: &Mounted, copy: &str) {
    let script = "find \"$1\" -mindepth 1 -delete && cp -a \"$2/.\" \"$1\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(root.at("/")).arg(root.stage().beside(copy));
    assert!(shell.status().unwrap().success());
}

/// The tested sizes of free space, in KiB.
fn sizes() -> impl Iterator<Item = usize> {
    ROOM.step_by(if is_whole() { 8 } else { 96 })
}

/// Runs a command while only `left` KiB are free.
fn with_room(root: &Mounted, left: usize, line: &str) -> Run {
    let filler: PathBuf = root.at("/filler");
    let seen = rustix::fs::statvfs(root.at("/")).unwrap();
    let free = usize::try_from(seen.f_bavail * seen.f_frsize).unwrap();
    fs::write(&filler, vec![1; free - left * KIB]).unwrap();
    let run = root.run(line);
    fs::remove_file(&filler).unwrap();
    run
}

/// True if `contents` has these paths and they exist.
fn has(root: &Mounted, paths: &[impl AsRef<str>]) -> bool {
    let contents = fs::read_to_string(root.at("/var/sadm/install/contents")).unwrap_or_default();
    let is_recorded = |path: &str| contents.lines().any(|line| line.starts_with(&format!("{path} ")));
    paths.iter().map(AsRef::as_ref).all(|path| is_recorded(path) && root.at(path).exists())
}

/// Runs a command at every size on the root in `copy`. Asserts that it ends with 0 and `is_whole`, or with 2 and names
/// installf, or changes nothing. Returns the exit codes.
fn play(root: &Mounted, copy: &str, line: &str, is_whole: impl Fn(&Mounted) -> bool) -> BTreeSet<i32> {
    reset(root, copy);
    let before = root.everything();
    let mut codes = BTreeSet::new();
    for left in sizes() {
        let run = with_room(root, left, line);
        let said = format!("{line} with {left} KiB: {}\n{}{}", run.code, run.stdout, run.stderr);
        match run.code {
            0 => assert!(is_whole(root), "{said}"),
            2 => assert!(run.stderr.contains("installf"), "{said}"),
            _ => assert!(before.difference(&root.everything()).is_empty(), "{said}"),
        }
        codes.insert(run.code);
        reset(root, copy);
    }
    codes
}

#[test]
fn what_a_postinstall_registers_is_there_or_the_run_says_that_it_is_not() {
    let stage = stage();
    package().information("postinstall", REGISTERS).write(&stage.beside("spool"));
    let Some(root) = small_root("installf on a full disk", stage) else { return };
    let paths = ["/opt/web/lib/big", "/opt/web/run", "/opt/web/state"];
    let codes =
        play(&root, "copy", "pkgadd -n -a nocheck -R @ROOT@ -d spool ACMEweb", |root| has(root, &paths));
    assert_eq!(Vec::from_iter(codes), [0, 4]);
}

/// A root with the package, and patches for it with incompressible files and this script.
fn patchable(test: &str, patches: &[&str], script: Option<&str>) -> Option<Mounted> {
    let stage = stage();
    package().write(&stage.beside("spool"));
    for id in patches {
        let file = format!("lib/{id}");
        let patch =
            Package::new("ACMEweb").param("BASEDIR", "/opt/web").file(&file, 0o644, noise(150 * KIB, 3));
        let patch = script.into_iter().fold(patch, |patch, text| patch.information("postinstall", text));
        Patch::of(id, patch).directory(&stage);
    }
    let root = small_root(test, stage)?;
    let run = root.run("pkgadd -n -a nocheck -R @ROOT@ -d spool ACMEweb");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let patched = root.stage().beside("installed");
    assert!(Command::new("cp").arg("-a").arg(root.at("/")).arg(&patched).status().unwrap().success());
    Some(root)
}

#[test]
fn several_patches_of_one_run_are_all_there_or_none() {
    let patches = ["100-01", "101-01", "102-01"];
    let Some(root) = patchable("patches on a full disk", &patches, None) else { return };
    let line = "patchadd -R @ROOT@ delivered/100-01 delivered/101-01 delivered/102-01";
    let codes = play(&root, "installed", line, |root| {
        let list = root.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").stdout;
        list == "100-01 101-01 102-01\n" && has(root, &patches.map(|id| format!("/opt/web/lib/{id}")))
    });
    assert_eq!(Vec::from_iter(codes), [0, 18]);
}

#[test]
fn what_a_patch_registers_is_there_or_the_patch_is_not() {
    let Some(root) = patchable("installf of a patch on a full disk", &["100-01"], Some(REGISTERS)) else {
        return;
    };
    let paths = ["/opt/web/lib/100-01", "/opt/web/run", "/opt/web/state"];
    let codes = play(&root, "installed", "patchadd -R @ROOT@ delivered/100-01", |root| has(root, &paths));
    assert!(codes.contains(&0) && codes.contains(&18) && !codes.contains(&2), "{codes:?}");
}

#[test]
fn a_call_of_installf_that_failed_is_told_whatever_the_script_makes_of_it() {
    let stage = stage();
    let ignores = "installf -R $PKG_INSTALL_ROOT ACMEnot /opt/x d 0755 root root\nexit 0\n";
    Package::new("ACMEweb").information("postinstall", ignores).write(&stage.beside("spool"));
    let run = stage.run("pkgadd -n -a nocheck -R @ROOT@ -d spool ACMEweb");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(
        run.stderr.contains("installf -R @ROOT@ ACMEnot /opt/x d 0755 root root failed"),
        "{}",
        run.stderr
    );

    let patch = Package::new("ACMEweb").file("new", 0o644, "x\n").information("postinstall", ignores);
    Patch::of("100-01", patch).directory(&stage);
    let before = stage.tree();
    let run = stage.run("patchadd -R @ROOT@ delivered/100-01");
    assert_eq!(run.code, 5, "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("ACMEnot /opt/x"), "{}", run.stderr);
    assert_same(&stage.tree(), &before);
}
