//! The schemas of documents for other programs, as their makers publish them (`testdata/schemas`), and the keywords that
//! only they use.

use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;

use super::Rule;
use crate::checkout;

/// Returns the published schemas by the names of their files.
pub(super) fn published() -> &'static BTreeMap<String, Value> {
    static SCHEMAS: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let directory = checkout().join("testdata/schemas");
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let schemas = files.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
        let parsed = schemas.map(|path| {
            let schema = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), schema)
        });
        parsed.collect()
    })
}

/// Returns the faults of a document by the published schema in this file.
pub fn faults_of_published(file: &str, document: &Value) -> Vec<String> {
    let (file, whole) = published().get_key_value(file).unwrap_or_else(|| panic!("no schema {file}"));
    Rule { file, whole, part: whole }.faults("document", document)
}

/// Returns the faults of a value by a keyword that our own schemas do not use; `None` if the keyword is unknown here,
/// too.
pub(super) fn faults_by(
    rule: Rule<'_>,
    (keyword, part): (&str, &Value),
    at: &str,
    value: &Value,
) -> Option<Vec<String>> {
    let unless = |holds: bool, fault: String| if holds { Vec::new() } else { vec![fault] };
    let faults = |part| rule.at(part).faults(at, value);
    let length = |value: &Value| value.as_str().map(|text| text.chars().count() as u64);
    let count = |value: &Value| value.as_array().map(|items| items.len() as u64);
    let limit = part.as_u64();
    Some(match keyword {
        "$id" | "$comment" | "definitions" | "default" | "examples" | "meta:enum" | "deprecated"
        | "additionalItems" | "then" => Vec::new(),
        "pattern" => {
            let pattern = Regex::new(part.as_str().unwrap()).unwrap();
            let fits = value.as_str().is_none_or(|text| pattern.is_match(text));
            unless(fits, format!("{at}: {value} does not match {part}"))
        }
        "format" => unless(has_format(part.as_str().unwrap(), value), format!("{at}: {value} is no {part}")),
        "minLength" => unless(length(value) >= limit || !value.is_string(), format!("{at} is too short")),
        "maxLength" => unless(length(value) <= limit || !value.is_string(), format!("{at} is too long")),
        "minItems" => unless(count(value) >= limit || !value.is_array(), format!("{at} has too few items")),
        "maxItems" => unless(count(value) <= limit || !value.is_array(), format!("{at} has too many items")),
        "uniqueItems" => {
            let items = value.as_array().into_iter().flatten().enumerate();
            let twice =
                items.clone().any(|(place, item)| items.clone().take(place).any(|(_, other)| other == item));
            unless(!twice, format!("{at} has an item twice"))
        }
        "oneOf" => {
            let fitting = part.as_array().unwrap().iter().filter(|part| faults(part).is_empty()).count();
            unless(fitting == 1, format!("{at} fits {fitting} of the alternatives"))
        }
        "allOf" => part.as_array().unwrap().iter().flat_map(faults).collect(),
        "not" => unless(!faults(part).is_empty(), format!("{at} is what it must not be")),
        "if" => match rule.part.get("then").filter(|_| faults(part).is_empty()) {
            Some(then) => faults(then),
            None => Vec::new(),
        },
        _ => return None,
    })
}

/// Returns true if a text has a form. The check is coarse, but sufficient for our documents.
fn has_format(format: &str, value: &Value) -> bool {
    let Some(text) = value.as_str() else { return true };
    let is_of_url = |letter: char| letter.is_ascii_graphic() && !"<>\"{}|\\^`".contains(letter);
    match format {
        "date-time" => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        "uri" | "iri" => text.contains(':') && text.chars().all(is_of_url),
        "iri-reference" | "uri-reference" => text.chars().all(is_of_url),
        "idn-email" | "email" => text.contains('@'),
        other => panic!("the format {other} is not known here"),
    }
}

#[test]
fn what_the_published_schemas_refuse_is_refused() {
    let statement = serde_json::json!({
        "vulnerability": {"name": "CVE-2026-1234"},
        "products": [{"@id": "pkg:deb/debian/web@1"}],
        "status": "fixed",
    });
    let document = |statements: Vec<Value>| {
        serde_json::json!({
            "@context": "https://openvex.dev/ns/v0.2.0", "@id": "urn:uuid:x", "author": "me",
            "timestamp": "2026-11-20T00:00:00Z", "version": 1, "statements": statements,
        })
    };
    let faults = |document: &Value| faults_of_published("openvex-0.2.0.schema.json", document);
    assert_eq!(faults(&document(vec![statement.clone()])), Vec::<String>::new());
    let with = |name: &str, value: Value| {
        let mut changed = statement.clone();
        changed[name] = value;
        document(vec![changed])
    };
    for (what, wrong) in [
        ("no statement", document(Vec::new())),
        ("a statement twice", document(vec![statement.clone(), statement.clone()])),
        ("lost without an action", with("status", "affected".into())),
        ("a status that is none", with("status", "gone".into())),
        ("a field too much", with("more", 1.into())),
        ("a product without a URL", with("products", serde_json::json!([{"@id": "a b"}]))),
    ] {
        assert!(!faults(&wrong).is_empty(), "{what}");
    }
    let materials = |component: Value| {
        let document = serde_json::json!({
            "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": [component],
        });
        faults_of_published("bom-1.6.schema.json", &document)
    };
    let patch = |kind: &str| serde_json::json!({"type": kind, "resolves": [{"type": "security", "id": "CVE-2026-1"}]});
    let component = |kind: &str| serde_json::json!({"type": "library", "name": "web", "pedigree": {"patches": [patch(kind)]}});
    assert_eq!(materials(component("backport")), Vec::<String>::new());
    assert!(!materials(component("good")).is_empty());
    let digest = |content: &str| {
        let hashes = serde_json::json!([{"alg": "SHA-256", "content": content}]);
        serde_json::json!({"type": "library", "name": "web", "hashes": hashes})
    };
    assert_eq!(materials(digest(&"0f".repeat(32))), Vec::<String>::new());
    assert!(!materials(digest("0f")).is_empty());
}
