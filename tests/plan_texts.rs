//! Texts of plans. With `--diff`, a plan shows the lines that would change in text files that everybody may read.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::assert_same;

fn web() -> Package {
    Package::new("ACMEweb")
}

/// The texts below /opt/ACMEweb in a plan, by path: a difference, or why there is none.
#[track_caller]
fn texts(stage: &Scenario, line: &str) -> BTreeMap<String, String> {
    let document: Value = serde_json::from_str(&stage.run(line).ok()).unwrap();
    let patches = document["patches"].as_array().unwrap();
    let changes = patches.iter().flat_map(|patch| patch["changes"].as_array().unwrap());
    let text = |change: &Value| {
        let path = change["path"].as_str().unwrap();
        let path = path.strip_prefix("/opt/ACMEweb/").unwrap_or(path).to_owned();
        let shown = change["diff"].as_str().map(str::to_owned);
        let why = change["not_shown"].as_str().map(|why| format!("not shown: {why}"));
        assert!(shown.is_none() || why.is_none(), "{change}");
        Some((path, shown.or(why)?))
    };
    changes.filter_map(text).collect()
}

fn delivered(stage: &Scenario, patch: &Patch) -> String {
    patch.pack(&stage.beside("delivered"), ".tar.gz").display().to_string()
}

#[test]
fn the_lines_that_a_patch_changes_are_shown_before_it_is_applied_and_before_it_is_backed_out() {
    let stage = Scenario::with(&[web()
        .file("conf", 0o644, "one\ntwo\nthree\n")
        .file("lib", 0o644, b"\x7fELF\0w0")
        .file("same", 0o644, "same\n")
        .file("old", 0o644, "old\n")]);
    let patch = Patch::of(
        "100-01",
        web()
            .file("conf", 0o644, "one\n2\nthree\n")
            .file("lib", 0o644, b"\x7fELF\0w1")
            .file("same", 0o600, "same\n")
            .file("new", 0o644, "new\n")
            .deletes(&["old"]),
    );
    let patch = delivered(&stage, &patch);
    let before = stage.everything();
    let conf = "--- /opt/ACMEweb/conf (before)\n+++ /opt/ACMEweb/conf (after)\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n";
    let shown = texts(&stage, &format!("plan -R @ROOT@ --json --diff {patch}"));
    let expected = [
        ("conf", conf),
        ("lib", "not shown: it is not UTF-8 text"),
        ("new", "--- /dev/null\n+++ /opt/ACMEweb/new (after)\n@@ -0,0 +1 @@\n+new\n"),
        ("old", "--- /opt/ACMEweb/old (before)\n+++ /dev/null\n@@ -1 +0,0 @@\n-old\n"),
    ];
    assert_eq!(shown, expected.map(|(path, text)| (path.to_owned(), text.to_owned())).into());
    assert_eq!(texts(&stage, &format!("add -R @ROOT@ --json --dry-run --diff {patch}")), shown);
    assert!(texts(&stage, &format!("plan -R @ROOT@ --json {patch}")).is_empty());
    let said = stage.run(&format!("plan -R @ROOT@ --diff {patch}")).ok();
    assert!(said.contains(&format!("\n{conf}")), "{said}");
    assert!(said.contains("\n@ROOT@/opt/ACMEweb/lib: not shown: it is not UTF-8 text\n"), "{said}");
    assert_same(&stage.everything(), &before);

    stage.run(&format!("add -R @ROOT@ {patch}")).ok();
    let back = texts(&stage, "remove -R @ROOT@ --json --dry-run --diff 100-01");
    assert_eq!(back.keys().collect::<Vec<_>>(), shown.keys().collect::<Vec<_>>());
    assert!(back["conf"].ends_with("@@ -1,3 +1,3 @@\n one\n-2\n+two\n three\n"), "{}", back["conf"]);
    assert_eq!(texts(&stage, "remove -R @ROOT@ --json --dry-run --diff 100-01"), back);
    assert_eq!(texts(&stage, "undo -R @ROOT@ --json --dry-run --diff"), back);
}

