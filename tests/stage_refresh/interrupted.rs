//! A refresh that is interrupted at any change of its own: the next one completes it.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use patchadm_core::operation::stages::refresh::{RefreshRequest, refresh_stage};
use patchadm_inputs::database::open_run;
use patchadm_rootfs::{Door, Root};
use serde_json::{Value, json};

use super::{change_live, document, live, own, refresh, staged_text, whole_stage};
use crate::delivery::Patch;
use crate::packages::Package;
use crate::promote::Staged;
use crate::reliability::crash::{in_parallel, spread};
use crate::reliability::sigkill::{calls_of_program, has_strace, is_killed_at};
use crate::reliability::stories::with_caller;
use crate::reliability::{figures, sample_or_whole};
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};

/// Refreshes a stage in this process, through a door that fails the changes whose numbers `fails` selects. Returns the
/// number of changes, and whether the refresh was done.
fn refreshed_through(
    live: &Scenario,
    fails: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> (usize, bool) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let door = Door::watched(move |_| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        if fails(number) { Err(rustix::io::Errno::IO) } else { Ok(()) }
    });
    let opened = Root::open_with(&live.root(), door).unwrap();
    let stage: OsString = live.beside("web").into_os_string();
    let request = RefreshRequest { stage, ..RefreshRequest::default() };
    let done = with_caller(|caller| refresh_stage(&opened, &request, caller)).is_ok();
    (count.load(Ordering::Relaxed), done)
}

/// A stage with a promotion, and later changes of the live tree.
fn behind() -> Staged {
    let first = Scenario::new();
    first.file("/usr/pkg/lib/libt.so.1", "library 1\n");
    first.symlink("/usr/pkg/lib/libt.so", "libt.so.1");
    first.file("/usr/pkg/etc/tool.conf", "port 1\n");
    for (name, again) in [("gone", "gone.again"), ("part", "part.again")] {
        first.file(&format!("/usr/pkg/{name}"), format!("{name}\n"));
        first.link(&format!("/usr/pkg/{again}"), &format!("/usr/pkg/{name}"));
    }
    for name in ["single.a", "single.b", "share/0", "share/1", "share/7"] {
        first.file(&format!("/usr/pkg/{name}"), "one\n");
    }
    let staged = Staged::of(first);
    staged.write("mine", "1\n");
    staged.promote("").ok();
    change_live(&staged);
    // Names of one file are removed, separated, and joined.
    for name in ["gone", "gone.again", "part"] {
        fs::remove_file(live(&staged, name)).unwrap();
    }
    staged.live.file("/usr/pkg/part", "another\n");
    fs::remove_file(live(&staged, "single.b")).unwrap();
    staged.live.link("/usr/pkg/single.b", "/usr/pkg/single.a");
    staged
}

#[test]
fn a_death_at_any_change_leaves_a_stage_that_the_next_one_completes() {
    let (changes, done) = refreshed_through(&behind().live, |_| false);
    assert!(done && changes > 30, "{changes}");
    for number in (0..=changes).step_by(sample_or_whole(11, 1)) {
        for dies in if number % 2 == 0 { &[true, false][..] } else { &[true] } {
            let dies = *dies;
            let staged = behind();
            staged.write("theirs", "stage\n");
            let before = staged.live.everything();
            let when = format!("change {number} of {changes}, dies: {dies}");
            let (_, done) = refreshed_through(&staged.live, move |at| at == number || dies && at > number);
            assert_same(&staged.live.everything(), &before);
            assert_completed_by_the_next(&staged, &format!("{when}, done: {done}"));
        }
    }
}

/// Refreshes once more, and asserts that nothing is missing then: neither an object nor an entry of the bases.
fn assert_completed_by_the_next(staged: &Staged, when: &str) {
    let said = refresh(staged, "");
    let is_told = |line: &str| {
        line.starts_with("note: ") && (line.contains("leftovers") || line.contains(" was rolled back: "))
    };
    assert!(said.code == 0 && said.stderr.lines().all(is_told), "{when}: {}", said.stderr);
    fs::remove_file(staged.at("theirs")).unwrap();
    assert_same(&staged.staged_tree(), &staged.tree());
    assert!(!own(staged, "refresh").exists(), "{when}");
    // The bases know that both had the same, including the base of the beginning.
    staged.live.file("/usr/pkg/lib/libt.so.1", "library 3\n");
    staged.live.file("/usr/pkg/share/7", "again\n");
    staged.live.file("/usr/pkg/new/deep/er", "newer\n");
    assert_eq!(document(staged, "--dry-run")["conflicts"], json!([]), "{when}");
    staged.live.run("patchrm -R @ROOT@ web-01").ok();
    assert_eq!(document(staged, "--dry-run")["conflicts"], json!([]), "{when}, base of the beginning");
    assert_eq!(refresh(staged, "").code, 0, "{when}");
    assert_eq!(staged_text(staged, "new/other"), "newer\n", "{when}");
}

