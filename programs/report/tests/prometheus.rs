//! `patchadm report --format prometheus`: a text file for the textfile collector of node_exporter.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use crate::delivery::Patch;
use crate::inventories::Inventory;
use crate::packages::Package;
use crate::scenario::Scenario;

fn patch(id: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, id))
}

/// Returns a root with a patch that is superseded, one in force, and a run that was undone; its node name is that of
/// this machine.
fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    for id in ["100-01", "100-02", "100-03"] {
        stage.patchadd("", &patch(id)).ok();
    }
    stage.run("undo -R @ROOT@").ok();
    stage
}

/// Reads the text: each metric with its type, and its values by their labels.
fn metrics(text: &str) -> BTreeMap<String, (String, BTreeMap<String, f64>)> {
    let mut metrics: BTreeMap<String, (String, BTreeMap<String, f64>)> = BTreeMap::new();
    let mut described = None;
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            described = help.split_once(' ').map(|(name, _)| name.to_owned());
        } else if let Some(of_type) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of_type.split_once(' ').unwrap();
            assert_eq!(described.as_deref(), Some(name), "a type follows its help");
            assert!(metrics.insert(name.to_owned(), (kind.to_owned(), BTreeMap::new())).is_none(), "{name}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap();
            let known = metrics.get_mut(name).unwrap_or_else(|| panic!("{name} has no type"));
            known.1.insert(labels.trim_end_matches('}').to_owned(), value.parse().unwrap());
        }
    }
    metrics
}

/// Asserts that promtool accepts a text; says so if there is no promtool.
fn assert_promtool(text: &str) {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        crate::skipped("promtool is not installed: the metrics are read by the test alone");
        return;
    };
    std::io::Write::write_all(&mut tool.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_numbers_of_a_root_are_its_own() {
    let stage = stage();
    stage.run("report -R @ROOT@ --format prometheus -o numbers.prom").ok();
    let text = fs::read_to_string(stage.beside("numbers.prom")).unwrap();
    assert_promtool(&text);
    let metrics = metrics(&text);
    let value = |name: &str| {
        let (kind, values) = &metrics[&format!("patchadm_{name}")];
        assert_eq!((kind.as_str(), values.len()), ("gauge", 1), "{name}");
        let (labels, value) = values.first_key_value().unwrap();
        assert!(labels.ends_with(&format!("root=\"{}\"", stage.root().display())), "{labels}");
        *value
    };
    for (name, expected) in [
        ("patches_applied", 2.0),
        ("patches_in_force", 1.0),
        ("fixes_lost", 0.0),
        ("registrations_stale", 0.0),
        ("patches_on_trial", 0.0),
        ("run_unfinished", 0.0),
        ("undo_damaged", 0.0),
        ("inventories_conflicting", 0.0),
        ("check_exit_code", 0.0),
        ("listed_timestamp_seconds", 1_795_158_000.0),
        ("last_run_timestamp_seconds", 1_795_158_000.0),
        ("last_run_rolled_back", 0.0),
    ] {
        assert!((value(name) - expected).abs() < 0.5, "{name}: {}", value(name));
    }
    assert!(value("undo_bytes") > 100.0);
    assert!(!text.contains("patches_missing"), "without a depot nothing is missing or not");
    let (kind, runs) = &metrics["patchadm_runs_total"];
    assert_eq!(kind, "counter");
    let total: f64 = runs.values().sum();
    assert!((total - 5.0).abs() < 0.1, "a package, three patches, and one taken back: {runs:?}");
}

#[test]
fn what_is_missing_of_a_depot_and_what_is_on_trial_is_counted() {
    let stage = stage();
    crate::delivery::indexed_depot(&stage, &[patch("100-03"), patch("200-01")]);
    stage.run("add -R @ROOT@ --trial 1h -M delivered 100-03");
    let text = stage.run("report -R @ROOT@ --format prometheus -M delivered").stdout;
    assert_promtool(&text);
    let metrics = metrics(&text);
    for (name, expected) in [("patches_missing", 1.0), ("patches_on_trial", 1.0), ("check_exit_code", 4.0)] {
        let value = *metrics[&format!("patchadm_{name}")].1.first_key_value().unwrap().1;
        assert!((value - expected).abs() < 0.1, "{name}: {value}");
    }
}

#[test]
fn sizes_in_sum_larger_than_any_number_end_no_program() {
    let stage = stage();
    let undo = serde_json::json!([{"package": "ACMEweb", "state": "saved", "bytes": u64::MAX}]);
    let host = Inventory::of("web").with("100-01").patch_field("undo", undo.clone());
    host.with("200-01").patch_field("undo", undo).write(&stage, "large.json");
    let text = stage.run("report --format prometheus large.json").ok();
    assert_promtool(&text);
    let bytes = *metrics(&text)["patchadm_undo_bytes"].1.first_key_value().unwrap().1;
    assert!(bytes > 9e18, "{bytes}");
}

#[test]
fn names_of_hosts_end_no_label_and_no_line() {
    let stage = stage();
    let list = stage.run("list -R @ROOT@ --json").ok();
    let mut list: serde_json::Value = serde_json::from_str(&list).unwrap();
    list["machine"] = "a\"} 1\npatchadm_patches_applied{host=\"b\\".into();
    fs::write(stage.beside("hostile.json"), list.to_string()).unwrap();
    let text = stage.run("report --format prometheus hostile.json").ok();
    assert_promtool(&text);
    let applied: Vec<&str> =
        text.lines().filter(|line| line.starts_with("patchadm_patches_applied")).collect();
    assert_eq!(applied.len(), 1);
    assert!(applied[0].contains(r#"host="a\"} 1\npatchadm_patches_applied{host=\"b\\","#), "{}", applied[0]);
    assert!(!text.contains("runs_total"), "an inventory has no history");

    let hidden = "\u{1b}[2J\r\t\u{7f}\u{9b}\u{ad}\u{61c}\u{200b}\u{2028}\u{202e}\u{2066}\u{feff}\u{e0041}";
    list["machine"] = format!("a{hidden}b").into();
    fs::write(stage.beside("hostile.json"), list.to_string()).unwrap();
    let text = stage.run("report --format prometheus hostile.json").ok();
    assert_promtool(&text);
    let expected = "host=\"a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}b\",";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named_and_the_root_is_as_before() {
    let stage = stage();
    let before = crate::tree::Tree::of(&stage.root(), &[]);
    let said = stage.run("report -R @ROOT@ --format prometheus -o none/numbers.prom").fails(1);
    assert!(said.contains("none/numbers.prom was not written"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    crate::tree::assert_same(&crate::tree::Tree::of(&stage.root(), &[]), &before);
}
