//! Plan files (patchadm-plan(5)): findings and plan of a command as one JSON object. Malformed names, paths and digests
//! are rejected here; statements about a root are compared with a new plan (`plan_differences`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use patchadm_changeset::format::escaped::is_hex;
use patchadm_changeset::format::manifest::{RecordedState, decode};
use patchadm_rootfs::FileType;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

pub const SCHEMA: &str = "patchadm-plan/1";

/// 64 MiB.
pub const LARGEST_PLAN: usize = 64 << 20;

/// The verdict on a patch that is applied.
pub const PLANNED: &str = "planned";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    schema: String,
    /// `None` for a root that was never changed.
    pub root: Option<String>,
    /// `add` or `promote`; `update` only for a plan that is not saved.
    pub command: String,
    pub options: PlanOptions,
    /// Patches to be applied in order, then the others.
    pub patches: Vec<PlannedPatch>,
    /// Ids.
    pub applied: Vec<String>,
    /// Before the change, with `pkginfo` files.
    pub found: Vec<FoundObject>,
    pub changes: Vec<PlannedChange>,
    /// Digests do not depend on the date.
    pub records: Vec<PlannedRecord>,
    /// In order of execution.
    pub scripts: Vec<PlannedScriptRun>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<PlannedLibrary>,
    /// `None` for verbs other than `promote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<PromotionStates>,
}