#[test]
fn killed_from_outside_at_any_system_call_it_is_completed_by_the_next() {
    if !has_strace("killed_from_outside_at_any_system_call_it_is_completed…") {
        return;
    }
    let line = |staged: &Staged| -> Vec<PathBuf> {
        let words = ["stage", "refresh", "-R"].map(PathBuf::from);
        words.into_iter().chain([staged.live.root(), staged.live.beside("web")]).collect()
    };
    let scratch = tempfile::tempdir().unwrap();
    let first = behind();
    first.write("theirs", "stage\n");
    let calls = calls_of_program(&line(&first), scratch.path());
    let most = sample_or_whole(1, 60);
    let points = calls.into_iter().flat_map(|(call, count)| {
        let middle = count / most / 2;
        spread(count, most).into_iter().map(move |number| (call, number + middle + 1))
    });
    let points: Vec<(&str, usize)> = points.collect();
    let killed = AtomicUsize::new(0);
    in_parallel(&points, |&(call, number)| {
        let staged = behind();
        staged.write("theirs", "stage\n");
        let before = staged.live.everything();
        let was_killed = is_killed_at(&line(&staged), call, number);
        killed.fetch_add(usize::from(was_killed), Ordering::Relaxed);
        assert_same(&staged.live.everything(), &before);
        assert_completed_by_the_next(&staged, &format!("killed at {call} {number}"));
    });
    let killed = killed.into_inner();
    assert!(killed > 8, "only {killed} were killed");
    figures("refresh-sigkill", &[("refreshes killed at a system call", killed as u64), ("lost changes", 0)]);
}

/// The exit code and output of a promotion of the stage.
fn promoted(staged: &Staged, options: &str) -> (i32, String) {
    let run = staged.promote(options);
    (run.code, format!("{}{}", run.stdout, run.stderr))
}

in_parts!(a_promotion_after_a_refresh_that_died_at_any_change_completes_it_first, promote_after_deaths, 3);

fn promote_after_deaths(part: usize, parts: usize) {
    let (changes, _) = refreshed_through(&behind().live, |_| false);
    let mut told = 0;
    for number in (1..=changes).step_by(5).skip(part).step_by(parts) {
        let staged = behind();
        staged.write("theirs", "stage\n");
        let (_, done) = refreshed_through(&staged.live, move |at| at >= number);
        let when = format!("change {number} of {changes}");
        let was_interrupted = own(&staged, "refresh").exists();
        let (live, stage) = (staged.tree(), whole_stage(&staged));
        let (mut code, mut plan) = promoted(&staged, "--dry-run");
        // The run of the root in which the refresh records the bases.
        if open_run(&Root::open(&staged.live.root()).unwrap()).unwrap().is_some() {
            assert!(code == 9 && plan.contains("if it was interrupted, run `patchadm -R "), "{when}\n{plan}");
            staged.live.run("recover -R @ROOT@");
            (code, plan) = promoted(&staged, "--dry-run");
        }
        assert_eq!(code, 0, "{when}\n{plan}");
        assert_same(&staged.tree(), &live);
        assert_same(&whole_stage(&staged), &stage);
        let (code, said) = promoted(&staged, "");
        assert_eq!(code, 0, "{when}\n{said}");
        for said in [&plan, &said] {
            assert_eq!(said.contains("a refresh of this stage was interrupted"), was_interrupted, "{said}");
        }
        told += usize::from(was_interrupted);
        if was_interrupted || done {
            assert!(plan.contains("0 replaced, 1 added, 0 deleted"), "{when}\n{plan}");
            assert!(!own(&staged, "refresh").exists(), "{when}");
            assert_same(&staged.tree(), &staged.staged_tree());
        }
        assert_eq!(staged.text("theirs"), "stage\n", "{when}");
        // Only the stage's own changes went live.
        fs::remove_file(live_path(&staged)).unwrap();
        assert_same(&staged.tree(), &live);
    }
    assert!(told >= 10 / parts, "{told}");
}

