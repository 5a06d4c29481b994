//! Stages that plays create, refresh, promote, take back and remove.

use std::fs;

use super::fleet::{Fleet, has_ansible};
use super::{sides, web};
use crate::records::Before;

#[test]
fn a_stage_comes_is_refreshed_and_promoted_and_goes_back_each_of_it_once() {
    if !has_ansible("a_stage_comes_is_refreshed_and_promoted_and_goes_back_each_of_it_once") {
        return;
    }
    let fleet = Fleet::with(1, &[web("base\n")]);
    let path = fleet.at("jail").display().to_string();
    let task = |name: &str, words: &str| {
        format!("- name: {name}\n  patchadm.patch.stage: {{path: {path}, root: '{{{{ root }}}}', {words}}}\n")
    };
    let foretold = |name: &str, words: &str| task(name, words) + "  check_mode: true\n  diff: true\n";
    let twice = |name: &str, words: &str| {
        foretold(&format!("{name} plan"), words) + &task(name, words) + &task(&format!("{name} again"), words)
    };
    let played = fleet.tasks(&twice("new", "state: new, paths: [opt]"), &[]).well();
    let before = Before::of(&fleet.roots[0]);
    fs::write(fleet.at("jail/opt/ACMEweb/bin/httpd"), "built\n").unwrap();
    fs::write(fleet.roots[0].at("/opt/ACMEweb/live"), "live\n").unwrap();
    let refreshed = fleet.tasks(&twice("refresh", "state: refresh"), &[]).well();
    fs::remove_file(fleet.roots[0].at("/opt/ACMEweb/live")).unwrap();
    fs::remove_file(fleet.at("jail/opt/ACMEweb/live")).unwrap();
    let promoted = fleet.tasks(&twice("promote", "state: promote"), &[]).well();
    assert_eq!(fleet.roots[0].text("/opt/ACMEweb/bin/httpd"), "built\n");
    let back = fleet.tasks(&twice("back", "state: backout"), &[]).well();
    before.assert_again(&fleet.roots[0], "the promotion is backed out");
    let gone = fleet.tasks(&twice("drop", "state: absent"), &[]).well();
    assert!(!fleet.at("jail").exists());
    for (played, name) in
        [(&played, "new"), (&refreshed, "refresh"), (&promoted, "promote"), (&back, "back"), (&gone, "drop")]
    {
        assert!(played.changed(&format!("{name} plan")), "{name}");
        assert!(played.changed(name), "{name}");
        assert!(!played.changed(&format!("{name} again")), "{name}");
    }
    assert_eq!(refreshed.of("refresh")["taken"], 1);
    let (old, new) = sides(promoted.of("promote plan"), "files");
    assert!(old.contains("/opt/ACMEweb/bin/httpd: file, 5 bytes"), "{old}");
    assert!(new.contains("/opt/ACMEweb/bin/httpd: file, 6 bytes"), "{new}");
    assert_eq!(promoted.of("promote")["patches"][0]["id"], "jail-01");
    assert_eq!(sides(back.of("back plan"), "files"), (new, old));
}

#[test]
fn a_conflict_of_stage_and_root_fails_and_names_the_path() {
    if !has_ansible("a_conflict_of_stage_and_root_fails_and_names_the_path") {
        return;
    }
    let fleet = Fleet::with(1, &[web("base\n")]);
    let path = fleet.at("jail").display().to_string();
    let task = |name: &str, words: &str| {
        format!("- name: {name}\n  patchadm.patch.stage: {{path: {path}, root: '{{{{ root }}}}', {words}}}\n")
    };
    fleet.tasks(&task("new", "state: new, paths: [opt]"), &[]).well();
    fs::write(fleet.at("jail/opt/ACMEweb/bin/httpd"), "built\n").unwrap();
    fs::write(fleet.roots[0].at("/opt/ACMEweb/bin/httpd"), "edited\n").unwrap();
    let tasks = task("promote", "state: promote")
        + &task("refresh", "state: refresh")
        + &task("decided", "state: promote, edited: replace")
        + &task("unknown", "state: backout, id: [jail-07]");
    let played = fleet.tasks(&tasks, &[]);
    for task in ["promote", "refresh"] {
        assert!(played.failure(task).contains("/opt/ACMEweb/bin/httpd"), "{}", played.failure(task));
        assert_eq!(played.of(task)["cause"], "conflict");
    }
    assert!(played.changed("decided"));
    assert!(!played.changed("unknown"));
    assert_eq!(fleet.roots[0].text("/opt/ACMEweb/bin/httpd"), "built\n");
}
