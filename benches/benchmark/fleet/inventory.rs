//! The document that `list --json` prints on a host, with the same fields in the same order.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::Value;

/// The document of a host.
#[derive(Serialize)]
pub(super) struct Inventory<'a> {
    pub(super) schema: &'static str,
    pub(super) command: &'static str,
    pub(super) root: &'static str,
    pub(super) exit_code: u8,
    pub(super) classic_code: u8,
    pub(super) cause: &'static str,
    pub(super) machine: String,
    pub(super) at: String,
    pub(super) version: &'static str,
    pub(super) patches: Vec<AppliedPatch<'a>>,
    pub(super) packages: &'a [InstalledPackage],
    pub(super) unfinished: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) stale: Vec<Stale>,
}

/// A patch on a host.
#[derive(Serialize)]
pub(super) struct AppliedPatch<'a> {
    pub(super) id: &'a str,
    pub(super) state: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<&'a str>,
    pub(super) date: String,
    pub(super) date_text: String,
    pub(super) host: String,
    pub(super) synopsis: &'a str,
    pub(super) packages: &'a [String],
    pub(super) obsoletes: [&'static str; 0],
    pub(super) requires: [&'static str; 0],
    pub(super) incompatibles: [&'static str; 0],
    pub(super) fixes: &'a [String],
    pub(super) sha256: &'a str,
    pub(super) undo: Vec<Undo<'a>>,
    pub(super) removable: Removable<'a>,
    pub(super) checked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trial: Option<Trial<'a>>,
    pub(super) signature: Signature,
}

#[derive(Serialize)]
pub(super) struct Undo<'a> {
    pub(super) package: &'a str,
    pub(super) state: &'static str,
    pub(super) bytes: usize,
    pub(super) path: String,
}

#[derive(Serialize)]
pub(super) struct Removable<'a> {
    pub(super) now: bool,
    pub(super) code: u8,
    pub(super) blocked_by: Vec<&'a str>,
    pub(super) reason: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Trial<'a> {
    pub(super) run: &'static str,
    pub(super) until: &'static str,
    pub(super) over: bool,
    pub(super) stuck: Option<&'static str>,
    pub(super) patches: [&'a str; 1],
}

#[derive(Serialize)]
pub(super) struct Signature {
    pub(super) state: &'static str,
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    pub(super) time: &'static str,
    pub(super) form: &'static str,
    pub(super) policy: &'static str,
}

#[derive(Serialize)]
pub(super) struct InstalledPackage {
    pub(super) package: String,
    pub(super) name: String,
    pub(super) version: &'static str,
    pub(super) arch: &'static str,
    pub(super) manager: Option<&'static str>,
    pub(super) native: Option<&'static str>,
    pub(super) purl: String,
}

#[derive(Serialize)]
pub(super) struct Stale {
    pub(super) package: String,
    pub(super) reason: &'static str,
}

/// Fields that a root has only after certain events, or with signed patches.
const NOT_ALWAYS: [&str; 4] = [".stale", ".patches.by", ".patches.trial", ".patches.signature"];

impl Inventory<'_> {
    /// Fails unless the fields are those that a real root printed.
    pub(super) fn assert_like(&self, printed: &[u8]) -> Result<()> {
        let printed: Value = serde_json::from_slice(printed).context("what list --json printed")?;
        let [mut expected, mut made] = <[BTreeSet<String>; 2]>::default();
        add_fields(&printed, "", &mut expected);
        add_fields(&serde_json::to_value(self)?, "", &mut made);
        made.retain(|field| !NOT_ALWAYS.iter().any(|begin| field.starts_with(begin)));
        let other: Vec<&String> = expected.symmetric_difference(&made).collect();
        ensure!(other.is_empty(), "the benchmark's inventories are not what list --json prints: {other:?}");
        Ok(())
    }
}

/// Adds the fields of a value, recursively.
fn add_fields(value: &Value, above: &str, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let field = format!("{above}.{name}");
                add_fields(value, &field, fields);
                fields.insert(field);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| add_fields(value, above, fields)),
        _ => {}
    }
}
