//! Edits of an administrator are never lost, whether they were made before a patch or while it is applied.

use std::fs;

use crate::delivery::Patch;
use crate::packages::{DELIVERED, Package};
use crate::records::Before;
use crate::scenario::{Run, Scenario};

const HTTPD: &str = "/opt/ACMEweb/bin/httpd";
const TOOL: &str = "/opt/ACMEweb/bin/tool";
const CONF: &str = "/opt/ACMEweb/etc/web.conf";
const LOG: &str = "/opt/ACMEweb/etc/web.log";

fn package(version: &str) -> Package {
    Package::new("ACMEweb")
        .file("bin/httpd", 0o755, format!("httpd {version}\n"))
        .file("bin/tool", 0o755, format!("tool {version}\n"))
        .content('e', "etc/web.conf", 0o644, "root root", DELIVERED, format!("conf {version}\n"))
        .content('v', "etc/web.log", 0o644, "root root", DELIVERED, format!("log {version}\n"))
}

/// A root with the package, `bin/httpd` and `bin/tool` edited, and a patch that replaces everything.
fn stage() -> Scenario {
    let stage = Scenario::with(&[package("1")]);
    write(&stage, HTTPD, "my httpd\n");
    write(&stage, TOOL, "my tool\n");
    Patch::of("100-01", package("2")).directory(&stage);
    stage
}

fn write(stage: &Scenario, path: &str, text: &str) {
    fs::write(stage.at(path), text).unwrap();
}

fn add(stage: &Scenario, options: &str) -> Run {
    stage.run(&format!("add {options} -R @ROOT@ delivered/100-01"))
}

fn exists(stage: &Scenario, path: &str) -> bool {
    stage.at(path).symlink_metadata().is_ok()
}

#[test]
fn edited_files_stop_a_patch_and_every_one_is_named() {
    let stage = stage();
    let before = stage.everything();
    for (line, was_not) in [
        ("add", "was not"),
        ("add --edited stop", "was not"),
        ("add --dry-run", "would not be"),
        ("plan", "would not be"),
    ] {
        let said = stage.run(&format!("{line} -R @ROOT@ delivered/100-01")).fails(3);
        assert_eq!(
            said,
            format!(
                "patchadm: error: patch 100-01 {was_not} applied: 2 files are modified locally\n    \
                 @ROOT@/opt/ACMEweb/bin/httpd\n    @ROOT@/opt/ACMEweb/bin/tool\n    nothing was changed\nhint: \
                 use `--edited replace` or `--edited keep`; for one file, use `--replace-edited PATH` or `--keep-edited PATH`\n"
            )
        );
    }
    assert_eq!(stage.everything(), before);
}

#[test]
fn an_empty_directory_in_the_place_of_a_file_stops_a_patch() {
    let stage = Scenario::with(&[package("1")]);
    Patch::of("100-01", package("2")).directory(&stage);
    fs::remove_file(stage.at(HTTPD)).unwrap();
    fs::create_dir(stage.at(HTTPD)).unwrap();
    let before = stage.everything();
    for line in ["add", "plan"] {
        let said = stage.run(&format!("{line} -R @ROOT@ delivered/100-01")).fails(3);
        assert!(said.contains("1 file is modified locally\n    @ROOT@/opt/ACMEweb/bin/httpd\n"), "{said}");
    }
    assert_eq!(stage.everything(), before);
    add(&stage, "--edited replace").ok();
    assert!(stage.at(HTTPD).is_file());
}

