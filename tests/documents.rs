//! The JSON documents of the verbs and of patchadd and patchrm: the names and types of their fields, which never
//! change within a version of the schema, and what the most important ones say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    let package = Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").file("bin/new", 0o755, "new\n");
    let readme = "Synopsis: the web server\nInstall Requirements: Reboot after installing this patch\n";
    Patch::of("100-01", package).beside("patchinfo", "PATCH_PROPERTIES='rebootafter'\n").directory(&stage);
    Patch::of("200-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "three\n"))
        .says("SUNW_OBSOLETES", "100-01")
        .says("SUNW_REQUIRES", "100-01")
        .says("SUNW_INCOMPAT", "999-01")
        .beside("README.200-01", readme)
        .directory(&stage);
    stage
}

/// The document that a command prints, which is all of its standard output.
#[track_caller]
fn document(stage: &Scenario, code: i32, line: &str) -> Value {
    let run = stage.run(line);
    assert_eq!(run.code, code, "{line}: {}{}", run.stdout, run.stderr);
    let document: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(document["schema"], "patchadm/1", "{line}");
    assert_eq!(document["exit_code"], code, "{line}");
    document
}

/// Every field with its type, as `patches[].id string`.
fn shape(at: &str, value: &Value, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let dot = if at.is_empty() { "" } else { "." };
                shape(&format!("{at}{dot}{name}"), value, fields);
            }
        }
        Value::Array(items) if items.is_empty() => drop(fields.insert(format!("{at}[]"))),
        Value::Array(items) => items.iter().for_each(|item| shape(&format!("{at}[]"), item, fields)),
        Value::Null => drop(fields.insert(format!("{at} null"))),
        Value::Bool(_) => drop(fields.insert(format!("{at} bool"))),
        Value::Number(_) => drop(fields.insert(format!("{at} number"))),
        Value::String(_) => drop(fields.insert(format!("{at} string"))),
    }
}

#[track_caller]
fn assert_fields(stage: &Scenario, code: i32, line: &str, expected: &str) -> Value {
    let document = document(stage, code, line);
    let mut fields = BTreeSet::new();
    shape("", &document, &mut fields);
    assert!(fields.remove("classic_code number") || fields.remove("classic_code null"), "{line}");
    let common = ["cause string", "command string", "exit_code number", "root string", "schema string"];
    common.iter().for_each(|field| assert!(fields.remove(*field), "{line}: {field}"));
    let fields: Vec<String> = fields.into_iter().collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(fields, expected, "{line}");
    document
}

/// The first fields of a list.
const OF_A_LIST: &str = "at string
    machine string
    packages[].arch string
    packages[].manager null
    packages[].name string
    packages[].native null
    packages[].package string
    packages[].purl string
    packages[].version string
    ";

/// The fields of a patch that are in every document of a change.
const PATCH: &str = "changed bool
    duration_ms number
    patches[].bytes number
    patches[].code number
    patches[].files.added number
    patches[].files.deleted number
    patches[].files.kept number
    patches[].files.replaced number
    patches[].id string
    patches[].notes[]
    patches[].packages[] string
    patches[].reason string
    patches[].reboot null
    patches[].undo[].bytes number
    patches[].undo[].package string
    patches[].undo[].path string
    patches[].undo[].state string
    patches[].verdict string
    result string
    run number";

/// [`PATCH`] with other fields: `+` adds one, `-` removes one.
fn changed(changes: &[&str]) -> String {
    let mut fields: BTreeSet<&str> = PATCH.lines().map(str::trim).collect();
    for change in changes {
        let (sign, field) = change.split_at(1);
        assert!(if sign == "+" { fields.insert(field) } else { fields.remove(field) }, "{change}");
    }
    fields.into_iter().collect::<Vec<_>>().join("\n")
}

const PLANNED: [&str; 10] = [
    "-run number",
    "+patches[].changes[].action string",
    "+patches[].changes[].package string",
    "+patches[].changes[].path string",
    "+patches[].changes[].size number",
    "+patches[].space[].file_system string",
    "+patches[].space[].free number",
    "+patches[].space[].needed number",
    "+would_change bool",
    "-patches[].reboot null",
];

