//! The hooks of the policy, which run before and after a promotion and its backout: their environment, and the effect
//! of their failure.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::promote::{Staged, set_time};
use crate::scripts_that_fail::second_process;
use crate::tree::{Tree, assert_same};
use crate::workshop::{eventually, runs};

const BEFORE: &str = "/etc/promote/before";
const AFTER: &str = "/etc/promote/after";

/// Writes its parameters and the content of the promoted file to `seen` beside the root.
const TELLS: &str = "#!/bin/sh\n\
    echo \"$0 $PATCHADM_DIRECTION $PATCHADM_ID $PATCHADM_STAGE ${PATCHADM_RUN%-*} $(cat $ROOTDIR/usr/pkg/etc/tool.conf)\" \
    | sed \"s;^$ROOTDIR;;\" >> $ROOTDIR/../seen\n\
    echo said by $PATCHADM_DIRECTION\n";

/// A stage with a changed `etc/tool.conf`, and a root with these hooks.
fn hooked(before: &str, after: &str) -> Staged {
    let staged = Staged::new();
    staged.write("etc/tool.conf", "port 2\n");
    staged.write("bin/new", "new\n");
    let mut policy = String::new();
    for (key, path, text) in [("promote_before", BEFORE, before), ("promote_after", AFTER, after)] {
        if !text.is_empty() {
            staged.live.file(path, text);
            staged.live.mode(path, 0o755);
            policy.push_str(&format!("{key}={path}\n"));
        }
    }
    staged.live.file("/etc/patchadm/policy", policy);
    staged
}

fn seen(staged: &Staged) -> String {
    fs::read_to_string(staged.live.beside("seen")).unwrap_or_default()
}

fn document(staged: &Staged, options: &str) -> Value {
    let run = staged.live.run(&format!("stage promote web -R @ROOT@ --json {options}"));
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stderr))
}

/// Everything of the root except its log and journal.
fn everything(staged: &Staged) -> Tree {
    Tree::of(&staged.live.root(), &["var/sadm/patchadm", "var/sadm/install/.lockfile"])
}

#[test]
fn hooks_run_around_a_promotion_and_around_its_backout() {
    let staged = hooked(TELLS, TELLS);
    let before = staged.tree();
    let said = document(&staged, "--dry-run");
    let planned = json!([{"name": "promote_before", "exit": null}, {"name": "promote_after", "exit": null}]);
    assert_eq!(said["hooks"], planned, "{said}");
    let said = staged.promote("--dry-run").ok();
    assert!(said.contains("hook: promote_before=/etc/promote/before"), "{said}");
    assert_eq!(seen(&staged), "", "a plan runs nothing");
    let said = document(&staged, "");
    let ended = json!([{"name": "promote_before", "exit": 0}, {"name": "promote_after", "exit": 0}]);
    assert_eq!((&said["hooks"], &said["result"]), (&ended, &json!("done")), "{said}");
    assert_eq!(
        seen(&staged),
        "/etc/promote/before promote web-01 web  port 1\n/etc/promote/after promote web-01 web 2 port 2\n"
    );
    let log = fs::read_to_string(staged.live.at("/var/sadm/patch/web-01/log")).unwrap();
    assert_eq!(log.matches("said by promote\n").count(), 2, "{log}");
    assert!(staged.promote("").ok().starts_with("nothing to promote"));
    assert_eq!(seen(&staged).lines().count(), 2, "nothing to promote, nothing to run");
    let said = staged.live.run("remove -R @ROOT@ --dry-run --json web-01").ok();
    assert!(said.contains("the hook promote_after runs: /etc/promote/after"), "{said}");
    assert_eq!(seen(&staged).lines().count(), 2);
    staged.live.run("remove -R @ROOT@ web-01").ok();
    assert_eq!(
        seen(&staged).lines().skip(2).collect::<Vec<_>>(),
        ["/etc/promote/before backout web-01 web  port 2", "/etc/promote/after backout web-01 web 3 port 1"]
    );
    assert_same(&staged.tree(), &before);
    staged.promote("").ok();
    staged.live.run("undo -R @ROOT@").ok();
    assert_eq!(seen(&staged).lines().count(), 8);
    assert_same(&staged.tree(), &before);
}

#[test]
fn one_hook_without_the_other_and_none_if_none_is_wanted() {
    for (first, second, lines) in [(TELLS, "", 1), ("", TELLS, 1)] {
        let staged = hooked(first, second);
        staged.promote("--no-hooks").ok();
        staged.live.run("remove -R @ROOT@ --scripts refuse web-01").ok();
        assert_eq!(seen(&staged), "");
        staged.promote("").ok();
        assert_eq!(seen(&staged).lines().count(), lines);
        staged.live.run("patchrm -R @ROOT@ web-02").ok();
        assert_eq!(seen(&staged).lines().count(), 2 * lines);
    }
}

