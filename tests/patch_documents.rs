//! The JSON documents of commands about patches, for tests of sets and of several patches.

use serde_json::Value;

use crate::scenario::Scenario;

/// The document that a command prints with `--json`, however it ends.
pub(crate) fn document(stage: &Scenario, line: &str) -> Value {
    let run = stage.run(&format!("{line} --json"));
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{line}: {error}: {}", run.stderr))
}

/// `ID VERDICT CODE` of each patch, in the order of the document.
pub(crate) fn verdicts(document: &Value) -> Vec<String> {
    let patches = document["patches"].as_array().unwrap_or_else(|| panic!("{document}"));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |one: &Value| format!("{} {} {}", word(&one["id"]), word(&one["verdict"]), one["code"]);
    patches.iter().map(line).collect()
}