#[test]
fn what_not_everybody_may_read_before_and_after_is_not_shown() {
    let stage = Scenario::with(&[web()
        .file("closes", 0o644, "secret before\n")
        .file("opens", 0o600, "secret before\n")
        .directory("closed")
        .file("closed/in", 0o644, "secret before\n")
        .directory("closing")
        .file("closing/in", 0o644, "secret before\n")
        .directory("linked")
        .file("linked/in", 0o644, "secret before\n")]);
    stage.mode("/opt/ACMEweb/closed", 0o750);
    stage.directory("/home/mine");
    fs::rename(stage.at("/opt/ACMEweb/linked"), stage.at("/home/mine/linked")).unwrap();
    symlink("../../home/mine/linked", stage.at("/opt/ACMEweb/linked")).unwrap();
    stage.mode("/home/mine", 0o700);
    let patch = web()
        .file("closes", 0o640, "secret after\n")
        .file("opens", 0o644, "secret after\n")
        .file("closed/in", 0o644, "secret after\n")
        .line("closing", "d none closing 0700 root root")
        .file("closing/in", 0o644, "secret after\n")
        .line("closed/deep", "d none closed/deep 0755 root root")
        .file("closed/deep/in", 0o644, "secret after\n")
        .file("linked/in", 0o644, "secret after\n");
    let patch = delivered(&stage, &Patch::of("100-01", patch));
    let said = stage.run(&format!("plan -R @ROOT@ --json --diff --edited=replace {patch}")).ok();
    assert!(!said.contains("secret"), "{said}");
    let shown = texts(&stage, &format!("plan -R @ROOT@ --json --diff --edited=replace {patch}"));
    let expected = [
        ("closed/deep/in", "not shown: the mode of /opt/ACMEweb/closed is 0750"),
        ("closed/in", "not shown: the mode of /opt/ACMEweb/closed is 0750"),
        ("closes", "not shown: its mode is 0640"),
        ("closing/in", "not shown: the mode of /opt/ACMEweb/closing is 0700"),
        ("linked/in", "not shown: the mode of /home/mine is 0700"),
        ("opens", "not shown: its mode is 0600"),
    ];
    assert_eq!(shown, expected.map(|(path, text)| (path.to_owned(), text.to_owned())).into());
}

#[test]
fn a_plan_that_a_local_edit_stops_shows_what_would_replace_the_edit() {
    let stage = Scenario::with(&[web().file("conf", 0o644, "one\n")]);
    stage.file("/opt/ACMEweb/conf", "mine\n");
    let patch = delivered(&stage, &Patch::of("100-01", web().file("conf", 0o644, "two\n")));
    let run = stage.run(&format!("plan -R @ROOT@ --diff {patch}"));
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stdout.contains("@@ -1 +1 @@\n-mine\n+two\n"), "{}", run.stdout);
    let run = stage.run(&format!("plan -R @ROOT@ {patch}"));
    assert!(!run.stdout.contains("-mine"), "{}", run.stdout);
}

#[test]
fn texts_have_limits_of_one_file_and_of_all() {
    const FILES: usize = 102;
    let names = || (0..FILES).map(|number| format!("many{number:03}"));
    let base = web()
        .file("binary", 0o644, "a\0b\n")
        .file("large", 0o644, "x".repeat(64 << 10))
        .file("latin", 0o644, "text\n")
        .file("lines", 0o644, "\n".repeat(4_000));
    let base = names().fold(base, |package, name| package.file(&name, 0o644, "before\n"));
    let stage = Scenario::with(&[base]);
    let patch = web()
        .file("binary", 0o644, "text\n")
        .file("large", 0o644, "x".repeat((64 << 10) + 1))
        .file("latin", 0o644, b"caf\xe9\n")
        .file("lines", 0o644, "\n".repeat(4_001));
    let patch = names().fold(patch, |package, name| package.file(&name, 0o644, "after\n"));
    let patch = delivered(&stage, &Patch::of("100-01", patch));
    let shown = texts(&stage, &format!("plan -R @ROOT@ --json --diff {patch}"));
    for (path, why) in [
        ("binary", "it is not UTF-8 text"),
        ("large", "it is larger than 64 KiB"),
        ("latin", "it is not UTF-8 text"),
        ("lines", "it has more than 4000 lines"),
        ("many100", "100 files or 1 MiB are shown already"),
        ("many101", "100 files or 1 MiB are shown already"),
    ] {
        assert_eq!(shown[path], format!("not shown: {why}"), "{path}");
    }
    assert!(shown["many099"].ends_with("-before\n+after\n"), "{}", shown["many099"]);

    let stage = Scenario::with(&[(0..20).fold(web(), |package, number| {
        package.file(&format!("long{number:02}"), 0o644, format!("{}\n", "a".repeat(60 << 10)))
    })]);
    let patch = (0..20).fold(web(), |package, number| {
        package.file(&format!("long{number:02}"), 0o644, format!("{}\n", "b".repeat(60 << 10)))
    });
    let patch = delivered(&stage, &Patch::of("100-01", patch));
    let shown = texts(&stage, &format!("plan -R @ROOT@ --json --diff {patch}"));
    let (told, left): (Vec<_>, Vec<_>) = shown.values().partition(|text| text.starts_with("---"));
    assert_eq!((told.len(), left.len()), (8, 12), "eight pairs of 60 KiB are in 1 MiB");
}