fn live_path(staged: &Staged) -> PathBuf {
    live(staged, "theirs")
}

#[test]
fn an_interrupted_refresh_is_completed_as_it_was_asked_for_or_named() {
    let conflict = || {
        let staged = Staged::new();
        for number in 0..3 {
            staged.live.file(&format!("/usr/pkg/share/{number}"), "live\n");
            staged.write(&format!("share/{number}"), "stage\n");
        }
        staged
    };
    let staged = conflict();
    let request = |staged: &Staged| RefreshRequest {
        stage: staged.live.beside("web").into_os_string(),
        edited: Some(patchadm_inputs::policy::Edited::Replace),
        ..RefreshRequest::default()
    };
    let dies_at = |staged: &Staged, at: usize| {
        let count = AtomicUsize::new(0);
        let door = Door::watched(move |_| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            if number >= at { Err(rustix::io::Errno::IO) } else { Ok(()) }
        });
        let opened = Root::open_with(&staged.live.root(), door).unwrap();
        assert!(with_caller(|caller| refresh_stage(&opened, &request(staged), caller)).is_err());
        own(staged, "refresh").exists()
    };
    let at = (4..60).find(|at| dies_at(&conflict(), *at)).unwrap();
    assert!(dies_at(&staged, at + 3));
    let document: Value = serde_json::from_str(&staged.promote("--json").stdout).unwrap();
    assert!(document["refreshed"].as_u64().is_some_and(|count| (1..=3).contains(&count)), "{document}");
    assert_eq!(document["result"], "nothing-to-do", "{document}");
    assert_eq!(staged_text(&staged, "share/2"), "live\n", "it was asked for with --edited replace");
    // A decision that cannot be made as before is left to the operator, and nothing is promoted.
    let staged = conflict();
    fs::create_dir(own(&staged, "refresh")).unwrap();
    for options in ["", "--dry-run"] {
        let said = staged.promote(options).fails(3);
        assert!(said.contains("stage web was interrupted") && said.contains("stage refresh web`"), "{said}");
    }
    assert_eq!(
        (staged.text("share/1"), staged_text(&staged, "share/1")),
        ("live\n".into(), "stage\n".into())
    );
    refresh(&staged, "--edited keep").ok();
    staged.promote("--edited replace").ok();
    assert_eq!(staged.text("share/1"), "stage\n");
}

/// A root and a stage of it with records. On the root one package was added and patched, a patched one was replaced and
/// one was removed; the stage has a file of its own.
fn behind_with_records() -> Scenario {
    let package = |name: &str, version: &str| {
        Package::new(name).param("VERSION", version).file("bin/one", 0o755, version)
    };
    let live = Scenario::with(&[package("ACMEweb", "1.0"), package("ACMEmail", "1.0")]);
    live.patchadd("", &Patch::of("300-01", Package::new("ACMEweb").file("bin/one", 0o755, "1.1"))).ok();
    live.run("stage new web -R @ROOT@ --records --path opt").ok();
    for name in ["ACMEweb", "ACMEmail"] {
        assert_eq!(live.run(&format!("pkgrm -n -R @ROOT@ {name}")).code, 0);
    }
    live.install(&package("ACMEweb", "2.0"));
    live.install(&package("ACMEnews", "1.0"));
    live.patchadd("", &Patch::of("400-01", Package::new("ACMEnews").file("bin/one", 0o755, "1.1"))).ok();
    fs::create_dir_all(live.beside("web/opt/own")).unwrap();
    fs::write(live.beside("web/opt/own/file"), "of the stage\n").unwrap();
    live
}

#[test]
fn a_plan_after_a_refresh_with_records_that_died_early_is_what_the_promotion_does() {
    plan_after_a_death(0);
}

#[test]
fn a_plan_after_a_refresh_with_records_that_died_midway_is_what_the_promotion_does() {
    plan_after_a_death(1);
}

#[test]
fn a_plan_after_a_refresh_with_records_that_died_late_is_what_the_promotion_does() {
    plan_after_a_death(2);
}

