use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::SecondsFormat;
use serde::{Serialize, Serializer};

use crate::made::{ComparedWith, MadeReport, ReportMessages, TwoHosts};
use crate::text;
use patchadm_cli::reply::CommandReport;
use patchadm_cli::reply::words::print_notes;
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::fleet::UnreadInventory;
use patchadm_planning::fleet::{
    Finding, FindingKind, FleetChanges, FleetHost, FleetPatch, HostComparison, HostStanding, PastReport,
    ReplacedInventory,
};
use patchadm_svr4::patch::PatchId;

/// Its fields are those of the JSON document.
#[derive(Debug, Serialize)]
pub(crate) struct FleetAnswer {
    at: String,
    version: &'static str,
    compared_with: ComparedWith,
    inventories: InventoriesEntry,
    summary: SummaryEntry,
    hosts: Vec<HostEntry>,
    patches: Vec<FleetPatch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<TwoHostsEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<SinceEntry>,
    notes: Vec<String>,
    #[serde(skip)]
    messages: ReportMessages,
}

#[derive(Debug, Serialize)]
struct InventoriesEntry {
    documents: usize,
    unread: Vec<UnreadInventory>,
    replaced: Vec<ReplacedInventory>,
}

#[derive(Debug, Serialize)]
struct SummaryEntry {
    hosts: usize,
    patches: usize,
    lacking: usize,
    findings: BTreeMap<&'static str, usize>,
}

#[derive(Debug, Serialize)]
struct HostEntry {
    host: String,
    machine: String,
    root: String,
    at: Option<String>,
    version: Option<String>,
    source: String,
    packages_known: bool,
    undo_bytes: u64,
    patches: HostPatches,
    lacks: HostPatches,
    findings: Vec<Finding>,
}

/// Indices of patches, serialized as their ids.
#[derive(Debug)]
struct HostPatches {
    ids: Arc<[PatchId]>,
    places: Vec<usize>,
}

impl Serialize for HostPatches {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ids = self.places.iter().filter_map(|place| self.ids.get(*place));
        serializer.collect_seq(ids.map(PatchId::as_str))
    }
}

#[derive(Debug, Serialize)]
struct TwoHostsEntry {
    first: String,
    second: String,
    #[serde(flatten)]
    comparison: HostComparison,
}

#[derive(Debug, Serialize)]
struct SinceEntry {
    at: Option<String>,
    compared_with: String,
    #[serde(flatten)]
    changes: FleetChanges,
}

impl FleetAnswer {
    pub(crate) fn of(made: &MadeReport<'_>) -> Self {
        let report = &made.report;
        let findings = FindingKind::ALL.map(|kind| (kind.word(), report.hosts_with(kind)));
        let ids: Arc<[PatchId]> = report.patches.iter().map(|patch| patch.id.clone()).collect();
        Self {
            at: made.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            version: env!("CARGO_PKG_VERSION"),
            compared_with: made.compared_with.clone(),
            inventories: InventoriesEntry {
                documents: made.documents,
                unread: made.unread.clone(),
                replaced: made.fleet.replaced.clone(),
            },
            summary: SummaryEntry {
                hosts: report.hosts.len(),
                patches: report.patches.len(),
                lacking: report.lacking_hosts(),
                findings: findings.into(),
            },
            hosts: report.each_host().map(|(host, standing)| HostEntry::of(&ids, host, standing)).collect(),
            patches: report.patches.clone(),
            compared: made.two.as_ref().map(TwoHostsEntry::from),
            since: made.changes.as_ref().map(SinceEntry::from),
            notes: made.notes(),
            messages: made.messages(),
        }
    }
}

impl HostEntry {
    fn of(ids: &Arc<[PatchId]>, host: &FleetHost, standing: &HostStanding) -> Self {
        let inventory = &host.inventory;
        let patches = |places: &[usize]| HostPatches { ids: ids.clone(), places: places.to_vec() };
        Self {
            host: host.name.clone(),
            machine: inventory.machine.clone(),
            root: inventory.root.clone(),
            at: inventory.at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            version: inventory.version.as_ref().map(ToString::to_string),
            source: host.source.clone(),
            packages_known: inventory.packages.is_some(),
            undo_bytes: inventory.patches.iter().fold(0, |sum, patch| patch.undo_bytes.saturating_add(sum)),
            patches: patches(&standing.applied),
            lacks: patches(&standing.lacks),
            findings: standing.findings.clone(),
        }
    }
}

impl From<&TwoHosts<'_>> for TwoHostsEntry {
    fn from(two: &TwoHosts<'_>) -> Self {
        let (first, second) = (two.first.name.clone(), two.second.name.clone());
        Self { first, second, comparison: two.comparison.clone() }
    }
}

impl From<&(FleetChanges, PastReport)> for SinceEntry {
    fn from((changes, past): &(FleetChanges, PastReport)) -> Self {
        let (at, compared_with) = (past.at.clone(), past.compared_with.clone());
        Self { at, compared_with, changes: changes.clone() }
    }
}

impl CommandReport for FleetAnswer {
    fn print_text(&self, _output: &mut Output) -> anyhow::Result<()> {
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        self.messages.print(output)
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct FleetText {
    #[serde(skip)]
    lines: Vec<String>,
    #[serde(skip)]
    messages: ReportMessages,
}

impl FleetText {
    pub(crate) fn of(made: &MadeReport<'_>) -> Self {
        Self { lines: text::lines(made), messages: made.messages() }
    }
}

impl CommandReport for FleetText {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.lines.iter().try_for_each(|line| output.line(line))?)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        self.messages.print(output)
    }
}

/// Neither text nor JSON, or the messages after it was written to its file.
#[derive(Debug, Serialize)]
pub(crate) struct WrittenDocument {
    #[serde(skip)]
    pub(crate) text: Option<String>,
    #[serde(skip)]
    pub(crate) messages: ReportMessages,
}

impl CommandReport for WrittenDocument {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.text.iter().try_for_each(|text| output.document(text))?)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        self.messages.print(output)
    }
}

impl ReportMessages {
    fn print(&self, output: &mut Output) -> anyhow::Result<()> {
        self.errors.iter().try_for_each(|line| output.error(line))?;
        Ok(print_notes(output, &self.notes)?)
    }
}
