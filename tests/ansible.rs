//! The collection `patchadm.patch`: Ansible runs its modules, its lookup and its playbooks on local roots.

/// Arguments that are refused before anything is run.
mod arguments;
/// The collection as a whole, and its own tests.
mod collection;
mod fleet;
mod over_ssh;
mod playbooks;
mod stages;
mod texts;

use std::fs;

use serde_json::{Value, json};

use crate::delivery::{Patch, indexed_depot};
use crate::packages::Package;
use crate::records::Before;
use crate::scenario::Scenario;
use crate::tree::assert_same;
use fleet::{Fleet, has_ansible};

fn web(text: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, text)
}

/// Returns both sides of a task's diff with this header.
#[track_caller]
fn sides<'a>(result: &'a Value, header: &str) -> (&'a str, &'a str) {
    let differences = result["diff"].as_array().unwrap_or_else(|| panic!("{result:#}"));
    let found = differences.iter().find(|one| one["before_header"] == header);
    let found = found.unwrap_or_else(|| panic!("no difference of {header}: {result:#}"));
    (found["before"].as_str().unwrap(), found["after"].as_str().unwrap())
}

in_parts!(a_patch_comes_once_and_goes_once_on_three_roots_and_check_mode_foretells_both, come_and_go, 3);

/// Runs the part of the test for one of the hosts.
fn come_and_go(part: usize, _parts: usize) {
    let host = ["one", "two", "three"][part];
    if !has_ansible("a_patch_comes_once_and_goes_once_on_three_roots_and_check_mode_foretells_both") {
        return;
    }
    let fleet = Fleet::with(3, &[web("base\n")]);
    let patch = fleet.deliver(&Patch::of("100-01", web("longer\n").file("bin/new", 0o755, "new\n")));
    let apply = format!("- name: apply\n  patchadm.patch.patch: {{src: {patch}, root: '{{{{ root }}}}'}}\n");
    let (trees, before) = (fleet.trees(), fleet.roots.iter().map(Before::of).collect::<Vec<_>>());

    let foretold = fleet.tasks(&apply, &["--check", "--diff", "-l", host]).well();
    for (tree, expected) in fleet.trees().iter().zip(&trees) {
        assert_same(tree, expected);
    }
    let all = format!(
        "{apply}\
         - name: again\n  patchadm.patch.patch: {{src: {patch}, root: '{{{{ root }}}}'}}\n\
         - name: foretold again\n  patchadm.patch.patch: {{src: {patch}, root: '{{{{ root }}}}'}}\n  check_mode: true\n\
         - name: foretold absent\n  patchadm.patch.patch: {{id: 100, state: absent, root: '{{{{ root }}}}'}}\n  check_mode: true\n\
         - name: absent\n  patchadm.patch.patch: {{id: 100-1, state: absent, root: '{{{{ root }}}}'}}\n\
         - name: absent again\n  patchadm.patch.patch: {{id: 100-01, state: absent, root: '{{{{ root }}}}'}}\n"
    );
    let played = fleet.tasks(&all, &["--diff", "-l", host]).well();
    for (task, is_changed) in [
        ("apply", true),
        ("again", false),
        ("foretold again", false),
        ("foretold absent", true),
        ("absent", true),
        ("absent again", false),
    ] {
        assert_eq!(played.changed_on(host, task), is_changed, "{task}");
    }
    assert!(foretold.changed_on(host, "apply"));
    let [plan, apply, absent] =
        [(&foretold, "apply"), (&played, "apply"), (&played, "absent")].map(|(by, task)| by.on(host, task));
    assert_eq!(plan["diff"], apply["diff"], "the plan is the run");
    assert_eq!(plan["patches"][0]["verdict"], "planned");
    assert_eq!(apply["patches"][0]["verdict"], "applied");
    let again = played.on(host, "again");
    assert_eq!(again["reasons"], json!(["100-01: it is already applied to ACMEweb"]));

    assert_eq!(sides(apply, "PATCHLIST of ACMEweb"), ("", "100-01\n"));
    assert_eq!(sides(absent, "PATCHLIST of ACMEweb"), ("100-01\n", ""));
    let (old, new) = sides(apply, "files");
    assert!(old.contains("/opt/ACMEweb/bin/httpd: file, 5 bytes, 0755 "), "{old}");
    assert!(new.contains("/opt/ACMEweb/bin/httpd: file, 7 bytes, 0755 "), "{new}");
    assert!(old.contains("/opt/ACMEweb/bin/new: nothing\n"), "{old}");
    let digests = old.lines().chain(new.lines()).filter(|line| line.contains(", b3 ")).count();
    assert_eq!(digests, 3, "each file has one\n{old}{new}");
    assert_eq!(sides(absent, "files"), (new, old), "what comes back is what was there");
    for (root, before) in fleet.roots.iter().zip(before) {
        before.assert_again(root, "it is backed out");
    }
}

