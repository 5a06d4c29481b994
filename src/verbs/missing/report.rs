//! The answer of `patchadm missing`: a table, or a document.

use std::path::PathBuf;

use serde::Serialize;

use super::choice::AnalysisChoice;
use patchadm_cli::reply::overtaken::NativeEntries;
use patchadm_cli::reply::shlibs;
use patchadm_cli::reply::trial::TrialStanding;
use patchadm_cli::reply::words::{counted_patches, print_notes};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::analysis::HostNames;
use patchadm_core::operation::libraries::LibrariesBeforePatches;
use patchadm_planning::analyze::{AnalysedPatch, Analysis, CrossReference, FlagOrigin};
use patchadm_planning::plan::kept_libraries::KeptLibrary;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

const UNKNOWN: Exit = Exit::of_verb(ExitCause::Unknown);

#[derive(Debug)]
pub(super) enum AnalysedMachine {
    Root(PathBuf),
    Host(Option<HostNames>),
}

#[derive(Debug, Serialize)]
pub(super) struct AnalysisReport {
    depot: String,
    /// Another machine than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    as_of: Option<String>,
    groups: Vec<String>,
    #[serde(flatten)]
    native: NativeEntries,
    /// Listed patches that the machine lacks.
    missing: usize,
    patches: Vec<AnalysisEntry>,
    /// The current trial of the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    trial: Option<TrialStanding>,
    #[serde(skip)]
    machine: AnalysedMachine,
    #[serde(skip)]
    is_check: bool,
    #[serde(skip)]
    remarks: Vec<String>,
}

impl AnalysisReport {
    pub(super) fn of(
        reference: &CrossReference,
        depot: &str,
        machine: AnalysedMachine,
        choice: &AnalysisChoice,
        analysis: Analysis,
        kept: &LibrariesBeforePatches,
    ) -> Self {
        let missing = analysis.patches.iter().filter(|patch| patch.is_missing).count();
        let unknown = analysis.unknown.into_iter().map(|id| UnknownEntry::of(id, depot));
        let known = analysis.patches.into_iter().map(|patch| AnalysisRow::of(patch, kept));
        Self {
            as_of: reference.as_of().map(|day| day.to_string()),
            groups: choice.request.groups.iter().map(ToString::to_string).collect(),
            native: NativeEntries::default(),
            missing,
            patches: known
                .map(Box::new)
                .map(AnalysisEntry::Known)
                .chain(unknown.map(AnalysisEntry::Unknown))
                .collect(),
            trial: None,
            is_check: choice.is_check,
            remarks: Vec::new(),
            host: match &machine {
                AnalysedMachine::Host(Some(host)) => Some(host.node.clone()),
                AnalysedMachine::Host(None) | AnalysedMachine::Root(_) => None,
            },
            machine,
            depot: depot.to_owned(),
        }
    }

    pub(super) fn with_native(self, native: NativeEntries) -> Self {
        let remarks: Vec<String> = native.remarks().collect();
        Self { native, ..self }.with_remarks(remarks)
    }

    pub(super) fn with_remarks(mut self, remarks: impl IntoIterator<Item = String>) -> Self {
        self.remarks.extend(remarks);
        self
    }

    pub(super) fn on_trial(mut self, root: &Root, trial: Option<TrialStanding>) -> Self {
        self.remarks.extend(trial.as_ref().map(|trial| trial.reminder(root)));
        Self { trial, ..self }
    }

    pub(super) fn exit(&self) -> Exit {
        if self.unknown().next().is_some() {
            return UNKNOWN;
        }
        if !self.is_check {
            return Exit::OK;
        }
        match self.native.checked(Exit::OK) {
            Exit::OK if self.missing > 0 => Exit::MISSING,
            exit => exit,
        }
    }

    pub(super) fn lost_lines(&self) -> impl Iterator<Item = String> {
        self.native.lost_lines()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &AnalysisRow> {
        self.patches.iter().filter_map(AnalysisEntry::known)
    }

    pub(super) fn unknown(&self) -> impl Iterator<Item = &UnknownEntry> {
        self.patches.iter().filter_map(AnalysisEntry::unknown)
    }

    pub(super) fn line(&self) -> String {
        let listed = self.rows().count();
        let patches = counted_patches(listed);
        let missing = match self.missing {
            0 => "none is missing".to_owned(),
            1 => "1 is missing".to_owned(),
            number => format!("{number} are missing"),
        };
        format!("{patches} listed, {missing}")
    }

    /// Lost fixes and the table, without its heading.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lost_lines().chain(self.table()).collect()
    }

    fn table(&self) -> Vec<String> {
        let widths = AnalysisRow::widths(self.rows());
        let head = AnalysisRow::head(widths);
        let rows = self.rows().flat_map(|row| row.lines(widths));
        let unknown = self.unknown().map(UnknownEntry::line);
        if self.rows().next().is_none() {
            return unknown.collect();
        }
        head.into_iter().chain(rows).chain(unknown).collect()
    }

    pub(super) fn machine(&self) -> (&'static str, String) {
        match &self.machine {
            AnalysedMachine::Host(Some(host)) => ("Host", format!("{} ({})", host.node, host.system)),
            AnalysedMachine::Root(_) => ("Root", self.machine_name()),
            AnalysedMachine::Host(None) => ("Host", self.machine_name()),
        }
    }

