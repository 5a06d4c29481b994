//! Refused arguments: one line for each, before anything runs.

use std::fmt::Write as _;
use std::fs;

use super::fleet::{Fleet, has_ansible};
use super::web;
use crate::delivery::Patch;
use crate::tree::assert_same;

/// Module, arguments, and expected message. `@PATCH@` is a patch, `@ROOT@` the root, `@HERE@` a directory.
const REFUSED: [(&str, &str, &str); 32] = [
    (
        "patch",
        "id: [100 01], src: '@PATCH@'",
        "\"100 01\" is not the id of a patch, which is as 105181-05 or 105181",
    ),
    (
        "patch",
        "id: ['-M'], src: '@PATCH@'",
        "\"-M\" is not the id of a patch, which is as 105181-05 or 105181",
    ),
    (
        "patch",
        "id: [../../etc/passwd], state: absent",
        "\"../../etc/passwd\" is not the id of a patch, which is as 105181-05 or 105181",
    ),
    (
        "patch",
        "id: [\"a\\nb-1\"], state: absent",
        "\"a\\nb-1\" is not the id of a patch, which is as 105181-05 or 105181",
    ),
    (
        "patch",
        "id: ['100-01; reboot'], state: absent",
        "\"100-01; reboot\" is not the id of a patch, which is as 105181-05 or 105181",
    ),
    (
        "patch",
        "id: ['100-01\u{202e}'], state: absent",
        "\"100-01\\u202e\" is not the id of a patch, which is as 105181-05 or 105181",
    ),
    (
        "patch",
        "id: ['100'], state: committed",
        "\"100\" is not the id of a patch, which is a base, a separator and a number, as 105181-05",
    ),
    ("patch", "id: [''], state: absent", "\"\" is not the id of a patch, which is as 105181-05 or 105181"),
    (
        "patch",
        "src: patches/100-01",
        "src \"patches/100-01\" is neither an absolute path of the target nor a URL",
    ),
    ("patch", "src: /nowhere/100-01.zip", "src /nowhere/100-01.zip does not exist on the target"),
    (
        "patch",
        "src: 'https://me:secret@patches.invalid/100-01.zip'",
        "src has a user name or password in its URL, which patchadm does not send",
    ),
    ("patch", "src: '@PATCH@', root: /nowhere", "root /nowhere does not exist on the target"),
    ("patch", "src: '@PATCH@', root: '@PATCH@'", "root @PATCH@ is not a directory"),
    ("patch", "src: '@PATCH@', root: half/a/path", "root \"half/a/path\" is not an absolute path"),
    ("patch", "root: '@ROOT@'", "nothing to apply: specify id, src or group"),
    ("patch", "src: []", "nothing to apply: specify id, src or group"),
    ("patch", "id: [100-01], group: security", "id and group cannot be used together"),
    ("patch", "id: [100-01], src: ['@HERE@', '@PATCH@']", "with id, src must be one depot, but 2 are named"),
    ("patch", "state: absent", "state=absent requires the patches in id"),
    (
        "patch",
        "state: absent, id: [100-01], src: '@PATCH@'",
        "src is valid only with state=present, not absent",
    ),
    (
        "patch",
        "state: absent, id: [100-01], trial: 10m",
        "trial is valid only with state=present, not absent",
    ),
    ("patch", "src: '@PATCH@', force: true", "force is valid only with state=absent, not present"),
    ("patch", "src: '@PATCH@', trial: soon", "trial \"soon\" is not a time such as 30s, 10m, 2h or 1d"),
    ("patch", "src: '@PATCH@', probe: ' '", "probe is empty"),
    ("patch", "src: '@PATCH@', trial_reboots: 1", "trial_reboots requires trial"),
    ("patch", "src: '@PATCH@', trial: 10m, undo: false", "trial and probe require undo data"),
    (
        "patch",
        "src: '@PATCH@', executable: no-such-program",
        "no-such-program is not installed on the target, or not where programs are looked for; specify its path by executable",
    ),
    (
        "patch_info",
        "id: ['100'], root: '@ROOT@'",
        "\"100\" is not the id of a patch, which is a base, a separator and a number, as 105181-05",
    ),
    ("patch_info", "depot: /nowhere", "src /nowhere does not exist on the target"),
    ("stage", "path: stages/web, state: new, paths: [opt]", "path stages/web is not an absolute path"),
    ("stage", "path: /nowhere/web, state: promote", "path /nowhere/web is not a directory of the target"),
    ("stage", "path: '@HERE@/web', state: new", "state=new requires the directories of the root in paths"),
];

