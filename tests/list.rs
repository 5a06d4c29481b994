//! `patchadm list`: sort orders, dates, synopses, and notes about an interrupted run.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{NOW, Scenario};

fn patch(id: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file(&format!("bin/{id}"), 0o755, "new\n"))
}

/// Three patches, applied a day apart, the one with the lowest id last.
fn stage() -> Scenario {
    let mut stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    for (day, id) in ["300-01", "200-01", "100-01"].into_iter().enumerate() {
        let moment = NOW + 86_400 * u64::try_from(day).unwrap();
        stage.set("SOURCE_DATE_EPOCH", moment.to_string());
        let readme = format!("Patch-ID# {id}\nSynopsis: fixes {id}:\n   and more\nDate: Nov/20/26\n");
        let patch = patch(id).beside(&format!("README.{id}"), &readme);
        stage.patchadd("", &patch).ok();
    }
    stage
}

#[track_caller]
fn ids(stage: &Scenario, options: &str) -> Vec<String> {
    let text = stage.run(&format!("list -R @ROOT@ {options}")).ok();
    text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn a_list_is_in_the_order_of_ids_or_of_dates() {
    let stage = stage();
    assert_eq!(ids(&stage, ""), ["100-01", "200-01", "300-01"]);
    assert_eq!(ids(&stage, "--order id"), ["100-01", "200-01", "300-01"]);
    assert_eq!(ids(&stage, "--order date"), ["300-01", "200-01", "100-01"]);
    let said = stage.run("list -R @ROOT@ --order size").fails(2);
    assert!(said.contains("it is id or date"), "{said}");
}

#[test]
fn what_was_applied_since_a_day_or_a_moment_is_listed() {
    let stage = stage();
    assert_eq!(ids(&stage, "--applied-since 2026-11-21"), ["100-01", "200-01"]);
    assert_eq!(ids(&stage, "--applied-since 2026-11-21T07:00:00Z"), ["100-01", "200-01"]);
    assert_eq!(ids(&stage, "--applied-since 2026-11-21T07:00:01Z"), ["100-01"]);
    assert_eq!(ids(&stage, "--applied-since 2026-11-21T08:30:00+01:00"), ["100-01"]);
    let none = stage.run("list -R @ROOT@ --applied-since 2027-01-01").ok();
    assert_eq!(none, "No patches were applied since then.\n");
    let said = stage.run("list -R @ROOT@ --applied-since yesterday").fails(2);
    assert!(
        said.contains("not a date: write '2026-11-20', '2026-11-20 07:00' or '2026-11-20T07:00:00+01:00'"),
        "{said}"
    );
}

#[test]
fn a_date_whose_zone_means_nothing_is_told_as_recorded_and_not_as_a_moment() {
    let stage = stage();
    let pkginfo = stage.at("/var/sadm/pkg/ACMEweb/pkginfo");
    let text = fs::read_to_string(&pkginfo).unwrap();
    fs::write(&pkginfo, text.replace("Nov 20 07:00:00 UTC 2026", "Nov 20 07:00:00 MUC 2026")).unwrap();
    let list: Value = serde_json::from_str(&stage.run("list --json -R @ROOT@").ok()).unwrap();
    let dates = |at: usize| (list["patches"][at]["date"].clone(), list["patches"][at]["date_text"].clone());
    assert_eq!(dates(0), ("2026-11-22T07:00:00+00:00".into(), "Sun Nov 22 07:00:00 UTC 2026".into()));
    assert_eq!(dates(2), (Value::Null, "Fri Nov 20 07:00:00 MUC 2026".into()));
    assert_eq!(ids(&stage, "--order date"), ["200-01", "100-01", "300-01"]);
    let run = stage.run("list -R @ROOT@ --applied-since 2026-11-22");
    assert_eq!((run.code, run.stdout.lines().count()), (0, 1));
    let note = "note: 1 of the patches has no usable date; it is left out.\n";
    assert_eq!(run.stderr, note);
}

#[test]
fn synopses_are_listed_where_more_is_wanted_and_nothing_where_only_errors_are() {
    let stage = stage();
    let text = stage.run("list -v -R @ROOT@").ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[1]), (6, "        fixes 100-01: and more"));
    assert!(!stage.run("list -R @ROOT@").ok().contains("fixes"));
    let list: Value = serde_json::from_str(&stage.run("list --json -R @ROOT@").ok()).unwrap();
    assert_eq!(list["patches"][0]["synopsis"], "fixes 100-01: and more");
    assert_eq!(stage.run("list -q -R @ROOT@").ok(), "");
    assert_eq!(stage.run("list -q -R /no/such/root").code, 1);
    assert!(stage.run("list -q -v -R @ROOT@").fails(2).contains("cannot be used with"));
}

