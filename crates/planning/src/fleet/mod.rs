//! The patches that each of many hosts has and lacks, and findings that need attention. A host lacks a patch by the
//! rules of [`analyze`](crate::analyze), against the index of a depot or the newest patches of any host.
//!
//! ```text
//! list --json of each host ──► InventoryReader ──► HostInventory ──┐
//!                                                                  ├──► Fleet ──► FleetReport ──► HostComparison
//! index of a depot, if one is named ──► CrossReference ────────────┘                   │
//! the earlier report ──► PastReport ───────────────────────────────────────────────────┴────────► FleetChanges
//! ```

mod comparison;
mod cyclonedx;
mod inventory;
mod known_fixes;
mod openvex;
mod reader;

pub use comparison::{
    BaseDifference, FleetChanges, HostComparison, PackageDifference, PastFinding, PastHost, PastReport,
    PastReportError, PatchOnHosts, compare_hosts,
};
pub use cyclonedx::MaterialsDocument;
pub use inventory::{
    FleetPatchStanding, HostInventory, InventoryPackage, InventoryPatch, InventoryTrial, NativeName,
    OvertakenFix, PackageUndoState, PatchDescription, SignatureVerdict, StaleRegistration,
};
pub use known_fixes::{DocumentMaker, DocumentTooLarge};
pub use openvex::VexDocument;
pub use reader::{InventoryError, InventoryReader, ReadInventories};

use std::collections::{BTreeMap, HashMap, HashSet};

use patchadm_changeset::format::escaped::as_text;
use patchadm_svr4::patch::PatchId;
use serde::{Serialize, Serializer};

use crate::analyze::{
    CrossReference, InstalledPackage, InstalledPatch, MachineFacts, ReferencePackage, ReferencePatch, missing,
};
use crate::fleet::reader::patch_id;

#[derive(Clone, Debug)]
pub struct NamedInventory {
    /// The file, or another description.
    pub source: String,
    pub inventory: HostInventory,
}

/// A host with its newest inventory.
#[derive(Clone, Debug)]
pub struct FleetHost {
    /// Unique in the fleet.
    pub name: String,
    pub source: String,
    /// Sorted sources of older inventories that name this host. One of them may be of another host.
    pub others: Vec<String>,
    pub inventory: HostInventory,
}

/// An older inventory of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplacedInventory {
    pub host: String,
    pub source: String,
    /// The source of the newest inventory.
    pub counted: String,
}

#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// Sorted by name.
    pub hosts: Vec<FleetHost>,
    pub replaced: Vec<ReplacedInventory>,
}

impl Fleet {
    /// Collects the hosts. Of two inventories of one host the newer one counts. One without a moment is older than any
    /// other; of two that are equally old the later one counts.
    pub fn of(inventories: impl IntoIterator<Item = NamedInventory>) -> Self {
        let mut hosts: BTreeMap<String, FleetHost> = BTreeMap::new();
        let mut replaced: Vec<(String, String)> = Vec::new();
        for NamedInventory { source, inventory } in inventories {
            let host = FleetHost { name: inventory.host(), source, others: Vec::new(), inventory };
            match hosts.get(&host.name) {
                Some(known) if known.inventory.at > host.inventory.at => {
                    replaced.push((host.name, host.source));
                }
                _ => {
                    if let Some(before) = hosts.insert(host.name.clone(), host) {
                        replaced.push((before.name, before.source));
                    }
                }
            }
        }
        let counted =
            |host: &String| hosts.get(host).map(|counted| counted.source.clone()).unwrap_or_default();
        let replaced: Vec<ReplacedInventory> = replaced
            .into_iter()
            .map(|(host, source)| ReplacedInventory { counted: counted(&host), host, source })
            .collect();
        for ReplacedInventory { host, source, counted } in &replaced {
            if source != counted {
                hosts.get_mut(host).into_iter().for_each(|host| host.others.push(source.clone()));
            }
        }
        for host in hosts.values_mut() {
            host.others.sort();
            host.others.dedup();
        }
        Self { replaced, hosts: hosts.into_values().collect() }
    }
}

/// Ten thousand hosts with a thousand patches each.
const MOST_ROWS: usize = 10_000_000;

/// Each patch that a host lists or lacks is a row of some output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the hosts have and are missing more than {MOST_ROWS} patches in total, most of them those of {}",
    .inventory.escape_debug()
)]
pub struct TooManyRows {
    /// The source of the inventories with most of the rows.
    pub inventory: String,
}

