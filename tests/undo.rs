//! Runs that are undone: exactly their patches, and never what was done since.

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::assert_same;

fn web(file: &str, text: &str) -> Package {
    Package::new("ACMEweb").file(file, 0o755, text)
}

fn patch(id: &str) -> Patch {
    Patch::of(id, web("bin/httpd", &format!("{id}\n")).file(&format!("bin/{id}"), 0o755, id))
}

/// A root with the run of 100-01, and the one of 200-01 and 300-01; the patches are in `delivered`.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web("bin/httpd", "base\n")]);
    for id in ["100-01", "200-01", "300-01"] {
        patch(id).directory(&stage);
    }
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    stage.run("add -R @ROOT@ delivered/200-01 delivered/300-01").ok();
    stage
}

/// The lines of the history.
fn history(stage: &Scenario) -> Vec<Value> {
    let text = stage.text("/var/sadm/patchadm/history");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The runs of the history, each once.
fn runs(stage: &Scenario) -> Vec<String> {
    let mut runs: Vec<String> =
        history(stage).iter().map(|line| line["run"].as_str().unwrap().to_owned()).collect();
    runs.dedup();
    runs
}

/// The number of a run, which is enough to name it.
fn number(run: &str) -> String {
    run.split('-').next().unwrap().to_owned()
}

fn applied(stage: &Scenario) -> Vec<String> {
    let said: Value = serde_json::from_str(&stage.run("list --json -R @ROOT@").ok()).unwrap();
    let patches = said["patches"].as_array().unwrap();
    patches.iter().map(|patch| patch["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_last_run_is_undone_and_then_that() {
    let stage = stage();
    let before = stage.tree();
    let said: Value = serde_json::from_str(&stage.run("undo --json -R @ROOT@").ok()).unwrap();
    assert_eq!((&said["command"], &said["result"]), (&"undo".into(), &"done".into()));
    let gone: Vec<&Value> = said["patches"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(gone, ["300-01", "200-01"]);
    assert_eq!(applied(&stage), ["100-01"]);
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "100-01\n");
    let all = runs(&stage);
    let last = history(&stage).pop().unwrap();
    assert_eq!((&last["command"], &last["undoes"]), (&"patchrm".into(), &all[all.len() - 2].as_str().into()));

    let said = stage.run("undo -R @ROOT@").fails(2);
    assert!(
        said.contains("specify the depot, or the directory of the patch files, that has 300-01, 200-01"),
        "{said}"
    );
    assert!(said.contains("hint: patchadm -R @ROOT@ undo -M DEPOT\n"), "{said}");
    let earlier = number(&all[all.len() - 3]);
    let further =
        format!("was itself an undo; to go further back, name a run: `patchadm -R @ROOT@ undo {earlier}`\n");
    assert!(said.contains(&further), "{said}");
    assert_eq!(said.matches("undo [option...]").count(), 1, "{said}");
    let said = stage.run("undo -R @ROOT@ --down-to 2026-11-20").fails(2);
    assert!(said.contains("hint: patchadm remove --down-to POINT"), "{said}");
    stage.run("undo -R @ROOT@ -M delivered").ok();
    assert_eq!(applied(&stage), ["100-01", "200-01", "300-01"]);
    assert_same(&before, &stage.tree());
    let last = history(&stage).pop().unwrap();
    assert_eq!(
        (&last["command"], &last["undoes"]),
        (&"patchadd".into(), &all[all.len() - 1].as_str().into())
    );
}

#[test]
fn undo_data_that_was_rewritten_or_moved_since_belongs_to_the_runs_before() {
    let stage = stage();
    stage.run("undo-data repack --undo-format Z -R @ROOT@ 200-01 300-01").ok();
    let moved = stage.beside("exported").display().to_string();
    stage.run(&format!("undo-data export -R @ROOT@ -o {moved} 200-01 300-01")).ok();
    let said = stage.run("undo -R @ROOT@");
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.stderr.contains("was exported by run"), "{said:?}");
    stage.run(&format!("undo-data import -R @ROOT@ {moved}")).ok();
    stage.run("undo -R @ROOT@").ok();
    assert_eq!(applied(&stage), ["100-01"]);
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "100-01\n");
}

#[test]
fn a_run_before_others_is_undone_by_its_name_or_its_number() {
    for by_number in [false, true] {
        let stage = stage();
        let name = runs(&stage).iter().rev().nth(1).unwrap().clone();
        let word = if by_number { name.split('-').next().unwrap().to_owned() } else { name.clone() };
        stage.run(&format!("undo -R @ROOT@ {word}")).ok();
        assert_eq!(applied(&stage), ["200-01", "300-01"]);
        assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "300-01\n");
        assert_eq!(history(&stage).pop().unwrap()["undoes"], name);
    }
}

#[test]
fn undo_after_a_killed_run_rolls_that_run_back_and_keeps_the_patches_of_the_run_before() {
    for line in ["undo -R @ROOT@", "undo -R @ROOT@ --json"] {
        let stage = crate::list::interrupted();
        let said = stage.run("undo -R @ROOT@ --dry-run").ok();
        assert!(said.contains("was interrupted: `undo` would roll it back and undo no other run."), "{said}");
        let said = stage.run(line);
        assert_eq!(said.code, 0, "{said:?}");
        let advice = "No other run was undone. `patchadm -R @ROOT@ undo 2` undoes the run before.";
        assert!(said.stdout.contains(advice), "{said:?}");
        assert!([&said.stdout, &said.stderr].iter().any(|text| text.contains("was rolled back")), "{said:?}");
        assert_eq!(applied(&stage), ["100-01"]);
        stage.run("undo -R @ROOT@ 2").ok();
        assert!(applied(&stage).is_empty());
    }
}

