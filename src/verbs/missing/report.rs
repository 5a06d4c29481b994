//! The answer of `patchadm missing`: a table, or a document.

use std::path::PathBuf;

use serde::Serialize;

use super::choice::AnalysisChoice;
use super::row::{AnalysisEntry, AnalysisRow, UnknownEntry};
use patchadm_cli::reply::overtaken::NativeEntries;
use patchadm_cli::reply::trial_standing::TrialStanding;
use patchadm_cli::reply::words::{counted_patches, print_notes};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::analysis::HostNames;
use patchadm_core::operation::libraries::LibrariesBeforePatches;
use patchadm_planning::analyze::{Analysis, CrossReference};
use patchadm_rootfs::Root;

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
        let known = analysis.patches.into_iter().map(|patch| AnalysisRow::from(patch).with_kept(kept));
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

    /// The list, with the number of patches and the sum of their ages.
    pub(super) fn listed(&self) -> String {
        let ages: u64 = self.rows().filter_map(|row| row.age_days).map(u64::from).sum();
        format!("{} ({}/{ages})", self.groups_in_words(), self.rows().count())
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
