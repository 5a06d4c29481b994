//! The packages of a root in `list --json`, with the URLs by which scanners know them.

use std::fs;

use serde_json::{Value, json};

use crate::adopt_refresh::{ONE, TWO, adopted, dpkg_installs};
use crate::packages::Package;
use crate::patch_documents::document;
use crate::scenario::Scenario;

fn packages(stage: &Scenario) -> Vec<Value> {
    document(stage, "list -R @ROOT@")["packages"].as_array().unwrap().clone()
}

fn url(stage: &Scenario) -> String {
    packages(stage)[0]["purl"].as_str().unwrap().to_owned()
}

#[test]
fn every_installed_package_is_listed_in_a_document_and_in_no_text() {
    let web =
        Package::new("ACMEweb").param("VERSION", "2.0,REV=2026.01.01").param("NAME", "Web <b>server</b>");
    let stage =
        Scenario::with(&[web.file("bin/httpd", 0o755, "x\n"), Package::new("ACMEshop").directory("empty")]);
    let found = packages(&stage);
    assert_eq!(found.len(), 2);
    assert_eq!(
        found[1],
        json!({
            "package": "ACMEweb",
            "name": "Web <b>server</b>",
            "version": "2.0,REV=2026.01.01",
            "arch": "i386",
            "manager": null,
            "native": null,
            "purl": "pkg:generic/ACMEweb@2.0%2CREV%3D2026.01.01?arch=i386",
        })
    );
    assert_eq!(stage.run("list -R @ROOT@").ok(), "No patches are applied.\n");
}

#[test]
fn a_package_of_dpkg_has_the_vendor_and_the_release_of_its_root() {
    let stage = adopted();
    assert_eq!(url(&stage), "pkg:deb/debian/web@1.0-1?arch=amd64");
    stage.file("/usr/lib/os-release", "ID=ubuntu\nVERSION_ID=\"24.04\"\n");
    assert_eq!(url(&stage), "pkg:deb/ubuntu/web@1.0-1?arch=amd64&distro=ubuntu-24.04");
    fs::create_dir_all(stage.at("/etc")).unwrap();
    stage.symlink("/etc/os-release", "../usr/lib/os-release");
    assert_eq!(url(&stage), "pkg:deb/ubuntu/web@1.0-1?arch=amd64&distro=ubuntu-24.04");
    let found = &packages(&stage)[0];
    assert_eq!(found["manager"], "dpkg");
    assert_eq!(found["native"], json!({"name": "web", "version": "1.0-1", "arch": "amd64"}));
}

#[test]
fn a_package_that_dpkg_upgraded_since_has_the_version_that_is_there() {
    let stage = adopted();
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    assert_eq!(url(&stage), "pkg:deb/debian/web@1.0-2?arch=amd64");
    assert_eq!(packages(&stage)[0]["native"]["version"], "1.0-2");
}

#[test]
fn an_os_release_that_is_not_one_says_nothing_and_holds_nobody_up() {
    let stage = adopted();
    fs::create_dir_all(stage.at("/etc")).unwrap();
    let plain = "pkg:deb/debian/web@1.0-1?arch=amd64";
    stage.pipe("/etc/os-release");
    assert_eq!(url(&stage), plain, "a pipe");
    let path = stage.at("/etc/os-release");
    for (text, what) in [
        ("ID=\"../../x?y#z\"\nVERSION_ID=1\n".to_owned(), "an id that is none"),
        (format!("ID={}\n", "x".repeat(100)), "an id that is too long"),
        ("x".repeat(100_000), "a file that is too long"),
        (String::new(), "an empty file"),
    ] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, text).unwrap();
        assert_eq!(url(&stage), plain, "{what}");
    }
    fs::remove_file(&path).unwrap();
    let outside = stage.beside("outside");
    fs::write(&outside, "ID=evil\n").unwrap();
    stage.symlink("/etc/os-release", outside.to_str().unwrap());
    assert_eq!(url(&stage), plain, "a link that leads out of the root");
}