/// Rows that still fit, and those of each host.
struct RowRoom<'f> {
    left: usize,
    hosts: &'f [FleetHost],
    rows: Vec<usize>,
}

impl<'f> RowRoom<'f> {
    fn new(left: usize, hosts: &'f [FleetHost]) -> Self {
        Self { left, hosts, rows: vec![0; hosts.len()] }
    }

    fn take(&mut self, host: usize) -> Result<(), TooManyRows> {
        self.rows.get_mut(host).into_iter().for_each(|rows| *rows += 1);
        self.left = self.left.checked_sub(1).ok_or_else(|| self.excess())?;
        Ok(())
    }

    fn excess(&self) -> TooManyRows {
        let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
        for (host, own) in self.hosts.iter().zip(&self.rows) {
            *rows.entry(&host.source).or_default() += own;
        }
        let largest = rows.into_iter().max_by_key(|(_, rows)| *rows);
        TooManyRows { inventory: largest.map(|(source, _)| source.to_owned()).unwrap_or_default() }
    }
}

/// Hosts and patches are named by their indices in the lists.
#[derive(Clone, Debug)]
pub struct FleetReport<'f> {
    pub hosts: &'f [FleetHost],
    /// In the order of `hosts`.
    pub standings: Vec<HostStanding>,
    /// Patches that any host has or lacks, in the order of listings.
    pub patches: Vec<FleetPatch>,
}

#[derive(Clone, Debug, Default)]
pub struct HostStanding {
    /// Patches whose changes it has.
    pub applied: Vec<usize>,
    pub lacks: Vec<usize>,
    /// By kind.
    pub findings: Vec<Finding>,
}

/// A patch with the hosts that have or lack it.
#[derive(Clone, Debug, Serialize)]
pub struct FleetPatch {
    #[serde(serialize_with = "as_text")]
    pub id: PatchId,
    pub synopsis: String,
    pub packages: Vec<String>,
    /// According to the depot.
    #[serde(rename = "recommended")]
    pub is_recommended: bool,
    /// According to the depot.
    #[serde(rename = "security")]
    pub is_security: bool,
    #[serde(rename = "withdrawn")]
    pub is_withdrawn: bool,
    /// Hosts with its changes.
    #[serde(serialize_with = "as_number")]
    pub applied: Vec<usize>,
    /// The number of hosts on which it is neither superseded nor obsoleted.
    pub effective: usize,
    #[serde(serialize_with = "as_number")]
    pub lacking: Vec<usize>,
    #[serde(serialize_with = "as_number")]
    pub on_trial: Vec<usize>,
    /// Hosts where its fix is lost.
    #[serde(serialize_with = "as_number")]
    pub lost: Vec<usize>,
}

/// Serializes the number of hosts: each host has the ids of its patches.
fn as_number<S: Serializer>(hosts: &[usize], serializer: S) -> Result<S::Ok, S::Error> {
    hosts.len().serialize(serializer)
}

impl FleetPatch {
    fn of_inventory(patch: &InventoryPatch) -> Self {
        let about = &patch.about;
        Self {
            synopsis: about.synopsis.clone().unwrap_or_default(),
            packages: about.packages.clone(),
            ..Self::named(about.id.clone())
        }
    }

    fn of_reference(patch: &ReferencePatch) -> Self {
        let mut packages: Vec<String> = patch.packages.iter().map(|package| package.name.clone()).collect();
        packages.sort();
        packages.dedup();
        Self { synopsis: patch.synopsis.clone(), packages, ..Self::named(patch.id.clone()) }
    }

    fn named(id: PatchId) -> Self {
        Self {
            id,
            synopsis: String::new(),
            packages: Vec::new(),
            is_recommended: false,
            is_security: false,
            is_withdrawn: false,
            applied: Vec::new(),
            effective: 0,
            lacking: Vec::new(),
            on_trial: Vec::new(),
            lost: Vec::new(),
        }
    }
}

impl<'f> FleetReport<'f> {
    /// Compares the hosts with the index of a depot, or else with the newest patches that any of them has.
    pub fn of(hosts: &'f [FleetHost], depot: Option<&CrossReference>) -> Result<Self, TooManyRows> {
        Self::within(RowRoom::new(MOST_ROWS, hosts), depot)
    }

