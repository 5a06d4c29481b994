//! Plan files (patchadm-plan(5)): what a command found and would do, as one JSON object.
//!
//! A file is whole or refused. Its size is limited before it is read, and its schema is checked first. Patch names,
//! paths and digests are rejected unless they have the right form. Its statements about a root are not checked here:
//! they are compared with a new plan (`plan_differences`).

use serde::{Deserialize, Serialize};

use super::promotion_states::PromotionStates;
use patchadm_changeset::format::escaped::is_hex;
use patchadm_changeset::format::manifest::{RecordedState, decode};
use patchadm_rootfs::FileType;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

/// The schema of a plan file.
pub const SCHEMA: &str = "patchadm-plan/1";

/// The largest plan file that is read or written, in bytes: 64 MiB.
pub const LARGEST_PLAN: usize = 64 << 20;

/// The verdict on a patch that goes in.
pub const PLANNED: &str = "planned";

/// A plan as a file holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    schema: String,
    /// The marker of the root; `None` for a root that was never changed.
    pub root: Option<String>,
    /// The verb that carries it out: `add`, `update` or `promote`.
    pub command: String,
    /// The request.
    pub options: PlanOptions,
    /// The patches: those that go in, in their order, then the others.
    pub patches: Vec<PlannedPatch>,
    /// The ids of the patches that are applied.
    pub applied: Vec<String>,
    /// The objects and `pkginfo` files concerned, as they are before anything is done.
    pub found: Vec<FoundObject>,
    /// The changes of objects, patch by patch.
    pub changes: Vec<PlannedChange>,
    /// The records that are written, with digests that do not depend on the date.
    pub records: Vec<PlannedRecord>,
    /// The scripts that run, in their order.
    pub scripts: Vec<PlannedScriptRun>,
    /// The outcome for libraries that others need, with their consumers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<PlannedLibrary>,
    /// The inputs that a promotion was planned with; `None` for the other verbs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<PromotionStates>,
}

/// The request, in the words of the options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanOptions {
    /// The operands; paths are absolute.
    pub operands: Vec<String>,
    /// The depot (`-M`).
    pub depot: Option<String>,
    /// `--no-undo`.
    pub no_undo: bool,
    /// `--undo-dir`.
    pub undo_dir: Option<String>,
    /// `--undo-format`.
    pub undo_format: Option<String>,
    /// `--edited`.
    pub edited: Option<String>,
    /// `--override`, each.
    #[serde(rename = "override")]
    pub overridden: Vec<String>,
    /// `--preserve`, each.
    #[serde(rename = "preserve")]
    pub preserved: Vec<String>,
    /// `--signature`.
    pub signature: Option<String>,
    /// `--keys`.
    pub keys: Option<String>,
    /// `--engine`.
    pub engine: Option<String>,
    /// `--script-timeout`, in seconds.
    pub script_timeout: Option<u64>,
    /// `--no-scripts`.
    pub no_scripts: bool,
    /// `--shlibs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shlibs: Option<String>,
    /// `--keep-shlibs`: `allowed` or `always`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_shlibs: Option<String>,
    /// `--all-or-nothing`.
    pub all_or_nothing: bool,
    /// `--withdrawn`.
    pub withdrawn: bool,
    /// `--no-requires`.
    pub no_requires: bool,
    /// `--exclude`, each.
    pub exclude: Vec<String>,
    /// The wishes that only a promotion has; `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<PromotionWishes>,
}

/// The options that only `promote` has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionWishes {
    /// `--path`, each.
    pub paths: Vec<String>,
    /// `--id`.
    pub id: Option<String>,
    /// `--two-way`.
    pub two_way: bool,
    /// `--delete`.
    pub delete: bool,
    /// `--max-delete`.
    pub max_delete: Option<String>,
    /// `--no-hooks`.
    pub no_hooks: bool,
    /// `--tree-only`.
    pub tree_only: bool,
    /// `--allow-set-id`; version 0.1 did not ask for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_set_id: bool,
}

