//! The number of operands does not change the meaning of a command, and an option that counts once may be given once.

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::patch_documents::{document, verdicts};
use crate::scenario::{Scenario, code_of};
use crate::tree::assert_same;

fn web(text: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, text)
}

/// A root with 100-01 and 100-02 applied, and patches beside it.
fn stage() -> Scenario {
    let stage = unpatched();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    stage.run("add -R @ROOT@ delivered/100-02").ok();
    stage
}

/// The same with 100-02 only.
fn later() -> Scenario {
    let stage = unpatched();
    stage.run("add -R @ROOT@ delivered/100-02").ok();
    stage
}

/// A root without patches, and patches beside it.
fn unpatched() -> Scenario {
    let stage = Scenario::with(&[web("one\n")]);
    let elsewhere = Package::new("ACMEnone").file("bin/x", 0o755, "x\n");
    for patch in [
        Patch::of("100-01", web("two\n")),
        Patch::of("100-02", web("three\n")),
        Patch::of("200-01", Package::new("ACMEweb").file("bin/new", 0o755, "new\n")),
        Patch::of("300-01", elsewhere),
    ] {
        patch.directory(&stage);
    }
    stage
}

#[test]
fn a_patch_that_is_in_force_is_nothing_to_do_for_a_verb_alone_and_among_others() {
    for (patch, why) in
        [("100-02", "it is already applied to ACMEweb"), ("100-01", "the later revision 100-02 is applied")]
    {
        let stage = later();
        let before = stage.everything();
        for verb in ["plan", "add --dry-run", "add"] {
            let alone = format!("{verb} -R @ROOT@ delivered/{patch}");
            assert_eq!(stage.run(&alone).ok(), format!("{patch}: nothing to do: {why}\n"), "{verb}");
            let document = document(&stage, &alone);
            assert_eq!(document["result"], "nothing-to-do", "{document}");
            assert_eq!((&document["exit_code"], &document["cause"]), (&0.into(), &"ok".into()));
            let twice = format!("{verb} -R @ROOT@ delivered/{patch} delivered/{patch}");
            assert_eq!(stage.run(&twice).ok().lines().count(), 1, "{verb}: it is one patch");
        }
        assert_same(&stage.everything(), &before);
        let among = format!("add -R @ROOT@ delivered/{patch} delivered/200-01");
        let said = stage.run(&among).ok();
        assert!(said.starts_with("200-01: applied"), "{said}");
        let last = format!("\n{patch}: nothing to do: {why}\n2 patches: 1 applied, 1 skipped; ");
        assert!(said.contains(&last), "{said}");
    }
}

/// If no named patch is for this root, the command fails, however often they are named; among other patches it
/// succeeds.
#[test]
fn a_patch_without_a_package_here_is_told_and_no_failure_of_the_others() {
    let stage = later();
    let before = stage.everything();
    let why = "none of its packages is installed in the required version and architecture: ACMEnone (i386) 1.0 (not installed)";
    for verb in ["plan", "add --dry-run", "add"] {
        for operands in ["delivered/300-01", "delivered/300-01 delivered/300-01"] {
            let line = format!("{verb} -R @ROOT@ {operands}");
            let said = stage.run(&line).fails(3);
            assert!(said.contains(why), "{line}: {said}");
            let document = document(&stage, &line);
            assert_eq!(
                (&document["result"], &document["cause"]),
                (&"refused".into(), &"not-applicable".into())
            );
        }
    }
    assert_same(&stage.everything(), &before);
    let said = stage.run("add -R @ROOT@ delivered/300-01 delivered/200-01").ok();
    assert!(said.starts_with("200-01: applied"), "{said}");
    let last = format!("\n300-01: nothing to do: {why}\n2 patches: 1 applied, 1 skipped; ");
    assert!(said.contains(&last), "{said}");
}

#[test]
fn patchadd_ends_for_one_patch_with_its_classic_code_and_for_several_with_that_of_the_first_failure() {
    let stage = later();
    for (patch, code) in [("100-02", 2), ("100-01", 35), ("300-01", 8)] {
        for ask in ["patchadd -a", "patchadd"] {
            stage.run(&format!("{ask} -R @ROOT@ delivered/{patch}")).fails(code);
            stage.run(&format!("{ask} -R @ROOT@ delivered/{patch} delivered/{patch}")).fails(code);
            let both = stage.run(&format!("{ask} -R @ROOT@ delivered/{patch} delivered/200-01"));
            assert_eq!(both.code, 0, "{ask} {patch}");
        }
    }
}