    fn within(mut room: RowRoom<'f>, depot: Option<&CrossReference>) -> Result<Self, TooManyRows> {
        let hosts = room.hosts;
        let newest;
        let reference = if let Some(depot) = depot {
            depot
        } else {
            newest = newest_of(hosts);
            &newest
        };
        let mut patches = there(&mut room)?;
        add_lacking(&mut patches, &mut room, reference)?;
        let mut patches: Vec<FleetPatch> = patches.into_values().collect();
        for patch in &mut patches {
            if let Some(told) = depot.and_then(|depot| depot.patch(&patch.id)) {
                (patch.is_recommended, patch.is_security) = (told.is_recommended, told.is_security);
                patch.is_withdrawn = told.is_bad;
            }
        }
        let withdrawn: HashSet<&PatchId> =
            patches.iter().filter(|patch| patch.is_withdrawn).map(|patch| &patch.id).collect();
        let standing =
            |host| HostStanding { findings: findings_of(host, &withdrawn), ..HostStanding::default() };
        let mut standings: Vec<HostStanding> = hosts.iter().map(standing).collect();
        for (place, patch) in patches.iter().enumerate() {
            for host in &patch.applied {
                standings.get_mut(*host).into_iter().for_each(|standing| standing.applied.push(place));
            }
            for host in &patch.lacking {
                standings.get_mut(*host).into_iter().for_each(|standing| standing.lacks.push(place));
            }
        }
        Ok(Self { hosts, standings, patches })
    }

    pub fn each_host(&self) -> impl Iterator<Item = (&'f FleetHost, &HostStanding)> {
        self.hosts.iter().zip(&self.standings)
    }

    pub fn ids<'a>(&'a self, places: &'a [usize]) -> impl Iterator<Item = &'a str> {
        places.iter().filter_map(|place| self.patches.get(*place)).map(|patch| patch.id.as_str())
    }

    pub fn names<'a>(&'a self, places: &'a [usize]) -> impl Iterator<Item = &'f str> + 'a {
        places.iter().filter_map(|place| self.hosts.get(*place)).map(|host| host.name.as_str())
    }

    /// Returns the findings of all hosts by kind and subject, each with its hosts.
    pub fn findings(&self) -> BTreeMap<&Finding, Vec<usize>> {
        let mut hosts: BTreeMap<&Finding, Vec<usize>> = BTreeMap::new();
        for (place, standing) in self.standings.iter().enumerate() {
            standing.findings.iter().for_each(|finding| hosts.entry(finding).or_default().push(place));
        }
        hosts
    }

    pub fn hosts_with(&self, kind: FindingKind) -> usize {
        let has = |standing: &&HostStanding| standing.findings.iter().any(|finding| finding.kind == kind);
        self.standings.iter().filter(has).count()
    }

    pub fn lacking_hosts(&self) -> usize {
        self.standings.iter().filter(|standing| !standing.lacks.is_empty()).count()
    }
}

fn there(room: &mut RowRoom<'_>) -> Result<BTreeMap<PatchId, FleetPatch>, TooManyRows> {
    let mut patches: BTreeMap<PatchId, FleetPatch> = BTreeMap::new();
    for (place, host) in room.hosts.iter().enumerate() {
        let on_trial = host.inventory.on_trial();
        for patch in &host.inventory.patches {
            room.take(place)?;
            let id = &patch.about.id;
            let row = patches.entry(id.clone()).or_insert_with(|| FleetPatch::of_inventory(patch));
            if patch.standing.is_applied() {
                row.applied.push(place);
            }
            row.effective += usize::from(patch.standing == FleetPatchStanding::Effective);
            if patch.standing == FleetPatchStanding::Lost || patch.is_partly_lost {
                row.lost.push(place);
            }
            if on_trial.contains(id.as_str()) {
                row.on_trial.push(place);
            }
        }
    }
    Ok(patches)
}

fn add_lacking(
    patches: &mut BTreeMap<PatchId, FleetPatch>,
    room: &mut RowRoom<'_>,
    reference: &CrossReference,
) -> Result<(), TooManyRows> {
    let names: HashSet<&str> = reference.package_names().collect();
    for (place, host) in room.hosts.iter().enumerate() {
        let facts = facts_of(&host.inventory, &names);
        for patch in missing(reference, &facts) {
            room.take(place)?;
            let row = patches.entry(patch.id.clone()).or_insert_with(|| FleetPatch::of_reference(patch));
            row.lacking.push(place);
        }
    }
    Ok(())
}

