//! `pkgadd -s` and `pkgrm -s`.

use std::fs;

use crate::packages::{Package, datastream, files};
use crate::scenario::{Scenario, shared};
use crate::terminal::at_terminal;
use crate::tree::assert_same;

/// A datastream `two.pkg` of two packages beside the root.
fn stage() -> Scenario {
    let stage = Scenario::new();
    let packages = [("ACMEa", "application"), ("ACMEb", "utils")].map(|(name, category)| {
        let package = Package::new(name).param("CATEGORY", category).file("bin/tool", 0o755, name);
        package.information("copyright", "Acme\n").write(&stage.beside("made"))
    });
    datastream(&packages, &stage.beside("two.pkg"));
    fs::create_dir(stage.beside("waiting")).unwrap();
    stage
}

fn spooled(stage: &Scenario) -> String {
    stage.run("pkginfo -L -d waiting").stdout
}

#[test]
fn pkgadd_s_puts_packages_into_a_directory_and_installs_nothing() {
    let stage = stage();
    let before = stage.everything();
    let run = stage.run("pkgadd -R @ROOT@ -s waiting -d two.pkg ACMEa");
    assert_eq!((run.code, run.stderr.as_str()), (0, "Transferring <ACMEa> package instance\n"));
    let expected = ["pkginfo", "pkgmap", "install/copyright", "reloc/bin/tool"];
    assert_eq!(files(&stage.beside("waiting/ACMEa")), expected);
    assert_same(&stage.everything(), &before);
    let run = stage.run("pkgadd -s waiting -d two.pkg -Y utils");
    assert_eq!(run.stderr, "Transferring <ACMEb> package instance\n");
    assert_eq!(spooled(&stage), "ACMEa\nACMEb\n");
    assert_eq!(stage.run("pkgadd -n -R @ROOT@ -d waiting all").code, 0);
}

#[test]
fn pkgadd_s_says_what_the_classic_command_says() {
    let stage = stage();
    let error = stage.run("pkgadd -s waiting -d two.pkg nosuch").fails(1);
    assert!(error.ends_with("    - no package associated with <nosuch>\n"), "{error}");
    let error = stage.run("pkgadd -n -s waiting -d two.pkg all").fails(1);
    assert!(error.contains("'-n' cannot be used with '-s <SPOOL>'"), "{error}");
    let error = stage.run("pkgadd -s nosuch -d made all").fails(1);
    assert!(error.ends_with("    - <nosuch> is not a directory\n"), "{error}");
    let Some(golden) = shared("spooling", "goldens/14-datastream/out") else { return };
    let stderr = |step: &str| fs::read_to_string(golden.join(step).join("stderr")).unwrap();
    let two = golden.join("two.ds");
    let error = stage.run(&format!("pkgadd -s nosuch -d {} all", two.display())).fails(1);
    assert!(error.starts_with(&stderr("pkgadd-spool")), "{error}");
    let run = stage.run(&format!("pkgadd -s waiting -d {} all", two.display()));
    assert_eq!((run.code, run.stderr), (0, stderr("pkgadd-spool2")));
}

#[test]
fn pkgrm_s_removes_packages_from_a_directory_only() {
    let stage = stage();
    assert_eq!(stage.run("pkgadd -n -R @ROOT@ -d two.pkg all").code, 0);
    assert_eq!(stage.run("pkgadd -s waiting -d two.pkg all").code, 0);
    let before = stage.everything();
    let error = stage.run("pkgrm -n -R @ROOT@ -s waiting ACMEa nosuch").fails(1);
    assert_eq!(error, "pkgrm: ERROR: no package associated with <nosuch>\n");
    assert_eq!(spooled(&stage), "ACMEa\nACMEb\n");
    let run = stage.run("pkgrm -n -R @ROOT@ -s waiting ACMEa");
    assert_eq!((run.code, run.stderr.as_str()), (0, "Removing spooled package instance <ACMEa>\n"));
    assert_eq!(spooled(&stage), "ACMEb\n");
    // A package that cannot be read any more can still go.
    fs::write(stage.beside("waiting/ACMEb/pkginfo"), "rubbish\n").unwrap();
    assert_eq!(stage.run("pkgrm -n -s waiting ACMEb.*").code, 0);
    assert_eq!(fs::read_dir(stage.beside("waiting")).unwrap().count(), 0);
    assert_same(&stage.everything(), &before);
}

#[test]
fn pkgrm_s_asks_where_somebody_is_there_and_needs_n_elsewhere() {
    let stage = stage();
    assert_eq!(stage.run("pkgadd -s waiting -d two.pkg all").code, 0);
    let error = stage.run("pkgrm -s waiting all").fails(5);
    assert!(error.contains("use -n to remove without being asked"), "{error}");
    let Some((code, text)) = at_terminal("pkgrm -s", &stage, "pkgrm -s waiting all", "y\nn\n") else {
        return;
    };
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("The following package is currently spooled:\n   ACMEa."), "{text}");
    assert_eq!(spooled(&stage), "ACMEb\n");
}
