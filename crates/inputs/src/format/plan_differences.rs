//! Differences between a new plan and the one in a file, except the places that patches were read from, and reasons:
//! another version words them differently.

use std::collections::BTreeMap;
use std::fmt;

use chrono::DateTime;
use patchadm_rootfs::human;
use serde::Serialize;
use serde_json::Value;

use super::plan_file::{PlanFile, PlannedLibrary};

const TOLD: usize = 20;
const LONGEST_VALUE: usize = 200;

/// The first twenty differences, and the number of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanDifferences {
    first: Vec<PlanDifference>,
    count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PlanDifference {
    subject: String,
    then: String,
    now: String,
}

impl PlanDifferences {
    /// Compares the plan of a file with a new plan for the same request; `None` if they are equal.
    pub fn between(file: &PlanFile, now: &PlanFile) -> Option<Self> {
        let (then, again) = (subjects(file), subjects(now));
        let place: BTreeMap<&str, &Value> =
            again.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let known: BTreeMap<&str, &Value> = then.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let mut differences = Self { first: Vec::new(), count: 0 };
        for (subject, value) in &then {
            let found = place.get(subject.as_str()).copied().unwrap_or(&Value::Null);
            differences.compare(subject, value, found);
        }
        for (subject, value) in again.iter().filter(|(subject, _)| !known.contains_key(subject.as_str())) {
            differences.compare(subject, &Value::Null, value);
        }
        differences.compare_states(file, now);
        (differences.count > 0).then_some(differences)
    }

    /// Compares the states that promotions were planned with. If no path differs, the fingerprint decides.
    fn compare_states(&mut self, file: &PlanFile, now: &PlanFile) {
        let (Some(then), Some(now)) = (&file.promotion, &now.promotion) else { return };
        self.compare("the stage", &value(&then.stage), &value(&now.stage));
        self.compare("the base", &value(&then.base), &value(&now.base));
        self.compare("the last run", &value(&then.run), &value(&now.run));
        for (subject, then, now) in then.differences(now) {
            self.compare(&subject, &value(&then), &value(&now));
        }
        if self.count == 0 {
            self.compare("the fingerprint", &value(&then.fingerprint), &value(&now.fingerprint));
        }
    }

    fn compare(&mut self, subject: &str, then: &Value, now: &Value) {
        if then == now {
            return;
        }
        self.count += 1;
        if self.first.len() < TOLD {
            let (then, now) = shown(then, now);
            self.first.push(PlanDifference { subject: subject.to_owned(), then, now });
        }
    }
}

impl fmt::Display for PlanDifferences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.count > self.first.len() {
            format!("; the first {}:", self.first.len())
        } else {
            String::new()
        };
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "{} difference{plural}{more}", self.count)?;
        for PlanDifference { subject, then, now } in &self.first {
            write!(f, "\n{subject}: planned with {then}, now {now}")?;
        }
        Ok(())
    }
}

fn subjects(plan: &PlanFile) -> Vec<(String, Value)> {
    let mut all = Subjects::default();
    all.add("the root".to_owned(), &plan.root);
    all.add("the verb".to_owned(), &plan.command);
    if let Value::Object(options) = value(&plan.options) {
        for (name, value) in options {
            all.add(format!("option {name}"), &value);
        }
    }
    for patch in &plan.patches {
        let compared = serde_json::json!({ "sha256": patch.sha256, "verdict": patch.verdict });
        all.add(format!("patch {}", patch.id), &compared);
    }
    let order: Vec<&str> = plan.patches.iter().map(|patch| patch.id.as_str()).collect();
    all.add("the order of the patches".to_owned(), &order.join(" "));
    for id in &plan.applied {
        all.add(format!("applied patch {id}"), &"applied");
    }
    for found in &plan.found {
        all.add(found.path.clone(), &found.state);
    }
    for change in &plan.changes {
        let mut compared = value(&change.state);
        match &mut compared {
            Value::Object(fields) => {
                fields.insert("action".to_owned(), value(&change.action));
            }
            other => *other = value(&change.action),
        }
        all.add(format!("{} (by {} in {})", change.path, change.patch, change.package), &compared);
    }
    for record in &plan.records {
        let sha256 = record.sha256.as_deref().unwrap_or("written by the run");
        all.add(format!("{} (a record)", record.path), &sha256);
    }
    for library in &plan.libraries {
        let PlannedLibrary { patch, library: name, path, .. } = library;
        all.add(format!("library {name} at {path} (by {patch})"), library);
    }
    for (place, script) in plan.scripts.iter().enumerate() {
        all.add(format!("script {}", place + 1), script);
    }
    all.named
}

#[derive(Default)]
struct Subjects {
    named: Vec<(String, Value)>,
    times: BTreeMap<String, usize>,
}