#[test]
fn whether_a_root_lacks_a_patch_is_asked_by_its_records() {
    let mut stage = stage();
    stage.set("SOURCE_DATE_EPOCH", NOW.to_string());
    stage.patchadd("", &patch("400-02").says("SUNW_OBSOLETES", "500-03")).ok();
    for (id, said) in [
        ("100-01", "The root has 100-01.\n"),
        ("100-02", "The root is missing 100-02.\n"),
        ("400-01", "The root has 400-02, which contains 400-01.\n"),
        ("500-02", "The root has 400-02, which contains 500-02.\n"),
        ("500-04", "The root is missing 500-04.\n"),
    ] {
        let run = stage.run(&format!("list -R @ROOT@ --missing {id}"));
        let code = if said.contains("is missing") { 4 } else { 0 };
        assert_eq!((run.code, run.stdout.as_str()), (code, said), "{id}");
    }
    let document: Value =
        serde_json::from_str(&stage.run("list --json -R @ROOT@ --missing 500-02").ok()).unwrap();
    assert_eq!(
        (&document["patch"], &document["lacking"], &document["has"]),
        (&"500-02".into(), &false.into(), &"400-02".into())
    );
    stage.run("list -R @ROOT@ --missing onehundred").fails(2);
    let said = stage.run("list -R @ROOT@ --missing 100-01 --order date").fails(2);
    assert!(said.contains("cannot be used with"), "{said}");
}

/// A root on which a run died during a script of its patch.
pub(crate) fn interrupted() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    stage.patchadd("", &patch("100-01")).ok();
    let wait = "#!/bin/sh\ntouch $PKG_INSTALL_ROOT/begun\nexec sleep 60\n";
    let waiting = Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").information("preinstall", wait);
    Patch::of("200-01", waiting).directory(&stage);
    let root = stage.root();
    let line = "add --scripts run -R @ROOT@ delivered/200-01";
    let mut child = stage.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    crate::workshop::eventually("the script has begun", || root.join("begun").exists());
    let listed = stage.run("list -R @ROOT@");
    assert_eq!((listed.code, listed.stderr.as_str()), (0, ""), "a command that is at work needs no recovery");
    let status = stage.run("status -R @ROOT@").ok();
    assert!(status.contains(" (patchadm add) has been changing the root since "), "{status}");
    child.kill().unwrap();
    child.wait().unwrap();
    stage
}

