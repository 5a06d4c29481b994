use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use patchadm_changeset::format::escaped::each_as_text;
use patchadm_changeset::format::foreign_json::{TooManyValues, limited};
use patchadm_svr4::patch::PatchId;
use serde::{Deserialize, Serialize};

use super::inventory::{HostInventory, InventoryPackage};
use super::reader::{short, without_value};
use super::{FleetHost, FleetReport};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostComparison {
    /// Bases of which both hosts have the same revision.
    pub same_patches: usize,
    /// In the order of listings.
    pub patches: Vec<BaseDifference>,
    /// `None` if an inventory lists no packages.
    pub packages: Option<Vec<PackageDifference>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BaseDifference {
    #[serde(rename = "name")]
    pub base: String,
    pub first: Option<String>,
    pub second: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageDifference {
    #[serde(rename = "name")]
    pub package: String,
    /// Version and architecture on the first host.
    pub first: Option<String>,
    /// Version and architecture on the second host.
    pub second: Option<String>,
}

pub fn compare_hosts(first: &FleetHost, second: &FleetHost) -> HostComparison {
    let (of_first, of_second) = (highest(&first.inventory), highest(&second.inventory));
    let bases: BTreeSet<&PatchId> = of_first.values().chain(of_second.values()).copied().collect();
    let mut comparison = HostComparison::default();
    let mut seen = BTreeSet::new();
    for base in bases.into_iter().map(PatchId::base).filter(|base| seen.insert(*base)) {
        let (one, other) = (of_first.get(base), of_second.get(base));
        if one == other {
            comparison.same_patches += 1;
            continue;
        }
        let revision = |id: Option<&&PatchId>| id.map(|id| id.revision().to_owned());
        let difference =
            BaseDifference { base: base.to_owned(), first: revision(one), second: revision(other) };
        comparison.patches.push(difference);
    }
    let packages = packages(&first.inventory).zip(packages(&second.inventory));
    comparison.packages = packages.map(|(first, second)| different_packages(&first, &second));
    comparison
}

fn highest(inventory: &HostInventory) -> BTreeMap<&str, &PatchId> {
    let mut highest: BTreeMap<&str, &PatchId> = BTreeMap::new();
    for patch in inventory.patches.iter().filter(|patch| patch.standing.is_applied()) {
        let id = &patch.about.id;
        let known = highest.entry(id.base()).or_insert(id);
        if *known < id {
            *known = id;
        }
    }
    highest
}

fn packages(inventory: &HostInventory) -> Option<BTreeMap<&str, String>> {
    let packages = inventory.packages.as_ref()?.iter();
    let version = |package: &InventoryPackage| format!("{} ({})", package.version, package.arch);
    Some(packages.map(|package| (package.package.as_str(), version(package))).collect())
}

fn different_packages(
    first: &BTreeMap<&str, String>,
    second: &BTreeMap<&str, String>,
) -> Vec<PackageDifference> {
    let names: BTreeSet<&str> = first.keys().chain(second.keys()).copied().collect();
    let differs = names.into_iter().filter(|name| first.get(name) != second.get(name));
    let difference = |name: &str| PackageDifference {
        package: name.to_owned(),
        first: first.get(name).cloned(),
        second: second.get(name).cloned(),
    };
    differs.map(difference).collect()
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PatchOnHosts {
    /// In findings the patch, package or run.
    pub about: String,
    #[serde(serialize_with = "each_as_text")]
    pub hosts: Vec<Arc<str>>,
}

/// Changes since an earlier report, each with its hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FleetChanges {
    #[serde(rename = "common_hosts")]
    pub common: usize,
    #[serde(serialize_with = "each_as_text")]
    pub new_hosts: Vec<Arc<str>>,
    /// Hosts that only the earlier report has.
    #[serde(serialize_with = "each_as_text")]
    pub gone_hosts: Vec<Arc<str>>,
    pub applied: Vec<PatchOnHosts>,
    pub removed: Vec<PatchOnHosts>,
    pub lacking: Vec<PatchOnHosts>,
    pub no_longer_lacking: Vec<PatchOnHosts>,
    /// By kind.
    pub new_findings: BTreeMap<String, Vec<PatchOnHosts>>,
    /// By kind.
    pub ended_findings: BTreeMap<String, Vec<PatchOnHosts>>,
}

type Gathered = BTreeMap<String, Vec<Arc<str>>>;

#[derive(Default)]
struct Gathering {
    more: Gathered,
    fewer: Gathered,
}

impl Gathering {
    fn take<'a>(
        &mut self,
        host: &Arc<str>,
        before: impl Iterator<Item = &'a str>,
        now: impl Iterator<Item = &'a str>,
    ) {
        let (before, now): (BTreeSet<&str>, BTreeSet<&str>) = (before.collect(), now.collect());
        let gather = |into: &mut Gathered, about: &str| {
            into.entry(about.to_owned()).or_default().push(host.clone());
        };
        now.difference(&before).for_each(|about| gather(&mut self.more, about));
        before.difference(&now).for_each(|about| gather(&mut self.fewer, about));
    }
}

fn listed(gathered: Gathered) -> Vec<PatchOnHosts> {
    gathered.into_iter().map(|(about, hosts)| PatchOnHosts { about, hosts }).collect()
}

impl FleetChanges {
    pub fn since(past: &PastReport, report: &FleetReport<'_>) -> Self {
        let mut changes = Self::default();
        let (mut applied, mut lacking) = (Gathering::default(), Gathering::default());
        let (mut new, mut ended) = (BTreeMap::new(), BTreeMap::new());
        let mut there = BTreeSet::new();
        for (host, standing) in report.each_host() {
            there.insert(host.name.as_str());
            let name: &Arc<str> = &host.name.as_str().into();
            let Some(before) = past.hosts.get(&host.name) else {
                changes.new_hosts.push(name.clone());
                continue;
            };
            changes.common += 1;
            applied.take(name, texts(&before.patches), report.ids(&standing.applied));
            lacking.take(name, texts(&before.lacks), report.ids(&standing.lacks));
            let now = standing.findings.iter().map(|finding| PastFinding {
                kind: finding.kind.word().to_owned(),
                about: finding.about.clone(),
            });
            compare_findings((&mut new, &mut ended), name, before, &now.collect());
        }
        let gone = past.hosts.keys().filter(|name| !there.contains(name.as_str()));
        changes.gone_hosts = gone.map(|name| name.as_str().into()).collect();
        (changes.applied, changes.removed) = (listed(applied.more), listed(applied.fewer));
        (changes.lacking, changes.no_longer_lacking) = (listed(lacking.more), listed(lacking.fewer));
        let by_kind = |found: BTreeMap<String, Gathered>| {
            found.into_iter().map(|(kind, gathered)| (kind, listed(gathered))).collect()
        };
        (changes.new_findings, changes.ended_findings) = (by_kind(new), by_kind(ended));
        changes
    }

    /// Returns true if the reports have no host in common, though both have some.
    pub fn is_of_another_fleet(&self) -> bool {
        self.common == 0 && !self.new_hosts.is_empty() && !self.gone_hosts.is_empty()
    }
}

fn texts(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().map(String::as_str)
}

fn compare_findings(
    (new, ended): (&mut BTreeMap<String, Gathered>, &mut BTreeMap<String, Gathered>),
    host: &Arc<str>,
    before: &PastHost,
    now: &BTreeSet<PastFinding>,
) {
    let before: BTreeSet<PastFinding> = before.findings.iter().cloned().collect();
    let gather = |into: &mut BTreeMap<String, Gathered>, finding: &PastFinding| {
        let kind = into.entry(finding.kind.clone()).or_default();
        kind.entry(finding.about.clone()).or_default().push(host.clone());
    };
    now.difference(&before).for_each(|finding| gather(new, finding));
    before.difference(now).for_each(|finding| gather(ended, finding));
}

const SCHEMA: &str = "patchadm/1";

/// Fields and entries: more than a report of the most rows has.
const MOST_VALUES: usize = 16_000_000;

#[derive(Clone, Debug, Default)]
pub struct PastReport {
    pub at: Option<String>,
    /// The name of the reference for the comparison.
    pub compared_with: String,
    /// By name.
    pub hosts: BTreeMap<String, PastHost>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct PastHost {
    host: String,
    pub patches: Vec<String>,
    pub lacks: Vec<String>,
    #[serde(default)]
    pub findings: Vec<PastFinding>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct PastFinding {
    pub kind: String,
    /// The patch, package or run concerned.
    pub about: String,
}

#[derive(Debug, thiserror::Error)]
pub enum PastReportError {
    #[error("it is not the output of `patchadm report --json`: {}", without_value(.0))]
    Form(#[from] serde_json::Error),
    #[error(transparent)]
    TooMany(#[from] TooManyValues),
    #[error("its schema is <{0}>, and this program reads {SCHEMA}")]
    Schema(String),
    #[error("it is a document from <{0}>, not from report")]
    Command(String),
    #[error("it has no hosts: that report failed")]
    Failed,
}

#[derive(Deserialize)]
struct Kind {
    schema: Option<String>,
    command: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    at: Option<String>,
    compared_with: Option<PastComparison>,
    hosts: Option<Vec<PastHost>>,
}

#[derive(Deserialize)]
struct PastComparison {
    name: Option<String>,
}

impl PastReport {
    pub fn parse(text: &[u8]) -> Result<Self, PastReportError> {
        let text = limited(text, MOST_VALUES)?;
        let kind: Kind = serde_json::from_slice(text)?;
        if kind.schema.as_deref() != Some(SCHEMA) {
            return Err(PastReportError::Schema(short(&kind.schema.unwrap_or_default())));
        }
        if kind.command.as_deref() != Some("report") {
            return Err(PastReportError::Command(short(&kind.command.unwrap_or_default())));
        }
        let document: Document = serde_json::from_slice(text)?;
        let hosts = document.hosts.ok_or(PastReportError::Failed)?;
        Ok(Self {
            at: document.at,
            compared_with: document.compared_with.and_then(|with| with.name).unwrap_or_default(),
            hosts: hosts.into_iter().map(|host| (host.host.clone(), host)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_before_with_more_entries_than_any_has_is_refused() {
        let hosts = "[],".repeat(MOST_VALUES / 3);
        let text = format!("{{\"schema\":\"patchadm/1\",\"command\":\"report\",\"hosts\":[{hosts}]}}");
        let error = PastReport::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "it has more than 16000000 fields and entries");
    }
}
