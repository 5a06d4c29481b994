//! The policy of a root: what it decides for the commands, and how a misspelt one is refused.

use std::fs;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::assert_same;

fn stage(policy: &str) -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    stage.file("/etc/patchadm/policy", policy);
    stage
}

fn patch(id: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, format!("as of {id}\n")))
}

#[test]
fn undo_data_goes_where_the_policy_says() {
    let stage = stage("");
    let undo = stage.beside("undo");
    fs::create_dir(&undo).unwrap();
    stage.file("/etc/patchadm/policy", format!("undo_dir={}\nundo_format=none\n", undo.display()));
    stage.patchadd("", &patch("100-01")).ok();
    assert!(undo.join("100-01/ACMEweb/undo").exists());
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

#[test]
fn restricted_patches_are_those_of_the_policy() {
    let stage = stage("restricted=^X\n");
    stage.patchadd("", &patch("X100-01")).ok();
    stage.patchadd("", &patch("200-01")).fails(23);
    stage.run("patchrm -R @ROOT@ X100-01").ok();
    stage.patchadd("", &patch("IDR300-01")).ok();
    stage.patchadd("", &patch("200-01")).ok();
}

#[test]
fn ids_may_have_another_separator() {
    let stage = stage("separator=_\n");
    stage.patchadd("", &patch("acme-web_01")).ok();
    stage.patchadd("", &patch("acme-web_02")).ok();
    stage.patchadd("", &patch("acme-web_1")).fails(2);
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok(), "acme-web_01 acme-web_02\n");
    stage.run("patchrm -R @ROOT@ acme-web_01").fails(6);
    stage.run("patchrm -R @ROOT@ acme-web_02 acme-web_01").ok();
}

#[test]
fn options_win_over_the_policy() {
    let stage = stage("undo_format=Z\n");
    let delivered = patch("100-01").directory(&stage);
    stage.run(&format!("add --undo-format gz -R @ROOT@ {}", delivered.display())).ok();
    assert!(stage.at("/var/sadm/pkg/ACMEweb/save/100-01/undo.gz").exists());
}

#[test]
fn a_misspelt_policy_is_refused_with_its_line() {
    for (policy, words) in [
        ("edited=stop\nedits=stop\n", "@ROOT@/etc/patchadm/policy, line 2: edits: "),
        ("edited=maybe\n", "@ROOT@/etc/patchadm/policy, line 1: edited: "),
        ("restricted=(\n", "@ROOT@/etc/patchadm/policy, line 1: restricted: "),
        ("wait=soon\n", "@ROOT@/etc/patchadm/policy, line 1: wait: "),
    ] {
        let stage = stage(policy);
        let before = stage.everything();
        let said = stage.patchadd("", &patch("100-01")).fails(1);
        assert!(said.contains(words), "{said}");
        assert_same(&stage.everything(), &before);
    }
}
