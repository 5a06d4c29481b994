//! A patch of an analysis: a table row, and an entry of the document.

use serde::Serialize;

use patchadm_cli::reply::kept_shlibs::KeptShlibs;
use patchadm_cli::reply::{Exit, ExitCause};
use patchadm_core::operation::libraries::LibrariesBeforePatches;
use patchadm_planning::analyze::{AnalysedPatch, FlagOrigin};
use patchadm_svr4::patch::PatchId;

/// Days that the column of ages can show.
const MOST_DAYS: u32 = 999;

/// Width of the rule below the synopses.
const RULE: usize = 55;

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum AnalysisEntry {
    Known(Box<AnalysisRow>),
    Unknown(UnknownEntry),
}

#[derive(Debug, Serialize)]
pub(super) struct AnalysisRow {
    pub(super) id: String,
    pub(super) installed: Option<String>,
    pub(super) current: Option<String>,
    pub(super) relation: &'static str,
    pub(super) recommended: bool,
    pub(super) security: bool,
    pub(super) bad: bool,
    pub(super) date: Option<String>,
    pub(super) age_days: Option<u32>,
    pub(super) synopsis: String,
    pub(super) packages: Vec<String>,
    pub(super) requires: Vec<String>,
    pub(super) size: Option<u64>,
    pub(super) reboot: Option<String>,
    /// Old libraries kept because running programs still use them.
    #[serde(skip_serializing_if = "KeptShlibs::is_empty")]
    pub(super) kept_shlibs: KeptShlibs,
    /// Letters of the column of flags.
    #[serde(skip)]
    flags: String,
    #[serde(rename = "missing")]
    pub(super) is_missing: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct UnknownEntry {
    id: String,
    verdict: &'static str,
    code: u8,
    reason: String,
}

/// Of bases, installed and current revisions.
#[derive(Clone, Copy, Debug)]
pub(super) struct ColumnWidths {
    base: usize,
    installed: usize,
    current: usize,
}

impl AnalysisEntry {
    pub(super) fn known(&self) -> Option<&AnalysisRow> {
        match self {
            Self::Known(row) => Some(row),
            Self::Unknown(_) => None,
        }
    }

    pub(super) fn unknown(&self) -> Option<&UnknownEntry> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(entry) => Some(entry),
        }
    }
}

impl UnknownEntry {
    pub(super) fn of(id: String, depot: &str) -> Self {
        let reason = format!("{depot} does not have it");
        Self { id, verdict: "refused", code: Exit::of_verb(ExitCause::Unknown).verb_code(), reason }
    }

    pub(super) fn line(&self) -> String {
        format!("{}: {}", self.id, self.reason)
    }
}

impl From<AnalysedPatch> for AnalysisRow {
    fn from(patch: AnalysedPatch) -> Self {
        let letter = |origin, reference: char| match origin {
            FlagOrigin::None => '-',
            FlagOrigin::Given => reference.to_ascii_lowercase(),
            FlagOrigin::Reference => reference,
        };
        let bad = if patch.is_bad { 'B' } else { '-' };
        Self {
            flags: [letter(patch.recommended, 'R'), letter(patch.security, 'S'), bad].iter().collect(),
            id: patch.base,
            installed: patch.installed,
            current: patch.current,
            relation: patch.relation.sign(),
            recommended: patch.recommended.is_set(),
            security: patch.security.is_set(),
            bad: patch.is_bad,
            date: patch.date.map(|date| date.to_string()),
            age_days: patch.age_days,
            synopsis: patch.synopsis,
            packages: patch.packages,
            requires: patch.requires,
            size: patch.size,
            reboot: patch.reboot,
            kept_shlibs: KeptShlibs::default(),
            is_missing: patch.is_missing,
        }
    }
}

impl AnalysisRow {
    pub(super) fn widths<'a>(rows: impl Iterator<Item = &'a Self>) -> ColumnWidths {
        let least = ColumnWidths { base: 6, installed: 2, current: 2 };
        rows.fold(least, |widths, row| ColumnWidths {
            base: widths.base.max(row.id.len()),
            installed: widths.installed.max(row.installed.as_ref().map_or(0, String::len)),
            current: widths.current.max(row.current.as_ref().map_or(0, String::len)),
        })
    }

    pub(super) fn head(widths: ColumnWidths) -> [String; 2] {
        let ColumnWidths { base, installed, current } = widths;
        let rule = |width| "-".repeat(width);
        [
            format!("{:<base$} {:>installed$}   {:>current$} RSB Age Synopsis", "Patch", "IR", "CR"),
            format!("{} {} - {} --- --- {}", rule(base), rule(installed), rule(current), rule(RULE)),
        ]
    }

    /// Adds libraries still loaded from before the patch, by the applied id.
    pub(super) fn with_kept(mut self, kept: &LibrariesBeforePatches) -> Self {
        let id = self.installed.as_ref().map(|revision| format!("{}-{revision}", self.id));
        let found = id.and_then(|id| kept.get(&PatchId::new(&id).ok()?));
        self.kept_shlibs = KeptShlibs::of(found.map(Vec::as_slice).unwrap_or_default());
        self
    }

    /// The table row, and programs for which the patch is not in force.
    pub(super) fn lines(&self, widths: ColumnWidths) -> impl Iterator<Item = String> {
        let below = self.kept_shlibs.sentences().iter().map(|sentence| format!("  {sentence}"));
        std::iter::once(self.line(widths)).chain(below)
    }

    fn line(&self, widths: ColumnWidths) -> String {
        let ColumnWidths { base, installed, current } = widths;
        let revision = |revision: &Option<String>| revision.clone().unwrap_or_else(|| "--".to_owned());
        let age = self.age_days.map_or_else(|| "-".to_owned(), |days| days.min(MOST_DAYS).to_string());
        format!(
            "{:<base$} {:>installed$} {} {:>current$} {} {age:>3} {}",
            self.id,
            revision(&self.installed),
            self.relation,
            revision(&self.current),
            self.flags,
            self.synopsis
        )
    }
}
