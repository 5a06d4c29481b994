//! `help --schema`: the JSON Schema of a command's documents. The files of `docs/schema` refer to each other; the
//! printed schema is a single document with all definitions.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::help::unknown_command;
use crate::arguments::suggest::{did_you_mean, similar};
pub use crate::call::SCHEMA;
use crate::call::{Invocation, Program, Work};
use crate::reply::{Reply, Stop};

const COMMON: (&str, &str) = ("common", include_str!("../../../../docs/schema/common.json"));

/// Embeds files of `docs/schema`, which is in this directory relative to the calling file.
#[macro_export]
macro_rules! schemas {
    ($directory:literal: $($name:literal)*) => {
        &[$(($name, include_str!(concat!($directory, "/", $name, ".json")))),*]
    };
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Schema {
    #[serde(rename = "$schema")]
    dialect: String,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Value>,
    #[serde(rename = "anyOf", skip_serializing_if = "Option::is_none")]
    alternatives: Option<Value>,
    #[serde(rename = "$defs", default)]
    definitions: Map<String, Value>,
}

const USAGE: &str = "patchadm __schema COMMAND";

/// The hidden verb by which `patchadm` asks another program; the arguments name the command.
pub fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let words: Vec<_> = call.arguments.iter().map(|word| word.to_string_lossy()).collect();
    Err(answer(call, &words.join(" "), USAGE))
}

/// Prints the schema of a command, or has the program of the command print it. The result ends the call.
pub fn answer(call: &Invocation, command: &str, usage: &'static str) -> anyhow::Error {
    let of = call.of;
    let verb = command.split(' ').next().unwrap_or_default();
    let Some(applet) = of.applets.iter().find(|applet| applet.is_listed() && applet.name == verb) else {
        return Stop::Usage { message: unknown_command(of, verb), usage }.into();
    };
    if let Work::Beside(sibling) = applet.work {
        return sibling.print_schema(call, verb, command).into();
    }
    let name = command.replace(' ', "-");
    let is_known = command == verb || actions(of, verb).any(|known| known == command);
    if !is_known || !of.schemas.iter().any(|(known, _)| *known == name) {
        return Stop::Usage { message: unknown_schema(of, verb, command), usage }.into();
    }
    match in_one_piece(of, &name) {
        Ok(text) => Stop::Help(text).into(),
        Err(error) => error,
    }
}

/// Returns the message about an action that its verb does not have, or that prints no document.
fn unknown_schema(of: &Program, verb: &str, command: &str) -> String {
    let known: Vec<String> = actions(of, verb).collect();
    let meant = similar(command, known.iter().map(String::as_str)).unwrap_or(verb);
    format!("there is no schema for `{}`\n{}", command.escape_debug(), did_you_mean(meant))
}

/// Each behind its verb. The name of another verb may begin like these.
fn actions(of: &Program, verb: &str) -> impl Iterator<Item = String> {
    let is_verb = |name: &str| of.applets.iter().any(|applet| applet.name == name);
    let names = of.schemas.iter().map(|(name, _)| *name).filter(move |name| !is_verb(name));
    // `undo-data-drop` is an action of `undo-data`, not of `undo`.
    let is_of_longer = move |name: &str| {
        let mut longer = of.applets.iter().filter(|applet| applet.name.len() > verb.len());
        longer.any(|applet| name.strip_prefix(applet.name).is_some_and(|rest| rest.starts_with('-')))
    };
    let names = names.filter(move |name| !is_of_longer(name));
    names.filter_map(move |name| Some(format!("{verb} {}", name.strip_prefix(verb)?.strip_prefix('-')?)))
}

/// Definitions in other files become its own.
fn in_one_piece(of: &Program, name: &str) -> anyhow::Result<String> {
    let mut schema = read(of, name)?;
    let mut pieces = Pieces { of, own: name, found: Map::new() };
    let parts = schema.properties.iter_mut().chain(&mut schema.alternatives);
    for part in parts.chain(schema.definitions.values_mut()) {
        pieces.collect(name, part)?;
    }
    schema.definitions.append(&mut pieces.found);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

fn read(of: &Program, name: &str) -> anyhow::Result<Schema> {
    let mut files = of.schemas.iter().chain([&COMMON]);
    let (_, text) = files.find(|(known, _)| *known == name).with_context(|| format!("no schema {name}"))?;
    serde_json::from_str(text).with_context(|| format!("the schema {name}"))
}

/// Definitions of other files, used directly or not, by `FILE.NAME`.
struct Pieces<'p> {
    of: &'p Program,
    own: &'p str,
    found: Map<String, Value>,
}