fn facts_of(inventory: &HostInventory, names: &HashSet<&str>) -> MachineFacts {
    let patches = inventory.patches.iter().filter(|patch| patch.standing.is_applied());
    let patches = patches
        .map(|patch| InstalledPatch { id: patch.about.id.clone(), obsoletes: patch.about.obsoletes.clone() });
    let Some(packages) = &inventory.packages else { return MachineFacts::of_patches_alone(patches) };
    let concerned = packages.iter().filter(|package| names.contains(base_name(&package.package)));
    let packages = concerned.map(|package| InstalledPackage {
        instance: package.package.clone(),
        arch: package.arch.clone(),
        version: package.version.clone(),
    });
    MachineFacts::new(packages, patches)
}

// A patch is for the package versions on which it is applied somewhere. A patch that another one on some host contains
// is out of use: a host that lacks it lacks that other one.

struct KnownPatch<'a> {
    patch: &'a InventoryPatch,
    packages: HashSet<(&'a str, &'a str, &'a str)>,
    obsoleted_by: Option<PatchId>,
}

fn newest_of(hosts: &[FleetHost]) -> CrossReference {
    let mut known: BTreeMap<PatchId, KnownPatch<'_>> = BTreeMap::new();
    for host in hosts {
        let packages = packages_of(host);
        // A version that contains the fix natively needs no patch.
        let is_from_patch = |patch: &&InventoryPatch| {
            patch.standing.is_applied() && patch.standing != FleetPatchStanding::Contained
        };
        for patch in host.inventory.patches.iter().filter(is_from_patch) {
            let entry = known.entry(patch.about.id.clone()).or_insert_with(|| KnownPatch {
                patch,
                packages: HashSet::new(),
                obsoleted_by: None,
            });
            let there = patch.about.packages.iter().filter_map(|name| packages.get(name.as_str()));
            entry.packages.extend(there.map(|package| {
                (base_name(&package.package), package.version.as_str(), package.arch.as_str())
            }));
            if patch.standing == FleetPatchStanding::Obsoleted && entry.obsoleted_by.is_none() {
                entry.obsoleted_by = patch.by.as_ref().and_then(|by| patch_id(by).ok());
            }
        }
    }
    CrossReference::new(None, known.into_values().map(reference_of))
}

fn packages_of(host: &FleetHost) -> HashMap<&str, &InventoryPackage> {
    let packages = host.inventory.packages.iter().flatten();
    packages.map(|package| (package.package.as_str(), &**package)).collect()
}

fn base_name(instance: &str) -> &str {
    instance.split('.').next().unwrap_or_default()
}

fn reference_of(known: KnownPatch<'_>) -> ReferencePatch {
    let about = &known.patch.about;
    let packages = known.packages.into_iter().map(|(name, version, arch)| ReferencePackage {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: Some(arch.to_owned()),
    });
    ReferencePatch {
        id: about.id.clone(),
        date: None,
        is_recommended: false,
        is_security: false,
        is_obsolete: known.obsoleted_by.is_some(),
        is_bad: false,
        is_unbundled: false,
        archs: Vec::new(),
        packages: packages.collect(),
        requires: Vec::new(),
        obsoleted_by: known.obsoleted_by,
        synopsis: about.synopsis.clone().unwrap_or_default(),
        size: None,
        reboot: None,
    }
}

const BAD_VERDICTS: [&str; 5] = ["unknown-key", "expired", "not-allowed", "revoked", "bad"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// Lost to a change by dpkg or rpm.
    LostFix,
    /// A registration no longer agrees with dpkg or rpm.
    StaleRegistration,
    UnfinishedRun,
    /// Another tool left a patch half applied.
    HalfApplied,
    /// Damaged or lost.
    DamagedUndo,
    /// Wrong or not trusted when the patch was applied.
    BadSignature,
    /// An applied patch was withdrawn from the depot.
    Withdrawn,
    /// An inventory from another source also names the host.
    NamedTwice,
    OnTrial,
}

impl FindingKind {
    pub const ALL: [Self; 9] = [
        Self::LostFix,
        Self::StaleRegistration,
        Self::UnfinishedRun,
        Self::HalfApplied,
        Self::DamagedUndo,
        Self::BadSignature,
        Self::Withdrawn,
        Self::NamedTwice,
        Self::OnTrial,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::LostFix => "lost-fix",
            Self::StaleRegistration => "stale-registration",
            Self::UnfinishedRun => "unfinished-run",
            Self::HalfApplied => "half-applied",
            Self::DamagedUndo => "damaged-undo",
            Self::BadSignature => "bad-signature",
            Self::Withdrawn => "withdrawn",
            Self::NamedTwice => "named-twice",
            Self::OnTrial => "on-trial",
        }
    }

    /// Returns the words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::LostFix => "lost fix",
            Self::StaleRegistration => "stale registration",
            Self::UnfinishedRun => "unfinished run",
            Self::HalfApplied => "half-applied patch",
            Self::DamagedUndo => "damaged undo data",
            Self::BadSignature => "signature not trusted",
            Self::Withdrawn => "withdrawn patch",
            Self::NamedTwice => "listed in several inventories",
            Self::OnTrial => "on trial",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub kind: FindingKind,
    /// The patch, package, run or inventory.
    pub about: String,
    pub text: String,
}