/// Plans, then promotes, after a refresh died at each change of a third of its changes.
fn plan_after_a_death(third: usize) {
    // The number of thirds played, and of deaths that left an open run.
    static PLAYED: Mutex<(usize, usize)> = Mutex::new((0, 0));
    let (changes, done) = refreshed_through(&behind_with_records(), |_| false);
    assert!(done, "{changes}");
    let mut open_runs = 0;
    let numbers: Vec<usize> = (1..=changes).step_by(sample_or_whole(9, 1)).collect();
    for &number in numbers.chunks(numbers.len().div_ceil(3)).nth(third).unwrap() {
        let live = behind_with_records();
        refreshed_through(&live, move |at| at >= number);
        let when = format!("change {number} of {changes}");
        let stage = || Tree::of(&live.beside("web"), &[".patchadm-stage/lock"]);
        let run = open_run(&Root::open(&live.beside("web")).unwrap()).unwrap();
        open_runs += usize::from(run.is_some());
        let document = |options: &str| -> Value {
            let run = live.run(&format!("stage promote web -R @ROOT@ --json {options}"));
            serde_json::from_str(&run.stdout).unwrap()
        };
        let before = stage();
        if open_run(&Root::open(&live.root()).unwrap()).unwrap().is_some() {
            assert_eq!(document("--dry-run")["exit_code"], 9, "{when}");
            live.run("recover -R @ROOT@");
        }
        let plan = document("--dry-run");
        assert_same(&stage(), &before);
        let done = document("");
        // A refresh that died before it began does not count: the stage then has patches of a version that the root no
        // longer has.
        if plan["refreshed"] == Value::Null {
            assert_eq!(plan["exit_code"], done["exit_code"], "{when}");
            continue;
        }
        assert_eq!(plan["exit_code"], 0, "{when}\n{plan}");
        for field in
            ["exit_code", "cause", "id", "base", "paths", "packages", "kept", "conflicts", "refreshed"]
        {
            assert_eq!(plan[field], done[field], "{when}: {field}");
        }
        assert!(live.at("/opt/own/file").exists(), "{when}");
        live.run("stage refresh web -R @ROOT@").ok();
        let stage = live.beside("web").display().to_string();
        assert_eq!(live.run(&format!("pkgchk -R {stage}")).ok(), "", "{when}");
    }
    let mut played = PLAYED.lock().unwrap();
    *played = (played.0 + 1, played.1 + open_runs);
    assert!(played.0 < 3 || played.1 > 1, "{played:?}");
}

/// A refresh that died after it had begun to change the stage.
fn interrupted() -> Staged {
    let staged = behind();
    staged.write("theirs", "stage\n");
    let (changes, _) = refreshed_through(&behind().live, |_| false);
    let (_, done) = refreshed_through(&staged.live, move |at| at >= changes / 2);
    assert!(!done && own(&staged, "refresh").exists());
    staged
}

#[test]
fn what_is_wrong_with_a_promotion_is_found_before_an_interrupted_refresh_is_completed() {
    let staged = interrupted();
    staged.save_plan("plan.json").ok();
    staged.live.file("/usr/pkg/late", "late\n");
    let before = (staged.live.everything(), whole_stage(&staged));
    for options in ["web --id other-01", "web --undo-dir /nowhere", "--plan plan.json"] {
        let run = staged.live.run(&format!("stage promote -R @ROOT@ {options}"));
        assert_ne!(run.code, 0, "{options}");
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(!said.contains("completed first"), "{options}: {said}");
        assert_same(&staged.live.everything(), &before.0);
        assert_same(&whole_stage(&staged), &before.1);
    }
    let said = staged.promote("").ok();
    assert!(said.contains("it was completed first"), "{said}");
    assert_eq!((staged.text("theirs"), staged_text(&staged, "late")), ("stage\n".into(), "late\n".into()));
}

#[test]
fn an_error_behind_the_completion_of_a_refresh_says_that_the_stage_changed() {
    let staged = interrupted();
    let contents = staged.live.at("/var/sadm/install/contents");
    let text = fs::read_to_string(&contents).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("/usr/pkg/mine")).collect();
    fs::write(&contents, lines.join("\n") + "\n").unwrap();
    let run = staged.promote("");
    assert_ne!(run.code, 0);
    assert!(
        run.stderr.contains("a refresh of this stage was interrupted: it was completed first"),
        "{}",
        run.stderr
    );
    assert!(!own(&staged, "refresh").exists());
    assert_eq!(staged_text(&staged, "new/other"), "new\n");
}
