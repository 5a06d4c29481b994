//! Checks of JSON documents: every document that the suite sees conforms to `docs/schema`, to the last field, and
//! `patchadm help` knows its exit.
//!
//! `assert_document` is called where the program is run with `--json`. The validator knows only the keywords that our
//! schemas use, so that no keyword goes unchecked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use serde_json::Value;

use crate::checkout;
use crate::programs::{PATCHADM, sibling};

pub mod official;

/// Returns the schemas by the names of their files.
pub fn schemas() -> &'static BTreeMap<String, Value> {
    static SCHEMAS: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let directory = checkout().join("docs/schema");
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let parsed = files.map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let schema =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_name().unwrap().to_str().unwrap().to_owned(), schema)
        });
        parsed.collect()
    })
}

/// Schemas that are parts of others.
pub const PARTS: [&str; 2] = ["common.json", "patches.json"];

/// A place in a schema: the file, the whole schema, in which references are resolved, and the part of it.
#[derive(Clone, Copy)]
struct Rule<'s> {
    file: &'s str,
    whole: &'s Value,
    part: &'s Value,
}

impl<'s> Rule<'s> {
    /// Returns the schema of a command. The name of its file has hyphens for blanks.
    fn of_command(command: &str) -> Option<Rule<'static>> {
        let (file, whole) = schemas().get_key_value(&format!("{}.json", command.replace(' ', "-")))?;
        Some(Rule { file, whole, part: whole })
    }

    fn at(self, part: &'s Value) -> Self {
        Self { part, ..self }
    }

    fn referred(self, reference: &str) -> Self {
        let (file, place) = reference.split_once('#').unwrap_or((reference, ""));
        let (file, whole) = if file.is_empty() { (self.file, self.whole) } else { known(file) };
        let part = whole.pointer(place).unwrap_or_else(|| panic!("no {reference} in {}", self.file));
        Rule { file, whole, part }
    }

    /// Returns the faults of a value, each with its place in the document.
    fn faults(self, at: &str, value: &Value) -> Vec<String> {
        let rules = self.part.as_object().unwrap();
        rules.iter().flat_map(|(keyword, rule)| self.faults_by(keyword, rule, at, value)).collect()
    }

    fn faults_by(self, keyword: &str, rule: &'s Value, at: &str, value: &Value) -> Vec<String> {
        let unless = |holds: bool, fault: String| if holds { Vec::new() } else { vec![fault] };
        match keyword {
            "$schema" | "$defs" | "title" | "description" => Vec::new(),
            "$ref" => self.referred(rule.as_str().unwrap()).faults(at, value),
            "const" => unless(value == rule, format!("{at} is {value} and not {rule}")),
            "enum" => {
                unless(rule.as_array().unwrap().contains(value), format!("{at}: {value} is none of {rule}"))
            }
            "type" => unless(is_of_type(value, rule), format!("{at}: {value} is no {rule}")),
            "minimum" => {
                unless(value.as_f64() >= rule.as_f64() || value.is_null(), format!("{at}: {value} < {rule}"))
            }
            "maximum" => unless(value.as_f64() <= rule.as_f64(), format!("{at}: {value} > {rule}")),
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                items
                    .flat_map(|(place, item)| self.at(rule).faults(&format!("{at}[{place}]"), item))
                    .collect()
            }
            "required" => {
                let names = rule.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                names
                    .filter(|name| value.is_object() && value.get(name).is_none())
                    .map(|name| format!("{at} lacks {name}"))
                    .collect()
            }
            "properties" => {
                let fields = rule.as_object().unwrap().iter();
                let there = fields.filter_map(|(name, rule)| Some((name, rule, value.get(name)?)));
                there
                    .flat_map(|(name, rule, value)| self.at(rule).faults(&format!("{at}.{name}"), value))
                    .collect()
            }
            "additionalProperties" => {
                let known = self.part.get("properties").and_then(Value::as_object);
                let is_new = |name: &str| known.is_none_or(|known| !known.contains_key(name));
                let fields = value.as_object().into_iter().flatten().filter(|(name, _)| is_new(name));
                let faults = fields.flat_map(|(name, value)| match rule {
                    Value::Bool(false) => vec![format!("{at} has the unknown field {name}")],
                    rule => self.at(rule).faults(&format!("{at}.{name}"), value),
                });
                faults.collect()
            }
            "anyOf" => self.faults_of_any(rule, at, value),
            other => official::faults_by(self, (other, rule), at, value)
                .unwrap_or_else(|| panic!("{}: the keyword {other} is not known here", self.file)),
        }
    }

    /// Returns nothing if one of several rules fits, else the faults by the nearest one.
    fn faults_of_any(self, rules: &'s Value, at: &str, value: &Value) -> Vec<String> {
        let each = rules.as_array().unwrap().iter().map(|rule| self.at(rule).faults(at, value));
        each.min_by_key(Vec::len).unwrap_or_default()
    }
}

/// Returns the schema of a file, with its name.
fn known(file: &str) -> (&'static str, &'static Value) {
    let known = schemas().get_key_value(file).or_else(|| official::published().get_key_value(file));
    let (file, whole) = known.unwrap_or_else(|| panic!("no schema {file}"));
    (file, whole)
}

/// Returns the faults of a document by a schema that refers to no file.
pub fn faults_of(schema: &Value, document: &Value) -> Vec<String> {
    Rule { file: "the schema", whole: schema, part: schema }.faults("document", document)
}

fn is_of_type(value: &Value, types: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    };
    types.as_array().map_or_else(|| is(types), |types| types.iter().any(is))
}

