//! Limits of the caller's process: an output that accepts nothing, files that may not grow, few open files.

use std::fs::File;
use std::process::Stdio;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::assert_same;

/// A root with a package, and a patch that replaces its file.
fn stage(size: usize) -> Scenario {
    let stage = Scenario::new();
    stage.install(&Package::new("ACMEweb").file("lib/a", 0o644, "first\n"));
    Patch::of("100-01", Package::new("ACMEweb").file("lib/a", 0o644, vec![b'x'; size])).directory(&stage);
    stage
}

#[test]
fn what_was_done_has_its_code_though_nothing_can_be_written_to_standard_output() {
    let stage = stage(6);
    Package::new("ACMEnew").file("x", 0o644, "x\n").write(&stage.beside("spool"));
    let full = |line: &str| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = stage.command(line).stdout(Stdio::from(full)).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for (line, code) in [
        ("patchadd -R @ROOT@ delivered/100-01", 0),
        ("patchadd -R @ROOT@ delivered/100-01", 2),
        ("patchrm -R @ROOT@ 100-01", 0),
        ("add -R @ROOT@ delivered/100-01 --json", 0),
        ("remove -R @ROOT@ 100-01", 0),
        ("pkgadd -n -R @ROOT@ -d spool ACMEnew", 0),
        ("pkgrm -n -R @ROOT@ ACMEnew", 0),
        ("recover -R @ROOT@", 0),
        ("pkgadd --json -R @ROOT@ -d spool ACMEnew", 0),
    ] {
        let (found, said) = full(line);
        assert_eq!(found, code, "{line}: {said}");
        if code == 0 && !line.contains(" -n ") {
            assert!(
                said.contains("cannot write to standard output: No space left on device"),
                "{line}: {said}"
            );
        }
    }
    // A command that only prints something has then printed nothing.
    for line in ["patchadd -a -R @ROOT@ delivered/100-01", "pkginfo -R @ROOT@", "list -R @ROOT@"] {
        assert_eq!(full(line).0, 1, "{line}");
    }
}

#[test]
fn a_file_that_may_not_grow_is_an_error_with_words_and_nothing_is_changed() {
    let stage = stage(400 << 10);
    let before = stage.everything();
    let run = stage.limited("ulimit -f 200", "patchadd -R @ROOT@ delivered/100-01");
    assert_eq!(run.code, 5, "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("File too large"), "{}", run.stderr);
    assert!(run.stderr.contains("ulimit -f"), "{}", run.stderr);
    assert_same(&stage.everything(), &before);
}

#[test]
fn too_few_open_files_are_never_a_damaged_patch() {
    let stage = stage(6);
    for limit in 5..20 {
        let line = "patchadd -a -R @ROOT@ delivered/100-01";
        let run = stage.limited(&format!("ulimit -n {limit}"), line);
        let said = format!("{limit}: {}: {}", run.code, run.stderr);
        assert!([0, 5, 65, 127].contains(&run.code), "{said}");
        if run.code == 5 {
            assert!(run.stderr.contains("Too many open files"), "{said}");
            assert!(run.stderr.contains("ulimit -n"), "{said}");
        }
    }
}