#[test]
fn of_several_patches_all_go_or_none_is_touched() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/200-01").ok();
    let before = stage.everything();
    for ids in ["200-01 999-01", "999-01 200-01", "100-01 200-01 999-01"] {
        for command in ["remove --dry-run", "remove", "patchrm -a", "patchrm"] {
            let line = format!("{command} -R @ROOT@ {ids}");
            let document = document(&stage, &line);
            assert_eq!(
                document["exit_code"],
                match (command, ids.starts_with("100")) {
                    ("patchrm" | "patchrm -a", true) => 6,
                    ("patchrm" | "patchrm -a", false) => 2,
                    (_, true) => 3,
                    (_, false) => 4,
                },
                "{line}: {document}"
            );
            let patches = document["patches"].as_array().unwrap();
            let verdict = |id: &str| patches.iter().find(|one| one["id"] == id).unwrap()["verdict"].clone();
            assert_eq!(
                (verdict("200-01"), verdict("999-01")),
                ("not-tried".into(), "refused".into()),
                "{line}"
            );
            assert_same(&stage.everything(), &before);
        }
    }
    let said = stage.run("remove -R @ROOT@ 200-01 999-01");
    let last = "200-01: not tried because of patch 999-01\n2 patches: 1 refused, 1 not tried; ";
    assert!(said.stdout.starts_with(last), "{}", said.stdout);
    assert!(said.stderr.contains("patch 999-01 was not removed: "), "{}", said.stderr);
    let said = stage.run("remove --dry-run -R @ROOT@ 200-01 999-01");
    assert!(said.stderr.contains("patch 999-01 would not be removed: "), "{}", said.stderr);
    let said = stage.run("remove -R @ROOT@ 100-01 100-02 100-01 200-01").ok();
    let order: Vec<&str> = said.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(order, ["200-01", "100-02", "100-01", "3 patches"], "{said}");
}

#[test]
fn what_must_go_first_is_planned_first_as_it_is_taken_back_first() {
    let stage = stage();
    let said = stage.run("remove --dry-run -R @ROOT@ 100-01 100-02").ok();
    let [later, earlier] =
        ["100-02: would be removed", "100-01: would be removed"].map(|line| said.find(line).unwrap());
    assert!(later < earlier, "{said}");
    let (_, total) = said.split_once("\n2 patches: 2 planned\n").unwrap();
    assert!(total.starts_with("Objects: "), "{said}");
    assert!(total.contains(" replaced, 0 added, 0 deleted.\nSpace on "), "{said}");
    assert!(total.ends_with("\nUndo data: none.\n") && total.lines().count() == 3, "{said}");
    assert_eq!(stage.run("patchrm -a -R @ROOT@ 100-01 100-02").code, 0);
    stage.run("patchrm -R @ROOT@ 100-01 100-02").ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

#[test]
fn a_plan_of_several_patches_knows_what_the_ones_before_would_leave() {
    let stage = stage();
    let needs = Patch::of("400-01", Package::new("ACMEweb").file("bin/late", 0o755, "late\n"));
    needs.says("SUNW_REQUIRES", "200-01").directory(&stage);
    let both = "-R @ROOT@ delivered/400-01 delivered/200-01";
    stage.run("plan -R @ROOT@ delivered/400-01").fails(3);
    for ask in ["plan", "add --dry-run", "add"] {
        let said = stage.run(&format!("{ask} {both}")).ok();
        assert!(said.find("200-01: ").unwrap() < said.find("400-01: ").unwrap(), "{ask}: {said}");
    }
}

fn new_file(id: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file(&format!("bin/{id}"), 0o755, id))
}

