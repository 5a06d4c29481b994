use std::fs;

use crate::installf::{fed, line, stage};
use crate::scenario::{Run, Scenario};
use crate::tree::assert_same;

fn removef(stage: &Scenario, words: &str) -> Run {
    stage.run(&format!("removef -R @ROOT@ {words}"))
}

#[test]
fn what_is_given_up_is_printed_marked_and_then_gone_from_the_database() {
    let stage = stage();
    let removable = removef(&stage, "ACMEa /opt/ACMEa/bin/tool /opt/ACMEa/bin /nosuch").ok();
    assert_eq!(removable, "@ROOT@/nosuch\n@ROOT@/opt/ACMEa/bin\n@ROOT@/opt/ACMEa/bin/tool\n");
    assert_eq!(line(&stage, "/opt/ACMEa/bin"), "/opt/ACMEa/bin d none 0755 root root -ACMEa");
    fs::remove_dir_all(stage.at("/opt/ACMEa/bin")).unwrap();
    assert_eq!(removef(&stage, "-f ACMEa").ok(), "");
    assert_eq!(stage.lines().iter().filter(|line| line.starts_with("/opt/ACMEa/")).count(), 0);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn what_others_own_is_not_printed_and_stays_theirs() {
    let stage = stage();
    stage.run("installf -R @ROOT@ ACMEb /opt/ACMEa/bin/tool").ok();
    stage.run("installf -R @ROOT@ -f ACMEb").ok();
    assert_eq!(removef(&stage, "ACMEa /opt/ACMEa/bin/tool").ok(), "");
    assert_eq!(removef(&stage, "ACMEa /opt/ACMEb/bin/tool").ok(), "", "another package's alone");
    removef(&stage, "-f ACMEa").ok();
    let tool = "/opt/ACMEa/bin/tool f none 0755 root root 5 456 1577836800 ACMEb";
    assert_eq!(line(&stage, "/opt/ACMEa/bin/tool"), tool);
    assert!(line(&stage, "/opt/ACMEb/bin/tool").ends_with(" ACMEb"));
}

#[test]
fn a_relative_path_is_passed_over_with_a_warning() {
    let stage = stage();
    let run = removef(&stage, "ACMEa opt/ACMEa/bin /opt/ACMEa/bin/tool");
    assert_eq!((run.code, run.stdout.as_str()), (2, "@ROOT@/opt/ACMEa/bin/tool\n"));
    assert_eq!(run.stderr, "WARNING: relative pathname <opt/ACMEa/bin> ignored\n");
}

#[test]
fn paths_come_from_standard_input_and_may_have_the_root_before_them() {
    let stage = stage();
    let paths = format!("{}/opt/ACMEa/bin/tool\n\n/opt/ACMEa/bin\n", stage.root().display());
    let removable = fed(&stage, "removef -R @ROOT@ ACMEa -", &paths).ok();
    assert_eq!(removable, "@ROOT@/opt/ACMEa/bin\n@ROOT@/opt/ACMEa/bin/tool\n");
    assert!(line(&stage, "/opt/ACMEa/bin/tool").ends_with(" -ACMEa"));
}

#[test]
fn what_is_registered_again_is_not_given_up() {
    let stage = stage();
    removef(&stage, "ACMEa /opt/ACMEa/bin/tool").ok();
    stage.run("installf -R @ROOT@ ACMEa /opt/ACMEa/bin/tool").ok();
    removef(&stage, "-f ACMEa").ok();
    stage.run("installf -R @ROOT@ -f ACMEa").ok();
    let tool = "/opt/ACMEa/bin/tool f none 0755 root root 5 456 1577836800 ACMEa";
    assert_eq!(line(&stage, "/opt/ACMEa/bin/tool"), tool);
}

#[test]
fn what_cannot_be_given_up_changes_nothing() {
    let stage = stage();
    let before = stage.everything();
    for (words, message) in [
        ("ACMEz /opt/x", "package instance <ACMEz> is not installed"),
        ("-f ../x", "package instance <../x> is invalid"),
    ] {
        let text = removef(&stage, words).fails(1);
        let end = "removef did not complete successfully";
        assert_eq!(text, format!("removef: ERROR: {message}\n    {end}\n"));
    }
    for words in ["", "ACMEa", "-f", "-f ACMEa /opt/x"] {
        let text = removef(&stage, words).fails(1);
        assert!(text.contains("usage: removef [-R root] pkginst path..."), "{text}");
    }
    assert_same(&stage.everything(), &before);
}

#[test]
fn the_document_has_what_may_be_removed() {
    let run = removef(&stage(), "--json ACMEa /opt/ACMEa/bin/tool");
    let document: serde_json::Value = serde_json::from_str(&run.ok()).unwrap();
    assert_eq!(document["removable"], serde_json::json!(["/opt/ACMEa/bin/tool"]));
}
