//! The policy of a root: what it decides for the commands, and how a misspelt one is refused.

use std::fs;

use crate::delivery::{Patch, indexed_depot};
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};
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
    // To root the policy of another root names directories of that root; an ordinary user's own names those of the host.
    let undo = if is_root() { stage.at("/var/undo") } else { stage.beside("undo") };
    fs::create_dir(&undo).unwrap();
    let named = if is_root() { "/var/undo".to_owned() } else { undo.display().to_string() };
    stage.file("/etc/patchadm/policy", format!("undo_dir={named}\nundo_format=none\n"));
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
        ("wait = 1\nedited = maybe\n", "@ROOT@/etc/patchadm/policy, line 2: edited: "),
        (
            "# x=1 \\\nsignature=require\n",
            "@ROOT@/etc/patchadm/policy, line 1: a comment ends in a backslash",
        ),
        ("wait 1\n", "@ROOT@/etc/patchadm/policy, line 1: not a setting: write NAME=VALUE"),
    ] {
        let stage = stage(policy);
        let before = stage.everything();
        let said = stage.patchadd("", &patch("100-01")).fails(1);
        assert!(said.contains(words), "{said}");
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn every_verb_says_that_the_superuser_does_not_use_the_depot_of_another_roots_policy() {
    let stage = stage("");
    let depot = indexed_depot(&stage, &[patch("100-01")]).display().to_string();
    stage.file("/etc/patchadm/policy", format!("depot = {depot}\n"));
    let status = stage.run("status -R @ROOT@").ok();
    if !is_root() {
        assert!(status.contains(&format!("\nMissing      1 patch of {depot}\n")), "{status}");
        return;
    }
    let sentence = "`depot` in @ROOT@/etc/patchadm/policy is ignored: the writer of that file must not choose what root \
        fetches; use -M DEPOT or --policy FILE, or set `depot` in /etc/patchadm/policy";
    assert!(
        status.contains(&format!("\nMissing      unknown: no depot configured; {sentence}\n")),
        "{status}"
    );
    let document: serde_json::Value =
        serde_json::from_str(&stage.run("status -R @ROOT@ --json").ok().replace("@ROOT@", "ROOT")).unwrap();
    assert_eq!(document["missing"]["ignored"], sentence.replace("@ROOT@", "ROOT"));
    let said = stage.run("update -R @ROOT@").fails(1);
    assert!(said.contains(&format!("no depot specified: {sentence}")), "{said}");
    let said = stage.run("missing -R @ROOT@").fails(2);
    assert!(said.contains(&format!("nothing to compare with: {sentence}")), "{said}");
    let said = stage.run("check -R @ROOT@").done();
    assert!(said.contains(sentence), "{said}");
    // The advised commands work.
    for way in [format!("-M {depot}"), "--policy @ROOT@/etc/patchadm/policy".to_owned()] {
        let listed = stage.run(&format!("missing -R @ROOT@ {way}")).ok();
        assert!(listed.contains(&depot), "{listed}");
        stage.run(&format!("update -R @ROOT@ --dry-run {way}")).ok();
    }
}

#[test]
fn the_settings_of_this_program_are_no_objects_of_a_package() {
    for (what, package) in [
        ("a file", Package::new("ACMEset").file("/etc/patchadm/policy", 0o644, "scripts=run\n")),
        ("a directory", Package::new("ACMEset").directory("/etc/patchadm")),
        ("a link", Package::new("ACMEset").symlink("/etc/patchadm", "../opt")),
        ("another name", Package::new("ACMEset").link("/opt/other", "/etc/patchadm/policy")),
        ("by another way", Package::new("ACMEset").file("/opt/way/policy", 0o644, "scripts=run\n")),
    ] {
        let stage = stage("edited=keep\n");
        stage.directory("/opt");
        stage.symlink("/opt/way", "../etc/patchadm");
        let before = stage.everything();
        package.write(&stage.beside("set"));
        let text =
            stage.run(&format!("pkgadd -n -R @ROOT@ -d {} ACMEset", stage.beside("set").display())).fails(4);
        assert!(text.contains("it belongs to the settings of patchadm(8)"), "{what}: {text}");
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn no_patch_replaces_or_deletes_settings_and_installf_registers_none() {
    let stage = stage("edited=keep\n");
    let before = stage.everything();
    let delivers =
        Patch::of("100-01", Package::new("ACMEweb").file("/etc/patchadm/policy", 0o644, "scripts=run\n"));
    let text = stage.patchadd("", &delivers).fails(10);
    assert!(text.contains("it belongs to the settings of patchadm(8)"), "{text}");
    let deletes =
        Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").deletes(&["/etc/patchadm/policy"]);
    let text = stage.patchadd("", &Patch::of("200-01", deletes)).fails(10);
    assert!(text.contains("it belongs to the settings of patchadm(8)"), "{text}");
    for line in [
        "/etc/patchadm/policy f 0644 root root",
        "/opt/other=/etc/patchadm/policy l",
        "/etc/patchadm/keys d 0755 root root",
    ] {
        let text = stage.run(&format!("installf -R @ROOT@ ACMEweb {line}")).fails(1);
        assert!(text.contains("it belongs to the settings of patchadm(8)"), "{line}: {text}");
    }
    assert_same(&stage.everything(), &before);
}
