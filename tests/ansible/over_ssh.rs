//! The modules and a playbook over a real login, with and without pipelining: the results are those of a local host.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::fleet::{Fleet, Played, has_ansible};
use super::{sides, web};
use crate::delivery::Patch;
use crate::records::Before;
use crate::scenario::{Scenario, is_root};
use crate::sshd::{has_ssh, processes_about};
use crate::tree::assert_same;
use crate::workshop::eventually;

/// The hosts behind a login.
const FAR: [&str; 2] = ["two", "three"];

/// Three roots, two of them behind logins; `None` if the machine cannot play that.
fn fleet(test: &str) -> Option<Fleet> {
    (has_ansible(test) && has_ssh(test))
        .then(|| Fleet::over_ssh((0..3).map(|_| Scenario::with(&[web("base\n")])).collect()))
}

/// The share of the hosts behind logins that a part of a test plays.
fn far_of(part: usize, parts: usize) -> Vec<&'static str> {
    FAR.into_iter().skip(part).step_by(parts).collect()
}

fn root_of<'f>(fleet: &'f Fleet, host: &str) -> &'f Scenario {
    &fleet.roots[["one", "two", "three"].iter().position(|name| *name == host).unwrap()]
}

/// The result of a task on a host, without values that differ between any two roots: paths, random ids, and the sizes
/// of undo data and free space.
fn told(fleet: &Fleet, played: &Played, host: &str, task: &str) -> Value {
    let mut result = played.on(host, task).clone();
    result.as_object_mut().unwrap().retain(|name, _| name != "invocation" && !name.starts_with("_ansible"));
    forget_accidents(&mut result);
    let program = json!(env!("CARGO_BIN_EXE_patchadm")).to_string();
    let root = root_of(fleet, host).root().display().to_string();
    serde_json::from_str(&result.to_string().replace(&root, "@ROOT@").replace(&program, "\"@PROGRAM@\""))
        .unwrap()
}

/// Removes random ids, and the sizes of undo data and free space, from a value.
fn forget_accidents(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                name != "free" && !(value.is_string() && (name == "run" || name == "stage"))
            });
            if fields.contains_key("name") && fields.contains_key("path") {
                fields.remove("id");
            }
            if fields.get("what").is_some_and(|what| what == "space") {
                fields.remove("text");
            }
            let undo = fields.get_mut("undo").and_then(Value::as_array_mut);
            undo.into_iter()
                .flatten()
                .filter_map(Value::as_object_mut)
                .for_each(|one| drop(one.remove("bytes")));
            fields.values_mut().for_each(forget_accidents);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_accidents),
        _ => {}
    }
}

/// Asserts that these tasks have the same results on the hosts behind logins as on the local one.
#[track_caller]
fn assert_as_here(fleet: &Fleet, played: &Played, far: &[&str], tasks: &[&str]) {
    for task in tasks {
        let here = told(fleet, played, "one", task);
        for host in far {
            let there = told(fleet, played, host, task);
            let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(fields(&there), fields(&here), "{task} on {host}");
            for field in fields(&here) {
                assert_eq!(there[&field], here[&field], "{field} of {task} on {host}");
            }
        }
    }
}

in_parts!(what_is_played_over_ssh_with_pipelining_and_without_tells_what_is_told_here, tell, 2);

fn tell(part: usize, parts: usize) {
    let far = far_of(part, parts);
    let hosts = [&["one"][..], &far[..]].concat();
    let Some(fleet) = fleet("what_is_played_over_ssh_with_pipelining_and_without_tells_what_is_told_here")
    else {
        return;
    };
    let patch = fleet.deliver(&Patch::of("100-01", web("longer\n").file("bin/new", 0o755, "new\n")));
    let needy = fleet.deliver(&Patch::of("200-01", web("two\n")).says("SUNW_REQUIRES", "999-01"));
    let before: Vec<Before> = fleet.roots.iter().map(Before::of).collect();
    let task = |name: &str, words: &str| {
        format!("- name: {name}\n  patchadm.patch.patch: {{root: '{{{{ root }}}}', {words}}}\n")
    };
    let tasks = task("plan", &format!("src: {patch}"))
        + "  check_mode: true\n"
        + &task("apply", &format!("src: {patch}"))
        + &task("again", &format!("src: {patch}"))
        + &task("refused", &format!("src: {needy}"))
        + "- name: ask\n  patchadm.patch.patch_info: {root: '{{ root }}', id: [100-01, 200-01], verify: true}\n"
        + &task("absent", "id: '100', state: absent")
        + "- name: stage\n  patchadm.patch.stage: {path: '{{ root }}-stage', state: new, paths: [opt], root: '{{ root }}'}\n";
    let played = fleet.tasks(&tasks, &["--diff", "-l", &hosts.join(",")]);
    let all = ["plan", "apply", "again", "refused", "ask", "absent", "stage"];
    assert_as_here(&fleet, &played, &far, &all);
    for host in hosts {
        let changes = [("plan", true), ("apply", true), ("again", false), ("absent", true), ("stage", true)];
        for (task, is_changed) in changes {
            assert_eq!(played.changed_on(host, task), is_changed, "{task} on {host}");
        }
        assert!(played.failure_on(host, "refused").contains("it requires patch 999-01"));
        assert_eq!(played.on(host, "ask")["lacking"], json!(["200-01"]));
        assert_eq!(played.on(host, "plan")["diff"], played.on(host, "apply")["diff"]);
    }
    for (root, before) in fleet.roots.iter().zip(before) {
        before.assert_again(root, "it is backed out");
    }
    assert_eq!(processes_about(&fleet.mark()), Vec::<String>::new());
}

