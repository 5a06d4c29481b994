//! Changed lines of text files, as diff mode shows them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::fleet::{Fleet, has_ansible};
use super::{sides, web};
use crate::delivery::Patch;

/// The text that diff mode shows unchanged.
fn prepared(result: &Value) -> String {
    let differences = result["diff"].as_array().unwrap_or_else(|| panic!("{result:#}"));
    differences.iter().filter_map(|one| one["prepared"].as_str()).collect()
}

#[test]
fn the_lines_that_change_are_shown_in_check_mode_as_in_the_run_and_no_secret_is() {
    if !has_ansible("the_lines_that_change_are_shown_in_check_mode_as_in_the_run_and_no_secret_is") {
        return;
    }
    let with =
        |httpd: &str, key: &str| web(httpd).file("etc/conf", 0o644, "one\ntwo\n").file("etc/key", 0o600, key);
    let fleet = Fleet::with(2, &[with("base\n", "secret one\n")]);
    let patch = with("base\n", "secret two\n").file("etc/conf", 0o644, "one\n\u{1b}[31m2\n");
    let patch = fleet.deliver(&Patch::of("100-01", patch));
    let old = fleet.at("old-patchadm");
    let program = env!("CARGO_BIN_EXE_patchadm");
    let refusal = r#"{"schema": "patchadm/1", "exit_code": 2, "cause": "usage"}"#;
    let script = format!(
        "#!/bin/sh\nfor word; do [ \"$word\" = --diff ] && {{ echo '{refusal}'; exit 1; }}; done\nexec {program} \"$@\"\n"
    );
    fs::write(&old, script).unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let task = |name: &str, words: &str| {
        format!("- name: {name}\n  patchadm.patch.patch: {{root: '{{{{ root }}}}', {words}}}\n")
    };
    let tasks = task("plan", &format!("src: {patch}"))
        + "  check_mode: true\n"
        + &task("old", &format!("src: {patch}, executable: {}", old.display()))
        + "  check_mode: true\n"
        + &task("apply", &format!("src: {patch}"))
        + &task("absent", "id: [100-01], state: absent");
    let played = fleet.tasks(&tasks, &["--diff"]).well();
    let lines = "--- /opt/ACMEweb/etc/conf (before)\n+++ /opt/ACMEweb/etc/conf (after)\n@@ -1,2 +1,2 @@\n one\n-two\n\
                 +\\u001b[31m2\n/opt/ACMEweb/etc/key: not shown: its mode is 0600\n";
    for host in ["one", "two"] {
        assert_eq!(prepared(played.on(host, "apply")), lines, "{host}");
        assert_eq!(played.on(host, "plan")["diff"], played.on(host, "apply")["diff"], "{host}");
        let back = prepared(played.on(host, "absent"));
        assert!(back.contains("\n-\\u001b[31m2\n+two\n"), "{back}");
        for task in ["plan", "old", "apply", "absent"] {
            assert!(!played.on(host, task)["diff"].to_string().contains("secret"), "{task} on {host}");
        }
        assert_eq!(prepared(played.on(host, "old")), "", "an earlier program has no texts");
        assert_eq!(sides(played.on(host, "old"), "files"), sides(played.on(host, "apply"), "files"));
    }
}