#[test]
fn a_named_run_is_undone_after_the_recovery_of_another() {
    let stage = crate::list::interrupted();
    let said = stage.run("undo -R @ROOT@ 2");
    assert!(said.code == 0 && said.stderr.contains(" was rolled back: "), "{said:?}");
    assert!(applied(&stage).is_empty());
}

#[test]
fn a_plan_changes_nothing() {
    let stage = stage();
    let before = stage.everything();
    let said: Value = serde_json::from_str(&stage.run("undo --json --dry-run -R @ROOT@").ok()).unwrap();
    assert_eq!((&said["result"], &said["changed"]), (&"planned".into(), &false.into()));
    assert_eq!(said["patches"].as_array().unwrap().len(), 2);
    let said = stage.run("undo --dry-run -R @ROOT@").ok();
    assert!(said.contains("300-01: would be removed (") && !said.contains(": planned ("), "{said}");
    assert!(before.difference(&stage.everything()).is_empty());
}

/// Asserts that an undo is refused with 3 and changes nothing, and returns the message.
#[track_caller]
fn refused(stage: &Scenario, line: &str) -> String {
    let before = stage.everything();
    let said = stage.run(&format!("undo -R @ROOT@ {line}")).fails(3);
    assert!(before.difference(&stage.everything()).is_empty(), "{line}");
    said
}

#[test]
fn a_run_of_which_a_patch_was_removed_or_applied_again_since_stays() {
    let stage = stage();
    let run = runs(&stage).pop().unwrap();
    stage.run("remove -R @ROOT@ 300-01").ok();
    let said = refused(&stage, &run);
    assert!(said.contains(&format!("run {run} was not undone")), "{said}");
    assert!(said.contains("patch 300-01 is no longer applied"), "{said}");
    stage.run("add -R @ROOT@ delivered/300-01").ok();
    let said = refused(&stage, &run);
    assert!(said.contains("patch 300-01 was applied to package ACMEweb by run "), "{said}");
    let removal = runs(&stage).iter().rev().nth(1).unwrap().clone();
    let said = refused(&stage, &format!("-M delivered {removal}"));
    assert!(said.contains("patch 300-01 was applied again since"), "{said}");
}

#[test]
fn a_patch_that_went_into_another_package_later_keeps_its_run() {
    let stage = Scenario::with(&[web("bin/httpd", "base\n")]);
    let both = || {
        let shop = Package::new("ACMEshop").file("lib/shop", 0o644, "patched\n");
        Patch::of("100-01", web("bin/httpd", "100-01\n")).package(shop)
    };
    stage.patchadd("", &both()).ok();
    let run = runs(&stage).pop().unwrap();
    stage.install(&Package::new("ACMEshop").file("lib/shop", 0o644, "base\n"));
    stage.patchadd("", &both()).ok();
    let said = refused(&stage, &run);
    assert!(said.contains("patch 100-01 was applied to package ACMEshop by run "), "{said}");
}

#[test]
fn a_run_that_is_none_of_patches_stays() {
    let stage = stage();
    stage.install(&Package::new("ACMEshop").file("lib/shop", 0o644, "base\n"));
    let said = refused(&stage, "");
    assert!(
        said.contains("it is a run of pkgadd; only runs that apply, remove or promote patches can be undone"),
        "{said}"
    );
    let all = runs(&stage);
    let earlier = number(&all[all.len() - 2]);
    let hint =
        format!("undo the last run that applied or removed patches with `patchadm -R @ROOT@ undo {earlier}`");
    assert!(said.contains(&hint), "{said}");
    assert!(!refused(&stage, &number(&all[all.len() - 1])).contains("undo the last run"));
    let said = stage.run("undo -R @ROOT@ 100-01").fails(4);
    assert!(said.contains("hint: patchadm -R @ROOT@ remove 100-01\n"), "{said}");
    let said = stage.run("undo -R @ROOT@ 2026-11-20").fails(4);
    assert!(said.contains("hint: patchadm -R @ROOT@ remove --down-to 2026-11-20\n"), "{said}");
    let said = stage.run("undo -R @ROOT@ 9999").fails(4);
    assert!(said.contains("the history of the root does not have this run"), "{said}");
    assert!(said.contains("hint: patchadm -R @ROOT@ history\n"), "{said}");
    let said = stage.run(&format!("undo -R @ROOT@ -M delivered {}", runs(&stage)[1])).fails(2);
    let hint = format!("hint: patchadm -R @ROOT@ undo {}\n", number(&runs(&stage)[1]));
    assert!(said.contains("needs no depot") && said.contains(&hint), "{said}");
}

#[test]
fn a_root_without_runs_has_nothing_to_undo() {
    let stage = Scenario::with(&[]);
    stage.file("/var/sadm/install/contents", "");
    let said = refused(&stage, "");
    assert!(said.contains("the run was not undone: "), "{said}");
    assert!(said.contains("the history of the root has no run that changed anything"), "{said}");
}