#[test]
fn several_promotions_that_go_in_one_run_have_their_hooks_each() {
    let staged = hooked(TELLS, TELLS);
    let before = staged.tree();
    staged.promote("--no-hooks").ok();
    staged.write("etc/tool.conf", "port 3\n");
    staged.promote("--no-hooks").ok();
    staged.live.run("remove -R @ROOT@ --all-or-nothing web-01 web-02").ok();
    let told: Vec<String> = seen(&staged).lines().map(|line| line.replace("/etc/promote/", "")).collect();
    assert_eq!(
        told,
        [
            "before backout web-02 web  port 3",
            "before backout web-01 web  port 3",
            "after backout web-02 web 4 port 1",
            "after backout web-01 web 4 port 1",
        ]
    );
    assert_same(&staged.tree(), &before);
}

#[test]
fn a_hook_before_that_fails_changes_nothing() {
    for (ending, words) in [("exit 3", "exit code 3"), ("kill -9 $$", "ended by signal 9")] {
        let staged = hooked(&format!("#!/bin/sh\necho why\n{ending}\n"), TELLS);
        let before = everything(&staged);
        let said = staged.promote("").fails(1);
        assert!(said.contains("promote_before") && said.contains(words), "{said}");
        assert_same(&everything(&staged), &before);
        let log = staged.live.text("/var/sadm/patchadm/log");
        assert!(log.contains("promote web-01") && log.contains("why\n"), "{log}");
        let said = document(&staged, "");
        assert_eq!(said["exit_code"], 1, "{said}");
        assert_eq!(said["cause"], "script");
        staged.promote("--no-hooks").ok();
        let before = everything(&staged);
        let said = staged.live.run("patchrm -R @ROOT@ web-01").fails(9);
        assert!(said.contains("promote_before"), "{said}");
        assert_same(&everything(&staged), &before);
    }
}

#[test]
fn a_hook_after_that_fails_rolls_everything_back() {
    let staged = hooked(TELLS, "#!/bin/sh\necho why\ncat $ROOTDIR/usr/pkg/etc/tool.conf\nexit 4\n");
    let before = everything(&staged);
    let said = staged.promote("").fails(1);
    assert!(said.contains("promote_after") && said.contains("exit code 4"), "{said}");
    assert_same(&everything(&staged), &before);
    let log = staged.live.text("/var/sadm/patchadm/log");
    assert!(log.contains("why\nport 2\n"), "it saw the new one: {log}");
    let said = document(&staged, "");
    assert_eq!((&said["exit_code"], &said["hooks"][1]["exit"]), (&json!(1), &json!(4)), "{said}");
    let said = staged.promote("--no-hooks").ok();
    assert!(said.starts_with("web-01: applied"), "{said}");
    let before = everything(&staged);
    let said = staged.live.run("remove -R @ROOT@ web-01").fails(1);
    assert!(said.contains("promote_after"), "{said}");
    assert_same(&everything(&staged), &before);
    staged.live.run("undo -R @ROOT@").fails(1);
    assert_same(&everything(&staged), &before);
}