#[test]
fn a_file_in_the_way_that_no_package_owns_is_not_called_edited() {
    let stage = stage();
    stage.file("/opt/ACMEweb/bin/new", "mine\n");
    Patch::of("200-01", Package::new("ACMEweb").file("bin/new", 0o755, "new\n")).directory(&stage);
    let said = stage.run("add -R @ROOT@ delivered/200-01").fails(3);
    let why = "200-01 was not applied: 1 file exists already and belongs to no package\n    \
               @ROOT@/opt/ACMEweb/bin/new\n    nothing was changed\n";
    assert!(said.contains(why), "{said}");
    let more = Package::new("ACMEweb").file("bin/new", 0o755, "new\n").file("bin/tool", 0o755, "tool\n");
    Patch::of("300-01", more).directory(&stage);
    let said = stage.run("add -R @ROOT@ delivered/300-01").fails(3);
    let why = "1 file is modified locally\n    @ROOT@/opt/ACMEweb/bin/tool\n    \
               1 file exists already and belongs to no package\n    @ROOT@/opt/ACMEweb/bin/new\n";
    assert!(said.contains(why), "{said}");
}

#[test]
fn a_plan_that_edited_files_stop_is_shown_with_the_reason() {
    let stage = stage();
    for line in ["plan", "add --dry-run"] {
        let run = stage.run(&format!("{line} -R @ROOT@ delivered/100-01"));
        assert_eq!(run.code, 3);
        let lines: Vec<&str> = run.stdout.lines().collect();
        let expected = [
            "100-01: would be refused".to_owned(),
            "  For: ACMEweb (i386) 1.0 (installed as ACMEweb)".to_owned(),
            "If it were not refused, it would make these changes:".to_owned(),
            "Package ACMEweb:".to_owned(),
            format!("  replace          @ROOT@{HTTPD} (8 bytes)"),
            format!("  replace          @ROOT@{TOOL} (7 bytes)"),
            format!("  replace          @ROOT@{CONF} (7 bytes)"),
            format!("  replace          @ROOT@{LOG} (6 bytes)"),
        ];
        assert_eq!(lines, expected, "{line}");
    }
    let run = stage.run("plan --json -R @ROOT@ delivered/100-01");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["patches"][0]["refused_changes"].as_array().unwrap().len(), 4, "{document}");
    assert_eq!(document["would_change"], false);
    assert_eq!(add(&stage, "").code, 3);
    assert_eq!(add(&stage, "").stdout, "", "a plan is shown where one was asked for");
}

#[test]
fn an_edited_file_may_be_named_relative_to_the_root() {
    let stage = stage();
    add(&stage, &format!("--replace-edited {} --keep-edited .{TOOL}", &HTTPD[1..])).ok();
    assert_eq!(stage.text(HTTPD), "httpd 2\n");
    assert_eq!(stage.text(TOOL), "my tool\n");
}

#[test]
fn attributes_alone_stop_nothing() {
    let stage = Scenario::with(&[package("1")]);
    Patch::of("100-01", package("2")).directory(&stage);
    stage.mode(HTTPD, 0o700);
    stage.mtime(TOOL, 1_700_000_000);
    let before = Before::of(&stage);
    add(&stage, "").ok();
    assert_eq!(stage.text(HTTPD), "httpd 2\n");
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "the attributes come back as they were");
}

#[test]
fn replaced_edits_go_into_the_undo_data_and_come_back() {
    for line in
        ["add --edited replace", "patchadd -u", "add --replace-edited @HTTPD@ --replace-edited @TOOL@"]
    {
        let stage = stage();
        let before = Before::of(&stage);
        let line = line.replace("@HTTPD@", HTTPD).replace("@TOOL@", TOOL);
        stage.run(&format!("{line} -R @ROOT@ delivered/100-01")).ok();
        assert_eq!([stage.text(HTTPD), stage.text(TOOL)], ["httpd 2\n", "tool 2\n"], "{line}");
        assert!(!exists(&stage, &format!("{HTTPD}.edited-100-01")), "{line}");
        stage.run("pkgchk -R @ROOT@").ok();
        stage.run("patchrm -R @ROOT@ 100-01").ok();
        before.assert_again(&stage, &line);
    }
}