/// Returns the kinds of documents that a command prints: the name of its schema and of the alternative in it.
pub fn kinds(command: &str) -> Vec<(String, &'static Value)> {
    let rule = Rule::of_command(command).unwrap_or_else(|| panic!("docs/schema has nothing for {command}"));
    let alternatives = rule.part["anyOf"].as_array().unwrap();
    let name = |part: &Value| {
        let (_, name) = part["$ref"].as_str().unwrap().rsplit_once('/').unwrap();
        format!("{command}: {name}")
    };
    alternatives.iter().map(|part| (name(part), part)).collect()
}

/// Asserts that the output of a command with `--json` is one document of its schema, and that `help` of the `patchadm`
/// beside this program knows its causes. Returns the kind.
#[track_caller]
pub fn assert_document(program: &Path, line: &str, printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    let document: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: no document: {error}: {text}"));
    let command = document["command"].as_str().unwrap_or_else(|| panic!("{line}: of no command: {text}"));
    let Some(rule) = Rule::of_command(command) else {
        panic!("{line}: docs/schema has nothing for {command}")
    };
    let faults = rule.faults("document", &document);
    assert!(
        faults.is_empty(),
        "{line}: not as docs/schema/{command}.json says:\n{}\n{text}",
        faults.join("\n")
    );
    for ended in documents_in(&document) {
        let code = ended["exit_code"].as_u64().unwrap();
        let name = ended["cause"].as_str().unwrap();
        let known = causes(program, code, command);
        assert!(
            known.contains(name),
            "{line}: explain {code} {command} does not know the cause {name}: {known:?}"
        );
    }
    let fits = |part: &Value| rule.at(part).faults("document", &document).is_empty();
    kinds(command).into_iter().find(|(_, part)| fits(part)).unwrap().0
}

/// Like [`assert_document`], but only if the command was asked for a document.
#[track_caller]
pub fn assert_document_if_asked(program: &Path, line: &str, printed: &[u8]) {
    let words = || line.split_ascii_whitespace();
    let is_asked = words().any(|word| word == "--json") && !words().any(|word| word == "--help");
    if is_asked && !printed.is_empty() {
        assert_document(program, line, printed);
    }
}

/// Returns a document, and the documents of roots in it.
fn documents_in(document: &Value) -> Vec<&Value> {
    let roots = document["roots"].as_array().into_iter().flatten();
    std::iter::once(document).chain(roots).collect()
}

/// The causes by code and command.
type KnownCauses = HashMap<(u64, String), BTreeSet<String>>;

/// Returns the causes that a code has in a command, according to `help`.
fn causes(program: &Path, code: u64, command: &str) -> BTreeSet<String> {
    static KNOWN: Mutex<Option<KnownCauses>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let known = known.get_or_insert_default();
    known.entry((code, command.to_owned())).or_insert_with(|| explained(program, code, command)).clone()
}

fn explained(program: &Path, code: u64, command: &str) -> BTreeSet<String> {
    let mut explain = Command::new(sibling(program, PATCHADM));
    // The codes of an action are those of its verb.
    let command = command.split(' ').next().unwrap();
    let printed = explain.args(["help", "--json", &code.to_string(), command]).output().unwrap().stdout;
    let document: Value = serde_json::from_slice(&printed).unwrap();
    let meanings = document["meanings"].as_array().into_iter().flatten();
    let causes = meanings.flat_map(|meaning| meaning["causes"].as_array().into_iter().flatten());
    causes.map(|cause| cause.as_str().unwrap().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_too_much_one_too_few_and_one_of_another_type_are_faults() {
        let good = r#"{"schema":"patchadm/1","command":"valpath","exit_code":0,"classic_code":0,"cause":"ok","path":"/","valid":true}"#;
        let faults = |text: &str| {
            Rule::of_command("valpath")
                .unwrap()
                .faults("document", &serde_json::from_str(text).unwrap())
                .len()
        };
        assert_eq!(faults(good), 0);
        for (from, to) in [
            ("\"valid\":true", "\"valid\":true,\"more\":1"),
            (",\"valid\":true", ""),
            ("true", "\"yes\""),
            ("\"ok\"", "\"failed\""),
            ("\"exit_code\":0", "\"exit_code\":256"),
            ("valpath", "list"),
            ("patchadm/1", "patchadm/2"),
        ] {
            assert!(faults(&good.replace(from, to)) > 0, "{from} -> {to}");
        }
    }

    #[test]
    fn every_object_of_a_schema_is_closed() {
        for (file, schema) in schemas() {
            assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{file}");
            assert_closed(file, schema);
        }
    }

    /// Asserts that every description of an object excludes further fields.
    fn assert_closed(at: &str, schema: &Value) {
        match schema {
            Value::Object(fields) => {
                let is_object = fields.get("type").is_some_and(|of_type| of_type == "object");
                assert!(!is_object || fields.contains_key("additionalProperties"), "{at}");
                fields.iter().for_each(|(name, part)| assert_closed(&format!("{at}/{name}"), part));
            }
            Value::Array(parts) => parts.iter().for_each(|part| assert_closed(at, part)),
            _ => {}
        }
    }

    #[test]
    fn the_manual_describes_every_cause() {
        let page = fs::read_to_string(checkout().join("man/patchadm-json.5")).unwrap();
        let items: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix(".It Cm ")).collect();
        let causes = schemas()["common.json"]["$defs"]["cause"]["enum"].as_array().unwrap();
        assert_eq!(causes.len(), 39);
        assert!(causes.iter().all(|cause| items.contains(cause.as_str().unwrap())));
    }
}
