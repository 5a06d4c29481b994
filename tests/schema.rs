//! Every JSON document that the suite sees matches a schema of `docs/schema`, and every schema is seen.

mod kinds_seen;

use std::path::Path;

pub(crate) use patchadm_testing::schema::official;
use patchadm_testing::schema::{PARTS, faults_of, kinds, schemas};
use serde_json::Value;

use crate::links::classic_commands;
use crate::packages::Package;
use crate::scenario::{PROGRAM, Scenario};
use crate::verb_options::verbs_and_actions;

/// Asserts that a command with `--json` printed one document that matches its schema. Returns the kind.
#[track_caller]
pub(crate) fn assert_document(line: &str, printed: &[u8]) -> String {
    patchadm_testing::schema::assert_document(Path::new(PROGRAM), line, printed)
}

/// Asserts the same of a command if it was asked for a document.
#[track_caller]
pub(crate) fn assert_document_if_asked(line: &str, printed: &[u8]) {
    patchadm_testing::schema::assert_document_if_asked(Path::new(PROGRAM), line, printed);
}

#[test]
fn every_command_has_a_schema() {
    for command in verbs_and_actions().into_iter().chain(classic_commands()) {
        assert!(command.ends_with(" enter") || !kinds(&command).is_empty(), "{command}");
    }
}

/// `patchadm help --schema` prints the descriptions: each is a short phrase or sentence.
#[test]
fn every_field_of_every_schema_has_a_description() {
    let mut wrong = Vec::new();
    for (file, schema) in schemas() {
        let check = &mut |place: &str, field: &Value| {
            let text = description(file, field).unwrap_or_default();
            let is_indirect =
                ["What ", "That ", "Those ", "Where ", "Whether "].iter().any(|word| text.starts_with(word));
            if !text.ends_with('.') || text.split(' ').count() > 25 || is_indirect {
                wrong.push(format!("{file}{place}: {text:?}"));
            }
        };
        for_each_field("", schema, check);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Calls a function with each field that a schema describes, and its place.
fn for_each_field(place: &str, part: &Value, check: &mut impl FnMut(&str, &Value)) {
    let fields = part["properties"].as_object().into_iter().flatten();
    fields.for_each(|(name, field)| check(&format!("{place}/properties/{name}"), field));
    match part {
        Value::Object(parts) => {
            parts.iter().for_each(|(name, part)| for_each_field(&format!("{place}/{name}"), part, check));
        }
        Value::Array(parts) => parts.iter().for_each(|part| for_each_field(place, part, check)),
        _ => {}
    }
}

/// The description of a part of a schema: its own, or that of the definition that it refers to.
fn description<'s>(file: &'s str, part: &'s Value) -> Option<&'s str> {
    part["description"].as_str().or_else(|| {
        let (target, place) = part["$ref"].as_str()?.split_once('#')?;
        let file = if target.is_empty() { file } else { target };
        description(file, schemas().get(file)?.pointer(place)?)
    })
}

#[test]
fn help_prints_the_schema_of_every_command_in_one_piece() {
    let stage = Scenario::new();
    let files = schemas().keys().filter(|file| !PARTS.contains(&file.as_str()));
    for name in files.filter_map(|file| file.strip_suffix(".json")) {
        let command = command_of(name);
        let printed = schema_of(&stage, &command);
        assert_eq!(printed["properties"]["command"]["const"], command);
        for_each_reference(&printed, &mut |reference| {
            let place = reference.strip_prefix('#').unwrap_or_else(|| panic!("{command}: {reference}"));
            assert!(printed.pointer(place).is_some(), "{command}: {reference}");
        });
    }
}

fn for_each_reference(part: &Value, check: &mut impl FnMut(&str)) {
    match part {
        Value::Object(parts) => {
            parts.get("$ref").and_then(Value::as_str).into_iter().for_each(&mut *check);
            parts.values().for_each(|part| for_each_reference(part, check));
        }
        Value::Array(parts) => parts.iter().for_each(|part| for_each_reference(part, check)),
        _ => {}
    }
}

fn schema_of(stage: &Scenario, command: &str) -> Value {
    let output = stage.command("help --schema").arg(command).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{command}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn documents_are_as_the_schema_that_help_prints() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    for (command, line) in [
        ("list", "list --json -R @ROOT@"),
        ("remove", "remove --json -R @ROOT@ 100-01"),
        ("stage new", "stage new --json -R @ROOT@ web --path opt"),
        ("stage list", "stage list --json -R @ROOT@"),
        ("stage status", "stage status --json -R @ROOT@ web"),
        ("report", "report --json -R @ROOT@"),
        ("order", "order --json -R @ROOT@"),
        ("pkgchk", "pkgchk --json -R @ROOT@"),
        ("bulk status", "bulk status --json /no/such"),
    ] {
        let schema = schema_of(&stage, command);
        let printed = stage.command(line).output().unwrap().stdout;
        let mut document: Value = serde_json::from_slice(&printed).unwrap();
        assert_eq!(faults_of(&schema, &document), [""; 0], "{line}");
        document["more"] = true.into();
        assert_ne!(faults_of(&schema, &document), [""; 0], "{line}");
    }
}

#[test]
fn a_schema_is_named_by_a_verb_with_its_action_or_by_a_command() {
    let stage = Scenario::new();
    let of_action = stage.run("help --schema stage new").ok();
    assert_eq!(stage.run("help stage new --schema").ok(), of_action);
    assert_eq!(serde_json::from_str::<Value>(&of_action).unwrap(), schema_of(&stage, "stage new"));
    assert_eq!(stage.run("help --schema bulk run").ok(), stage.run("help bulk run --schema").ok());
    for (line, message) in [
        ("help --schema lsit", "there is no command `lsit`\n    did you mean `list`?\n"),
        ("help --schema frobnicate", "there is no command `frobnicate`\n"),
        ("help --schema common", "there is no command `common`\n"),
        ("help --schema stage nwe", "there is no schema for `stage nwe`\n    did you mean `stage new`?\n"),
        ("help --schema bulk rnu", "there is no schema for `bulk rnu`\n    did you mean `bulk run`?\n"),
        ("help --schema undo export", "there is no schema for `undo export`\n    did you mean `undo`?\n"),
        ("help --schema list all", "there is no schema for `list all`\n    did you mean `list`?\n"),
        ("help --schema", "the following required arguments were not provided"),
    ] {
        let said = stage.run(line).fails(2);
        assert!(said.contains(message), "{line}: {said}");
    }
}

/// The command that a file of `docs/schema` describes: an action follows its verb.
fn command_of(name: &str) -> String {
    let verbs = ["stage", "bulk", "undo-data", "libs", "setup"];
    let action = verbs.iter().find_map(|verb| Some((verb, name.strip_prefix(verb)?.strip_prefix('-')?)));
    action.map_or_else(|| name.to_owned(), |(verb, action)| format!("{verb} {action}"))
}
