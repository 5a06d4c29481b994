//! Reads from undo archives which surveyed paths each applied patch changed and delivered. An archive of another
//! program lists only saved paths.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use super::{SurveySettings, Touched};
use crate::database::ledger::{self, LedgerFault};
use crate::database::saves::{self, UnreadableFile};
use crate::database::undo_data::{ArchiveError, UndoReader};
use crate::database::{DatabaseError, RecordView};
use crate::format::ledger::Ledger;
use crate::inventory::Inventory;
use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, UndoManifest, decode};
use patchadm_changeset::format::undo_sidecars::{PathDigest, UndoPaths};
use patchadm_rootfs::Digest;
use patchadm_rootfs::{Dir, ReadBudget, RootError};
use patchadm_svr4::package::{ContentInfo, ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchList;

/// Fills `patched_by`, `delivered` and save directories of packages concerned and of owners of paths. The list beside
/// an archive names its changed paths; the archive is read only without a list, or if delivered objects matter.
/// Missing, damaged or foreign archives are left out: decisions that depend on them refuse.
pub(super) fn read(
    view: &RecordView<'_>,
    touched: &Touched,
    setting: &SurveySettings<'_>,
    inventory: &mut Inventory,
) -> Result<(), DatabaseError> {
    let mut survey = PatchSurvey {
        view,
        setting,
        surveyed: inventory.physical.keys().map(|path| (PathDigest::of(path), path.clone())).collect(),
        doubtful: inventory.lines.keys().filter(|path| is_doubtful(inventory, path)).cloned().collect(),
        patched_by: BTreeMap::new(),
        delivered: BTreeMap::new(),
        ledgers: BTreeMap::new(),
    };
    for package in packages(touched, inventory) {
        setting.go_on()?;
        let applied = applied(inventory, &package, setting.separator);
        let is_applied: HashSet<&str> = applied.iter().map(String::as_str).collect();
        let (surveyed, marker) = (&survey.surveyed, &inventory.marker);
        let budget = view.saves_budget();
        let all = saves::each(view, &package, UnreadableFile::Refused, |id, save| {
            if is_applied.contains(id) { listed((save, budget), surveyed, marker) } else { Ok(None) }
        })?;
        let mut lists = BTreeMap::new();
        if let Some(installed) = inventory.packages.get_mut(&package) {
            installed.saves.clear();
            for (patch, (save, list)) in all {
                lists.insert(patch.clone(), list.flatten());
                installed.saves.insert(patch, save);
            }
        }
        for patch in &applied {
            setting.go_on()?;
            if let Some(listed) = lists.remove(patch) {
                survey.archive(inventory, &package, patch, listed)?;
            }
        }
    }
    let PatchSurvey { patched_by, delivered, doubtful, .. } = survey;
    inventory.delivered = last_delivered(inventory, &doubtful, &delivered);
    inventory.patched_by = patched_by;
    Ok(())
}

struct PatchSurvey<'a> {
    view: &'a RecordView<'a>,
    setting: &'a SurveySettings<'a>,
    surveyed: BTreeMap<PathDigest, ObjectPath>,
    doubtful: BTreeSet<ObjectPath>,
    patched_by: BTreeMap<ObjectPath, Vec<String>>,
    delivered: BTreeMap<(ObjectPath, PkgInst), Digest>,
    ledgers: BTreeMap<PkgInst, Option<Rc<Ledger>>>,
}

fn listed(
    (save, budget): (&Dir, &ReadBudget),
    surveyed: &BTreeMap<PathDigest, ObjectPath>,
    marker: &str,
) -> Result<Option<Vec<ObjectPath>>, RootError> {
    let list = saves::saved_paths(save, budget)?.filter(|list| list.marker() == marker.as_bytes());
    // With a thousand patches each list is short, while the survey has the paths of all.
    let changed = |list: UndoPaths| -> Vec<ObjectPath> {
        if list.count() < surveyed.len() {
            list.digests().filter_map(|digest| surveyed.get(&digest)).cloned().collect()
        } else {
            surveyed.iter().filter(|(digest, _)| list.has(digest)).map(|(_, path)| path.clone()).collect()
        }
    };
    Ok(list.map(changed))
}