/// A file before and after a plan, and the package whose list of patches changes.
const SIDES: [&str; 17] = [
    "+patches[].changes[].after.b3 string",
    "+patches[].changes[].after.gid number",
    "+patches[].changes[].after.kind string",
    "+patches[].changes[].after.mode number",
    "+patches[].changes[].after.mtime.nanoseconds number",
    "+patches[].changes[].after.mtime.seconds number",
    "+patches[].changes[].after.size number",
    "+patches[].changes[].after.uid number",
    "+patches[].changes[].before.b3 string",
    "+patches[].changes[].before.gid number",
    "+patches[].changes[].before.kind string",
    "+patches[].changes[].before.mode number",
    "+patches[].changes[].before.mtime.nanoseconds number",
    "+patches[].changes[].before.mtime.seconds number",
    "+patches[].changes[].before.size number",
    "+patches[].changes[].before.uid number",
    "+patch_lists[].package string",
];

const REFUSED: [&str; 8] = [
    "-run number",
    "-patches[].packages[] string",
    "+patches[].packages[]",
    "-patches[].undo[].bytes number",
    "-patches[].undo[].package string",
    "-patches[].undo[].path string",
    "-patches[].undo[].state string",
    "+patches[].undo[]",
];

#[test]
fn documents_of_changes_have_the_fields_of_the_schema() {
    let stage = stage();
    let first = [
        "+patches[].reboot string",
        "+patches[].changes[].before null",
        "+patch_lists[].before[]",
        "+patch_lists[].after[] string",
    ];
    let planned = changed(&[&PLANNED[..], &SIDES, &first].concat());
    for line in ["plan --json -R @ROOT@ delivered/100-01", "add --dry-run --json -R @ROOT@ delivered/100-01"]
    {
        let plan = assert_fields(&stage, 0, line, &planned);
        assert_eq!((&plan["changed"], &plan["would_change"]), (&false.into(), &true.into()));
        assert_eq!((&plan["result"], &plan["patches"][0]["verdict"]), (&"planned".into(), &"planned".into()));
        assert_eq!(plan["patches"][0]["reboot"], "rebootafter");
        assert_eq!(plan["patches"][0]["changes"][0]["action"], "replace");
    }
    let done = changed(&["-patches[].reboot null", "+patches[].reboot string"]);
    let added = assert_fields(&stage, 0, "add --json -R @ROOT@ delivered/100-01", &done);
    assert_eq!(
        (&added["command"], &added["result"], &added["changed"]),
        (&"add".into(), &"done".into(), &true.into())
    );
    let patch = &added["patches"][0];
    assert_eq!((&patch["id"], &patch["verdict"]), (&"100-01".into(), &"applied".into()));
    assert_eq!(patch["files"], serde_json::json!({ "replaced": 1, "added": 1, "deleted": 0, "kept": 0 }));
    assert_eq!(patch["bytes"], 8);

    let again = changed(&[&REFUSED[..], &["-patches[].reboot null", "+patches[].reboot string"]].concat());
    let again = assert_fields(&stage, 0, "add --json -R @ROOT@ delivered/100-01", &again);
    assert_eq!(again["patches"][0]["verdict"], "already-applied");
    assert_eq!(again["changed"], false);

    let without_undo = ["-patches[].undo[].path string", "+patches[].undo[].path null"];
    let removed = changed(&without_undo);
    let backout: Vec<&str> = [&PLANNED[..9], &SIDES, &without_undo].concat();
    let last = [
        "+patches[].changes[].size null",
        "+patches[].changes[].after null",
        "+patch_lists[].before[] string",
        "+patch_lists[].after[]",
    ];
    let line = "remove --dry-run --json -R @ROOT@ 100-01";
    assert_fields(&stage, 0, line, &changed(&[&backout[..], &last].concat()));
    let document = assert_fields(&stage, 0, "patchrm --json -R @ROOT@ 100-01", &removed);
    assert_eq!(
        (&document["command"], &document["patches"][0]["verdict"]),
        (&"patchrm".into(), &"removed".into())
    );
    let advised = changed(&[&REFUSED[..], &["+advice[] string"]].concat());
    let document = assert_fields(&stage, 4, "remove --json -R @ROOT@ 100-01", &advised);
    assert_eq!(document["patches"][0]["reason"], "it is not applied");
}

