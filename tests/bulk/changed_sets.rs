//! A set with a changed file is no set: it is not released, and no patches are made from it or to it.

use std::fs;

use super::BulkBuild;
use crate::scenario::is_root;

/// Replaces a file of a set with a changed copy; the file in the pool stays as it is.
fn change(build: &BulkBuild, path: &str) {
    let at = build.work().join(path);
    let mut bytes = fs::read(&at).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::remove_file(&at).unwrap();
    fs::write(&at, bytes).unwrap();
}

#[test]
fn a_set_with_a_changed_file_is_neither_released_nor_patched_nor_kept_from() {
    let test = "a_set_with_a_changed_file…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "slot=local 2\ncheck=none\n") else { return };
    for name in ["one", "two"] {
        build.recipe(name, "", "mkdir $DESTDIR/opt; echo 1 > $DESTDIR/opt/$PKGNAME\n");
    }
    build.run("").ends(0);
    let whole = fs::read(build.work().join("sets/1/packages/one.pkg")).unwrap();
    change(&build, "sets/1/packages/one.pkg");
    let says = "sets/1/packages/one.pkg is damaged: its SHA-256 sum differs from the sum in MANIFEST";
    let said = build.action("release @WORK@ 1").fails(1);
    assert!(said.contains(says), "{said}");
    fs::write(build.work().join("sets/1/packages/one.pkg"), &whole).unwrap();
    build.action("release @WORK@ 1").ok();
    fs::write(build.work().join("sets/1/packages/three.pkg"), &whole).unwrap();
    let said = build.action("patches @WORK@").fails(1);
    assert!(said.contains("three.pkg is damaged: MANIFEST does not name it"), "{said}");
    fs::remove_file(build.work().join("sets/1/packages/three.pkg")).unwrap();
    change(&build, "sets/1/packages/one.pkg");
    let said = build.action("patches @WORK@").fails(1);
    assert!(said.contains(says), "{said}");
    // A failed package would keep its version from the previous set, but not from this one.
    build.write("one/build", "exit 1\n");
    let run = build.run("");
    assert_eq!(run.code, 1, "{}{}", run.said, run.report);
    assert!(run.said.contains(says) || run.report.to_string().contains(says), "{}{}", run.said, run.report);
    assert!(!build.work().join("sets/2").exists());
}