    pub(super) fn machine_name(&self) -> String {
        match &self.machine {
            AnalysedMachine::Root(root) => root.display().to_string(),
            AnalysedMachine::Host(Some(host)) => host.node.clone(),
            AnalysedMachine::Host(None) => "not named".to_owned(),
        }
    }

    /// Name of the comparison and its day.
    pub(super) fn compared_with(&self) -> String {
        let from = self.as_of.as_ref().map(|day| format!(" from {day}")).unwrap_or_default();
        format!("{}{from}", self.depot)
    }

    /// The list, the number of patches, and the letters of the flags.
    pub(super) fn listed(&self) -> String {
        let patches = counted_patches(self.rows().count());
        format!("{} ({patches}; R: recommended, S: security, B: withdrawn)", self.groups_in_words())
    }

    pub(super) fn groups_in_words(&self) -> String {
        if self.groups.is_empty() { "patches".to_owned() } else { self.groups.join(" ") }
    }

    /// Listed patches that the machine lacks.
    pub(super) fn missing(&self) -> usize {
        self.missing
    }
}

impl CommandReport for AnalysisReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        self.lost_lines().try_for_each(|line| output.line(line))?;
        let (kind, machine) = self.machine();
        output.line(format!("Using {}", self.compared_with()))?;
        output.line(format!("{kind}: {machine}"))?;
        output.line(format!("List: {}\n", self.listed()))?;
        let widths = AnalysisRow::widths(self.rows());
        if self.rows().next().is_some() {
            for line in AnalysisRow::head(widths) {
                output.line(line)?;
            }
        }
        for row in self.rows() {
            row.lines(widths).try_for_each(|line| output.line(line))?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        for unknown in self.unknown() {
            output.error(&unknown.line())?;
        }
        Ok(print_notes(output, &self.remarks)?)
    }
}

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

/// A patch of an analysis: a row of the table, and an entry of the document.
#[derive(Debug, Serialize)]
pub(super) struct AnalysisRow {
    #[serde(flatten)]
    patch: AnalysedPatch,
    /// Old libraries kept because running programs still use them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kept_shlibs: Vec<KeptLibrary>,
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

impl AnalysisRow {
    /// Adds libraries still loaded from before the patch, by the applied id.
    fn of(patch: AnalysedPatch, kept: &LibrariesBeforePatches) -> Self {
        let id = patch.installed.as_ref().map(|revision| format!("{}-{revision}", patch.base));
        let found = id.and_then(|id| kept.get(&PatchId::new(&id).ok()?));
        Self { kept_shlibs: found.cloned().unwrap_or_default(), patch }
    }

    /// Letters of the column of flags.
    fn flags(&self) -> String {
        let letter = |origin, reference: char| match origin {
            FlagOrigin::None => '-',
            FlagOrigin::Given => reference.to_ascii_lowercase(),
            FlagOrigin::Reference => reference,
        };
        let bad = if self.patch.is_bad { 'B' } else { '-' };
        [letter(self.patch.recommended, 'R'), letter(self.patch.security, 'S'), bad].iter().collect()
    }

    pub(super) fn widths<'a>(rows: impl Iterator<Item = &'a Self>) -> ColumnWidths {
        let least = ColumnWidths { base: 6, installed: 2, current: 2 };
        rows.fold(least, |widths, row| ColumnWidths {
            base: widths.base.max(row.patch.base.len()),
            installed: widths.installed.max(row.patch.installed.as_ref().map_or(0, String::len)),
            current: widths.current.max(row.patch.current.as_ref().map_or(0, String::len)),
        })
    }

    pub(super) fn head(widths: ColumnWidths) -> [String; 2] {
        let ColumnWidths { base, installed, current } = widths;
        let rule = |width| "-".repeat(width);
        // With the sign between the revisions, both words fit above the shortest ones.
        let (old, new) = (installed + 2, current + 1);
        [
            format!("{:<base$} {:<old$}{:>new$} RSB Age Synopsis", "Patch", "Old", "New"),
            format!("{} {} - {} --- --- {}", rule(base), rule(installed), rule(current), rule(RULE)),
        ]
    }

    /// The table row, and programs for which the patch is not in force.
    pub(super) fn lines(&self, widths: ColumnWidths) -> impl Iterator<Item = String> {
        let below = shlibs::sentences(&self.kept_shlibs).into_iter().map(|sentence| format!("  {sentence}"));
        std::iter::once(self.line(widths)).chain(below)
    }

    fn line(&self, widths: ColumnWidths) -> String {
        let ColumnWidths { base, installed, current } = widths;
        let revision = |revision: &Option<String>| revision.clone().unwrap_or_else(|| "--".to_owned());
        let patch = &self.patch;
        let age = patch.age_days.map_or_else(|| "-".to_owned(), |days| days.min(MOST_DAYS).to_string());
        format!(
            "{:<base$} {:>installed$} {} {:>current$} {} {age:>3} {}",
            patch.base,
            revision(&patch.installed),
            patch.relation.sign(),
            revision(&patch.current),
            self.flags(),
            patch.synopsis
        )
    }
}