#[test]
fn a_big_plan_and_names_that_are_no_utf_8_come_over_ssh_as_they_are_here() {
    const FILES: usize = 1_000;
    let Some(fleet) = fleet("a_big_plan_and_names_that_are_no_utf_8_come_over_ssh_as_they_are_here") else {
        return;
    };
    for root in &fleet.roots {
        let stage = root.beside("root-stage");
        root.run(&format!("stage new -R @ROOT@ --path opt {}", stage.display())).ok();
        let files = stage.join("opt/ACMEweb/many");
        fs::create_dir(&files).unwrap();
        for file in 0..FILES {
            fs::write(
                files.join(format!("{file:04} of a name that is rather long, as names are at times")),
                "x",
            )
            .unwrap();
        }
        fs::write(files.join(OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
        fs::write(files.join("line\nbreak\u{202e} {{ root }}"), "x").unwrap();
    }
    let promote = "- name: promote\n  patchadm.patch.stage: {path: '{{ root }}-stage', state: promote, root: '{{ root }}'}\n";
    let played = fleet.tasks(promote, &["--diff"]).well();
    assert_as_here(&fleet, &played, &FAR, &["promote"]);
    let (old, new) = sides(played.on("two", "promote"), "files");
    for side in [old, new] {
        assert!(side.len() > FILES * 50, "{}", side.len());
        assert_eq!(side.matches("rather long").count(), FILES);
    }
    for root in &fleet.roots {
        assert!(root.at("/opt/ACMEweb/many").join(OsStr::from_bytes(b"caf\xe9")).exists());
    }
}

in_parts!(the_inventories_of_hosts_behind_ssh_come_to_the_control_node, bring_inventories, 2);

fn bring_inventories(part: usize, parts: usize) {
    let hosts = [&["one"][..], &far_of(part, parts)[..]].concat();
    let Some(fleet) = fleet("the_inventories_of_hosts_behind_ssh_come_to_the_control_node") else { return };
    let patch = fleet.deliver(&Patch::of("100-01", web("one\n")));
    for root in &fleet.roots {
        root.run(&format!("add -R @ROOT@ {patch}")).ok();
    }
    let kept = fleet.at("inventories");
    let inventories = format!("inventories={}", kept.display());
    fleet.playbook("inventories.yml", &["-e", &inventories, "-l", &hosts.join(",")]).well();
    for host in hosts {
        let root = root_of(&fleet, host);
        let kept: Value =
            serde_json::from_slice(&fs::read(kept.join(format!("{host}.json"))).unwrap()).unwrap();
        let listed: Value =
            serde_json::from_slice(&root.command("list -R @ROOT@ --json").output().unwrap().stdout).unwrap();
        assert_eq!(kept, listed, "{host}");
    }
}

in_parts!(
    a_target_without_the_program_or_with_another_one_or_another_locale_is_told_in_one_line,
    tell_of_targets,
    2
);

fn tell_of_targets(part: usize, parts: usize) {
    let far = far_of(part, parts);
    let Some(fleet) =
        fleet("a_target_without_the_program_or_with_another_one_or_another_locale_is_told_in_one_line")
    else {
        return;
    };
    let patch = fleet.deliver(&Patch::of("100-01", web("one\n")));
    let named = fleet.at("delivered/Übung 100-01.tar.gz");
    fs::copy(&patch, &named).unwrap();
    let later = fleet.at("later");
    let document = r#"{"schema": "patchadm/9", "exit_code": 0, "cause": "ok"}"#;
    fs::write(&later, format!("#!/bin/sh\necho '{document}'\n")).unwrap();
    fs::set_permissions(&later, fs::Permissions::from_mode(0o755)).unwrap();
    let task = |name: &str, more: &str| {
        format!("- name: {name}\n  patchadm.patch.patch: {{root: '{{{{ root }}}}', {more}}}\n")
    };
    for root in &fleet.roots {
        fs::create_dir(root.beside("Übung")).unwrap();
    }
    // A Python that decodes names as ASCII, as 3.6 does without a locale.
    let ascii = "  environment: {LC_ALL: C, PYTHONUTF8: '0', PYTHONCOERCECLOCALE: '0'}\n";
    let tasks = task("missing", &format!("src: {patch}"))
        + "  environment: {PATH: '/usr/bin:/bin'}\n"
        + &task("later", &format!("src: {patch}, executable: {}", later.display()))
        + &task("nowhere", "src: /nowhere/Übung.tar.gz")
        + ascii
        + &task("named", &format!("src: '{}'", named.display()))
        + ascii
        + "- name: stage\n  patchadm.patch.stage: {path: '{{ root }}/../Übung/web', state: new, paths: [opt], root: '{{ root }}'}\n"
        + ascii;
    let trees = fleet.trees();
    let played = fleet.tasks(&tasks, &["-l", &far.join(",")]);
    for host in far {
        assert!(
            played.failure_on(host, "missing").starts_with("patchadm is not installed on the target"),
            "{}",
            played.failure_on(host, "missing")
        );
        assert!(
            played.failure_on(host, "later").contains("patchadm/9"),
            "{}",
            played.failure_on(host, "later")
        );
        assert_eq!(
            played.failure_on(host, "nowhere"),
            "src /nowhere/Übung.tar.gz does not exist on the target"
        );
        assert!(played.changed_on(host, "named"));
        assert!(played.changed_on(host, "stage"));
        let root = root_of(&fleet, host);
        assert_eq!(root.text("/opt/ACMEweb/bin/httpd"), "one\n");
        assert!(root.beside("Übung/web/opt").exists());
    }
    assert_same(&fleet.trees()[0], &trees[0]);
}

/// A script that kills, once, the nearest ancestor process with this name.
fn killer(marker: &str, name: &str) -> String {
    format!(
        "#!/bin/sh\n[ -e \"$PKG_INSTALL_ROOT{marker}\" ] && exit 0\n: > \"$PKG_INSTALL_ROOT{marker}\"\nprocess=$$\n\
         while read -r found < /proc/$process/comm; do\n  case $found in {name}*) kill -9 $process; break;; esac\n  \
         while read -r word value; do [ \"$word\" = PPid: ] && process=$value; done < /proc/$process/status\ndone\n\
         sleep 1\nexit 0\n"
    )
}

/// A task that applies a patch.
fn applying(name: &str, patch: &str) -> String {
    format!("- name: {name}\n  patchadm.patch.patch: {{root: '{{{{ root }}}}', src: {patch}}}\n")
}

/// Asserts that the last task, `look`, found a sound root with this patch.
#[track_caller]
fn assert_sound(fleet: &Fleet, played: &Played, host: &str, (id, text): (&str, &str)) {
    let look = played.on(host, "look");
    assert_eq!((&look["sound"], &look["unfinished"]), (&json!(true), &Value::Null), "{look:#}");
    assert_eq!(look["applied"], json!([id]), "{look:#}");
    assert_eq!(root_of(fleet, host).text("/opt/ACMEweb/bin/httpd"), text);
}

const LOOK: &str = "- name: look\n  patchadm.patch.patch_info: {root: '{{ root }}', verify: true}\n";

in_parts!(
    a_connection_that_is_lost_in_the_midst_leaves_a_root_that_the_next_play_patches,
    lose_connection,
    2
);

fn lose_connection(part: usize, parts: usize) {
    let far = far_of(part, parts);
    let Some(fleet) =
        fleet("a_connection_that_is_lost_in_the_midst_leaves_a_root_that_the_next_play_patches")
    else {
        return;
    };
    let lost = Patch::of("100-01", web("one\n")).beside("postpatch", &killer("/lost", "sshd"));
    let lost = fleet.deliver(&lost);
    let words = ["-l", &far.join(",")];
    let played = fleet.tasks(&applying("lost", &lost), &words);
    assert_ne!(played.code, 0);
    for host in &far {
        assert_eq!(played.on(host, "lost")["unreachable"], true, "{:#}", played.on(host, "lost"));
    }
    let roots: Vec<String> = fleet.roots.iter().map(|root| root.root().display().to_string()).collect();
    eventually("nobody works on the roots", || roots.iter().all(|root| processes_about(root).is_empty()));
    let played = fleet.tasks(&(applying("next", &lost) + LOOK), &words);
    for host in far {
        // Losing a terminal, which only a login without pipelining has, undoes the run. Without one, the run goes on.
        let has_terminal = host == "three" && is_root();
        assert_eq!(played.changed_on(host, "next"), has_terminal, "{host}");
        assert_sound(&fleet, &played, host, ("100-01", "one\n"));
    }
}

in_parts!(a_program_that_is_lost_in_the_midst_leaves_a_root_that_the_next_task_patches, lose_program, 2);

fn lose_program(part: usize, parts: usize) {
    let far = far_of(part, parts);
    let Some(fleet) = fleet("a_program_that_is_lost_in_the_midst_leaves_a_root_that_the_next_task_patches")
    else {
        return;
    };
    let killed = Patch::of("100-02", web("two\n")).beside("postpatch", &killer("/killed", "patchadm"));
    let killed = fleet.deliver(&killed);
    let tasks = applying("killed", &killed)
        + "- name: ask\n  patchadm.patch.patch_info: {root: '{{ root }}'}\n"
        + &applying("last", &killed)
        + LOOK;
    let played = fleet.tasks(&tasks, &["-l", &far.join(",")]);
    for host in far {
        let advice = format!("patchadm -R {} recover", root_of(&fleet, host).root().display());
        assert_eq!(
            played.failure_on(host, "killed"),
            format!(
                "patchadm was ended by signal 9 before it answered: nothing on standard error; what it had begun is \
                 undone or completed by the next run there, or by {advice}"
            )
        );
        assert_eq!(played.on(host, "killed")["advice"], json!([advice]));
        assert!(!played.on(host, "ask")["unfinished"].is_null(), "{:#}", played.on(host, "ask"));
        played.changed_on(host, "last");
        assert_sound(&fleet, &played, host, ("100-02", "two\n"));
    }
}

/// The unprivileged user of every machine.
const NOBODY: u32 = 65_534;

/// True if `su` to nobody works, and nobody can run the program.
fn becomes_nobody() -> bool {
    let try_it = format!("test -x '{}'", env!("CARGO_BIN_EXE_patchadm"));
    let mut su = Command::new("su");
    su.args(["nobody", "-s", "/bin/sh", "-c", &try_it]).stdin(Stdio::null());
    su.status().is_ok_and(|status| status.success())
}

in_parts!(an_owner_of_a_root_that_ansible_becomes_patches_it_over_ssh, become_owner, 2);

fn become_owner(part: usize, parts: usize) {
    let far = far_of(part, parts);
    let test = "an_owner_of_a_root_that_ansible_becomes_patches_it_over_ssh";
    if !is_root() || !becomes_nobody() {
        crate::skipped(&format!(
            "{test}: su(1) does not make nobody of this user, or the program is out of his reach"
        ));
        return;
    }
    let Some(fleet) = fleet(test) else { return };
    let patch = fleet.deliver(&Patch::of("100-01", web("one\n")));
    let open = |path: &std::path::Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    open(&fleet.at(""));
    fs::create_dir(fleet.at("remote")).unwrap();
    fs::set_permissions(fleet.at("remote"), fs::Permissions::from_mode(0o1777)).unwrap();
    for root in &fleet.roots {
        open(&root.beside(""));
        root.file("/etc/passwd", format!("root:x:{NOBODY}:{NOBODY}::/:/bin/sh\n"));
        root.file("/etc/group", format!("root:x:{NOBODY}:\nbin:x:{NOBODY}:\nsys:x:{NOBODY}:\n"));
        let owner = format!("{NOBODY}:{NOBODY}");
        assert!(Command::new("chown").args(["-R", &owner]).arg(root.root()).status().unwrap().success());
    }
    let become_nobody =
        "  become: true\n  become_user: nobody\n  become_method: su\n  become_flags: -s /bin/sh\n";
    let task = |name: &str, words: &str| {
        format!(
            "- name: {name}\n  patchadm.patch.patch: {{root: '{{{{ root }}}}', {words}}}\n{become_nobody}"
        )
    };
    let tasks = task("apply", &format!("src: {patch}"))
        + &task("again", &format!("src: {patch}"))
        + &task("absent", "id: [100-01], state: absent");
    let hosts = [&["one"][..], &far[..]].concat();
    let played = fleet.tasks(&tasks, &["--diff", "-l", &hosts.join(",")]).well();
    assert_as_here(&fleet, &played, &far, &["apply", "again", "absent"]);
    for host in far {
        assert!(played.changed_on(host, "apply") && !played.changed_on(host, "again"));
    }
}