#[test]
fn a_patch_that_is_refused_fails_with_the_reason_of_the_program_and_so_does_its_plan() {
    if !has_ansible("a_patch_that_is_refused_fails_with_the_reason_of_the_program_and_so_does_its_plan") {
        return;
    }
    let fleet = Fleet::with(1, &[web("base\n")]);
    let needy = fleet.deliver(&Patch::of("200-01", web("two\n")).says("SUNW_REQUIRES", "999-01"));
    let strange = fleet.deliver(&Patch::of("300-01", Package::new("ACMEother").file("x", 0o644, "x\n")));
    let before = fleet.roots[0].everything();
    let played = fleet.tasks(
        &format!(
            "- name: plan\n  patchadm.patch.patch: {{src: {needy}, root: '{{{{ root }}}}'}}\n  check_mode: true\n\
             - name: run\n  patchadm.patch.patch: {{src: {needy}, root: '{{{{ root }}}}'}}\n\
             - name: stranger\n  patchadm.patch.patch: {{src: {strange}, root: '{{{{ root }}}}'}}\n\
             - name: passed over\n  patchadm.patch.patch: {{src: {strange}, root: '{{{{ root }}}}', not_applicable: skip}}\n"
        ),
        &[],
    );
    assert!(
        played.failure("run").contains("200-01: it requires patch 999-01 or later"),
        "{}",
        played.failure("run")
    );
    assert_eq!(played.failure("plan"), played.failure("run"));
    assert_eq!(played.of("run")["cause"], "dependency");
    assert_eq!(played.of("run")["exit_code"], 3);
    assert_eq!(played.of("run")["changed"], false);
    assert!(played.of("run")["advice"][0].is_string(), "{:#}", played.of("run"));
    assert!(played.failure("stranger").contains("300-01: "), "{}", played.failure("stranger"));
    assert!(!played.changed("passed over"));
    assert_eq!(played.of("passed over")["cause"], "not-applicable");
    assert_same(&fleet.roots[0].everything(), &before);
}

#[test]
fn what_is_superseded_or_obsoleted_is_present_and_a_restart_that_a_patch_asks_for_is_told() {
    if !has_ansible("what_is_superseded_or_obsoleted_is_present_and_a_restart_that_a_patch_asks_for_is_told")
    {
        return;
    }
    let fleet = Fleet::with(1, &[web("base\n")]);
    let first = fleet.deliver(&Patch::of("100-01", web("one\n")));
    let second = Patch::of("100-02", web("two\n")).says("SUNW_OBSOLETES", "500-01");
    let second = fleet.deliver(&second.beside("patchinfo", "PATCH_PROPERTIES='rebootafter'\n"));
    let old = fleet.deliver(&Patch::of("500-01", web("five\n")));
    let played = fleet
        .tasks(
            &format!(
                "- name: plan\n  patchadm.patch.patch: {{src: {second}, root: '{{{{ root }}}}'}}\n  check_mode: true\n\
                 - name: new\n  patchadm.patch.patch: {{src: {second}, root: '{{{{ root }}}}'}}\n\
                 - name: superseded\n  patchadm.patch.patch: {{src: {first}, root: '{{{{ root }}}}'}}\n\
                 - name: obsoleted\n  patchadm.patch.patch: {{src: {old}, root: '{{{{ root }}}}'}}\n\
                 - name: both\n  patchadm.patch.patch: {{src: [{first}, {old}], root: '{{{{ root }}}}'}}\n\
                 - name: none\n  patchadm.patch.patch: {{id: [], src: {first}, root: '{{{{ root }}}}'}}\n"
            ),
            &[],
        )
        .well();
    assert!(played.changed("new"));
    // Check mode names the restart, and requires none, since nothing is applied.
    for (task, is_required) in [("plan", false), ("new", true)] {
        let result = played.of(task);
        assert_eq!(
            (&result["reboot"], &result["reboot_required"]),
            (&json!("rebootafter"), &json!(is_required)),
            "{task}"
        );
    }
    for (task, verdict) in [("superseded", "superseded"), ("obsoleted", "obsoleted")] {
        assert!(!played.changed(task));
        let result = played.of(task);
        assert_eq!(result["patches"][0]["verdict"], verdict);
        assert_eq!(result["reboot_required"], false, "nothing was applied");
        assert!(result["reasons"][0].as_str().unwrap().contains("100-02"), "{result:#}");
    }
    assert!(!played.changed("both"));
    assert_eq!(played.of("both")["reasons"].as_array().unwrap().len(), 2);
    assert!(!played.changed("none"), "an empty list is no patch, not every patch");
}

