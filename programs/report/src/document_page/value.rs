//! Fields of a document: one of another type counts as missing.

use serde_json::Value;

pub(super) trait Fields {
    /// Empty without a text.
    fn text(&self, name: &str) -> &str;
    /// `None` for an empty text.
    fn some_text(&self, name: &str) -> Option<String>;
    fn number(&self, name: &str) -> Option<u64>;
    fn is_true(&self, name: &str) -> bool;
    fn items(&self, name: &str) -> &[Value];
    fn texts(&self, name: &str) -> Vec<String>;
    /// Null without an object.
    fn object(&self, name: &str) -> &Value;
}

static NONE: Value = Value::Null;

impl Fields for Value {
    fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn some_text(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(Value::as_u64)
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    fn items(&self, name: &str) -> &[Value] {
        self.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn texts(&self, name: &str) -> Vec<String> {
        self.items(name).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    fn object(&self, name: &str) -> &Value {
        self.get(name).filter(|value| value.is_object()).unwrap_or(&NONE)
    }
}

pub(super) fn trial_words(trial: &Value) -> Option<String> {
    if !trial.is_object() {
        return None;
    }
    Some(match (trial.is_true("over"), trial.some_text("stuck")) {
        (true, Some(reason)) => format!("trial over, not reverted yet: {reason}"),
        (true, None) => "trial over, reverted by the next change".to_owned(),
        (false, _) => format!("on trial until {}", trial.text("until")),
    })
}

/// The end of a patch that dpkg or rpm overtook.
pub(super) fn ended(patch: &Value) -> String {
    let (name, version, manager) = (patch.text("name"), patch.text("version"), patch.text("manager"));
    match patch.text("outcome") {
        "contained" => format!("contained in {name} {version} ({manager})"),
        "removed" => format!("removed with {name} ({manager})"),
        "accepted" => format!("lost to {name} {version} ({manager}), which was accepted"),
        "partly-lost" => format!("partly lost to {name} {version} ({manager})"),
        _ => format!("lost to {name} {version} ({manager})"),
    }
}