/// A patch of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedPatch {
    /// Its id.
    pub id: String,
    /// The path that it was read from; not compared.
    pub source: Option<String>,
    /// The SHA-256 of the archive, of a directory that of its sorted list of files; `None` of what was not read.
    pub sha256: Option<String>,
    /// `planned`, or how it is left out.
    pub verdict: String,
    /// Why it is left out, or for whom it is taken.
    pub reason: String,
}

/// An object before anything is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundObject {
    /// Where, from the top of the root.
    pub path: String,
    /// The existing object; `None` for nothing.
    pub state: Option<RecordedState>,
}

/// A patch's change of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedChange {
    /// The patch.
    pub patch: String,
    /// The package.
    pub package: String,
    /// Where, from the top of the root.
    pub path: String,
    /// `add`, `replace`, `delete`, `attributes` or `remove-directory`.
    pub action: String,
    /// The object afterwards, as far as the plan says; `None` for nothing.
    pub state: Option<PlannedState>,
}

/// An object as a plan makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedState {
    /// File type; `None` if it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FileType>,
    /// Permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Numeric owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Numeric group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Bytes of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The System V sum of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cksum: Option<u16>,
    /// The target of a link, or the file that is copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Major and minor number of a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<(u32, u32)>,
}

/// A record that is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRecord {
    /// Where, from the top of the root.
    pub path: String,
    /// The SHA-256 of its new content without dates; `None` if it goes, moves, or is known only to the run.
    pub sha256: Option<String>,
}

/// A script that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedScriptRun {
    /// The patch.
    pub patch: String,
    /// The package; `None` for a script of the patch itself.
    pub package: Option<String>,
    /// Its name.
    pub name: String,
}

/// A library that others need and that the plan is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedLibrary {
    /// The patch.
    pub patch: String,
    /// The name that it is needed under.
    pub library: String,
    /// Its path.
    pub path: String,
    /// Its outcome: `kept`, or the word for the reason that it is lost.
    pub fate: String,
    /// The objects that need it; processes are not among them.
    pub consumers: Vec<String>,
}

/// The reason why a plan file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// More than [`LARGEST_PLAN`] bytes.
    #[error("it is larger than {LARGEST_PLAN} bytes")]
    TooLarge,
    /// Not JSON of this form.
    #[error("it is no plan file: {0}")]
    Form(#[from] serde_json::Error),
    /// Another schema.
    #[error("its schema is <{0}>, and this program reads {SCHEMA}")]
    Schema(String),
    /// A field that cannot be as it is.
    #[error("its {field} is not valid: <{value}>")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// Its value.
        value: String,
    },
}

/// The part that is read first.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

impl PlanFile {
    /// Creates the plan of a verb without anything in it.
    pub fn new(command: String, options: PlanOptions) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            root: None,
            command,
            options,
            patches: Vec::new(),
            applied: Vec::new(),
            found: Vec::new(),
            changes: Vec::new(),
            records: Vec::new(),
            scripts: Vec::new(),
            libraries: Vec::new(),
            promotion: None,
        }
    }

    /// Reads a plan file.
    pub fn parse(text: &[u8]) -> Result<Self, PlanFileError> {
        if text.len() > LARGEST_PLAN {
            return Err(PlanFileError::TooLarge);
        }
        let Head { schema } = serde_json::from_slice(text)?;
        if schema != SCHEMA {
            return Err(PlanFileError::Schema(schema));
        }
        let plan: Self = serde_json::from_slice(text)?;
        plan.check()?;
        Ok(plan)
    }

    /// Formats the plan, with a newline at its end.
    pub fn text(&self) -> Result<Vec<u8>, PlanFileError> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        if text.len() > LARGEST_PLAN { Err(PlanFileError::TooLarge) } else { Ok(text) }
    }

    /// Refuses names that are none.
    fn check(&self) -> Result<(), PlanFileError> {
        must_be("command", &self.command, |word| matches!(word, "add" | "update" | "promote"))?;
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

    /// Returns the text of the plan with one thing changed.
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
        assert!(unknown.starts_with("it is no plan file: unknown field `more`"), "{unknown}");
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
}
