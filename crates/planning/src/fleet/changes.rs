//! What changed since the report before.

use std::collections::{BTreeMap, BTreeSet};

use super::past::{PastFinding, PastHost, PastReport};
use super::report::FleetReport;

/// A patch with the hosts that something is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchOnHosts {
    /// The patch; of findings the patch, package or run.
    pub about: String,
    /// The hosts.
    pub hosts: Vec<String>,
}

/// The differences between two reports, host by host gathered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetChanges {
    /// The number of hosts that both reports have.
    pub common: usize,
    /// The hosts that are new.
    pub new_hosts: Vec<String>,
    /// The hosts that are in the report before alone.
    pub gone_hosts: Vec<String>,
    /// The patches that hosts have now and did not have.
    pub applied: Vec<PatchOnHosts>,
    /// The patches that hosts had and no longer have.
    pub removed: Vec<PatchOnHosts>,
    /// The patches that hosts lack now and did not lack.
    pub lacking: Vec<PatchOnHosts>,
    /// The patches that hosts lacked and no longer lack.
    pub no_longer_lacking: Vec<PatchOnHosts>,
    /// What needs attention now and did not, by its kind.
    pub new_findings: BTreeMap<String, Vec<PatchOnHosts>>,
    /// What needed attention and no longer does, by its kind.
    pub ended_findings: BTreeMap<String, Vec<PatchOnHosts>>,
}

/// The hosts by what something is told of.
type Gathered = BTreeMap<String, Vec<String>>;

/// A difference of two lists of one host, gathered.
#[derive(Default)]
struct Gathering {
    more: Gathered,
    fewer: Gathered,
}

impl Gathering {
    fn take<'a>(
        &mut self,
        host: &str,
        before: impl Iterator<Item = &'a str>,
        now: impl Iterator<Item = &'a str>,
    ) {
        let (before, now): (BTreeSet<&str>, BTreeSet<&str>) = (before.collect(), now.collect());
        let gather = |into: &mut Gathered, about: &str| {
            into.entry(about.to_owned()).or_default().push(host.to_owned());
        };
        now.difference(&before).for_each(|about| gather(&mut self.more, about));
        before.difference(&now).for_each(|about| gather(&mut self.fewer, about));
    }
}

fn listed(gathered: Gathered) -> Vec<PatchOnHosts> {
    gathered.into_iter().map(|(about, hosts)| PatchOnHosts { about, hosts }).collect()
}

impl FleetChanges {
    /// Compares a report with the one before.
    pub fn since(past: &PastReport, report: &FleetReport<'_>) -> Self {
        let mut changes = Self::default();
        let (mut applied, mut lacking) = (Gathering::default(), Gathering::default());
        let (mut new, mut ended) = (BTreeMap::new(), BTreeMap::new());
        let mut there = BTreeSet::new();
        for (host, standing) in report.each_host() {
            there.insert(host.name.as_str());
            let Some(before) = past.hosts.get(&host.name) else {
                changes.new_hosts.push(host.name.clone());
                continue;
            };
            changes.common += 1;
            let name = &host.name;
            applied.take(name, texts(&before.patches), report.ids(&standing.applied));
            lacking.take(name, texts(&before.lacks), report.ids(&standing.lacks));
            let now = standing.findings.iter().map(|finding| PastFinding {
                kind: finding.kind.word().to_owned(),
                about: finding.about.clone(),
            });
            compare_findings((&mut new, &mut ended), name, before, &now.collect());
        }
        let gone = past.hosts.keys().filter(|name| !there.contains(name.as_str()));
        changes.gone_hosts = gone.cloned().collect();
        (changes.applied, changes.removed) = (listed(applied.more), listed(applied.fewer));
        (changes.lacking, changes.no_longer_lacking) = (listed(lacking.more), listed(lacking.fewer));
        let by_kind = |found: BTreeMap<String, Gathered>| {
            found.into_iter().map(|(kind, gathered)| (kind, listed(gathered))).collect()
        };
        (changes.new_findings, changes.ended_findings) = (by_kind(new), by_kind(ended));
        changes
    }

    /// Tells whether the reports have no host in common, though both have some.
    pub fn is_of_another_fleet(&self) -> bool {
        self.common == 0 && !self.new_hosts.is_empty() && !self.gone_hosts.is_empty()
    }
}

fn texts(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().map(String::as_str)
}

/// Gathers the findings of a host that are new, and those that ended.
fn compare_findings(
    (new, ended): (&mut BTreeMap<String, Gathered>, &mut BTreeMap<String, Gathered>),
    host: &str,
    before: &PastHost,
    now: &BTreeSet<PastFinding>,
) {
    let before: BTreeSet<PastFinding> = before.findings.iter().cloned().collect();
    let gather = |into: &mut BTreeMap<String, Gathered>, finding: &PastFinding| {
        let kind = into.entry(finding.kind.clone()).or_default();
        kind.entry(finding.about.clone()).or_default().push(host.to_owned());
    };
    now.difference(&before).for_each(|finding| gather(new, finding));
    before.difference(now).for_each(|finding| gather(ended, finding));
}