#[test]
fn a_later_patch_is_held_against_what_the_earlier_one_leaves() {
    let stage = Scenario::with(&[web().file("conf", 0o644, "zero\n").file("blob", 0o644, "text\n")]);
    let first = Patch::of("100-01", web().file("conf", 0o644, "one\n").file("blob", 0o644, b"\0"));
    let second = Patch::of("200-01", web().file("conf", 0o644, "two\n").file("blob", 0o644, "text\n"));
    let both = [delivered(&stage, &first), delivered(&stage, &second)].join(" ");
    for options in ["", "--all-or-nothing "] {
        let shown = texts(&stage, &format!("plan -R @ROOT@ --json --diff {options}{both}"));
        assert!(shown["conf"].ends_with("-one\n+two\n"), "{options}{}", shown["conf"]);
        assert_eq!(shown["blob"], "not shown: an earlier patch makes it, and that is not shown", "{options}");
    }
    stage.run(&format!("add -R @ROOT@ {both}")).ok();
    let shown = texts(&stage, "remove -R @ROOT@ --json --dry-run --diff 100-01 200-01");
    assert!(shown["conf"].ends_with("-two\n+zero\n"), "{}", shown["conf"]);
    assert_eq!(shown.len(), 1, "the other file is as it was: {shown:?}");
}

#[test]
fn a_file_that_a_class_action_script_makes_is_not_shown() {
    let stage = Scenario::with(&[web()
        .file("plain", 0o644, "before\n")
        .file("made", 0o644, "before\n")
        .file("table", 0o644, "before\n")]);
    let patch = Patch::of(
        "100-01",
        web()
            .param("CLASSES", "none own sed")
            .file("plain", 0o644, "after\n")
            .of_class("own", 'e', "made", 0o644, "after\n")
            .of_class("sed", 'e', "table", 0o644, "!install\ns/old/newer/\n!remove\ns/newer/old/\n")
            .information("i.own", "while read s d; do echo made > $d; done\n"),
    );
    let patch = delivered(&stage, &patch);
    let shown = texts(&stage, &format!("plan -R @ROOT@ --json --diff {patch}"));
    assert!(shown["plain"].ends_with("-before\n+after\n"), "{shown:?}");
    for path in ["made", "table"] {
        assert_eq!(shown[path], "not shown: a class action script makes it", "{path}: {shown:?}");
    }
}

#[test]
fn an_edited_file_is_shown_as_it_was_edited_and_as_the_plan_leaves_it() {
    let stage = Scenario::with(&[web().file("conf", 0o644, "base\n")]);
    fs::write(stage.at("/opt/ACMEweb/conf"), "edited\n").unwrap();
    let patch = delivered(&stage, &Patch::of("100-01", web().file("conf", 0o644, "new\n")));
    let shown = texts(&stage, &format!("plan -R @ROOT@ --json --diff --edited=replace {patch}"));
    assert!(shown["conf"].ends_with("-edited\n+new\n"), "{shown:?}");
    stage.run(&format!("add -R @ROOT@ --edited=replace {patch}")).ok();
    fs::write(stage.at("/opt/ACMEweb/conf"), "edited again\n").unwrap();
    let shown = texts(&stage, "remove -R @ROOT@ --json --dry-run --diff 100-01");
    assert!(shown["conf"].ends_with("-edited again\n+edited\n"), "{shown:?}");
    assert!(shown["conf.edited-100-01"].ends_with("@@ -0,0 +1 @@\n+edited again\n"), "{shown:?}");
}

#[test]
fn a_promotion_shows_the_texts_of_its_stage() {
    let stage = Scenario::with(&[web().file("conf", 0o644, "live\n")]);
    let jail = stage.beside("jail").display().to_string();
    stage.run(&format!("stage new -R @ROOT@ --path opt {jail}")).ok();
    fs::write(stage.beside("jail/opt/ACMEweb/conf"), "staged\n").unwrap();
    let shown = texts(&stage, &format!("stage promote -R @ROOT@ --json --dry-run --diff {jail}"));
    assert!(shown["conf"].ends_with("-live\n+staged\n"), "{shown:?}");
    let said = stage.run(&format!("stage promote -R @ROOT@ --dry-run --diff {jail}")).ok();
    assert!(said.contains("\n-live\n+staged\n"), "{said}");
}