#[test]
fn what_a_hook_writes_is_somebodys_edit() {
    let staged =
        hooked("", "#!/bin/sh\ncd $ROOTDIR/usr/pkg && echo hook >> etc/tool.conf && echo hook > bin/made\n");
    staged.promote("").ok();
    assert_eq!(
        (staged.text("etc/tool.conf").as_str(), staged.text("bin/made").as_str()),
        ("port 2\nhook\n", "hook\n")
    );
    staged.live.file(AFTER, "#!/bin/sh\ncd $ROOTDIR/usr/pkg && echo hook >> bin/new; exit 1\n");
    staged.live.mode(AFTER, 0o755);
    staged.write("bin/new", "newer\n");
    staged.promote("").fails(1);
    assert_eq!(staged.text("bin/new"), "new\n");
    let kept: Vec<String> = fs::read_dir(staged.live.at("/usr/pkg/bin"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("new.edited-"))
        .collect();
    let [kept] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!(staged.text(&format!("bin/{kept}")), "newer\nhook\n", "nobody's bytes are lost");
}

#[test]
fn what_the_hook_before_changes_is_looked_at_again() {
    let staged = hooked("#!/bin/sh\necho live > $ROOTDIR/usr/pkg/etc/tool.conf\n", "");
    let said = staged.promote("").fails(3);
    assert!(said.contains("changed in the stage and in the live tree"), "{said}");
    assert_eq!(staged.text("etc/tool.conf"), "live\n");
    staged.promote("--edited replace").ok();
    assert_eq!(staged.text("etc/tool.conf"), "port 2\n");
    staged.live.run("remove -R @ROOT@ --scripts refuse web-01").ok();
    assert_eq!(staged.text("etc/tool.conf"), "live\n");
}

#[test]
fn a_hook_that_takes_too_long_is_ended() {
    let staged = hooked("", "#!/bin/sh\nsleep 600 & echo $! > $ROOTDIR/../child; wait\n");
    let policy = format!("promote_after={AFTER}\nscript_timeout=1\n");
    staged.live.file("/etc/patchadm/policy", policy);
    let before = everything(&staged);
    let said = staged.promote("").fails(1);
    assert!(said.contains("took too long"), "{said}");
    assert_same(&everything(&staged), &before);
    let child = fs::read_to_string(staged.live.beside("child")).unwrap();
    assert!(!fs::exists(format!("/proc/{}/fd", child.trim())).unwrap(), "{child}");
}

/// Starts a promotion, and waits until its hook has begun, which never ends.
fn waiting(staged: &Staged, line: &str) -> Child {
    let mut command = staged.live.command(line);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !staged.live.beside("began").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the hook does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

const WAITS: &str = "#!/bin/sh\necho begins\n: > $ROOTDIR/../began\nwhile :; do sleep 1; done\n";

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_promotion_that_is_told_to_end_during_a_hook_is_rolled_back() {
    let staged = hooked("", WAITS);
    let before = everything(&staged);
    let mut child = waiting(&staged, "stage promote web -R @ROOT@");
    assert_eq!(staged.text("etc/tool.conf"), "port 2\n", "all is switched");
    signal(&child, Signal::INT);
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(130));
    assert_same(&everything(&staged), &before);
    // The same for a promotion that is told to end before anything is changed.
    fs::remove_file(staged.live.beside("began")).unwrap();
    staged.live.file("/etc/patchadm/policy", format!("promote_before={AFTER}\n"));
    let before = everything(&staged);
    let mut child = waiting(&staged, "stage promote web -R @ROOT@");
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_same(&everything(&staged), &before);
}

#[test]
fn a_promotion_that_is_killed_during_a_hook_is_rolled_back_by_the_next_command() {
    let staged = hooked("", WAITS);
    let before = everything(&staged);
    let mut child = waiting(&staged, "stage promote web -R @ROOT@");
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    let said = staged.live.run("recover -R @ROOT@");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_same(&everything(&staged), &before);
    let log = staged.live.text("/var/sadm/patchadm/log");
    assert!(log.contains("begins\n"), "{log}");
    staged.promote("--no-hooks").ok();
    fs::remove_file(staged.live.beside("began")).unwrap();
    let promoted = everything(&staged);
    let mut child = waiting(&staged, "patchrm -R @ROOT@ web-01");
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    staged.live.run("recover -R @ROOT@").ok();
    assert_same(&everything(&staged), &promoted);
}

#[test]
fn a_hook_that_outlives_both_processes_is_ended_before_its_work_is_undone() {
    let late = "#!/bin/sh\necho $$ > $ROOTDIR/../hook\n: > $ROOTDIR/../began\n\
        until [ -e $ROOTDIR/../go ]; do sleep 0.1; done\necho late >> $ROOTDIR/usr/pkg/share/0\nsleep 60\n";
    let mut staged = hooked("", late);
    // The killed program cannot remove the private directory.
    let private = staged.live.beside("private");
    fs::create_dir(&private).unwrap();
    staged.live.mode("/../private", 0o755);
    staged.live.set("TMPDIR", private);
    let before = everything(&staged);
    let mut child = waiting(&staged, "stage promote web -R @ROOT@");
    let second = second_process(&child);
    signal(&child, Signal::KILL);
    kill_process(second, Signal::KILL).unwrap();
    child.wait().unwrap();
    assert_eq!(staged.live.run("recover -R @ROOT@").code, 0);
    assert_same(&everything(&staged), &before);
    fs::write(staged.live.beside("go"), "").unwrap();
    let hook = fs::read_to_string(staged.live.beside("hook")).unwrap();
    eventually("the hook has ended", || !runs(&hook));
    assert_same(&everything(&staged), &before);
}

#[test]
fn what_a_hook_edits_in_the_moment_of_the_switch_is_seen_by_the_backout() {
    let staged = hooked(
        "",
        "#!/bin/sh\ncd $ROOTDIR/usr/pkg/many && printf Y | dd of=7 conv=notrunc 2>/dev/null; \
        touch -r 8 7\n",
    );
    for number in 0..50 {
        staged.write(&format!("many/{number}"), "x\n");
        set_time(&staged.at(&format!("many/{number}")), 1_700_000_000, 0);
    }
    staged.promote("").ok();
    assert_eq!(staged.text("many/7"), "Y\n");
    let said = staged.live.run("check --contents -R @ROOT@ /usr/pkg/many/7").stdout;
    staged.live.run("remove -R @ROOT@ --scripts refuse web-01").ok();
    let kept = Tree::of(&staged.live.at("/usr/pkg"), &[]);
    assert!(kept.objects().keys().any(|path| path.contains("7.edited-")), "{said}: {}", kept.paths());
}

#[test]
fn a_hook_that_may_or_can_not_be_run_is_refused_with_what_to_type() {
    let staged = hooked(TELLS, TELLS);
    let shown = format!("@ROOT@{AFTER}");
    let refused = |words: &[&str]| {
        let before = staged.live.everything();
        let said = staged.promote("").fails(3);
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert_same(&staged.live.everything(), &before);
        staged.promote("--dry-run").fails(3);
        assert_eq!(seen(&staged), "");
        said
    };
    staged.live.mode(AFTER, 0o644);
    refused(&["the hook promote_after cannot be run", &shown, "is not executable", "chmod 0755"]);
    for mode in [0o757, 0o777] {
        staged.live.mode(AFTER, mode);
        refused(&[&shown, "is writable by users other than its owner", &format!("chmod go-w {shown}")]);
    }
    staged.live.mode(AFTER, 0o755);
    staged.live.mode("/etc/promote", 0o757);
    refused(&["is writable by users other than its owner", "/etc/promote"]);
    staged.live.mode("/etc/promote", 0o755);
    fs::rename(staged.live.at(AFTER), staged.live.at("/etc/promote/aside")).unwrap();
    refused(&[&shown, "does not exist", "promote_after"]);
    staged.live.symlink(AFTER, "aside");
    refused(&[&shown, "is not a regular file"]);
    fs::remove_file(staged.live.at(AFTER)).unwrap();
    staged.live.directory(AFTER);
    refused(&[&shown, "is not a regular file"]);
    fs::remove_dir(staged.live.at(AFTER)).unwrap();
    staged.live.file(AFTER, "#!/no/such/shell\n");
    staged.live.mode(AFTER, 0o755);
    let said = staged.promote("--dry-run").fails(3);
    assert!(said.contains("/no/such/shell does not exist"), "{said}");
    refused(&["its interpreter /no/such/shell does not exist"]);
    staged.promote("--no-hooks").ok();
    let said = staged.live.run("patchrm -R @ROOT@ web-01").fails(10);
    assert!(said.contains("/no/such/shell does not exist"), "{said}");
    staged.live.run("remove -R @ROOT@ --scripts refuse web-01").ok();
}

#[test]
fn a_policy_that_lets_no_script_run_lets_no_promotion_with_a_hook_go_by() {
    for word in ["known", "none"] {
        let staged = hooked("", TELLS);
        let policy = format!("promote_after={AFTER}\nscripts={word}\n");
        staged.live.file("/etc/patchadm/policy", policy);
        let before = staged.live.everything();
        let said = staged.promote("").fails(3);
        assert!(said.contains("promote_after") && said.contains("--no-hooks"), "{said}");
        assert_same(&staged.live.everything(), &before);
        staged.promote("--no-hooks").ok();
        let before = staged.live.everything();
        let said = staged.live.run("patchrm -R @ROOT@ web-01").fails(10);
        assert!(said.contains("promote_after"), "{said}");
        let said = staged.live.run("remove -R @ROOT@ web-01").fails(3);
        assert!(said.contains("--scripts refuse"), "{said}");
        staged.live.run("undo -R @ROOT@").fails(3);
        assert_same(&staged.live.everything(), &before);
        staged.live.run("remove -R @ROOT@ --scripts refuse web-01").ok();
        assert_eq!(seen(&staged), "");
    }
}

#[test]
fn a_hook_that_asks_for_work_on_records_is_told_that_it_cannot_have_it() {
    let hook = "#!/bin/sh\ninstallf -R $ROOTDIR LOCLweb $ROOTDIR/usr/pkg/bin/made f 2>/dev/null\nexit 0\n";
    let staged = hooked("", hook);
    let before = everything(&staged);
    let said = staged.promote("");
    assert_ne!(said.code, 0, "{}", said.stdout);
    assert!(said.stderr.contains("installf or removef"), "{}", said.stderr);
    assert_same(&everything(&staged), &before);
}