impl Finding {
    fn of(kind: FindingKind, about: impl Into<String>, text: impl Into<String>) -> Self {
        Self { kind, about: about.into(), text: text.into() }
    }
}

fn findings_of(host: &FleetHost, withdrawn: &HashSet<&PatchId>) -> Vec<Finding> {
    let inventory = &host.inventory;
    let mut findings = Vec::new();
    for lost in &inventory.lost {
        let has_not = if lost.is_partial { "took a part of the fix" } else { "does not have the fix" };
        let text = format!("{} {} ({}) {has_not}", lost.name, lost.version, lost.manager);
        findings.push(Finding::of(FindingKind::LostFix, &lost.id, text));
    }
    for stale in &inventory.stale {
        findings.push(Finding::of(FindingKind::StaleRegistration, &stale.package, &stale.reason));
    }
    if let Some(run) = &inventory.unfinished {
        findings.push(Finding::of(FindingKind::UnfinishedRun, run, "it was interrupted"));
    }
    findings.extend(inventory.trial.as_ref().map(of_trial));
    findings.extend(inventory.patches.iter().flat_map(of_patch));
    let effective = inventory.patches.iter().filter(|patch| patch.standing == FleetPatchStanding::Effective);
    let found = effective.map(|patch| &patch.about.id).filter(|id| withdrawn.contains(id));
    findings.extend(
        found.map(|id| Finding::of(FindingKind::Withdrawn, id.as_str(), "the depot has withdrawn it")),
    );
    let named = |other: &String| Finding::of(FindingKind::NamedTwice, other, "it also lists this host");
    findings.extend(host.others.iter().map(named));
    findings.sort();
    findings.dedup();
    findings
}

fn of_trial(trial: &InventoryTrial) -> Finding {
    let over = if trial.is_over { ", which is over" } else { "" };
    let stuck = trial.stuck.as_ref().map(|reason| format!("; it cannot be reverted: {reason}"));
    let (patches, until) = (trial.patches.join(", "), &trial.until);
    let text = format!("{patches} until {until}{over}{}", stuck.unwrap_or_default());
    Finding::of(FindingKind::OnTrial, &trial.run, text)
}

fn of_patch(patch: &InventoryPatch) -> Vec<Finding> {
    let id = patch.about.id.as_str();
    let mut findings = Vec::new();
    if patch.standing == FleetPatchStanding::Interrupted {
        findings.push(Finding::of(FindingKind::HalfApplied, id, "another tool was interrupted"));
    }
    for undo in patch.undo.iter().filter(|undo| undo.is_damaged()) {
        let text = format!("package {}: {}", undo.package, undo.state);
        findings.push(Finding::of(FindingKind::DamagedUndo, id, text));
    }
    if let Some(signature) = &patch.signature
        && BAD_VERDICTS.contains(&signature.state.as_str())
    {
        let key = signature.name.as_ref().or(signature.key.as_ref());
        let key = key.map(|key| format!(", key {key}")).unwrap_or_default();
        findings.push(Finding::of(FindingKind::BadSignature, id, format!("{}{key}", signature.state)));
    }
    findings
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostGroup {
    pub hosts: Vec<usize>,
    /// Patches whose changes each host has.
    pub applied: Vec<usize>,
    pub lacks: Vec<usize>,
}

/// Returns the groups of hosts that have and lack the same patches, the largest ones first.
pub fn groups(report: &FleetReport<'_>) -> Vec<HostGroup> {
    let mut places: HashMap<(&[usize], &[usize]), usize> = HashMap::new();
    let mut groups: Vec<HostGroup> = Vec::new();
    for (host, standing) in report.standings.iter().enumerate() {
        let place = *places.entry((&standing.applied, &standing.lacks)).or_insert(groups.len());
        if place == groups.len() {
            let (applied, lacks) = (standing.applied.clone(), standing.lacks.clone());
            groups.push(HostGroup { hosts: Vec::new(), applied, lacks });
        }
        groups.get_mut(place).into_iter().for_each(|group| group.hosts.push(host));
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.hosts.len()));
    groups
}

