use std::collections::BTreeMap;

use chrono::SecondsFormat;
use serde::Serialize;

use crate::made::{MadeReport, ReportMessages, TwoHosts};
use crate::text;
use patchadm_cli::reply::CommandReport;
use patchadm_cli::reply::words::print_notes;
use patchadm_cli::surroundings::Output;
use patchadm_planning::fleet::{
    Finding, FindingKind, FleetChanges, FleetHost, FleetPatch, HostStanding, PastReport, PatchOnHosts,
};

/// Its fields are those of the JSON document.
#[derive(Debug, Serialize)]
pub(crate) struct FleetAnswer {
    at: String,
    version: &'static str,
    compared_with: ComparedWithEntry,
    inventories: InventoriesEntry,
    summary: SummaryEntry,
    hosts: Vec<HostEntry>,
    patches: Vec<FleetPatchEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<TwoHostsEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<SinceEntry>,
    notes: Vec<String>,
    #[serde(skip)]
    messages: ReportMessages,
}

#[derive(Debug, Serialize)]
struct ComparedWithEntry {
    kind: &'static str,
    name: String,
    as_of: Option<String>,
}

#[derive(Debug, Serialize)]
struct InventoriesEntry {
    documents: usize,
    unread: Vec<UnreadEntry>,
    replaced: Vec<ReplacedEntry>,
}