/// In the words of the options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanOptions {
    /// With absolute paths.
    pub operands: Vec<String>,
    /// `-M`.
    pub depot: Option<String>,
    pub no_undo: bool,
    pub undo_dir: Option<String>,
    pub undo_format: Option<String>,
    pub edited: Option<String>,
    /// `--replace-edited`.
    #[serde(rename = "override")]
    pub overridden: Vec<String>,
    /// `--keep-edited`.
    #[serde(rename = "preserve")]
    pub preserved: Vec<String>,
    pub signature: Option<String>,
    pub keys: Option<String>,
    /// `--scripts`: `auto`, `native`, or `script` for `run`.
    pub engine: Option<String>,
    /// In seconds.
    pub script_timeout: Option<u64>,
    /// `--scripts refuse`.
    pub no_scripts: bool,
    /// `--libs` other than `keep-always`, in the words of a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shlibs: Option<String>,
    /// `allowed`, or `always` for `--libs keep-always`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_shlibs: Option<String>,
    pub all_or_nothing: bool,
    pub withdrawn: bool,
    pub no_requires: bool,
    pub exclude: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<PromotionWishes>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionWishes {
    pub paths: Vec<String>,
    pub id: Option<String>,
    pub two_way: bool,
    pub delete: bool,
    pub max_delete: Option<String>,
    pub no_hooks: bool,
    pub tree_only: bool,
    /// Version 0.1 lacks it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_set_id: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedPatch {
    pub id: String,
    /// The path that it was read from; not compared.
    pub source: Option<String>,
    /// Of the archive, or of a directory's sorted list of files; `None` if it was not read.
    pub sha256: Option<String>,
    /// `planned`, or how it is left out.
    pub verdict: String,
    /// Why it is left out, or for which patch it is included.
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundObject {
    /// From the top of the root.
    pub path: String,
    /// `None` if nothing is there.
    pub state: Option<RecordedState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedChange {
    pub patch: String,
    pub package: String,
    /// From the top of the root.
    pub path: String,
    /// `add`, `replace`, `delete`, `attributes` or `remove-directory`.
    pub action: String,
    /// `None` for nothing.
    pub state: Option<PlannedState>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedState {
    /// `None` if it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FileType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// System V, of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cksum: Option<u16>,
    /// Of a link, or the file that is copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<(u32, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRecord {
    /// From the top of the root.
    pub path: String,
    /// Of the new content without dates; `None` if it is removed, moved, or known only to the run.
    pub sha256: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedScriptRun {
    pub patch: String,
    /// `None` for a script of the patch itself.
    pub package: Option<String>,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedLibrary {
    pub patch: String,
    pub library: String,
    pub path: String,
    /// `kept`, or the reason for its loss.
    pub fate: String,
    /// Without processes.
    pub consumers: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    #[error("it is larger than {LARGEST_PLAN} bytes")]
    TooLarge,
    #[error("it is not a plan file: {0}")]
    Form(#[from] serde_json::Error),
    #[error("its schema is <{0}>, and this program reads {SCHEMA}")]
    Schema(String),
    #[error("its {field} is not valid: <{value}>")]
    Field { field: &'static str, value: String },
}

#[derive(Deserialize)]
struct PlanHead {
    schema: String,
}

impl PlanFile {
    pub fn new(command: String, options: PlanOptions) -> Self {
        Self { schema: SCHEMA.to_owned(), command, options, ..Self::default() }
    }

    pub fn parse(text: &[u8]) -> Result<Self, PlanFileError> {
        if text.len() > LARGEST_PLAN {
            return Err(PlanFileError::TooLarge);
        }
        let PlanHead { schema } = serde_json::from_slice(text)?;
        if schema != SCHEMA {
            return Err(PlanFileError::Schema(schema));
        }
        let mut plan: Self = serde_json::from_slice(text)?;
        plan.turn_update_into_add();
        plan.check()?;
        Ok(plan)
    }

    /// Version 0.1 also saved plans of `update`. One with a depot becomes a plan of `add` for the patches that it applies.
    fn turn_update_into_add(&mut self) {
        if self.command == "update" && self.options.depot.is_some() {
            "add".clone_into(&mut self.command);
            self.patches.retain(|patch| patch.verdict == PLANNED);
            self.options.operands = self.patches.iter().map(|patch| patch.id.clone()).collect();
        }
    }

    /// Formats the plan, with a final newline.
    pub fn text(&self) -> Result<Vec<u8>, PlanFileError> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        if text.len() > LARGEST_PLAN { Err(PlanFileError::TooLarge) } else { Ok(text) }
    }

    fn check(&self) -> Result<(), PlanFileError> {
        must_be("command", &self.command, |word| matches!(word, "add" | "promote"))?;
        if let Some(root) = &self.root {
            must_be("root", root, |text| is_hex(text, 16))?;
        }
        for patch in &self.patches {
            if patch.verdict == PLANNED {
                must_be("id of a patch", &patch.id, is_id)?;
            }
            if let Some(sha256) = &patch.sha256 {
                must_be("sha256 of a patch", sha256, |text| is_hex(text, 64))?;
            }
        }
        for id in &self.applied {
            must_be("id of an applied patch", id, is_id)?;
        }
        if let Some((field, value)) = self.promotion.as_ref().and_then(PromotionStates::fault) {
            must_be(field, value, |_| false)?;
        }
        let records = self.records.iter();
        for sha256 in records.filter_map(|record| record.sha256.as_ref()) {
            must_be("sha256 of a record", sha256, |text| is_hex(text, 64))?;
        }
        let found = self.found.iter().map(|found| &found.path);
        let changed = self.changes.iter().map(|change| &change.path);
        let recorded = self.records.iter().map(|record| &record.path);
        for path in found.chain(changed).chain(recorded) {
            must_be("path", path, is_path)?;
        }
        Ok(())
    }
}

fn must_be(field: &'static str, value: &str, is_one: impl Fn(&str) -> bool) -> Result<(), PlanFileError> {
    if is_one(value) {
        return Ok(());
    }
    Err(PlanFileError::Field { field, value: value.chars().take(100).collect() })
}

fn is_id(text: &str) -> bool {
    PatchId::new(text).is_ok()
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && ObjectPath::new(&decode(text)).is_ok()
}

/// Larger trees only have the fingerprint.
pub const MOST_STATES: usize = 200_000;

/// Recorded hexadecimal digits of a state's digest.
pub const STATE_DIGITS: usize = 16;

/// The inputs of a promotion's plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionStates {
    /// Of base, both trees and the last run: `b3:` and 64 hexadecimal digits.
    pub fingerprint: String,
    /// `None` for a tree without identity.
    pub stage: Option<String>,
    /// `0`, or the id of a promotion.
    pub base: Option<String>,
    /// 0 for none.
    pub run: u64,
    /// With digests of their states.
    pub staged: BTreeMap<String, String>,
    /// With digests of their states.
    pub live: BTreeMap<String, String>,
}

impl PromotionStates {
    pub(super) fn fault(&self) -> Option<(&'static str, &str)> {
        let digits = self.fingerprint.strip_prefix("b3:");
        if !digits.is_some_and(|digits| is_hex(digits, 64)) {
            return Some(("fingerprint", &self.fingerprint));
        }
        for (path, digest) in self.staged.iter().chain(&self.live) {
            if !path.starts_with('/') || ObjectPath::new(&decode(path)).is_err() {
                return Some(("path", path));
            }
            if !is_hex(digest, STATE_DIGITS) {
                return Some(("digest of a state", digest));
            }
        }
        None
    }

    pub(super) fn differences<'a>(&'a self, now: &'a Self) -> Vec<(String, &'static str, &'static str)> {
        let sides =
            [(&self.staged, &now.staged, "in the stage"), (&self.live, &now.live, "in the live tree")];
        let mut found = Vec::new();
        for (then, now, side) in sides {
            let paths: std::collections::BTreeSet<&String> = then.keys().chain(now.keys()).collect();
            for path in paths {
                let (then, now) = (then.get(path), now.get(path));
                if then != now {
                    let words = |one: Option<&String>, word| if one.is_some() { word } else { "nothing" };
                    found.push((format!("{path} {side}"), words(then, "an object"), words(now, "another")));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> PlanFile {
        let mut plan = PlanFile::new("add".to_owned(), PlanOptions::default());
        plan.root = Some("0123456789abcdef".to_owned());
        plan.patches.push(PlannedPatch {
            id: "100-01".to_owned(),
            source: Some("/p/100-01".to_owned()),
            sha256: Some("a".repeat(64)),
            verdict: PLANNED.to_owned(),
            reason: String::new(),
        });
        plan.found.push(FoundObject { path: "/opt/x".to_owned(), state: None });
        plan
    }

    fn edited(from: &str, to: &str) -> Vec<u8> {
        let text = String::from_utf8(plan().text().unwrap()).unwrap();
        assert!(text.contains(from), "{text}");
        text.replacen(from, to, 1).into_bytes()
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let text = plan().text().unwrap();
        assert_eq!(PlanFile::parse(&text).unwrap(), plan());
        assert!(text.starts_with(
            b"{\"schema\":\"patchadm-plan/1\",\"root\":\"0123456789abcdef\",\"command\":\"add\""
        ));
    }

    #[test]
    fn a_plan_of_update_is_one_of_add_for_what_it_applies() {
        let mut update = PlanFile { command: "update".to_owned(), ..plan() };
        update.options.operands = vec!["security".to_owned()];
        update.patches.push(PlannedPatch {
            id: "200-01".to_owned(),
            source: None,
            sha256: None,
            verdict: "refused".to_owned(),
            reason: "it requires patch 300-01".to_owned(),
        });
        let refused = PlanFile::parse(&update.text().unwrap()).unwrap_err().to_string();
        assert_eq!(refused, "its command is not valid: <update>");
        update.options.depot = Some("/d".to_owned());
        let mut add = plan();
        add.options = PlanOptions { operands: vec!["100-01".to_owned()], ..update.options.clone() };
        assert_eq!(PlanFile::parse(&update.text().unwrap()).unwrap(), add);
    }

    #[test]
    fn what_was_cut_or_is_something_else_is_no_plan() {
        let text = plan().text().unwrap();
        for end in [0, 1, 40, text.len() - 2] {
            assert!(matches!(PlanFile::parse(&text[..end]), Err(PlanFileError::Form(_))), "{end}");
        }
        let deep = [b"{\"schema\":\"patchadm-plan/1\",\"x\":".to_vec(), b"[".repeat(10_000)].concat();
        for other in [&b"null"[..], b"[]", b"hello", b"\xff", &deep] {
            assert!(matches!(PlanFile::parse(other), Err(PlanFileError::Form(_))));
        }
        let unknown =
            PlanFile::parse(&edited("\"applied\"", "\"more\":1,\"applied\"")).unwrap_err().to_string();
        assert!(unknown.starts_with("it is not a plan file: unknown field `more`"), "{unknown}");
    }

    #[test]
    fn another_schema_is_named_before_anything_else_is_looked_at() {
        for schema in ["patchadm-plan/0", "patchadm-plan/2", "patchadm-depot/1"] {
            let text = format!("{{\"schema\":\"{schema}\",\"what\":[1,2]}}");
            let error = PlanFile::parse(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, format!("its schema is <{schema}>, and this program reads patchadm-plan/1"));
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let zeros = "a".repeat(64);
        for (from, to, said) in [
            ("100-01", "../x", "its id of a patch is not valid: <../x>"),
            ("100-01", "-R", "its id of a patch is not valid: <-R>"),
            ("\"/opt/x\"", "\"opt/x\"", "its path is not valid: <opt/x>"),
            ("\"/opt/x\"", "\"/opt/../x\"", "its path is not valid: </opt/../x>"),
            ("0123456789abcdef", "../../../../../x", "its root is not valid: <../../../../../x>"),
            (zeros.as_str(), "aa", "its sha256 of a patch is not valid: <aa>"),
            ("\"add\"", "\"remove\"", "its command is not valid: <remove>"),
        ] {
            assert_eq!(PlanFile::parse(&edited(from, to)).unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_not_looked_at() {
        let large = vec![b' '; LARGEST_PLAN + 1];
        assert!(matches!(PlanFile::parse(&large), Err(PlanFileError::TooLarge)));
    }

    fn states() -> PromotionStates {
        let digest = |digit: &str| digit.repeat(STATE_DIGITS);
        PromotionStates {
            fingerprint: format!("b3:{}", "0".repeat(64)),
            staged: [("/usr/a".to_owned(), digest("a")), ("/usr/b".to_owned(), digest("b"))].into(),
            live: [("/usr/a".to_owned(), digest("a"))].into(),
            ..PromotionStates::default()
        }
    }

    #[test]
    fn what_no_plan_has_is_told_with_its_field() {
        assert_eq!(states().fault(), None);
        let of = |change: fn(&mut PromotionStates)| {
            let mut states = states();
            change(&mut states);
            states.fault().map(|(field, value)| format!("{field} {value}"))
        };
        assert_eq!(of(|states| states.fingerprint = "b3:0".to_owned()).unwrap(), "fingerprint b3:0");
        assert_eq!(
            of(|states| drop(states.live.insert("usr".to_owned(), String::new()))).unwrap(),
            "path usr"
        );
        let short = of(|states| drop(states.live.insert("/usr".to_owned(), "0".to_owned())));
        assert_eq!(short.unwrap(), "digest of a state 0");
    }

    #[test]
    fn every_path_that_differs_is_told_with_its_side() {
        let (then, mut now) = (states(), states());
        assert_eq!(then.differences(&now), []);
        now.staged.remove("/usr/a");
        now.live.insert("/usr/a".to_owned(), "c".repeat(STATE_DIGITS));
        now.live.insert("/usr/c".to_owned(), "c".repeat(STATE_DIGITS));
        let told: Vec<String> = then
            .differences(&now)
            .into_iter()
            .map(|(subject, then, now)| format!("{subject}: {then}, {now}"))
            .collect();
        assert_eq!(
            told,
            [
                "/usr/a in the stage: an object, nothing",
                "/usr/a in the live tree: an object, another",
                "/usr/c in the live tree: nothing, another"
            ]
        );
    }
}