impl PatchSurvey<'_> {
    fn archive(
        &mut self,
        inventory: &Inventory,
        package: &PkgInst,
        patch: &str,
        listed: Option<Vec<ObjectPath>>,
    ) -> Result<(), DatabaseError> {
        if let Some(changed) = listed {
            let is_doubtful = changed.iter().any(|path| self.doubtful.contains(path));
            for path in changed {
                self.changed_by(path, patch);
            }
            if !is_doubtful {
                return Ok(());
            }
        }
        self.manifest(inventory, package, patch)
    }

    fn manifest(
        &mut self,
        inventory: &Inventory,
        package: &PkgInst,
        patch: &str,
    ) -> Result<(), DatabaseError> {
        let SurveySettings { host, outside, interrupt, .. } = *self.setting;
        let Some(ledger) = self.ledger(package)? else { return Ok(()) };
        let reader = UndoReader { view: self.view, host, outside };
        match reader.kept_manifest(package, patch, &ledger) {
            Ok(Some(kept)) => {
                self.says(inventory, (package, patch), &kept, true);
                return Ok(());
            }
            Ok(None) => {}
            Err(error) => return unless_unreadable(error),
        }
        let found = reader.find_with(package, patch, &ledger);
        let found = match found.and_then(|found| found.telling(self.view)) {
            Ok(found) => found,
            Err(error) => return unless_unreadable(error),
        };
        let Ok(manifest) = found.manifest() else { return Ok(()) };
        let Some(manifest) = manifest else {
            let params = inventory.packages.get(package).map(|installed| &installed.params);
            let saved = params.map(|params| found.saved_paths(params)).unwrap_or_default();
            for path in saved.into_iter().filter(|path| inventory.physical.contains_key(path)) {
                self.changed_by(path, patch);
            }
            return Ok(());
        };
        let is_asked = |record: &ObjectRecord| {
            record.is_listed() && record.object_path().is_some_and(|path| self.doubtful.contains(&path))
        };
        // Changed paths are only a hint, so even an unverified archive may name them. Delivered objects count only from
        // verified ones.
        let is_believed = manifest.objects.iter().any(is_asked)
            && found.bound_manifest(interrupt).is_ok_and(|bound| bound.as_ref() == Some(&manifest));
        self.setting.go_on()?;
        if !is_believed && manifest.header.root != inventory.marker {
            return Ok(());
        }
        self.says(inventory, (package, patch), &manifest, is_believed);
        Ok(())
    }

    fn says(
        &mut self,
        inventory: &Inventory,
        (package, patch): (&PkgInst, &str),
        manifest: &UndoManifest,
        is_believed: bool,
    ) {
        for record in manifest.objects.iter().filter(|record| record.is_listed()) {
            let Some(path) = record.object_path().filter(|path| inventory.physical.contains_key(path)) else {
                continue;
            };
            let digest = record.became.as_ref().and_then(RecordedState::digest);
            if let Some(digest) = digest.filter(|_| is_believed && is_of_line(inventory, &path, record)) {
                self.delivered.insert((path.clone(), package.clone()), digest);
            }
            self.changed_by(path, patch);
        }
    }

    fn ledger(&mut self, package: &PkgInst) -> Result<Option<Rc<Ledger>>, DatabaseError> {
        if let Some(known) = self.ledgers.get(package) {
            return Ok(known.clone());
        }
        let read = match ledger::counting(self.view, package) {
            Ok(ledger) => Some(Rc::new(ledger)),
            Err(LedgerFault::View(error)) => return Err(error.into()),
            Err(_) => None,
        };
        self.ledgers.insert(package.clone(), read.clone());
        Ok(read)
    }

    fn changed_by(&mut self, path: ObjectPath, patch: &str) {
        let patches = self.patched_by.entry(path).or_default();
        if !patches.iter().any(|known| known == patch) {
            patches.push(patch.to_owned());
        }
    }
}

fn unless_unreadable(error: ArchiveError) -> Result<(), DatabaseError> {
    match error {
        ArchiveError::View(error) => Err(error.into()),
        ArchiveError::Root(error) => Err(error.into()),
        _ => Ok(()),
    }
}

fn packages(touched: &Touched, inventory: &Inventory) -> BTreeSet<PkgInst> {
    let owners =
        inventory.lines.values().flat_map(|line| line.owners.iter().map(|owner| owner.package.clone()));
    touched.packages.iter().cloned().chain(owners).collect()
}

/// Oldest first. An unreadable list counts as empty: the decision that uses it refuses it anyway.
fn applied(inventory: &Inventory, package: &PkgInst, separator: &str) -> Vec<String> {
    let Some(installed) = inventory.packages.get(package) else { return Vec::new() };
    let list = PatchList::parse(&installed.params.text("PATCHLIST"), separator).unwrap_or_default();
    list.iter().map(ToString::to_string).collect()
}

/// The line of the patch is still there: otherwise a later patch without an archive may have delivered the path.
fn is_of_line(inventory: &Inventory, path: &ObjectPath, record: &ObjectRecord) -> bool {
    let written = record.new_line.as_deref().and_then(|line| ContentsLine::parse(&decode(line)).ok());
    let content = |line: &ContentsLine| line.object.content;
    written.as_ref().map(content) == inventory.lines.get(path).map(content)
}

/// Size and sum agree with the line, but not the time: only a digest shows if the file was edited.
fn is_doubtful(inventory: &Inventory, path: &ObjectPath) -> bool {
    let recorded = inventory.lines.get(path).map(|line| line.object.content).unwrap_or_default();
    let Some(found) = inventory.live.get(path) else { return false };
    let Some(content) = found.content_info() else { return false };
    recorded.mtime.is_some()
        && recorded.mtime != content.mtime
        && recorded == ContentInfo { mtime: recorded.mtime, ..content }
}

/// Asks the most recently installed owner first.
fn last_delivered(
    inventory: &Inventory,
    doubtful: &BTreeSet<ObjectPath>,
    delivered: &BTreeMap<(ObjectPath, PkgInst), Digest>,
) -> BTreeMap<ObjectPath, Digest> {
    let digest = |path: &ObjectPath| {
        let owners = &inventory.lines.get(path)?.owners;
        owners.iter().rev().find_map(|owner| delivered.get(&(path.clone(), owner.package.clone())).copied())
    };
    doubtful.iter().filter_map(|path| Some((path.clone(), digest(path)?))).collect()
}