#[test]
fn a_trial_whose_probe_fails_leaves_the_root_as_it_was() {
    if !has_ansible("a_trial_whose_probe_fails_leaves_the_root_as_it_was") {
        return;
    }
    let fleet = Fleet::with(2, &[web("base\n")]);
    let patch = fleet.deliver(&Patch::of("100-01", web("one\n")));
    let before: Vec<Before> = fleet.roots.iter().map(Before::of).collect();
    let played = fleet.tasks(
        &format!(
            "- name: probed\n  patchadm.patch.patch:\n    src: {patch}\n    root: '{{{{ root }}}}'\n    trial: 10m\n    \
             probe: 'echo \"$PATCHADM_ROOT is broken\"; exit 3'\n"
        ),
        &[],
    );
    for (host, root) in ["one", "two"].iter().zip(&fleet.roots) {
        let message = played.failure_on(host, "probed");
        assert!(message.contains("the probe failed, and everything was reverted"), "{message}");
        let result = played.on(host, "probed");
        assert_eq!(result["changed"], false);
        assert_eq!((&result["exit_code"], &result["cause"]), (&json!(7), &json!("check")));
        let said = format!("{} is broken", root.root().display());
        assert_eq!(result["trial"]["check"]["output"], json!([said]), "nothing of it was expanded before");
    }
    for (root, before) in fleet.roots.iter().zip(before) {
        before.assert_again(root, "the probe failed");
    }
}

in_parts!(a_trial_is_confirmed_once_and_what_is_not_applied_cannot_be_confirmed, confirm_once, 2);