#[test]
fn names_and_texts_that_would_drive_a_terminal_are_printed_harmlessly() {
    let stage = Scenario::with(&[web().file("conf", 0o644, "base\n")]);
    let text = "\u{1b}[2J\u{7f}\u{85}\r\n--- /etc/shadow\n";
    let patch = delivered(&stage, &Patch::of("100-01", web().file("conf", 0o644, text)));
    let shown = texts(&stage, &format!("plan -R @ROOT@ --json --diff {patch}"));
    assert!(shown["conf"].ends_with(&format!("-base\n+{}", text.replace("\n---", "\n+---"))), "{shown:?}");
    let said = stage.run(&format!("plan -R @ROOT@ --diff {patch}")).ok();
    assert!(said.contains("\n-base\n+\\033[2J\\177\\302\\205"), "{said:?}");
    assert!(!said.chars().any(|letter| letter.is_control() && letter != '\n'), "{said:?}");
}

#[test]
fn texts_are_shown_of_a_plan_of_one_root_alone() {
    let stage = Scenario::with(&[web().file("conf", 0o644, "base\n")]);
    let patch = delivered(&stage, &Patch::of("100-01", web().file("conf", 0o644, "new\n")));
    let before = stage.everything();
    for line in [format!("add -R @ROOT@ --diff {patch}"), "remove -R @ROOT@ --diff 100-01".to_owned()] {
        let said = stage.run(&line).fails(2);
        assert!(said.contains("--dry-run"), "{line}: {said}");
    }
    let said = stage.run(&format!("plan --diff --roots @ROOT@ {patch}")).fails(2);
    assert!(said.contains("--diff"), "{said}");
    assert_same(&stage.everything(), &before);
}

#[test]
fn what_keeps_its_content_is_not_said_to_be_replaced() {
    let stage = Scenario::with(&[web()
        .file("bin/tool", 0o700, "the same\n")
        .file("bin/both", 0o700, "one\n")
        .symlink("lib/current", "one")]);
    let patch = Patch::of(
        "100-01",
        web()
            .file("bin/tool", 0o755, "the same\n")
            .file("bin/both", 0o755, "two\n")
            .symlink("lib/current", "two"),
    );
    let at = patch.directory(&stage).display().to_string();
    let expected = "Package ACMEweb:
  replace          @ROOT@/opt/ACMEweb/bin/both (4 bytes)
    mode 0700 → 0755
  attributes       @ROOT@/opt/ACMEweb/bin/tool
    mode 0700 → 0755
  link             @ROOT@/opt/ACMEweb/lib/current
    link one → two
";
    let plan = stage.run(&format!("plan -R @ROOT@ {at}")).ok();
    assert!(plan.contains(expected), "{plan}");
    assert!(!plan.contains("recorded"), "{plan}");
    let said = stage.run(&format!("add -v -R @ROOT@ {at}")).ok();
    assert!(said.contains(expected.split_once('\n').unwrap().1), "{said}");
    let files = stage.run("show --files -R @ROOT@ 100-01").ok();
    assert!(files.contains("  changed    @ROOT@/opt/ACMEweb/bin/tool: mode 0700 → 0755\n"), "{files}");
    let owner = stage.run("show -R @ROOT@ /opt/ACMEweb/bin/tool").ok();
    assert!(owner.contains("attributes: mode 0700 → 0755"), "{owner}");
}

#[test]
fn a_file_that_is_delivered_as_it_is_recorded_is_named_to_the_maker() {
    let stage =
        Scenario::with(&[web().file("bin/tool", 0o700, "the same\n").file("bin/other", 0o700, "one\n")]);
    let patch =
        Patch::of("100-01", web().file("bin/tool", 0o700, "the same\n").file("bin/other", 0o700, "two\n"));
    let plan = stage.run(&format!("plan -R @ROOT@ {}", patch.directory(&stage).display())).ok();
    let note = "package ACMEweb: delivered as recorded, without a change: @ROOT@/opt/ACMEweb/bin/tool\n";
    assert!(plan.contains(note), "{plan}");
}

#[test]
fn a_plan_says_so_if_no_object_of_a_package_changes() {
    let lib = || Package::new("ACMElib").file("a", 0o644, "a\n");
    let stage = Scenario::with(&[web().file("conf", 0o644, "one\n"), lib()]);
    let patch = Patch::of("100-01", web().file("conf", 0o644, "two\n")).package(lib());
    let said = stage.run(&format!("plan -R @ROOT@ {}", delivered(&stage, &patch))).ok();
    assert!(said.contains("\nPackage ACMElib: no changed objects.\n"), "{said}");
    assert!(said.contains("\nPackage ACMEweb:\n  replace "), "{said}");
}