#[test]
fn a_plan_tells_what_a_run_leaves_object_by_object_and_list_by_list() {
    let stage = stage();
    let more = Package::new("ACMEweb").file("bin/httpd", 0o700, "more\n").symlink("bin/link", "httpd");
    Patch::of("150-01", more).directory(&stage);
    Patch::of("160-01", Package::new("ACMEweb").file("bin/x", 0o755, "x\n"))
        .says("SUNW_REQUIRES", "999-01")
        .directory(&stage);
    let sides = |line: &str| {
        let document: Value = serde_json::from_str(&stage.run(line).stdout).unwrap();
        let changes = document["patches"].as_array().unwrap().iter();
        let changes = changes.flat_map(|patch| patch["changes"].as_array().cloned().unwrap_or_default());
        let side = |change: &Value, name: &str| {
            let mut side = change[name].clone();
            // The time of a link is that of the run.
            if let Some(side) = side.as_object_mut().filter(|side| side["kind"] == "symlink") {
                side.remove("mtime");
            }
            (change["path"].to_string(), side)
        };
        let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
        for change in changes {
            let (path, state) = side(&change, "before");
            before.entry(path).or_insert(state);
            let (path, state) = side(&change, "after");
            after.insert(path, state);
        }
        (document["patch_lists"].clone(), before, after)
    };
    let patches = "delivered/100-01 delivered/160-01 delivered/150-01";
    let (lists, before, after) = sides(&format!("plan --json -R @ROOT@ {patches}"));
    let expected = serde_json::json!([{ "package": "ACMEweb", "before": [], "after": ["100-01", "150-01"] }]);
    assert_eq!(lists, expected, "one of the three is refused");
    assert_eq!(after.len(), 3, "{after:?}");
    let run = stage.run(&format!("add -R @ROOT@ {patches}"));
    assert_eq!(run.code, 5, "{}", run.stderr);

    let (lists, then, back) = sides("remove --dry-run --json -R @ROOT@ 100-01 150-01");
    let expected = serde_json::json!([{ "package": "ACMEweb", "before": ["100-01", "150-01"], "after": [] }]);
    assert_eq!(lists, expected);
    assert_eq!(then, after, "the run left what the plan told");
    assert_eq!(back, before, "and what was there comes back");
}

#[test]
fn set_id_programs_stand_out_in_a_plan_and_in_the_document_of_a_run() {
    let stage = stage();
    let web = Package::new("ACMEweb").file("bin/su", 0o6755, "su\n").file("bin/plain", 0o755, "plain\n");
    Patch::of("300-01", web).directory(&stage);
    let expected = serde_json::json!([{
        "package": "ACMEweb", "path": "/opt/ACMEweb/bin/su", "kind": "setuid and setgid", "mode": "6755",
        "owner": "root", "group": "root"
    }]);
    for line in ["plan --json -R @ROOT@ delivered/300-01", "add --json -R @ROOT@ delivered/300-01"] {
        assert_eq!(document(&stage, 0, line)["patches"][0]["privileged"], expected, "{line}");
    }
    stage.run("patchrm -R @ROOT@ 300-01").fails(0);
    let text = stage.run("add --dry-run -R @ROOT@ delivered/300-01").ok();
    let said =
        "Set-id programs and devices:\n  setuid and setgid @ROOT@/opt/ACMEweb/bin/su (6755 root root)\n";
    assert!(text.contains(said), "{text}");
}

