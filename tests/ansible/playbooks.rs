//! The playbooks of the collection.

use std::fs;

use serde_json::{Value, json};

use super::fleet::{Fleet, has_ansible};
use super::web;
use crate::adopt_in_run::{fix, installed};
use crate::delivery::{Patch, indexed_depot};
use crate::records::Before;
use crate::scenario::Scenario;
use crate::tree::assert_same;

/// Three roots, and a depot beside the first.
fn three() -> (Fleet, String) {
    let roots: Vec<Scenario> = (0..3).map(|_| Scenario::with(&[web("base\n")])).collect();
    let depot = indexed_depot(&roots[0], &[Patch::of("100-01", web("one\n"))]).display().to_string();
    (Fleet::of(roots), depot)
}

#[test]
fn a_rolling_patch_stops_at_the_first_bad_root() {
    if !has_ansible("a_rolling_patch_stops_at_the_first_bad_root") {
        return;
    }
    let (fleet, depot) = three();
    fs::write(fleet.roots[1].at("/opt/ACMEweb/bin/httpd"), "edited\n").unwrap();
    let (second, third) = (fleet.roots[1].everything(), fleet.trees().swap_remove(2));
    let words = ["-e", "patch=100-01", "-e", &format!("depot={depot}")];
    let played = fleet.playbook("rolling.yml", &words);
    assert_ne!(played.code, 0);
    assert_eq!(played.hosts(), ["one", "two"], "the third is not come to");
    assert!(played.changed("Apply the patch"));
    let failed = played.on("two", "Apply the patch");
    assert_eq!(failed["failed"], true);
    assert!(failed["msg"].as_str().unwrap().contains("/opt/ACMEweb/bin/httpd"), "{failed:#}");
    assert_same(&fleet.roots[1].everything(), &second);
    assert_same(&fleet.trees()[2], &third);

    fs::write(fleet.roots[1].at("/opt/ACMEweb/bin/httpd"), "base\n").unwrap();
    fleet.roots[1].mtime("/opt/ACMEweb/bin/httpd", 1_577_836_800);
    let played = fleet.playbook("rolling.yml", &words).well();
    for (host, is_changed) in [("one", false), ("two", true), ("three", true)] {
        assert_eq!(played.changed_on(host, "Apply the patch"), is_changed, "{host}");
    }
}

#[test]
fn a_patch_on_trial_is_probed_and_confirmed_and_then_backed_out_everywhere() {
    if !has_ansible("a_patch_on_trial_is_probed_and_confirmed_and_then_backed_out_everywhere") {
        return;
    }
    let (fleet, depot) = three();
    let before: Vec<Before> = fleet.roots.iter().map(Before::of).collect();
    let depot = format!("depot={depot}");
    let probe = json!({"probe": "test -x \"$PATCHADM_ROOT\"/opt/ACMEweb/bin/httpd"}).to_string();
    let words = ["-e", "patch=100-01", "-e", &depot, "-e", &probe];
    let played =
        fleet.playbook("trial.yml", &[&words[..], &["-l", "one,two", "-e", "at_a_time=2"]].concat()).well();
    for host in ["one", "two"] {
        assert!(played.changed_on(host, "Apply the patch on trial"));
        assert!(played.changed_on(host, "Confirm the trial"));
    }
    let probe = json!({"probe": "exit 1"}).to_string();
    let words = ["-e", "patch=100-01", "-e", &depot, "-e", &probe];
    let played = fleet.playbook("trial.yml", &words);
    assert!(!played.changed("Apply the patch on trial"), "what is applied is not probed again");
    assert_eq!(played.on("three", "Apply the patch on trial")["failed"], true);
    before[2].assert_again(&fleet.roots[2], "the probe failed");

    let played = fleet.playbook("backout.yml", &["-e", "patch=100-01"]).well();
    for (host, is_changed) in [("one", true), ("two", true), ("three", false)] {
        assert_eq!(played.changed_on(host, "Remove the patch"), is_changed, "{host}");
    }
    for (root, before) in fleet.roots.iter().zip(before) {
        before.assert_again(root, "it is backed out");
    }
}

in_parts!(a_native_package_is_adopted_and_patched_and_another_version_is_passed_over, adopt_and_patch, 2);

/// The first part plays it in check mode, the second one for real.
fn adopt_and_patch(part: usize, _parts: usize) {
    let is_foretold = part == 0;
    if !has_ansible("a_native_package_is_adopted_and_patched_and_another_version_is_passed_over") {
        return;
    }
    let root = installed();
    let patch = fix(&root, "1.0-1");
    let archive = crate::delivery::archive(std::path::Path::new(&patch), ".tar.gz");
    let fleet = Fleet::of(vec![root, Scenario::with(&[web("base\n")])]);
    let trees = fleet.trees();
    let other = fleet.roots[1].everything();
    let file = format!("patch_file={}", archive.display());
    let mut words = vec!["-e", &file];
    words.extend(is_foretold.then_some("--check"));
    let played = fleet.playbook("adopt.yml", &words).well();
    assert!(played.changed("Apply the patch"));
    assert_eq!(played.of("Apply the patch")["adopted"][0]["package"], "DEBweb");
    assert!(!played.changed_on("two", "Apply the patch"));
    assert_eq!(played.on("two", "Apply the patch")["cause"], "not-applicable");
    if is_foretold {
        for (tree, expected) in fleet.trees().iter().zip(&trees) {
            assert_same(tree, expected);
        }
    } else {
        assert_eq!(fleet.roots[0].text("/usr/lib/libweb.so"), "lib fixed\n");
    }
    assert_same(&fleet.roots[1].everything(), &other);
    let left = fs::read_dir(fleet.at("tmp")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), Vec::<std::ffi::OsString>::new(), "nothing stays on the machine");
}

#[test]
fn the_inventory_of_each_root_is_what_the_program_lists_there() {
    if !has_ansible("the_inventory_of_each_root_is_what_the_program_lists_there") {
        return;
    }
    let (fleet, _) = three();
    let patch = fleet.roots[0].beside("delivered/100-01.tar").display().to_string();
    fleet.roots[1].run(&format!("add -R @ROOT@ {patch}")).ok();
    let kept = fleet.at("inventories");
    let trees = fleet.trees();
    fleet.playbook("inventories.yml", &["-e", &format!("inventories={}", kept.display())]).well();
    let of = |host: &str| -> Value {
        serde_json::from_slice(&fs::read(kept.join(format!("{host}.json"))).unwrap()).unwrap()
    };
    assert_eq!(of("one")["patches"], json!([]));
    assert_eq!(of("two")["patches"][0]["id"], "100-01");
    assert_eq!(of("two")["root"], fleet.roots[1].root().display().to_string());
    let listed: Value = serde_json::from_str(
        &fleet.roots[1]
            .run("list -R @ROOT@ --json")
            .ok()
            .replace("@ROOT@", fleet.roots[1].root().to_str().unwrap()),
    )
    .unwrap();
    assert_eq!(of("two")["patches"], listed["patches"]);
    for (tree, expected) in fleet.trees().iter().zip(&trees) {
        assert_same(tree, expected);
    }
}
