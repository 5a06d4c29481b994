//! Few open files (`ulimit -n`): a run holds few descriptors however much it changes. If even these are not available,
//! it ends with a message and leaves the root as before.

use crate::delivery::Patch;
use crate::packages::Package;
use crate::reliability::killed::strays;
use crate::reliability::{figures, sample_or_whole};
use crate::scenario::Scenario;
use crate::tree::Tree;

/// Every system lets a process open this many files; a run must not need more.
const ENOUGH: u32 = 64;

/// A root on which a package is installed, and a patch that replaces all its files and adds as many.
fn stage(directories: usize, files: usize) -> Scenario {
    let (mut package, mut patch) = (Package::new("ACMEweb"), Package::new("ACMEweb"));
    for directory in 0..directories {
        for file in 0..files {
            package = package.file(&format!("{directory:03}/{file}"), 0o644, "first\n");
            patch = patch.file(&format!("{directory:03}/{file}"), 0o644, "second\n");
            patch = patch.file(&format!("new/{directory:03}/{file}"), 0o644, "new\n");
        }
    }
    let stage = Scenario::new();
    stage.install(&package);
    Patch::of("100-01", patch).directory(&stage);
    stage
}

/// Runs a command with a limit; true if it succeeded. If not, it must have said why and changed nothing.
fn done_or_not(stage: &Scenario, limit: u32, line: &str) -> bool {
    let state = || (Tree::of(&stage.at("/opt"), &[]), stage.lines());
    let before = state();
    let run = stage.limited(&format!("ulimit -n {limit}"), line);
    let said = format!("{line}, {limit} files: {}: {}{}", run.code, run.stdout, run.stderr);
    assert!(![70, 101, 134].contains(&run.code), "{said}");
    if run.code == 0 {
        assert!(state() != before, "{said}");
    } else {
        assert!(limit < ENOUGH, "{said}");
        assert!(run.stderr.contains("Too many open files") || run.code == 127, "{said}");
        let recovered = stage.run("recover -R @ROOT@");
        assert_eq!(recovered.code, 0, "{said}, then {}", recovered.stderr);
        assert!(state() == before, "{said}");
    }
    assert_eq!(strays(stage), Vec::<String>::new(), "{said}");
    run.code == 0
}

#[test]
fn a_run_is_content_with_few_open_files_or_fails_cleanly() {
    let stage = stage(sample_or_whole(40, 300), sample_or_whole(3, 10));
    let limits: Vec<u32> =
        sample_or_whole(vec![6, 9, 12, 20, ENOUGH], (5..=24).chain([32, 48, ENOUGH, 100, 256]).collect());
    let mut failed = 0;
    for limit in &limits {
        if done_or_not(&stage, *limit, "patchadd -R @ROOT@ delivered/100-01") {
            if !done_or_not(&stage, *limit, "patchrm -R @ROOT@ 100-01") {
                failed += 1;
                stage.run("patchrm -R @ROOT@ 100-01").ok();
            }
        } else {
            failed += 1;
        }
    }
    assert!(failed > 0, "no limit was too low");
    figures("descriptors", &[("limits of open files", limits.len() as u64), ("failed cleanly", failed)]);
}
