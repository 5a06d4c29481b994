//! Sources of packages: pipes, relative names, categories.

use std::fs;

use crate::packages::{Package, datastream};
use crate::pkgtrans::fed;
use crate::scenario::Scenario;
use crate::tree::assert_same;

/// Writes two packages to the datastream `two.pkg` beside the root. Returns its bytes.
fn two(stage: &Scenario) -> Vec<u8> {
    let packages = ["ACMEa", "ACMEb"].map(|name| {
        let package = Package::new(name).file("bin/tool", 0o755, name.repeat(40_000));
        package.write(&stage.beside("made"))
    });
    datastream(&packages, &stage.beside("two.pkg"));
    fs::read(stage.beside("two.pkg")).unwrap()
}

#[test]
fn standard_input_is_a_device() {
    for device in ["/dev/stdin", "/dev/fd/0"] {
        let stage = Scenario::new();
        let bytes = two(&stage);
        let run = fed(&stage, &format!("pkgadd -n -R @ROOT@ -d {device} all"), &bytes);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(stage.text("/opt/ACMEb/bin/tool"), "ACMEb".repeat(40_000));

        let run = fed(&stage, &format!("pkginfo -L -d {device}"), &bytes);
        assert_eq!(run.stdout, "ACMEa\nACMEb\n");
        let run = fed(&stage, &format!("pkgparam -d {device} ACMEa VERSION"), &bytes);
        assert_eq!(run.stdout, "1.0\n");

        fs::create_dir(stage.beside("to")).unwrap();
        let run = fed(&stage, &format!("pkgtrans {device} to all"), &bytes);
        assert_eq!((run.code, run.stderr.lines().count()), (0, 2));
        assert_eq!(stage.run("pkginfo -L -d to").ok(), "ACMEa\nACMEb\n");
        fs::remove_dir_all(stage.beside("to")).unwrap();
        fs::create_dir(stage.beside("to")).unwrap();
        // The stream on standard input does not answer the question which packages to copy.
        assert_eq!(fed(&stage, &format!("pkgtrans {device} to"), &bytes).code, 0);
    }
}

#[test]
fn what_comes_through_a_pipe_is_judged_before_anything_is_changed() {
    let stage = Scenario::new();
    let bytes = two(&stage);
    let before = stage.everything();
    for (bytes, reason) in [
        (&b"neither this nor that\n"[..], "neither a package, nor a patch, nor an archive\n"),
        (b"", "neither a package, nor a patch, nor an archive\n"),
        (&bytes[..bytes.len() / 2], "package ACMEa: unexpected end of archive"),
    ] {
        let error = fed(&stage, "pkgadd -n -R @ROOT@ -d /dev/stdin all", bytes).fails(99);
        let start = format!("pkgadd: ERROR: could not process datastream from </dev/stdin>: {reason}");
        assert!(error.starts_with(&start), "{error}");
    }
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_device_may_be_named_from_here_and_one_that_is_not_there_is_told() {
    let stage = Scenario::new();
    two(&stage);
    for device in ["two.pkg", "./two.pkg", "made"] {
        assert_eq!(stage.run(&format!("pkginfo -L -d {device}")).ok(), "ACMEa\nACMEb\n");
    }
    let error = stage.run("pkgadd -n -R @ROOT@ -d nosuch.pkg all").fails(99);
    assert_eq!(
        error,
        "pkgadd: ERROR: could not process datastream from <nosuch.pkg>: no such file or directory\n"
    );
    // The name of a known device means the device only if no such file exists.
    let error = stage.run("pkginfo -d spool nosuch").fails(1);
    assert!(error.contains("/var/spool/pkg"), "{error}");
    fs::rename(stage.beside("made"), stage.beside("spool")).unwrap();
    assert_eq!(stage.run("pkginfo -L -d spool").ok(), "ACMEa\nACMEb\n");
}

#[test]
fn an_option_may_have_a_blank_behind_it() {
    let stage = Scenario::new();
    let package = Package::new("ACMEa").file("bin/tool", 0o755, "tool\n");
    package.write(&stage.beside("spool"));
    let mut command = stage.command("pkgadd -n -R @ROOT@ -d spool");
    assert!(command.args(["-G ", "all"]).status().unwrap().success());
    let help = stage.command("patchadd").args(["-G ", "--help"]).output().unwrap();
    assert!(help.status.success());
}

#[test]
fn names_may_stand_in_one_word_with_commas() {
    let stage = Scenario::new();
    two(&stage);
    assert_eq!(stage.run("pkgadd -n -R @ROOT@ -d two.pkg ACMEa,ACMEb").code, 0);
    assert_eq!(stage.run("pkginfo -L -R @ROOT@").ok(), "ACMEa\nACMEb\n");
}

#[test]
fn packages_are_chosen_by_category() {
    let stage = Scenario::new();
    let spool = stage.beside("spool");
    for (name, categories) in [("ACMEa", "application"), ("ACMEb", "utils,net"), ("ACMEs", "system")] {
        Package::new(name).param("CATEGORY", categories).file("a", 0o644, name).write(&spool);
    }
    assert_eq!(stage.run("pkgadd -n -R @ROOT@ -d spool -Y NET,application").code, 0);
    assert_eq!(stage.run("pkginfo -L -R @ROOT@").ok(), "ACMEa\nACMEb\n");
    let error = stage.run("pkgadd -n -R @ROOT@ -d spool -Y games").fails(1);
    assert_eq!(error, "pkgadd: ERROR: no package associated with <games>\n");
    let error = stage.run("pkgadd -n -R @ROOT@ -d spool -Y net ACMEa").fails(1);
    assert!(error.contains("'-Y <CATEGORY>' cannot be used with '[PKGINST]...'"), "{error}");

    assert_eq!(stage.run("pkgadd -n -R @ROOT@ -d spool ACMEs").code, 0);
    let error = stage.run("pkgrm -n -R @ROOT@ -Y system").fails(1);
    assert_eq!(
        error,
        "pkgrm: ERROR: Unable to remove packages that are part of the SYSTEM category with the -Y option.\n"
    );
    let error = stage.run("pkgrm -n -R @ROOT@ -Y games").fails(1);
    assert_eq!(error, "pkgrm: ERROR: Category argument <games> cannot be found.\n");
    assert_eq!(stage.run("pkgrm -n -R @ROOT@ -Y utils").code, 0);
    assert_eq!(stage.run("pkginfo -L -R @ROOT@").ok(), "ACMEa\nACMEs\n");
}