impl Subjects {
    fn add(&mut self, name: String, of: &impl Serialize) {
        let times = self.times.entry(name.clone()).or_default();
        *times += 1;
        let name = if *times == 1 { name } else { format!("{name} #{times}") };
        self.named.push((name, value(of)));
    }
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or(Value::Null)
}

/// In words; for objects, only the fields that differ.
fn shown(then: &Value, now: &Value) -> (String, String) {
    let (Value::Object(old), Value::Object(new)) = (then, now) else { return (word(then), word(now)) };
    let differs = |name: &&String| old.get(*name) != new.get(*name);
    let names: Vec<&String> = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))).collect();
    let names: Vec<&String> = names.into_iter().filter(differs).collect();
    let fields = |of: &serde_json::Map<String, Value>| {
        let fields = names.iter().map(|name| field(name, of.get(*name).unwrap_or(&Value::Null)));
        fields.collect::<Vec<_>>().join(", ")
    };
    (fields(old), fields(new))
}

fn field(name: &str, value: &Value) -> String {
    match (name, value.as_u64()) {
        ("mode", Some(mode)) => format!("mode {mode:04o}"),
        ("size", Some(size)) => format!("size {}", human(size)),
        ("mtime", None) => format!("modified {}", moment(value).unwrap_or_else(|| word(value))),
        _ => format!("{name} {}", word(value)),
    }
}

/// Returns a recorded time in words, with its fraction, which may be all that differs.
fn moment(value: &Value) -> Option<String> {
    let seconds = value.get("seconds")?.as_i64()?;
    let nanoseconds = u32::try_from(value.get("nanoseconds")?.as_u64()?).ok()?;
    let moment = DateTime::from_timestamp(seconds, nanoseconds)?;
    Some(moment.format("%Y-%m-%d %H:%M:%S%.f UTC").to_string())
}

fn word(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) if text.is_empty() => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| field(name, value));
            fields.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return format!("{}...", text.chars().take(16).collect::<String>());
    }
    if text.chars().count() <= LONGEST_VALUE || value.is_object() {
        return text;
    }
    format!("{}...", text.chars().take(LONGEST_VALUE).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::plan_file::{FoundObject, PlanOptions, PlannedPatch};

    fn plan() -> PlanFile {
        let mut plan = PlanFile::new("add".to_owned(), PlanOptions::default());
        plan.patches.push(PlannedPatch {
            id: "100-01".to_owned(),
            source: Some("/a".to_owned()),
            sha256: Some("a".repeat(64)),
            verdict: "planned".to_owned(),
            reason: String::new(),
        });
        plan
    }

    fn told(now: &PlanFile) -> String {
        PlanDifferences::between(&plan(), now).unwrap().to_string()
    }

    #[test]
    fn the_same_plan_from_elsewhere_in_other_words_is_the_same() {
        let mut now = plan();
        now.patches[0].source = Some("/b".to_owned());
        now.patches[0].reason = "in other words".to_owned();
        assert_eq!(PlanDifferences::between(&plan(), &now), None);
    }

    #[test]
    fn only_what_differs_is_told() {
        let mut now = plan();
        now.patches[0].sha256 = Some("b".repeat(64));
        assert_eq!(
            told(&now),
            "1 difference\npatch 100-01: planned with sha256 aaaaaaaaaaaaaaaa..., now sha256 bbbbbbbbbbbbbbbb..."
        );
        let mut now = plan();
        now.options.no_undo = true;
        now.applied.push("7-01".to_owned());
        assert_eq!(
            told(&now),
            "2 differences\noption no_undo: planned with no, now yes\n\
             applied patch 7-01: planned with nothing, now applied"
        );
    }

    #[test]
    fn sizes_and_times_are_told_for_people() {
        let state = |size: u64, seconds: i64| {
            let mtime = serde_json::json!({"seconds": seconds, "nanoseconds": 0});
            serde_json::json!({"size": size, "mtime": mtime, "uid": 7})
        };
        let (then, now) = shown(&state(3, 1_795_762_800), &state(4500, 1_795_762_860));
        assert_eq!(then, "modified 2026-11-27 07:00:00 UTC, size 3 bytes");
        assert_eq!(now, "modified 2026-11-27 07:01:00 UTC, size 4.4 KiB");
        assert_eq!(field("mtime", &Value::Null), "modified nothing");
    }

    #[test]
    fn the_first_twenty_are_told_and_all_are_counted() {
        let mut now = plan();
        let many = (0..23).map(|number| FoundObject { path: format!("/x{number:02}"), state: None });
        now.found.extend(many);
        now.applied.extend((0..23).map(|number| format!("{}-01", number + 200)));
        let told = told(&now);
        assert!(told.starts_with("23 differences; the first 20:\n"), "{told}");
        assert_eq!(told.lines().count(), 21);
    }
}
