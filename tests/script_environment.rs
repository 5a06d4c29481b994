//! Package parameters that procedure scripts get, and parameters that never reach a script.

use std::fs;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::{add, added, stage};

/// A script that saves the environment of the program `env`, on which every loader has acted by then.
const SHOW: &str = "env > $PKG_INSTALL_ROOT/opt/noted\n";

/// Parameters on which a loader or an interpreter acts.
const BAD: [(&str, &str); 6] = [
    ("LD_PRELOAD", "/nowhere/x.so"),
    ("GLIBC_TUNABLES", "glibc.malloc.check=3"),
    ("PERL5OPT", "-Mnowhere"),
    ("PYTHONPATH", "/nowhere"),
    ("PS4", "+"),
    ("WORD", "() { :; }; echo run"),
];

fn with_parameters(mut package: Package) -> Package {
    for (name, value) in BAD {
        package = package.param(name, value);
    }
    package.param("LIBDIR", "/opt/lib").param("VENDOR", "ACME")
}

#[test]
fn parameters_on_which_a_loader_or_a_shell_acts_reach_no_script_and_stay_parameters() {
    let stage = stage();
    added(&stage, &with_parameters(Package::new("ACMEweb")).information("postinstall", SHOW));
    let seen = stage.text("/opt/noted");
    for (name, _) in BAD {
        assert!(!seen.contains(&format!("{name}=")), "{name}: {seen}");
    }
    assert!(seen.contains("LIBDIR=/opt/lib\n") && seen.contains("VENDOR=ACME\n"), "{seen}");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb LD_PRELOAD").ok(), "/nowhere/x.so\n");
}

#[test]
fn answers_and_response_files_set_none_of_them_either() {
    let stage = stage();
    let asks = "echo 'LD_PRELOAD=/nowhere/x.so\nANSWER=yes' >> $1\n";
    let package = Package::new("ACMEweb").information("checkinstall", asks).information("postinstall", SHOW);
    added(&stage, &package);
    let seen = stage.text("/opt/noted");
    assert!(!seen.contains("LD_PRELOAD=") && seen.contains("ANSWER=yes\n"), "{seen}");
    let stage = crate::procedure_scripts::stage();
    let response = stage.beside("response");
    fs::write(&response, "LD_PRELOAD=/nowhere/x.so\nANSWER=yes\n").unwrap();
    let run = add(
        &stage,
        &format!("-n -r {}", response.display()),
        &Package::new("ACMEweb").information("checkinstall", "exit 0\n").information("postinstall", SHOW),
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let seen = stage.text("/opt/noted");
    assert!(!seen.contains("LD_PRELOAD=") && seen.contains("ANSWER=yes\n"), "{seen}");
}

#[test]
fn a_class_script_of_the_root_gets_named_variables_only() {
    let stage = stage();
    let copy = format!("{SHOW}while read src dst; do cp $src $dst; done\n");
    stage.file("/usr/sadm/install/scripts/i.mine", copy);
    let package =
        with_parameters(Package::new("ACMEweb")).param("CLASSES", "mine").param("SUNW_PKGTYPE", "root");
    added(&stage, &package.of_class("mine", 'f', "a", 0o644, "one\n"));
    let seen = stage.text("/opt/noted");
    assert!(!seen.contains("LIBDIR="), "{seen}");
    for line in
        ["VENDOR=ACME", "SUNW_PKGTYPE=root", "PKGINST=ACMEweb", "CLASSES=mine", "CLIENT_BASEDIR=/opt/ACMEweb"]
    {
        assert!(seen.contains(&format!("{line}\n")), "{line}: {seen}");
    }
}

#[test]
fn a_name_that_is_no_variable_is_not_in_the_environment() {
    let stage = stage();
    let package = Package::new("ACMEweb").param("ODD-NAME", "x").param("PLAIN_NAME", "x");
    added(&stage, &package.information("postinstall", SHOW));
    let seen = stage.text("/opt/noted");
    assert!(seen.contains("PLAIN_NAME=x\n") && !seen.contains("ODD-NAME="), "{seen}");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb ODD-NAME").ok(), "x\n");
}

#[test]
fn a_plan_names_the_parameters_that_no_script_gets() {
    let stage = stage();
    stage.install(&Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n"));
    let patch =
        Patch::of("100-01", with_parameters(Package::new("ACMEweb")).file("bin/httpd", 0o755, "two\n"));
    let shown = stage.run(&format!("plan -R @ROOT@ {}", patch.directory(&stage).display())).ok();
    for (name, _) in BAD {
        assert!(
            shown.contains(&format!("package ACMEweb: parameter {name} is not passed to scripts: ")),
            "{shown}"
        );
    }
    assert!(!shown.contains("LIBDIR"), "{shown}");
}