impl Pieces<'_> {
    /// Collects the definitions that a part of a file refers to, and adjusts its references.
    fn collect(&mut self, file: &str, part: &mut Value) -> anyhow::Result<()> {
        match part {
            Value::Object(fields) => fields.iter_mut().try_for_each(|(key, value)| match value {
                Value::String(reference) if key == "$ref" => {
                    *reference = self.embed(file, reference)?;
                    Ok(())
                }
                value => self.collect(file, value),
            }),
            Value::Array(parts) => parts.iter_mut().try_for_each(|part| self.collect(file, part)),
            _ => Ok(()),
        }
    }

    /// Returns the reference to the definition in the printed document.
    fn embed(&mut self, file: &str, reference: &str) -> anyhow::Result<String> {
        let unknown = || format!("{file} refers to {reference}");
        let (target, place) = reference.split_once('#').with_context(unknown)?;
        let target =
            if target.is_empty() { file } else { target.strip_suffix(".json").with_context(unknown)? };
        if target == self.own {
            return Ok(format!("#{place}"));
        }
        let place = place.strip_prefix("/$defs/").with_context(unknown)?;
        let name = place.split('/').next().unwrap_or(place);
        let key = format!("{target}.{name}");
        if !self.found.contains_key(&key) {
            let mut definition = read(self.of, target)?.definitions.remove(name).with_context(unknown)?;
            // It may refer to itself.
            self.found.insert(key.clone(), Value::Null);
            self.collect(target, &mut definition)?;
            self.found.insert(key, definition);
        }
        Ok(format!("#/$defs/{target}.{place}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PROGRAM: Program = Program {
        name: "patchadm",
        about: "",
        usage: "",
        ending: "",
        applets: &[],
        only: None,
        overall: None,
        queries: &[],
        meant: &[],
        never_suggested: &[],
        schemas: &[
            (
                "show",
                r##"{"$schema": "d", "title": "t", "anyOf": [{"$ref": "#/$defs/own"}, {"$ref": "list.json#/$defs/tree"}],
                    "$defs": {"own": {"$ref": "list.json#/$defs/leaf/properties/id"}}}"##,
            ),
            (
                "list",
                r##"{"$schema": "d", "title": "t", "$defs": {
                    "tree": {"items": [{"$ref": "#/$defs/tree"}, {"$ref": "list.json#/$defs/leaf"}]},
                    "leaf": {"properties": {"id": {"type": "string"}}}, "unused": {}}}"##,
            ),
            ("broken", r#"{"$schema": "d", "title": "t", "anyOf": [{"$ref": "list.json#/$defs/none"}]}"#),
        ],
    };

    #[test]
    fn definitions_of_other_files_become_its_own() {
        let printed: Value = serde_json::from_str(&in_one_piece(&PROGRAM, "show").unwrap()).unwrap();
        let expected = serde_json::json!({
            "$schema": "d",
            "title": "t",
            "anyOf": [{"$ref": "#/$defs/own"}, {"$ref": "#/$defs/list.tree"}],
            "$defs": {
                "own": {"$ref": "#/$defs/list.leaf/properties/id"},
                "list.tree": {"items": [{"$ref": "#/$defs/list.tree"}, {"$ref": "#/$defs/list.leaf"}]},
                "list.leaf": {"properties": {"id": {"type": "string"}}},
            },
        });
        assert_eq!(printed, expected);
    }

    #[test]
    fn a_reference_to_nothing_is_an_error() {
        let error = in_one_piece(&PROGRAM, "broken").unwrap_err();
        assert_eq!(error.to_string(), "broken refers to list.json#/$defs/none");
    }
}