#[test]
fn verdicts_say_why_a_patch_is_not_applied() {
    let stage = stage();
    let verdict = |code, line: &str| document(&stage, code, line)["patches"][0]["verdict"].clone();
    Patch::of("600-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "x\n"))
        .says("SUNW_REQUIRES", "601-01")
        .directory(&stage);
    assert_eq!(verdict(3, "add --json -R @ROOT@ delivered/600-01"), "refused");
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    stage.run("add -R @ROOT@ delivered/200-01").ok();
    Patch::of("200-00", Package::new("ACMEweb").file("bin/httpd", 0o755, "x\n")).directory(&stage);
    assert_eq!(verdict(0, "add --json -R @ROOT@ delivered/200-00"), "superseded");
    Patch::of("100-00", Package::new("ACMEweb").file("bin/httpd", 0o755, "x\n")).directory(&stage);
    assert_eq!(verdict(0, "add --json -R @ROOT@ delivered/100-00"), "superseded");
    stage.run("remove -R @ROOT@ 200-01").ok();
    Patch::of("300-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "x\n"))
        .says("SUNW_OBSOLETES", "400-02")
        .directory(&stage);
    stage.run("add -R @ROOT@ delivered/300-01").ok();
    Patch::of("400-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "x\n")).directory(&stage);
    assert_eq!(verdict(0, "add --json -R @ROOT@ delivered/400-01"), "obsoleted");
    Patch::of("500-01", Package::new("ACMEdb").file("bin/db", 0o755, "x\n")).directory(&stage);
    assert_eq!(verdict(3, "add --json -R @ROOT@ delivered/500-01"), "not-applicable");
    assert_eq!(verdict(1, "add --json -R @ROOT@ /no/such"), "failed");
}

/// The fields of `check --contents`.
const CHECKED: &str = "checked number
        contents bool
        discrepancies[].errors[] string
        discrepancies[].path string
        findings[].command null
        findings[].command string
        findings[].state string
        findings[].text string
        findings[].what string
        interrupted[]
        patches[].checked bool
        patches[].id string
        patches[].removable.blocked_by[]
        patches[].removable.blocked_by[] string
        patches[].removable.code number
        patches[].removable.now bool
        patches[].removable.reason null
        patches[].removable.reason string
        patches[].undo[].bytes number
        patches[].undo[].error null
        patches[].undo[].error string
        patches[].undo[].package string
        patches[].undo[].path null
        patches[].undo[].path string
        patches[].undo[].run null
        patches[].undo[].run string
        patches[].undo[].state string
        sound bool";

#[test]
fn documents_of_questions_have_the_fields_of_the_schema() {
    let stage = stage();
    assert_fields(
        &stage,
        0,
        "list --json -R @ROOT@",
        &format!("{OF_A_LIST}patches[]\nunfinished null\nversion string"),
    );
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    stage.run("add -R @ROOT@ delivered/200-01").ok();
    let of_one = |at: &str| {
        "checked bool
        date string
        date_text string
        host string
        incompatibles[]
        incompatibles[] string
        obsoletes[]
        obsoletes[] string
        packages[] string
        removable.blocked_by[]
        removable.blocked_by[] string
        removable.code number
        removable.now bool
        removable.reason null
        removable.reason string
        requires[]
        requires[] string
        state[] string
        synopsis null
        synopsis string
        undo[].bytes number
        undo[].package string
        undo[].path string
        undo[].state string"
            .lines()
            .map(|field| format!("{at}{}\n", field.trim()))
            .collect::<String>()
    };
    let mut fields: Vec<String> = of_one("patches[].").lines().map(str::to_owned).collect();
    let others = [
        "patches[].by string",
        "patches[].fixes[]",
        "patches[].id string",
        "patches[].sha256 null",
        "unfinished null",
        "version string",
    ];
    fields.extend(
        OF_A_LIST.lines().map(str::trim).chain(others).filter(|field| !field.is_empty()).map(str::to_owned),
    );
    fields.sort();
    let list = assert_fields(&stage, 0, "list --json -R @ROOT@", &fields.join("\n"));
    assert_eq!(list["patches"][0]["state"], serde_json::json!(["obsoleted"]));
    assert_eq!(list["patches"][0]["by"], "200-01");
    assert_eq!(list["patches"][1]["state"], serde_json::json!(["effective"]));

    let shown = document(&stage, 0, "show --json -R @ROOT@ 200-01");
    for (name, value) in list["patches"][1].as_object().unwrap() {
        assert_eq!(shown["answers"][0][name], *value, "{name} is the same as in the list");
    }
    assert_eq!(shown["answers"][0]["reboot"], "rebootafter");
    assert_eq!(
        shown["answers"][0]["files"],
        serde_json::json!({ "replaced": 1, "added": 0, "deleted": 0, "kept": 0 })
    );
    let delivered = document(&stage, 0, "show --json -R @ROOT@ delivered/200-01");
    assert_eq!(delivered["answers"][0]["id"], "200-01");
    assert_eq!(delivered["answers"][0]["requires"], serde_json::json!(["100-01"]));

    stage.mode("/opt/ACMEweb/bin/new", 0o700);
    fs::write(stage.at("/var/sadm/pkg/ACMEweb/save/100-01/obsolete.gz"), "damage").unwrap();
    assert_fields(&stage, 4, "check --contents --json -R @ROOT@", CHECKED);

    let recovered =
        assert_fields(&stage, 0, "recover --json -R @ROOT@", "changed bool\nnotes[]\nresult string");
    assert_eq!(recovered["result"], "nothing-to-do");
    let explained = document(&stage, 0, "help --json 25");
    assert_eq!(explained["explained"], 25);
    assert_eq!(explained["meanings"][0]["command"], "patchadd");
}

#[test]
fn a_document_is_printed_when_a_command_ends_early_too() {
    let stage = stage();
    for (line, code) in [
        ("add --json", 2),
        ("add --json -R /no/such x", 1),
        ("remove --json -R @ROOT@ onehundred", 2),
        ("show --json -R @ROOT@ 900-01", 4),
    ] {
        let document = document(&stage, code, line);
        assert!(document["error"].is_string(), "{line}: {document}");
    }
    stage.file("/etc/patchadm/policy", "edited=perhaps\n");
    let document = document(&stage, 1, "add --json -R @ROOT@ delivered/100-01");
    let error = document["error"].as_str().unwrap();
    assert!(error.contains("etc/patchadm/policy, line 1: edited: "), "{error}");
}