#[derive(Debug, Serialize)]
struct UnreadEntry {
    source: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct ReplacedEntry {
    host: String,
    source: String,
    counted: String,
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
    patches: Vec<String>,
    lacks: Vec<String>,
    findings: Vec<FindingEntry>,
}

#[derive(Debug, Serialize)]
struct FindingEntry {
    kind: &'static str,
    about: String,
    text: String,
}

#[derive(Debug, Serialize)]
struct FleetPatchEntry {
    id: String,
    synopsis: String,
    packages: Vec<String>,
    recommended: bool,
    security: bool,
    withdrawn: bool,
    applied: usize,
    effective: usize,
    lacking: usize,
    on_trial: usize,
    lost: usize,
}

#[derive(Debug, Serialize)]
struct TwoHostsEntry {
    first: String,
    second: String,
    same_patches: usize,
    patches: Vec<DifferenceEntry>,
    packages: Option<Vec<DifferenceEntry>>,
}

#[derive(Debug, Serialize)]
struct DifferenceEntry {
    name: String,
    first: Option<String>,
    second: Option<String>,
}

#[derive(Debug, Serialize)]
struct SinceEntry {
    at: Option<String>,
    compared_with: String,
    common_hosts: usize,
    new_hosts: Vec<String>,
    gone_hosts: Vec<String>,
    applied: Vec<OnHostsEntry>,
    removed: Vec<OnHostsEntry>,
    lacking: Vec<OnHostsEntry>,
    no_longer_lacking: Vec<OnHostsEntry>,
    new_findings: BTreeMap<String, Vec<OnHostsEntry>>,
    ended_findings: BTreeMap<String, Vec<OnHostsEntry>>,
}

#[derive(Debug, Serialize)]
struct OnHostsEntry {
    about: String,
    hosts: Vec<String>,
}

impl FleetAnswer {
    pub(crate) fn of(made: &MadeReport<'_>) -> Self {
        let report = &made.report;
        let with = &made.compared_with;
        let unread = made
            .unread
            .iter()
            .map(|unread| UnreadEntry { source: unread.source.clone(), reason: unread.reason.clone() });
        let replaced = made.fleet.replaced.iter().map(|replaced| ReplacedEntry {
            host: replaced.host.clone(),
            source: replaced.source.clone(),
            counted: replaced.counted.clone(),
        });
        let findings = FindingKind::ALL.map(|kind| (kind.word(), report.hosts_with(kind)));
        Self {
            at: made.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            version: env!("CARGO_PKG_VERSION"),
            compared_with: ComparedWithEntry {
                kind: with.kind,
                name: with.name.clone(),
                as_of: with.as_of.clone(),
            },
            inventories: InventoriesEntry {
                documents: made.documents,
                unread: unread.collect(),
                replaced: replaced.collect(),
            },
            summary: SummaryEntry {
                hosts: report.hosts.len(),
                patches: report.patches.len(),
                lacking: report.lacking_hosts(),
                findings: findings.into(),
            },
            hosts: report.each_host().map(|(host, standing)| HostEntry::of(made, host, standing)).collect(),
            patches: report.patches.iter().map(FleetPatchEntry::from).collect(),
            compared: made.two.as_ref().map(TwoHostsEntry::from),
            since: made.changes.as_ref().map(SinceEntry::from),
            notes: made.notes(),
            messages: made.messages(),
        }
    }
}

impl HostEntry {
    fn of(made: &MadeReport<'_>, host: &FleetHost, standing: &HostStanding) -> Self {
        let inventory = &host.inventory;
        let ids = |places: &[usize]| made.report.ids(places).map(str::to_owned).collect();
        Self {
            host: host.name.clone(),
            machine: inventory.machine.clone(),
            root: inventory.root.clone(),
            at: inventory.at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            version: inventory.version.as_ref().map(ToString::to_string),
            source: host.source.clone(),
            packages_known: inventory.packages.is_some(),
            undo_bytes: inventory.patches.iter().fold(0, |sum, patch| patch.undo_bytes.saturating_add(sum)),
            patches: ids(&standing.applied),
            lacks: ids(&standing.lacks),
            findings: standing.findings.iter().map(FindingEntry::from).collect(),
        }
    }
}

impl From<&Finding> for FindingEntry {
    fn from(finding: &Finding) -> Self {
        Self { kind: finding.kind.word(), about: finding.about.clone(), text: finding.text.clone() }
    }
}

impl From<&FleetPatch> for FleetPatchEntry {
    fn from(patch: &FleetPatch) -> Self {
        Self {
            id: patch.id.to_string(),
            synopsis: patch.synopsis.clone(),
            packages: patch.packages.clone(),
            recommended: patch.is_recommended,
            security: patch.is_security,
            withdrawn: patch.is_withdrawn,
            applied: patch.applied.len(),
            effective: patch.effective,
            lacking: patch.lacking.len(),
            on_trial: patch.on_trial.len(),
            lost: patch.lost.len(),
        }
    }
}

impl From<&TwoHosts<'_>> for TwoHostsEntry {
    fn from(two: &TwoHosts<'_>) -> Self {
        let patches = two.comparison.patches.iter().map(|one| DifferenceEntry {
            name: one.base.clone(),
            first: one.first.clone(),
            second: one.second.clone(),
        });
        let packages = two.comparison.packages.as_ref().map(|packages| {
            let differing = packages.iter().map(|one| DifferenceEntry {
                name: one.package.clone(),
                first: one.first.clone(),
                second: one.second.clone(),
            });
            differing.collect()
        });
        Self {
            first: two.first.name.clone(),
            second: two.second.name.clone(),
            same_patches: two.comparison.same_patches,
            patches: patches.collect(),
            packages,
        }
    }
}

impl From<&(FleetChanges, PastReport)> for SinceEntry {
    fn from((changes, past): &(FleetChanges, PastReport)) -> Self {
        let entries = |list: &[PatchOnHosts]| list.iter().map(OnHostsEntry::from).collect::<Vec<_>>();
        let by_kind = |found: &BTreeMap<String, Vec<PatchOnHosts>>| {
            found.iter().map(|(kind, list)| (kind.clone(), entries(list))).collect()
        };
        Self {
            at: past.at.clone(),
            compared_with: past.compared_with.clone(),
            common_hosts: changes.common,
            new_hosts: changes.new_hosts.clone(),
            gone_hosts: changes.gone_hosts.clone(),
            applied: entries(&changes.applied),
            removed: entries(&changes.removed),
            lacking: entries(&changes.lacking),
            no_longer_lacking: entries(&changes.no_longer_lacking),
            new_findings: by_kind(&changes.new_findings),
            ended_findings: by_kind(&changes.ended_findings),
        }
    }
}

impl From<&PatchOnHosts> for OnHostsEntry {
    fn from(one: &PatchOnHosts) -> Self {
        Self { about: one.about.clone(), hosts: one.hosts.clone() }
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