#[test]
fn each_replaced_edit_is_named_with_its_way_back() {
    let note = |path: &str, is: &str, restores: &str| {
        format!(
            "note: @ROOT@{path} was edited; the edited version {is} in the undo data, and removing the patch {restores} it\n"
        )
    };
    let stage = stage();
    let planned = add(&stage, "--dry-run --edited replace").ok();
    let done = add(&stage, "--edited replace").ok();
    for path in [HTTPD, TOOL] {
        assert!(planned.contains(&note(path, "would be", "would restore")), "{planned}");
        assert!(done.contains(&note(path, "is", "restores")), "{done}");
    }
    assert!(!done.contains(CONF), "it was not edited: {done}");
}

#[test]
fn undo_data_that_is_not_saved_is_not_promised() {
    let said = add(&stage(), "--no-undo --edited replace").ok();
    assert!(said.contains(HTTPD) && !said.contains("in the undo data"), "{said}");
}

#[test]
fn kept_edits_stay_with_the_version_of_the_patch_beside_them() {
    for line in ["--edited keep", "--keep-edited @HTTPD@ --keep-edited @TOOL@"] {
        let stage = stage();
        let before = Before::of(&stage);
        add(&stage, &line.replace("@HTTPD@", HTTPD).replace("@TOOL@", TOOL)).ok();
        assert_eq!([stage.text(HTTPD), stage.text(TOOL)], ["my httpd\n", "my tool\n"]);
        assert_eq!(stage.text(&format!("{HTTPD}.patch-100-01")), "httpd 2\n");
        assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok(), "100-01\n");
        stage.run("patchrm -R @ROOT@ 100-01").ok();
        before.assert_again(&stage, line);
    }
}

#[test]
fn each_path_may_be_decided_alone_and_the_rest_follows_the_general_choice() {
    let stage = stage();
    let said = add(&stage, &format!("--replace-edited {HTTPD}")).fails(3);
    assert!(said.contains(TOOL) && !said.contains(HTTPD), "{said}");
    add(&stage, &format!("--replace-edited {HTTPD} --keep-edited {TOOL}")).ok();
    assert_eq!([stage.text(HTTPD), stage.text(TOOL)], ["httpd 2\n", "my tool\n"]);
}

#[test]
fn without_undo_data_a_replaced_edit_stays_beside_the_new_file() {
    let stage = stage();
    write(&stage, &format!("{TOOL}.edited-100-01"), "somebody's\n");
    let said = stage.run("patchadd -u -d -R @ROOT@ delivered/100-01").ok();
    assert_eq!(stage.text(HTTPD), "httpd 2\n");
    assert_eq!(stage.text(&format!("{HTTPD}.edited-100-01")), "my httpd\n");
    assert_eq!(stage.text(&format!("{TOOL}.edited-100-01")), "somebody's\n", "never overwritten");
    assert_eq!(stage.text(&format!("{TOOL}.edited-100-01.2")), "my tool\n");
    let note = format!(
        "NOTE: @ROOT@{HTTPD} was edited; the run keeps the edited version as @ROOT@{HTTPD}.edited-100-01\n"
    );
    assert!(said.contains(&note), "{said}");
}

#[test]
fn keeping_edits_without_undo_data_is_refused() {
    let stage = stage();
    let before = stage.everything();
    let said = add(&stage, "--no-undo --edited keep").fails(3);
    assert!(said.contains(&format!("@ROOT@{HTTPD} cannot be kept when no undo data is saved")), "{said}");
    assert_eq!(stage.everything(), before);
}

/// A root with edited configuration files.
fn configured() -> Scenario {
    let stage = Scenario::with(&[package("1")]);
    Patch::of("100-01", package("2")).directory(&stage);
    write(&stage, CONF, "my conf\n");
    write(&stage, LOG, "log 1\nmore\n");
    stage
}