#[test]
fn arguments_that_make_no_sense_are_refused_by_one_line_and_nothing_is_run() {
    if !has_ansible("arguments_that_make_no_sense_are_refused_by_one_line_and_nothing_is_run") {
        return;
    }
    let fleet = Fleet::with(1, &[web("base\n")]);
    let patch = fleet.deliver(&Patch::of("100-01", web("one\n")));
    let root = fleet.roots[0].root().display().to_string();
    let filled = |text: &str| {
        let here = fleet.at("").display().to_string();
        text.replace("@PATCH@", &patch).replace("@ROOT@", &root).replace("@HERE@", here.trim_end_matches('/'))
    };
    let mut tasks = String::new();
    for (place, (module, arguments, _)) in REFUSED.iter().enumerate() {
        let is_rooted = arguments.contains("root:");
        let rooted = if is_rooted { String::new() } else { format!(", root: '{root}'") };
        let _ = writeln!(
            tasks,
            "- name: task {place}\n  patchadm.patch.{module}: {{{}{rooted}}}",
            filled(arguments)
        );
    }
    let trees = fleet.trees();
    let played = fleet.tasks(&tasks, &[]);
    for (place, (_, arguments, said)) in REFUSED.iter().enumerate() {
        let task = format!("task {place}");
        assert_eq!(played.failure(&task), filled(said), "{arguments}");
        assert!(played.of(&task)["command"].is_null(), "{arguments}: nothing was run");
    }
    assert_same(&fleet.trees()[0], &trees[0]);
}

#[test]
fn a_source_that_cannot_be_read_and_a_program_that_is_another_one_are_named() {
    if !has_ansible("a_source_that_cannot_be_read_and_a_program_that_is_another_one_are_named") {
        return;
    }
    let fleet = Fleet::with(2, &[web("base\n")]);
    let patch = fleet.deliver(&Patch::of("100-01", web("one\n")));
    let program = |name: &str, script: &str| {
        let path = fleet.at(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let silent = program("silent", "echo broken pipe >&2; exit 1");
    // A later schema need not have the fields of this one.
    let later = program("later", "echo '{\"schema\": \"patchadm/9\"}'");
    let cut = program("cut", "printf '{\"schema\": \"patchadm/1\", \"patches\": ['");
    let other = program("other", "echo '[1, 2]'");
    fs::write(fleet.at("damaged"), "no patch\n").unwrap();
    fs::create_dir(fleet.at("depot")).unwrap();
    fs::write(fleet.at("depot/index.json"), "{\"schema\": \"patchadm-depot/1\", \"patches\": [{\"id\": 7}]}")
        .unwrap();
    let mut tasks = String::new();
    for (name, program) in [("silent", silent), ("later", later), ("cut", cut), ("other", other)] {
        let _ = writeln!(
            tasks,
            "- name: {name}\n  patchadm.patch.patch: {{src: {patch}, root: '{{{{ root }}}}', executable: {program}}}"
        );
    }
    let here = fleet.at("");
    let _ = writeln!(
        tasks,
        "- name: damaged\n  patchadm.patch.patch: {{src: {here}damaged, root: '{{{{ root }}}}'}}\n\
         - name: lookup\n  ansible.builtin.debug:\n    msg: \"{{{{ query('patchadm.patch.depot', '{here}depot') }}}}\"",
        here = here.display()
    );
    let trees = fleet.trees();
    let played = fleet.tasks(&tasks, &[]);
    for host in ["one", "two"] {
        let failure = |task: &str| played.failure_on(host, task);
        assert_eq!(failure("silent"), "patchadm exited with 1 without a document: broken pipe");
        assert_eq!(
            failure("later"),
            "patchadm has documents of schema \"patchadm/9\", but patchadm/1 is needed"
        );
        for task in ["cut", "other"] {
            let said = "patchadm exited with 0 without a document: nothing on standard error";
            assert_eq!(failure(task), said);
        }
        assert!(failure("damaged").contains("damaged"), "{}", failure("damaged"));
        assert_eq!(played.on(host, "damaged")["cause"], "damaged-input");
    }
    assert!(
        played.failure("lookup").contains("has a patch that is none: {'id': 7}"),
        "{}",
        played.failure("lookup")
    );
    for (tree, expected) in fleet.trees().iter().zip(&trees) {
        assert_same(tree, expected);
    }
}
