//! Undo data that is dropped: what goes, what stays, and what is printed before and after.

use std::fs;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{NOW, Scenario};

fn patch(id: &str, file: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file(file, 0o755, format!("as of {id}\n")))
}

/// A root with the patches 100-01, 100-02 and 200-01, the last with its undo data elsewhere.
fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n")]);
    stage.patchadd("", &patch("100-01", "bin/httpd")).ok();
    stage.patchadd("", &patch("100-02", "bin/httpd")).ok();
    let elsewhere = stage.beside("undo");
    fs::create_dir(&elsewhere).unwrap();
    stage.patchadd(&format!("-B {}", elsewhere.display()), &patch("200-01", "bin/tool")).ok();
    stage
}

fn document(stage: &Scenario, line: &str) -> Value {
    serde_json::from_str(&stage.run(line).ok()).unwrap()
}

fn undo_of(stage: &Scenario, id: &str) -> Value {
    document(stage, &format!("show --json -R @ROOT@ {id}"))["answers"][0]["undo"][0]["state"].clone()
}

#[test]
fn the_preview_lists_what_becomes_irremovable_and_changes_nothing() {
    let stage = stage();
    let before = stage.everything();
    let said = document(&stage, "undo-data drop --json --dry-run --superseded -R @ROOT@");
    assert_eq!((&said["result"], &said["changed"]), (&"planned".into(), &false.into()));
    assert_eq!((&said["would_change"], &said["patches"][0]["verdict"]), (&true.into(), &"planned".into()));
    assert_eq!(said["irremovable"], serde_json::json!(["100-01"]));
    assert!(said["freed"].as_u64().unwrap() > 0);
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn undo_data_that_is_given_up_leaves_the_list_of_paths_and_the_manifest() {
    let stage = stage();
    let tree = stage.tree();
    let said = document(&stage, "undo-data drop --json -R @ROOT@ 100-02");
    assert_eq!((&said["result"], &said["patches"][0]["verdict"]), (&"done".into(), &"committed".into()));
    let save = stage.at("/var/sadm/pkg/ACMEweb/save/100-02");
    assert!(save.join("manifest.gz").exists() && save.join("undo.paths").exists());
    assert!(!save.join("undo.gz").exists() && !save.join("undo.b3").exists());
    assert!(tree.difference(&stage.tree()).is_empty());
    assert_eq!(undo_of(&stage, "100-02"), "committed");
    assert_eq!(undo_of(&stage, "100-01"), "saved");
    let ledger = stage.text("/var/sadm/patchadm/ledger/ACMEweb");
    let lines = ledger.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.into_iter().find(|line| line["patch"] == "100-02").unwrap();
    assert_eq!((&line["undo"], &line["why"]), (&Value::Null, &"committed".into()));
    assert!(line["manifest"].is_string());
    for line in ["remove -R @ROOT@ 100-02", "remove -R @ROOT@ --down-to 100-01"] {
        let said = stage.run(line).fails(3);
        assert!(said.contains("the undo data for package ACMEweb was dropped by run "), "{line}: {said}");
    }
    let listed = document(&stage, "list --json -R @ROOT@");
    let removable = &listed["patches"][1]["removable"];
    assert!(removable["reason"].as_str().unwrap().contains("was dropped by run "), "{removable}");
    let listed = stage.run("undo-data list -R @ROOT@").ok();
    let line = listed.lines().find(|line| line.starts_with("100-02")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["100-02", "dropped", "-"], "{listed}");
    assert!(listed.contains("\nrecords of undo data "), "{listed}");
    stage.run("check --contents -R @ROOT@").ok();
    let again = document(&stage, "undo-data drop --json -R @ROOT@ 100-02");
    assert_eq!((&again["result"], &again["changed"]), (&"nothing-to-do".into(), &false.into()));
    let nothing = stage.run("undo-data drop -R @ROOT@ --keep 9").ok();
    assert_eq!(nothing, "nothing to do: there is no undo data to delete\n");
}

#[test]
fn several_patches_have_a_total_in_the_dry_run_and_in_the_run() {
    let stage = stage();
    let total = |line: &str| {
        let said = stage.run(line).ok();
        let last = said.lines().find(|line| line.starts_with("3 patches: ")).map(str::to_owned);
        last.unwrap_or_else(|| panic!("no total: {said}"))
    };
    let planned = total("undo-data drop --keep 0 --dry-run -R @ROOT@");
    assert!(planned.ends_with(" would be freed"), "{planned}");
    assert_eq!(total("undo-data drop --keep 0 -R @ROOT@"), planned.replace(" would be freed", " freed"));
}

#[test]
fn an_archive_elsewhere_goes_after_the_commit() {
    let stage = stage();
    stage.run("undo-data drop --keep 0 -R @ROOT@").ok();
    assert!(!stage.beside("undo").join("200-01").exists());
    for id in ["100-01", "100-02", "200-01"] {
        assert_eq!(undo_of(&stage, id), "committed", "{id}");
    }
    let history = stage.text("/var/sadm/patchadm/history");
    let last: Value = serde_json::from_str(history.lines().last().unwrap()).unwrap();
    assert_eq!(last["command"], "commit");
}

#[test]
fn an_archive_that_was_moved_elsewhere_is_named_and_goes_after_the_commit() {
    let stage = stage();
    let moved = stage.beside("moved");
    fs::rename(stage.beside("undo"), &moved).unwrap();
    let before = stage.everything();
    let said = stage.run("undo-data drop -R @ROOT@ 200-01").fails(1);
    assert!(said.contains("--undo-dir"), "{said}");
    assert!(before.difference(&stage.everything()).is_empty());
    stage.run(&format!("undo-data drop --undo-dir {} -R @ROOT@ 200-01", moved.display())).ok();
    assert!(!moved.join("200-01").exists(), "{:?}", fs::read_dir(&moved).unwrap().collect::<Vec<_>>());
    assert_eq!(undo_of(&stage, "200-01"), "committed");
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn the_newest_stay_removable() {
    let stage = stage();
    stage.run("undo-data drop --keep 1 -R @ROOT@").ok();
    let states: Vec<Value> = ["100-01", "100-02", "200-01"].map(|id| undo_of(&stage, id)).into();
    assert_eq!(states, ["committed", "committed", "saved"]);
}

#[test]
fn a_patch_under_one_without_undo_data_still_goes() {
    let stage = stage();
    stage.run("undo-data drop -R @ROOT@ 100-02").ok();
    stage.run("patchrm -f -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "as of 100-02\n");
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn a_patch_that_is_not_applied_is_refused() {
    let stage = stage();
    let said = stage.run("undo-data drop -R @ROOT@ 300-01").fails(4);
    assert!(said.contains("undo data of patch 300-01 was not dropped: it is not applied"), "{said}");
    let said = stage.run("undo-data drop --dry-run -R @ROOT@ 300-01").fails(4);
    assert!(said.contains("undo data of patch 300-01 would not be dropped: it is not applied"), "{said}");
    stage.run("undo-data drop -R @ROOT@").fails(2);
}

/// A root with 100-01 and 200-01, applied two years ago, and 100-02 and 100-03 of today.
fn aged_stage() -> Scenario {
    let mut stage =
        Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n".repeat(9_000))]);
    for (id, file, years) in [
        ("100-01", "bin/httpd", 2),
        ("200-01", "bin/tool", 2),
        ("100-02", "bin/httpd", 0),
        ("100-03", "bin/httpd", 0),
    ] {
        stage.set("SOURCE_DATE_EPOCH", (NOW - years * 365 * 86_400).to_string());
        stage.patchadd("", &large(id, file)).ok();
    }
    stage
}

/// A patch with a file that does not compress to nothing.
fn large(id: &str, file: &str) -> Patch {
    let mut state = id.bytes().fold(1_u32, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(60_000)
    .collect();
    Patch::of(id, Package::new("ACMEweb").file(file, 0o755, noise))
}

/// The document of a command that has notes on standard error, too.
fn document_with_notes(stage: &Scenario, line: &str) -> Value {
    let run = stage.run(line);
    assert_eq!(run.code, 0, "{}", run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

fn freeable(stage: &Scenario) -> u64 {
    let said = document(stage, "undo-data list --json -R @ROOT@");
    said["patches"].as_array().unwrap().iter().map(|patch| patch["freeable"].as_u64().unwrap()).sum()
}

fn irremovable(said: &Value) -> Vec<&str> {
    said["irremovable"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect()
}

#[test]
fn what_is_older_goes_but_for_the_newest_revision_of_a_patch() {
    let stage = aged_stage();
    let said = document(&stage, "undo-data drop --json --dry-run --older-than 1y -R @ROOT@");
    assert_eq!(irremovable(&said), ["100-01"], "{said}");
    assert_eq!(undo_of(&stage, "100-01"), "saved");
    stage.run("undo-data drop --older-than 1y -R @ROOT@").ok();
    let states: Vec<Value> = ["100-01", "100-02", "100-03", "200-01"].map(|id| undo_of(&stage, id)).into();
    assert_eq!(states, ["committed", "saved", "saved", "saved"]);
    let nothing = stage.run("undo-data drop --older-than 9999999y -R @ROOT@").ok();
    assert_eq!(nothing, "nothing to do: there is no undo data to delete\n");
    let said = document(&stage, "undo-data drop --json --older-than 1y -R @ROOT@ 200-01");
    assert_eq!(irremovable(&said), ["200-01"], "a patch that is named goes in any case");
}

#[test]
fn undo_data_shrinks_to_a_size_the_oldest_first() {
    let stage = aged_stage();
    let all = freeable(&stage);
    let said = document(&stage, &format!("undo-data drop --json --dry-run --shrink-to {all} -R @ROOT@"));
    assert_eq!(irremovable(&said), Vec::<&str>::new());
    let said =
        document(&stage, &format!("undo-data drop --json --dry-run --shrink-to {} -R @ROOT@", all - 1));
    assert_eq!(irremovable(&said), ["100-01"], "the oldest");
    let before = freeable(&stage);
    let said = document(&stage, &format!("undo-data drop --json --shrink-to {} -R @ROOT@", all - 1));
    assert_eq!(irremovable(&said), ["100-01"]);
    let (freed, promised) = (before - freeable(&stage), said["freed"].as_u64().unwrap());
    assert!(freed >= promised && freed - promised <= 8_192, "{freed} {promised}");
    assert!(freeable(&stage) < all);

    let said = document_with_notes(&stage, "undo-data drop --json --shrink-to 0 -R @ROOT@");
    assert_eq!(irremovable(&said), ["100-02"]);
    let note = said["notes"][0].as_str().unwrap();
    assert!(note.contains("over the limit") && note.contains("newest revisions"), "{note}");
    assert_eq!(undo_of(&stage, "100-03"), "saved");
    assert_eq!(undo_of(&stage, "200-01"), "saved");
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn undo_data_of_another_tool_is_passed_over_by_limits() {
    let stage = aged_stage();
    stage.forget_ledgers();
    let before = stage.everything();
    let said = stage.run("undo-data drop --shrink-to 0 -R @ROOT@").stdout;
    assert!(said.starts_with("nothing to do"), "{said}");
    let said = document_with_notes(&stage, "undo-data drop --json --shrink-to 0 -R @ROOT@");
    let notes = said["notes"].to_string();
    assert!(notes.contains("100-01 stays") && notes.contains("100-02 stays"), "{notes}");
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn ages_and_sizes_that_make_no_sense_are_wrong_usage() {
    let stage = stage();
    for value in
        ["--older-than 3", "--older-than -1d", "--older-than 99999999999999999999d", "--older-than x"]
    {
        let said = stage.run(&format!("undo-data drop {value} -R @ROOT@")).fails(2);
        assert!(said.contains("older-than"), "{value}: {said}");
    }
    for value in ["--shrink-to 5X", "--shrink-to -1", "--shrink-to 99999999999T", "--shrink-to 1.5G"] {
        let said = stage.run(&format!("undo-data drop {value} -R @ROOT@")).fails(2);
        assert!(said.contains("shrink-to"), "{value}: {said}");
    }
    assert_eq!(undo_of(&stage, "100-01"), "saved");
}

fn policy(stage: &Scenario, text: &str) {
    stage.file("/etc/patchadm/policy", text);
}

#[test]
fn a_limit_of_the_policy_is_kept_after_a_run_and_each_patch_is_named() {
    let stage = aged_stage();
    policy(&stage, "undo_max=0\n");
    let next = large("100-04", "bin/httpd").directory(&stage);
    let run = stage.run(&format!("add -R @ROOT@ {}", next.display()));
    assert_eq!(run.code, 0, "{}", run.stderr);
    for id in ["100-01", "100-02", "100-03"] {
        assert!(run.stderr.contains(&format!("patch {id} can no longer be removed")), "{}", run.stderr);
        assert_eq!(undo_of(&stage, id), "committed", "{id}");
    }
    for id in ["100-04", "200-01"] {
        assert_eq!(undo_of(&stage, id), "saved", "{id}");
    }
    let history = document(&stage, "history --json -R @ROOT@");
    let commands: Vec<&Value> =
        history["runs"].as_array().unwrap().iter().map(|run| &run["command"]).rev().take(2).collect();
    assert_eq!(commands, ["undo-limit", "patchadd"]);
    // The last run that can be undone is still that of the patch.
    stage.run("undo -R @ROOT@").ok();
    stage.run("check --contents -R @ROOT@").ok();
    assert!(!stage.run("list -R @ROOT@").ok().contains("100-04"));
}

#[test]
fn the_newest_patches_of_the_policy_keep_their_undo_data() {
    let stage = aged_stage();
    policy(&stage, "undo_keep=2\n");
    let next = large("300-01", "bin/other").directory(&stage);
    let said = document_with_notes(&stage, &format!("add --json -R @ROOT@ {}", next.display()));
    assert_eq!(irremovable(&said), ["100-01", "100-02"], "{said}");
    assert_eq!(said["notes"].as_array().unwrap().len(), 2);
    let next = large("300-02", "bin/other").directory(&stage);
    let said = document_with_notes(&stage, &format!("add --json --dry-run -R @ROOT@ {}", next.display()));
    assert!(said.get("irremovable").is_none(), "a plan gives nothing up: {said}");
    let said = document_with_notes(&stage, &format!("add --json -R @ROOT@ {}", next.display()));
    assert!(said.get("irremovable").is_none(), "300-01 is among the two newest: {said}");
}

#[test]
fn a_refused_run_gives_nothing_up_and_a_limit_that_cannot_be_kept_is_only_told() {
    let stage = aged_stage();
    policy(&stage, "undo_max=0%\n");
    stage.run("add -R @ROOT@ /no/such/patch").fails(1);
    assert_eq!(undo_of(&stage, "100-01"), "saved");
    fs::write(stage.at("/var/sadm/pkg/ACMEweb/save/100-01/obsolete.gz"), "damaged").unwrap();
    let next = large("300-01", "bin/other").directory(&stage);
    let run = stage.run(&format!("add -R @ROOT@ {}", next.display()));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("beyond the limits of the policy could not be deleted"), "{}", run.stderr);
    assert_eq!(undo_of(&stage, "100-02"), "saved");
}

#[test]
fn little_free_space_is_told_in_one_line() {
    let stage = aged_stage();
    policy(&stage, "undo_warn=100%\n");
    let next = large("300-01", "bin/other").directory(&stage);
    let run = stage.run(&format!("add -R @ROOT@ {}", next.display()));
    let told: Vec<&str> = run.stderr.lines().filter(|line| line.contains("% free")).collect();
    let [line] = told[..] else { panic!("{}", run.stderr) };
    assert!(line.contains(" undo-data list`") && line.contains(" undo-data drop --superseded`"), "{line}");
    policy(&stage, "undo_warn=0%\n");
    let next = large("300-02", "bin/other").directory(&stage);
    assert!(!stage.run(&format!("add -R @ROOT@ {}", next.display())).stderr.contains("% free"));
}

/// The size that `du` reports for everything that this program keeps, in bytes.
fn du(stage: &Scenario) -> u64 {
    let output =
        std::process::Command::new("du").args(["-s", "-B1"]).arg(stage.at("/var/sadm")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn shrinking_frees_what_it_promises_within_a_hundredth_of_large_undo_data() {
    for form in ["gz", "files"] {
        let noise = |seed: u32| {
            let mut state = seed;
            let next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            std::iter::repeat_with(next).take(2_000_000).collect::<Vec<u8>>()
        };
        let web = |seed| {
            let package = Package::new("ACMEweb").file("lib/one", 0o644, noise(seed));
            package.file("lib/two", 0o644, noise(seed + 100))
        };
        let stage = Scenario::with(&[web(1)]);
        policy(&stage, &format!("undo_format={form}\n"));
        for (id, seed) in [("100-01", 2), ("100-02", 3), ("100-03", 4), ("100-04", 5)] {
            stage.patchadd("", &Patch::of(id, web(seed))).ok();
        }
        let asked = "--json --shrink-to 9000000 -R @ROOT@";
        let promised = document(&stage, &format!("undo-data drop --dry-run {asked}"));
        let before = du(&stage);
        let said = document(&stage, &format!("undo-data drop {asked}"));
        assert_eq!(
            (irremovable(&said), &said["freed"]),
            (vec!["100-01", "100-02"], &promised["freed"]),
            "{form}"
        );
        let (freed, told) = (before - du(&stage), said["freed"].as_u64().unwrap());
        assert!(
            told >= 8_000_000 && freed.abs_diff(told) * 100 <= told,
            "{form}: {freed} freed, {told} told"
        );
        assert_eq!(undo_of(&stage, "100-03"), "saved");
        stage.run("check --contents -R @ROOT@").ok();
    }
}

in_parts!(no_limit_makes_the_newest_revision_of_a_patch_irremovable, draw_limits, 3);

/// Plays a part of the stories.
fn draw_limits(part: usize, parts: usize) {
    let mut state = 20_261_126 + u32::try_from(part).unwrap();
    let mut draw = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for _ in 0..6 / parts {
        let mut stage =
            Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n".repeat(9_000))]);
        let mut applied: Vec<(u32, u32)> = Vec::new();
        for day in 0..7 {
            stage.set("SOURCE_DATE_EPOCH", (NOW + day * 86_400).to_string());
            let limit = ["", "undo_keep=0\n", "undo_keep=1\n", "undo_max=0\n", "undo_max=30K\nundo_keep=2\n"];
            let form = ["gz", "zst", "xz", "files"][draw(4) as usize];
            policy(&stage, &format!("undo_format={form}\n{}", limit[draw(5) as usize]));
            let base = 100 * (1 + draw(3));
            let revision = applied.iter().filter(|one| one.0 == base).map(|one| one.1).max().unwrap_or(0) + 1;
            let id = format!("{base}-{revision:02}");
            let mut patch = large(&id, &format!("bin/{base}"));
            let others = applied.iter().filter(|one| one.0 != base).map(|one| one.0).max();
            if let Some(other) = others.filter(|_| draw(4) == 0) {
                patch = patch.says("SUNW_OBSOLETES", &format!("{other}-99"));
            }
            // A patch that another one obsoletes is not applied.
            if stage.patchadd("", &patch).code != 0 {
                continue;
            }
            applied.push((base, revision));
            let by_hand = ["--shrink-to 0", "--older-than 1d", "--shrink-to 20K", "--superseded --dry-run"]
                [draw(4) as usize];
            // A note tells what a limit does not reach.
            assert_eq!(stage.run(&format!("undo-data drop {by_hand} -R @ROOT@")).code, 0);
            for (base, _) in &applied {
                let newest = applied.iter().filter(|one| one.0 == *base).map(|one| one.1).max().unwrap();
                let id = format!("{base}-{newest:02}");
                assert_eq!(undo_of(&stage, &id), "saved", "{id} of {applied:?} with {by_hand}");
            }
        }
        assert!(applied.len() > 2, "{applied:?}");
        for (base, revision) in applied.iter().rev() {
            let id = format!("{base}-{revision:02}");
            if undo_of(&stage, &id) == "saved" {
                let run = stage.run(&format!("remove -R @ROOT@ {id}"));
                // A patch that obsoletes it may have given its undo data up.
                assert!([0, 3].contains(&run.code), "{id} of {applied:?}: {}", run.stderr);
            }
        }
    }
}
