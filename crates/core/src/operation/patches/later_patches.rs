//! Patches applied after the outgoing one: shared paths belong to the later patch.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::operation::failure::Failure;
use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, StateDifferences, UndoManifest};
use patchadm_changeset::format::run::Run;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, installed, ledger};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_planning::plan::patch::backout_input::Elsewhere;
use patchadm_rootfs::Root;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchList};

type KeptManifests = BTreeMap<(PkgInst, String), UndoManifest>;

pub(super) struct LaterPatches<'a> {
    pub(super) root: &'a Root,
    pub(super) separator: &'a str,
    pub(super) inventory: &'a Inventory,
    pub(super) ledger: &'a dyn Fn(&PkgInst) -> Result<Rc<Ledger>, ArchiveError>,
    pub(super) manifest: &'a dyn Fn(&PkgInst, &str) -> Option<UndoManifest>,
    pub(super) id: &'a PatchId,
    pub(super) packages: &'a [PkgInst],
}

impl LaterPatches<'_> {
    /// Returns manifests of later patches of the same packages. Skips those without a readable archive, from which
    /// nothing is restored.
    pub(super) fn of_packages(&self) -> Result<KeptManifests, Failure> {
        let mut found = BTreeMap::new();
        for (package, installed) in self.concerned(true) {
            let list = self.list(package, installed)?;
            for patch in list.iter().skip_while(|other| *other != self.id).skip(1) {
                let name = patch.to_string();
                if let Some(manifest) = (self.manifest)(package, &name) {
                    found.insert((package.clone(), name), manifest);
                }
            }
        }
        Ok(found)
    }

    /// Returns later patches of other packages with a path that the patch (`manifests`) changed: several packages may
    /// own a path.
    pub(super) fn elsewhere(&self, manifests: &[&UndoManifest]) -> Result<Vec<Elsewhere>, Failure> {
        let changed = manifests.iter().flat_map(|manifest| &manifest.objects);
        let changed: Vec<&ObjectRecord> = changed.filter(|record| !record.is_as_found()).collect();
        let listed =
            changed.iter().filter_map(|record| self.inventory.patched_by.get(&record.object_path()?));
        let listed: BTreeSet<&str> = listed.flatten().map(String::as_str).collect();
        if listed.iter().all(|patch| *patch == self.id.as_str()) {
            return Ok(Vec::new());
        }
        let Some(own) = self.applied_by()? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for (package, installed) in self.concerned(false) {
            let list = self.list(package, installed)?;
            let list = list.iter().filter(|patch| *patch != self.id).map(ToString::to_string);
            let list: Vec<String> = list.filter(|patch| listed.contains(patch.as_str())).collect();
            if list.is_empty() {
                continue;
            }
            let ledger = (self.ledger)(package)?;
            for patch in list {
                let Some(order) = applied_by(&ledger, &patch).map(|run| run.is_behind(own)) else { continue };
                let Some(manifest) = (self.manifest)(package, &patch) else { continue };
                if order.unwrap_or_else(|| is_behind(&manifest, &changed)) {
                    found.push(Elsewhere { patch, manifest });
                }
            }
        }
        Ok(found)
    }

    /// Returns the patch's packages, or the other surveyed ones.
    fn concerned(&self, is_own: bool) -> impl Iterator<Item = (&PkgInst, &Installed)> {
        let packages = self.inventory.packages.iter();
        packages.filter(move |(package, _)| self.packages.contains(package) == is_own)
    }

    fn list(&self, package: &PkgInst, installed: &Installed) -> Result<PatchList, Failure> {
        Ok(installed::patch_records(self.root, package, &installed.params, self.separator)?.list)
    }

    fn applied_by(&self) -> Result<Option<AppliedBy>, Failure> {
        for package in self.packages {
            if let Some(run) = applied_by(&*(self.ledger)(package)?, &self.id.to_string()) {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }
}

/// Sorts by run, latest first, if the ledgers know all runs: nothing else orders patches of different packages.
pub(super) fn latest_run_first(
    view: &RecordView<'_>,
    applied: &AppliedPatches,
    ids: Vec<PatchId>,
) -> Vec<PatchId> {
    let ledgers = LedgerCache::default();
    let run = |id: &PatchId| {
        let mut packages = applied.get(id)?.packages.iter();
        let by =
            packages.find_map(|package| applied_by(&*ledgers.of(view, package).ok()?, &id.to_string()))?;
        (!by.is_adoption).then_some(by.number)
    };
    let Some(runs) = ids.iter().map(run).collect::<Option<Vec<u64>>>() else { return ids };
    let mut by_run: Vec<(u64, PatchId)> = runs.into_iter().zip(ids).collect();
    by_run.sort_by_key(|(run, _)| std::cmp::Reverse(*run));
    by_run.into_iter().map(|(_, id)| id).collect()
}

#[derive(Clone, Copy)]
struct AppliedBy {
    number: u64,
    /// An adoption of undo data: the patch may have been applied at any earlier time.
    is_adoption: bool,
}

impl AppliedBy {
    /// `None` if the numbers do not tell.
    fn is_behind(self, other: Self) -> Option<bool> {
        let is_told = self.number != other.number && !self.is_adoption && !other.is_adoption;
        is_told.then_some(self.number > other.number)
    }
}

fn applied_by(ledger: &Ledger, patch: &str) -> Option<AppliedBy> {
    let line = ledger.line(patch)?;
    Run::parse(line.applied_by.as_ref().unwrap_or(&line.run))
        .map(|run| AppliedBy { number: run.number, is_adoption: line.is_adopted })
}

pub(super) fn run_of(ledger: &Ledger, patch: &str) -> Option<u64> {
    applied_by(ledger, patch).filter(|by| !by.is_adoption).map(|by| by.number)
}

/// For patches whose runs do not tell: true if this one found what the other one put there, and not vice versa.
fn is_behind(manifest: &UndoManifest, earlier: &[&ObjectRecord]) -> bool {
    let is_same = |one: &Option<RecordedState>, other: &Option<RecordedState>| match (one, other) {
        (Some(one), Some(other)) => {
            let differ = StateDifferences { device: false, ..StateDifferences::between(one, other) };
            !differ.is_of_content()
        }
        (one, other) => one.is_none() && other.is_none(),
    };
    let mut pairs = earlier.iter().filter_map(|record| {
        let mut others = manifest.objects.iter().filter(|other| other.path == record.path);
        others.find(|other| other.has_path()).map(|other| (*record, other))
    });
    pairs.any(|(one, other)| is_same(&other.was, &one.became) && !is_same(&one.was, &other.became))
}

/// Valid lines of ledgers.
#[derive(Default)]
pub(super) struct LedgerCache(RefCell<BTreeMap<PkgInst, Rc<Ledger>>>);

impl LedgerCache {
    pub(super) fn of(&self, view: &RecordView<'_>, package: &PkgInst) -> Result<Rc<Ledger>, ArchiveError> {
        if let Some(known) = self.0.borrow().get(package) {
            return Ok(known.clone());
        }
        let read = Rc::new(ledger::counting(view, package)?);
        self.0.borrow_mut().insert(package.clone(), read.clone());
        Ok(read)
    }
}
