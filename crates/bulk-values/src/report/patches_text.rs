//! The patches of a run as text.

use super::run_report::PatchesReport;
use patchadm_svr4::package::control::visible;

/// The lists of packages without a patch: the field, and the words for it.
const WITHOUT: [(&str, &str); 4] = [
    ("new", "New, and in no patch"),
    ("gone", "Gone, and in no patch"),
    ("foreign", "Not of this format, and in no patch"),
    ("restricted", "Not to be handed on, and in no patch"),
];

/// Returns what is told of patches: those that were made or failed, what they take away, and what has none. Lines end with a
/// newline, and hold no other control character.
pub fn patches_text(patches: &PatchesReport) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(&visible(text));
        out.push('\n');
    };
    let told = patches.sources.iter().filter(|one| matches!(one.state.as_str(), "built" | "failed"));
    let told: Vec<_> = told.collect();
    line(if told.is_empty() { "No patches were made" } else { "Patches" });
    for source in told {
        let id = source.id.as_deref().unwrap_or("-");
        let reason = if source.reason.is_empty() { String::new() } else { format!(": {}", source.reason) };
        line(&format!("  {id}  {}  {}{reason}", source.source, source.state));
        let log = source.others.get("log").and_then(serde_json::Value::as_str);
        if let Some(log) = log.filter(|_| source.state == "failed") {
            line(&format!("      {log}"));
        }
    }
    for taken in &patches.takes_away {
        let packages = taken.packages.join(" ");
        line(&format!("  {} takes {} away, which these need: {packages}", taken.id, taken.library));
    }
    if !patches.takes_away.is_empty() {
        line("  Apply these together with the patches of what needs them, or with --keep-shlibs.");
    }
    for (field, words) in WITHOUT {
        let names = patches.others.get(field).and_then(serde_json::Value::as_array);
        let names: Vec<&str> = names.into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
        if !names.is_empty() {
            line(&format!("  {words}: {}", names.join(" ")));
        }
    }
    let shared = patches.others.get("shared_paths").and_then(serde_json::Value::as_array);
    for shared in shared.into_iter().flatten() {
        let packages = shared["packages"].as_array().into_iter().flatten();
        let packages: Vec<&str> = packages.filter_map(serde_json::Value::as_str).collect();
        let path = shared["path"].as_str().unwrap_or_default();
        line(&format!("  {path} is in {}: the last one gets no patch", packages.join(" and in ")));
    }
    if let Some(refused) = patches.others.get("refused").and_then(serde_json::Value::as_str) {
        line(&format!("Nothing is published: {refused}"));
        if let Some(log) = patches.others.get("log").and_then(serde_json::Value::as_str) {
            line(&format!("      {log}"));
        }
    }
    out
}