/// Runs the part of the test for one of the hosts.
fn confirm_once(part: usize, _parts: usize) {
    if !has_ansible("a_trial_is_confirmed_once_and_what_is_not_applied_cannot_be_confirmed") {
        return;
    }
    let fleet = Fleet::with(2, &[web("base\n")]);
    let (host, root) = (["one", "two"][part], &fleet.roots[part]);
    let patch = fleet.deliver(&Patch::of("100-01", web("one\n")));
    let confirm = "patchadm.patch.patch: {state: confirmed, root: '{{ root }}'";
    let played = fleet.tasks(
        &format!(
            "- name: try\n  patchadm.patch.patch: {{src: {patch}, root: '{{{{ root }}}}', trial: 10m, probe: 'true'}}\n\
             - name: ask\n  patchadm.patch.patch_info: {{root: '{{{{ root }}}}'}}\n\
             - name: another\n  {confirm}, id: 700-01}}\n\
             - name: plan\n  {confirm}, id: 100-01}}\n  check_mode: true\n  diff: true\n\
             - name: confirm\n  {confirm}, id: 100-01}}\n\
             - name: again\n  {confirm}, id: 100-01}}\n\
             - name: commit plan\n  patchadm.patch.patch: {{id: 100-01, state: committed, root: '{{{{ root }}}}'}}\n  check_mode: true\n  diff: true\n\
             - name: commit\n  patchadm.patch.patch: {{id: 100-01, state: committed, root: '{{{{ root }}}}'}}\n\
             - name: commit again\n  patchadm.patch.patch: {{id: 100-01, state: committed, root: '{{{{ root }}}}'}}\n\
             - name: too late\n  patchadm.patch.patch: {{id: 100-01, state: absent, root: '{{{{ root }}}}'}}\n"
        ),
        &["-l", host],
    );
    let expected = [
        ("try", true),
        ("plan", true),
        ("confirm", true),
        ("again", false),
        ("commit plan", true),
        ("commit", true),
        ("commit again", false),
    ];
    for (task, is_changed) in expected {
        assert_eq!(played.changed_on(host, task), is_changed, "{task}");
    }
    assert_eq!(played.on(host, "try")["trial"]["state"], "on-trial");
    assert_eq!(played.on(host, "ask")["trial"]["patches"], json!(["100-01"]));
    let another = played.failure_on(host, "another");
    assert_eq!(another, "700-01: it is not applied; there is nothing to confirm");
    assert!(sides(played.on(host, "plan"), "trial").0.ends_with("\n100-01\n"));
    let undo = sides(played.on(host, "commit plan"), "undo data");
    assert_eq!(undo, ("100-01: kept\n", "100-01: dropped\n"));
    let late = played.failure_on(host, "too late");
    assert!(late.contains("100-01: "), "{late}");
    assert_eq!(root.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

#[test]
fn a_depot_is_asked_for_ids_for_what_is_missing_and_by_the_lookup() {
    if !has_ansible("a_depot_is_asked_for_ids_for_what_is_missing_and_by_the_lookup") {
        return;
    }
    let root = Scenario::with(&[web("base\n"), Package::new("ACMEdb").file("bin/db", 0o755, "base\n")]);
    fs::create_dir_all(root.beside("delivered")).unwrap();
    fs::write(root.beside("delivered/flags"), "300-01 security\n").unwrap();
    let db = Package::new("ACMEdb").file("bin/db", 0o755, "fixed\n");
    let depot = indexed_depot(
        &root,
        &[
            Patch::of("100-01", web("one\n")),
            Patch::of("100-02", web("two\n")),
            Patch::of("200-01", web("three\n")).says("SUNW_REQUIRES", "100-02"),
            Patch::of("300-01", db),
        ],
    );
    let (fleet, depot) = (Fleet::of(vec![root]), depot.display().to_string());
    let played = fleet
        .tasks(
            &format!(
                "- name: lookup\n  ansible.builtin.debug:\n    msg: \"{{{{ query('patchadm.patch.depot', '{depot}') | map(attribute='id') }}}}\"\n\
                 - name: all\n  ansible.builtin.debug:\n    msg: \"{{{{ query('patchadm.patch.depot', 'file://{depot}', revisions='all', id=['100']) | map(attribute='id') }}}}\"\n\
                 - name: before\n  patchadm.patch.patch_info: {{root: '{{{{ root }}}}', depot: {depot}, id: [100-01, 300-01]}}\n\
                 - name: secure\n  patchadm.patch.patch:\n    id: \"{{{{ query('patchadm.patch.depot', '{depot}', flags=['security']) | map(attribute='id') }}}}\"\n    src: {depot}\n    root: '{{{{ root }}}}'\n\
                 - name: base\n  patchadm.patch.patch: {{id: '200', depot: {depot}, root: '{{{{ root }}}}', all_or_nothing: true}}\n\
                 - name: missing\n  patchadm.patch.patch: {{group: missing, src: {depot}, root: '{{{{ root }}}}'}}\n\
                 - name: unknown\n  patchadm.patch.patch: {{id: 999-01, src: {depot}, root: '{{{{ root }}}}'}}\n\
                 - name: no depot\n  patchadm.patch.patch: {{id: 100-02, root: '{{{{ root }}}}'}}\n\
                 - name: after\n  patchadm.patch.patch_info: {{root: '{{{{ root }}}}', depot: {depot}, id: [100-01], verify: true}}\n\
                 - name: nowhere\n  ansible.builtin.debug:\n    msg: \"{{{{ query('patchadm.patch.depot', '/nowhere') }}}}\"\n"
            ),
            &[],
        );
    assert_eq!(played.of("lookup")["msg"], json!(["100-02", "200-01", "300-01"]));
    assert_eq!(played.of("all")["msg"], json!(["100-01", "100-02"]));
    assert_eq!(played.of("before")["lacking"], json!(["100-01", "300-01"]));
    assert_eq!(played.of("before")["missing"].as_array().unwrap().len(), 3);
    assert!(played.changed("secure"));
    assert_eq!(played.of("secure")["patches"][0]["id"], "300-01");
    assert!(played.changed("base"));
    let because = &played.of("base")["patches"][0];
    assert_eq!((&because["id"], &because["because"]), (&json!("100-02"), &json!(["200-01"])));
    assert!(!played.changed("missing"));
    assert!(played.failure("unknown").contains("999-01"), "{}", played.failure("unknown"));
    assert!(played.failure("no depot").contains("depot"), "{}", played.failure("no depot"));
    let after = played.of("after");
    assert_eq!(after["has"], json!({"100-01": "100-02"}));
    assert_eq!((&after["missing"], &after["sound"]), (&json!([]), &json!(true)));
    assert_eq!(after["applied"], json!(["100-02", "200-01", "300-01"]));
    assert_eq!(after["inventory"]["command"], "list");
    assert!(played.failure("nowhere").contains("the index of depot /nowhere cannot be read"));
}