#[test]
fn patchadd_replaces_editable_files_and_keeps_a_copy() {
    for line in ["patchadd", "add --edited replace", "add --no-undo"] {
        let stage = configured();
        let before = Before::of(&stage);
        stage.run(&format!("{line} -R @ROOT@ delivered/100-01")).ok();
        assert_eq!([stage.text(CONF), stage.text(LOG)], ["conf 2\n", "log 2\n"], "{line}");
        assert_eq!(stage.text(&format!("{CONF}.edited-100-01")), "my conf\n");
        assert_eq!(stage.text(&format!("{LOG}.edited-100-01")), "log 1\nmore\n");
        if !line.contains("--no-undo") {
            stage.run("patchrm -R @ROOT@ 100-01").ok();
            before.assert_again(&stage, "the edited files come back");
        }
    }
}

#[test]
fn verbs_leave_an_edited_editable_file_live_with_the_new_version_beside_it() {
    for line in ["add", "add --replace-edited /opt/ACMEweb/etc/web.log"] {
        let stage = configured();
        let before = Before::of(&stage);
        stage.run(&format!("{line} -R @ROOT@ delivered/100-01")).ok();
        assert_eq!([stage.text(CONF), stage.text(LOG)], ["my conf\n", "log 2\n"]);
        assert_eq!(stage.text(&format!("{CONF}.patch-100-01")), "conf 2\n");
        assert!(!exists(&stage, &format!("{CONF}.edited-100-01")));
        stage.run("patchrm -R @ROOT@ 100-01").ok();
        before.assert_again(&stage, "nothing is left beside the edited file");
    }
}

#[test]
fn a_choice_on_the_command_line_holds_for_editable_files_and_volatile_ones_never_stop() {
    let stage = configured();
    let before = stage.everything();
    for line in ["add --edited stop", "add --edited stop --dry-run", "plan --edited stop"] {
        let said = stage.run(&format!("{line} -R @ROOT@ delivered/100-01")).fails(3);
        assert!(said.contains(CONF) && !said.contains(LOG), "{line}: {said}");
    }
    assert_eq!(stage.everything(), before);
    add(&stage, "--edited keep").ok();
    assert_eq!([stage.text(CONF), stage.text(LOG)], ["my conf\n", "log 1\nmore\n"]);
}

#[test]
fn a_backout_keeps_what_was_edited_since() {
    let stage = Scenario::with(&[package("1")]);
    Patch::of("100-01", package("2").file("share/new", 0o644, "new\n")).directory(&stage);
    add(&stage, "").ok();
    write(&stage, HTTPD, "my later httpd\n");
    write(&stage, "/opt/ACMEweb/share/new", "my new\n");
    let said = stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!([stage.text(HTTPD), stage.text(TOOL)], ["httpd 1\n", "tool 1\n"]);
    assert_eq!(stage.text(&format!("{HTTPD}.edited-100-01")), "my later httpd\n");
    assert_eq!(stage.text("/opt/ACMEweb/share/new.edited-100-01"), "my new\n");
    assert!(!exists(&stage, "/opt/ACMEweb/share/new"));
    assert!(said.contains(&format!("@ROOT@{HTTPD}.edited-100-01")), "{said}");
}

#[test]
fn the_policy_of_a_root_decides_where_nothing_is_said() {
    let stage = stage();
    stage.file("/etc/patchadm/policy", "edited=replace\nundo_format=Z\n");
    add(&stage, "--edited stop").fails(3);
    add(&stage, "").ok();
    assert!(exists(&stage, "/var/sadm/pkg/ACMEweb/save/100-01/undo.Z"));
}

#[test]
fn a_file_of_nobody_in_the_way_of_a_new_one_is_an_edit() {
    let stage = Scenario::with(&[package("1")]);
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/new", 0o755, "new\n"));
    write(&stage, "/opt/ACMEweb/bin/new", "mine\n");
    let before = Before::of(&stage);
    let said = stage.patchadd("", &patch).fails(10);
    assert!(said.contains("@ROOT@/opt/ACMEweb/bin/new"), "{said}");
    stage.patchadd("-u", &patch).ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/new"), "new\n");
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "it comes back");
}