/// In any order, a patch that another one contains drops out, and every operand has a verdict.
#[test]
fn several_operands_are_a_set() {
    let stage = Scenario::with(&[web("one\n")]);
    new_file("100-01").directory(&stage);
    new_file("100-02").directory(&stage);
    new_file("200-01").directory(&stage);
    new_file("300-01").says("SUNW_OBSOLETES", "200-01").says("SUNW_REQUIRES", "400-01").directory(&stage);
    new_file("400-01").directory(&stage);
    new_file("500-01").says("SUNW_REQUIRES", "600-01").directory(&stage);
    new_file("600-01").says("SUNW_REQUIRES", "999-01").directory(&stage);
    new_file("700-01").says("SUNW_REQUIRES", "800-01").directory(&stage);
    new_file("800-01").says("SUNW_REQUIRES", "700-01").directory(&stage);
    new_file("900-01").says("SUNW_INCOMPAT", "100-02").directory(&stage);
    let mut names: Vec<String> = std::fs::read_dir(stage.beside("delivered"))
        .unwrap()
        .map(|entry| format!("delivered/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    let expected = [
        "100-02 planned 0",
        "400-01 planned 0",
        "300-01 planned 0",
        "100-01 superseded 0",
        "200-01 obsoleted 0",
        "500-01 refused 3",
        "600-01 refused 3",
        "700-01 refused 3",
        "800-01 refused 3",
        "900-01 refused 3",
    ];
    for _ in 0..3 {
        let found = document(&stage, &format!("plan -R @ROOT@ {}", names.join(" ")));
        assert_eq!(verdicts(&found), expected);
        names.rotate_left(3);
    }
    let found = document(&stage, &format!("patchadd -R @ROOT@ {}", names.join(" ")));
    assert_eq!(found["exit_code"], 25);
    let reason = |id: &str| {
        let patches = found["patches"].as_array().unwrap();
        patches.iter().find(|one| one["id"] == id).unwrap()["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason("100-01"), "100-02 of this set is a later revision");
    assert_eq!(reason("200-01"), "300-01 of this set contains it");
    assert_eq!(reason("600-01"), "it requires patch 999-01 or later, which is not applied");
    assert_eq!(
        reason("900-01"),
        "it is incompatible with 100-02 according to 900-01, and 100-02 was selected first"
    );
    assert!(reason("700-01").starts_with("its requirements form a cycle: "), "{}", reason("700-01"));
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok(), "100-02 400-01 300-01\n");
}

#[test]
fn all_or_nothing_holds_for_operands_that_cannot_be_read_too() {
    let stage = unpatched();
    let before = stage.everything();
    let found = document(&stage, "add --all-or-nothing -R @ROOT@ delivered/200-01 delivered/nothing");
    assert_eq!(verdicts(&found), ["200-01 not-tried 0", "nothing failed 1"]);
    assert_same(&stage.everything(), &before);
    let found = document(&stage, "add --all-or-nothing -R @ROOT@ delivered/200-01 delivered/300-01");
    assert_eq!(verdicts(&found), ["200-01 applied 0", "300-01 not-applicable 3"]);
}

#[test]
fn one_patch_in_two_forms_is_one_and_two_patches_of_one_id_are_refused() {
    let stage = unpatched();
    let copy = stage.beside("copy.tar.gz");
    let archived = crate::delivery::archive(&stage.beside("delivered/200-01"), ".tar.gz");
    std::fs::rename(archived, &copy).unwrap();
    let found = document(&stage, "plan -R @ROOT@ delivered/200-01 copy.tar.gz");
    assert_eq!(verdicts(&found), ["200-01 planned 0"]);
    let other = Patch::of("200-01", Package::new("ACMEweb").file("bin/new", 0o755, "other\n"));
    other.write(&stage.beside("elsewhere"));
    let found = document(&stage, "plan -R @ROOT@ elsewhere/200-01 delivered/200-01 delivered/100-01");
    assert_eq!(verdicts(&found), ["100-01 planned 0", "200-01 refused 3"]);
    let reason = found["patches"][1]["reason"].as_str().unwrap();
    assert!(reason.starts_with("it occurs twice with different content: "), "{reason}");
    assert!(reason.contains("delivered/200-01") && reason.contains("elsewhere/200-01"), "{reason}");
    stage.run("add -R @ROOT@ elsewhere/200-01 delivered/200-01").fails(3);
}

#[test]
fn a_patch_that_is_applied_goes_in_again_among_others_where_that_is_asked_for() {
    let stage = later();
    let line = "patchadd -u -R @ROOT@ delivered/100-02 delivered/200-01";
    assert_eq!(verdicts(&document(&stage, line)), ["100-02 applied 0", "200-01 applied 0"]);
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok(), "100-02 200-01\n");
}

/// Patches that operands require come from the depot of the policy, and nothing else does.
#[test]
fn the_depot_of_the_policy_serves_what_operands_require() {
    let stage = unpatched();
    let needs = new_file("400-01").says("SUNW_REQUIRES", "500-01").write(&stage.beside("here"));
    assert!(needs.exists());
    new_file("500-01").write(&stage.beside("depot"));
    new_file("500-02").write(&stage.beside("depot"));
    new_file("600-01").write(&stage.beside("depot"));
    Patch::of("200-01", web("of the depot\n")).write(&stage.beside("depot"));
    let depot = stage.beside("depot");
    std::fs::write(stage.beside("policy"), format!("depot={}\n", depot.display())).unwrap();
    let found = document(&stage, "plan --policy policy -R @ROOT@ --no-requires here/400-01");
    assert_eq!(verdicts(&found), ["400-01 refused 3"]);
    let found = document(&stage, "add --policy policy -R @ROOT@ here/400-01 delivered/200-01");
    assert_eq!(verdicts(&found), ["200-01 applied 0", "500-02 applied 0", "400-01 applied 0"]);
    let pulled = &found["patches"][1];
    assert_eq!((&pulled["named"], &pulled["because"][0]), (&false.into(), &"400-01".into()));
    assert_eq!(pulled["depot"], depot.to_str().unwrap());
    assert_eq!(found["patches"][2]["depot"], Value::Null);
    assert_eq!(stage.text("/opt/ACMEweb/bin/new"), "new\n");
    // The history records the patch that required it, and a patch without requirements queries no depot.
    let why = document(&stage, "show -R @ROOT@ 500-02")["answers"][0].clone();
    assert_eq!((&why["named"], &why["because"][0]), (&false.into(), &"400-01".into()));
    std::fs::write(stage.beside("policy"), "depot=/nowhere/at/all\n").unwrap();
    stage.run("add --policy policy -R @ROOT@ delivered/100-01").ok();
}

#[test]
fn an_option_that_counts_once_is_not_said_twice() {
    let stage = stage();
    for line in [
        // Verbs for one root.
        "undo -R @ROOT@ -R /other",
        "-R /other undo -R @ROOT@",
        "confirm -R @ROOT@ -R /other",
        "adopt --refresh -R @ROOT@ -R /other",
        "key list -R @ROOT@ -R /other",
        "history -R @ROOT@ -R /other",
        "stage list -R @ROOT@ -R /other",
        "patchadd -R @ROOT@ -R /other delivered/200-01",
        "patchadd -R @ROOT@ -B /a -B /b delivered/200-01",
        "patchrm -R @ROOT@ -R /other 100-02",
        "pkgadd -n -R @ROOT@ -R /other -d spool ACMEweb",
        "pkgadd -n -R @ROOT@ -d spool -d spool ACMEweb",
        "pkgrm -n -R @ROOT@ -R /other ACMEweb",
        "pkginfo -R @ROOT@ -R /other",
        "pkgchk -R @ROOT@ -R /other",
        "installf -R @ROOT@ -R /other ACMEweb /opt/ACMEweb/log d 0755 root root",
        "removef -R @ROOT@ -R /other ACMEweb /opt/ACMEweb/bin/httpd",
        "showrev -p -R @ROOT@ -R /other",
        "add -R @ROOT@ --edited keep --edited replace delivered/200-01",
    ] {
        let before = stage.everything();
        let said = stage.run(line).fails(code_of(line, 1, 2));
        assert!(said.contains("cannot be used multiple times"), "{line}: {said}");
        assert_same(&stage.everything(), &before);
    }
    stage.run("add -R @ROOT@ --json --json delivered/100-02").ok();
    stage.run("pkgadd -n -n -R @ROOT@ -d spool ACMEweb");
    stage.run("plan -R @ROOT@ --replace-edited /a --replace-edited /b delivered/200-01").ok();
}
