//! `patchadm build` derives the form of a patch from the name of its output.

use std::fs;

use crate::delta::sets::Deb;
use crate::scenario::Scenario;

/// Two trees that differ in a file.
fn trees() -> Scenario {
    let stage = Scenario::new();
    for (tree, text) in [("old", "one\n"), ("new", "three\n")] {
        fs::create_dir_all(stage.beside(tree).join("bin")).unwrap();
        fs::write(stage.beside(tree).join("bin/httpd"), text).unwrap();
    }
    stage
}

/// The command line that builds a patch from the trees.
fn build(out: &str) -> String {
    format!(
        "build --id 100-01 --from old --to new --pkg ACMEweb --arch all --base-version 1 --owner root:root -o {out}"
    )
}

#[test]
fn the_ending_of_the_name_says_the_form() {
    let stage = trees();
    for (out, form, start) in [
        ("100-01.tar", "tar", &b"100-01/"[..]),
        ("100-01.TAR", "tar", b"100-01/"),
        ("100-01.tar.gz", "tar.gz", b"\x1f\x8b"),
        ("100-01.tgz", "tar.gz", b"\x1f\x8b"),
        ("100-01.Zip", "zip", b"PK"),
        ("100-01.pkg", "datastream", b"# PaCkAgE DaTaStReAm"),
    ] {
        let said = stage.run(&build(out)).ok();
        assert!(said.starts_with(&format!("100-01: {out} ({form},")), "{said}");
        assert!(fs::read(stage.beside(out)).unwrap().starts_with(start), "{out}");
        // Depots take each of them.
        let work = stage.beside("work");
        fs::create_dir(&work).unwrap();
        fs::rename(stage.beside(out), work.join(out)).unwrap();
        stage.run(&format!("publish --unsigned work depot-{out}")).ok();
        fs::remove_dir_all(work).unwrap();
    }
    for out in ["100-01", "100-01.patch"] {
        stage.run(&build(out)).ok();
        assert!(stage.beside(out).is_dir(), "{out}");
    }
}

#[test]
fn a_name_of_an_archive_that_no_form_has_is_refused_with_what_can_be_written() {
    let stage = trees();
    for (out, ending) in [
        ("100-01.tar.xz", ".xz"),
        ("100-01.TAR.ZST", ".zst"),
        ("100-01.tar.bz2", ".bz2"),
        ("100-01.tar.Z", ".z"),
        ("100-01.txz", ".txz"),
        ("100-01.7z", ".7z"),
        ("100-01.rpm", ".rpm"),
    ] {
        let said = stage.run(&build(out)).fails(2);
        let reason = format!("{out} ends like an archive, but patches cannot be written as {ending}\n");
        assert!(said.contains(&reason), "{said}");
        assert!(
            said.contains("ends with one of .tar, .tar.gz, .tgz, .zip, .pkg, or the name of a directory"),
            "{said}"
        );
        assert!(!stage.beside(out).exists(), "{out}");
    }
    // `--format` decides if no form has the ending of the name.
    stage.run(&format!("{} --format dir", build("100-01.tar.xz"))).ok();
    assert!(stage.beside("100-01.tar.xz").is_dir());
}

#[test]
fn a_form_that_is_asked_for_and_the_name_contradicts_is_refused() {
    let stage = trees();
    for (out, form) in [("a.tar", "dir"), ("a.tar.gz", "tar"), ("a.ZIP", "tar"), ("a.pkg", "dir")] {
        let said = stage.run(&format!("{} --format {form}", build(out))).fails(2);
        assert!(said.contains(&format!("{out} has the ending of the format")), "{said}");
        assert!(said.contains(&format!("but --format is {form}")), "{said}");
        assert!(!stage.beside(out).exists());
    }
    for (out, form) in [("b.tgz", "tar.gz"), ("b", "zip"), ("b.out", "datastream"), ("b.pkg", "datastream")] {
        stage.run(&format!("{} --format {form}", build(out))).ok();
        assert!(stage.beside(out).is_file(), "{out}");
    }
}

#[test]
fn scripts_of_another_format_are_told_once_with_their_number() {
    let stage = Scenario::new();
    let deb = |version: &str| Deb::new("web", version, version).script("postinst").script("prerm");
    let (old, new) = (deb("1").write(&stage.beside("old")), deb("20").write(&stage.beside("new")));
    let run = stage.run(&format!("build --id 100-01 --from {} --to {} -o out", old.display(), new.display()));
    let said = "note: 2 scripts of another package format are left out: 1 postinst, 1 prerm\n";
    assert_eq!((run.code, run.stderr.as_str()), (0, said), "{}", run.stdout);
}