/// The records of the run are in place already, but recovery takes them back.
#[test]
fn a_patch_of_a_depot_whose_run_died_is_not_called_applied_and_the_next_command_applies_it() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    let wait =
        "#!/bin/sh\n[ -e $PKG_INSTALL_ROOT/begun ] && exit 0\ntouch $PKG_INSTALL_ROOT/begun\nexec sleep 60\n";
    let waiting = Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").information("postinstall", wait);
    Patch::of("200-01", waiting).directory(&stage);
    let line = "-R @ROOT@ --scripts run -M delivered 200-01";
    let mut command = stage.command(&format!("add {line}"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let root = stage.root();
    crate::workshop::eventually("the script has begun", || root.join("begun").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    for verb in ["plan", "add -n"] {
        let said = stage.run(&format!("{verb} {line}")).done();
        assert!(said.starts_with("200-01: would be applied"), "{verb}: {said}");
    }
    let said = stage.run(&format!("add {line}")).done();
    assert!(said.contains("200-01: applied"), "{said}");
    assert_eq!(stage.text("opt/ACMEweb/bin/httpd"), "two\n");
}

#[test]
fn who_asks_about_a_root_with_an_interrupted_run_is_pointed_to_recovery() {
    let stage = interrupted();
    for line in [
        "list -R @ROOT@",
        "show -R @ROOT@ 100-01",
        "show -R @ROOT@ /opt/ACMEweb/bin/httpd",
        "history -R @ROOT@",
        "list --missing 100-01 -R @ROOT@",
    ] {
        let run = stage.run(line);
        assert_eq!(run.code, 0, "{line}: {}", run.stderr);
        assert!(
            run.stdout.contains(if line.contains("httpd") { "ACMEweb" } else { "100-01" }),
            "{line}: {}",
            run.stdout
        );
        assert!(run.stderr.starts_with("note: Run 3-"), "{line}: {}", run.stderr);
        assert!(run.stderr.ends_with(" Run `patchadm -R @ROOT@ recover`.\n"), "{line}: {}", run.stderr);
    }
    let list: Value = serde_json::from_str(&stage.run("list --json -R @ROOT@").stdout).unwrap();
    assert!(list["unfinished"].as_str().unwrap().starts_with("3-"), "{list}");
    patch("300-01").directory(&stage);
    let run = stage.run("check --contents -R @ROOT@");
    assert_eq!(run.code, 9, "{}", run.stderr);
    assert!(run.stdout.contains("recover`"), "{}", run.stdout);
    let plans = ["plan -R @ROOT@ delivered/300-01", "remove --dry-run -R @ROOT@ 100-01"];
    let before = plans.map(|line| {
        let run = stage.run(line);
        assert_eq!(run.code, 0, "{line}: {}", run.stderr);
        assert!(run.stderr.starts_with("note: Run 3-"), "{line}: {}", run.stderr);
        let recovery =
            "was interrupted: `recover`, or the next change, will roll it back. This is the plan after that.";
        assert!(run.stderr.contains(recovery), "{line}: {}", run.stderr);
        without_free_space(&run.stdout)
    });
    let plan: Value =
        serde_json::from_str(&stage.run("plan --json -R @ROOT@ delivered/300-01").stdout).unwrap();
    assert_eq!((&plan["changed"], &plan["would_change"]), (&false.into(), &true.into()));
    assert!(plan["recovered"].as_str().unwrap().contains("will roll it back"), "{plan}");
    assert!(stage.run("recover -R @ROOT@").ok().contains("was rolled back"));
    assert!(stage.run("list -R @ROOT@").ok().starts_with("100-01  effective"));
    let after = plans.map(|line| without_free_space(&stage.run(line).ok()));
    assert_eq!(after, before, "the plans are those that were foreseen");
}

/// Other programs change the free space meanwhile.
fn without_free_space(plan: &str) -> String {
    plan.lines().filter(|line| !line.starts_with("Space on ")).collect()
}

#[test]
fn texts_show_times_in_the_time_zone_of_the_caller_and_in_one_form() {
    let stage = stage();
    for line in ["list -R @ROOT@", "show -R @ROOT@ 300-01", "history -R @ROOT@"] {
        let output = stage.command(line).env("TZ", "IST-5:30").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(" 2026-11-20 12:30"), "{line}: {said}");
        assert!(!said.contains("T07:00:00Z") && !said.contains("07:00:00 UTC"), "{line}: {said}");
        assert!(stage.run(line).ok().contains(" 2026-11-20 07:00"), "{line}");
    }
}