#[cfg(test)]
mod tests {
    use super::{HostStanding, *};
    use crate::fleet::InventoryReader;

    fn inventory(source: &str, at: &str) -> NamedInventory {
        let at = if at.is_empty() { String::new() } else { format!("\"at\":\"{at}\",") };
        let text = format!(
            "{{\"schema\":\"patchadm/1\",\"command\":\"list\",\"machine\":\"web\",{at}\"root\":\"/\",\"patches\":[]}}"
        );
        let mut read = InventoryReader::default().read(text.as_bytes(), "x").unwrap();
        NamedInventory { source: source.to_owned(), inventory: read.inventories.remove(0) }
    }

    #[test]
    fn of_two_inventories_of_a_host_the_newer_one_counts_in_any_order() {
        let (old, new) = ("2026-11-20T07:00:00Z", "2026-11-20T09:00:00+01:00");
        for (first, second, counted) in [
            (old, new, "second"),
            (new, old, "first"),
            (old, old, "second"),
            ("", old, "second"),
            (old, "", "first"),
            ("", "", "second"),
        ] {
            let fleet = Fleet::of([inventory("first", first), inventory("second", second)]);
            let other = if counted == "first" { "second" } else { "first" };
            assert_eq!(fleet.hosts.len(), 1);
            assert_eq!(fleet.hosts[0].source, counted, "{first} {second}");
            let expected = ReplacedInventory {
                host: "web".to_owned(),
                source: other.to_owned(),
                counted: counted.to_owned(),
            };
            assert_eq!(fleet.replaced, [expected], "{first} {second}");
            let report = FleetReport::of(&fleet.hosts, None).unwrap();
            let findings = report.standings[0].findings.iter();
            let findings: Vec<_> = findings.map(|finding| (finding.kind, finding.about.as_str())).collect();
            assert_eq!(findings, [(FindingKind::NamedTwice, other)], "{first} {second}");
        }
    }

    #[test]
    fn a_source_that_names_its_host_twice_claims_no_other_host() {
        let fleet = Fleet::of([inventory("one", ""), inventory("one", "")]);
        assert_eq!((fleet.hosts.len(), fleet.replaced.len()), (1, 1));
        assert!(FleetReport::of(&fleet.hosts, None).unwrap().standings[0].findings.is_empty());
    }

    #[test]
    fn more_rows_than_fit_are_refused_whether_listed_or_missing() {
        let hosts: Vec<NamedInventory> = [("one", "100-02"), ("other", "100-01")]
            .into_iter()
            .map(|(machine, id)| {
                let text = format!(
                    "{{\"schema\":\"patchadm/1\",\"command\":\"list\",\"machine\":\"{machine}\",\"patches\":[\
                     {{\"id\":\"{id}\",\"state\":[\"effective\"],\"packages\":[],\"undo\":[],\
                     \"removable\":{{\"now\":true}}}}]}}"
                );
                let mut read = InventoryReader::default().read(text.as_bytes(), machine).unwrap();
                NamedInventory { source: machine.to_owned(), inventory: read.inventories.remove(0) }
            })
            .collect();
        let fleet = Fleet::of(hosts);
        let report = |most: usize| FleetReport::within(RowRoom::new(most, &fleet.hosts), None);
        let lacks = report(3).unwrap().standings.iter().map(|standing| standing.lacks.len()).sum::<usize>();
        assert_eq!(lacks, 1);
        assert_eq!(report(2).unwrap_err().inventory, "other", "the missing one");
        assert!(report(1).is_err(), "a listed one");
    }

    #[test]
    fn hosts_that_have_and_lack_the_same_are_a_group_and_the_largest_comes_first() {
        let standing = |applied: &[usize], lacks: &[usize]| HostStanding {
            applied: applied.to_vec(),
            lacks: lacks.to_vec(),
            findings: Vec::new(),
        };
        let standings =
            vec![standing(&[0], &[]), standing(&[0], &[1]), standing(&[0, 1], &[]), standing(&[0], &[1])];
        let report = FleetReport { hosts: &[], standings, patches: Vec::new() };
        let hosts: Vec<Vec<usize>> = groups(&report).into_iter().map(|group| group.hosts).collect();
        assert_eq!(hosts, [vec![1, 3], vec![0], vec![2]]);
    }
}
