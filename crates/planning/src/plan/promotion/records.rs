//! The records of a promotion: packages with their patch records, the local package, undo archives, and its own record.

use std::collections::BTreeMap;

use patchadm_changeset::format::manifest::{MADE_PACKAGE, ObjectRecord, encode};
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::native::NativeRegistration;
use patchadm_inputs::source::PackageImage;
use patchadm_inputs::stage::PromotionRecord;
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, InstalledInfo, PatchId, PatchList, PatchRecords, Requirements};

use super::input::{FoundByPatch, NewPackage, NewPatches, PromotionInput, local_parameters};
use super::stage_patches::patch_directories;
use crate::plan::clock::Now;
use crate::plan::patch::undo::{DeliveredPaths, Undoing, tree_file};
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::records::{NewRecord, RecordChanges, package_path, patch_path};
use crate::plan::refusal::Reason;
use crate::plan::target::PackageTarget;
use crate::plan::{LedgerChange, LedgerPatch, RecordChange, TreeContent, UndoArchive, records};

#[derive(Debug, Default)]
pub(super) struct PromotionRecords {
    pub(super) changes: Vec<RecordChange>,
    pub(super) undo: Vec<UndoArchive>,
}

pub(super) struct PackageRecorder<'a> {
    pub(super) input: &'a PromotionInput<'a>,
    pub(super) inventory: &'a Inventory,
    pub(super) applied: &'a AppliedPatches,
    pub(super) separator: &'a str,
    pub(super) now: &'a Now,
}

impl PackageRecorder<'_> {
    pub(super) fn record(
        &self,
        draft: &PlanBuilder<'_>,
        packages: &[PkgInst],
    ) -> Result<PromotionRecords, Reason> {
        let mut recorded = PromotionRecords::default();
        for package in packages {
            self.package(draft, package, &mut recorded)?;
        }
        let is_new = |package: &&PkgInst| !self.inventory.packages.contains_key(*package);
        recorded.changes.extend(patch_directories(&self.input.directories)?);
        let record = PromotionRecord {
            packages: packages.to_vec(),
            new_packages: packages.iter().filter(is_new).cloned().collect(),
            ..self.input.record.clone()
        };
        let (before, after) = record.around_run();
        recorded.changes.push(RecordChange::AddTree {
            path: patch_path(self.input.record.id.as_str())?,
            files: vec![tree_file("promotion", TreeContent::AroundRun(before, after), 0o644)],
        });
        Ok(recorded)
    }

    fn package(
        &self,
        draft: &PlanBuilder<'_>,
        package: &PkgInst,
        recorded: &mut PromotionRecords,
    ) -> Result<(), Reason> {
        let known = self.inventory.packages.get(package);
        let nothing = Installed::default();
        let installed = known.unwrap_or(&nothing);
        let record = &self.input.record;
        let coming = self.input.new_packages.get(package);
        let old = known.or(coming.map(|new| &new.staged)).map_or_else(
            || local_parameters(package, record.id.base(), record.name.as_str(), self.now),
            |installed| installed.params.clone(),
        );
        let mut new = old.clone();
        self.record_patch(package, &mut new);
        let patched = coming.map(|new| &new.patched).filter(|patched| !patched.ids.is_empty());
        if let Some(patched) = patched {
            patched.list_behind(&self.input.record.id, &mut new);
        }
        let pkginfo = NewRecord { name: "pkginfo".to_owned(), bytes: params::write(&new), mtime: None };
        let others = coming.into_iter().flat_map(NewPackage::records_but_pkginfo);
        let files = std::iter::once(pkginfo).chain(others).collect();
        let mut records = RecordChanges::of(package, installed, files)?;
        records.date(self.now.timestamp());
        let (id, nothing_more) = (&self.input.record.id, PatchList::new());
        if records::save_of(installed, id, self.separator).is_some() {
            return Err(Reason::StaleSave(package.clone()));
        }
        recorded.changes.extend(records::supersede(package, installed, id, &nothing_more, self.separator)?);
        self.save(draft, (package, &old, known.is_none()), &records, recorded)?;
        recorded.changes.extend(records.changes);
        let patch = LedgerPatch {
            patch: id.as_str().to_owned(),
            is_without_undo: self.input.options.no_undo,
            native: NativeRegistration::named_version(&new),
        };
        let mut ledger = LedgerChange::of_application(package, patch);
        if let Some(patched) = patched {
            recorded.changes.extend(patched.save_directories(package)?);
            ledger.brought.clone_from(&patched.lines);
        }
        recorded.changes.push(RecordChange::Ledger(ledger));
        Ok(())
    }

    fn record_patch(&self, package: &PkgInst, new: &mut Params) {
        let info = InstalledInfo {
            date: self.now.patch_date(),
            host: self.now.host.clone(),
            obsoletes: PatchList::new(),
            requires: Requirements::default(),
            incompatibles: PatchList::new(),
        };
        let known = self.applied.records_of(package);
        match known {
            Some(records) => records.write_applied(&self.input.record.id, info, new),
            None => PatchRecords::new(package.clone()).write_applied(&self.input.record.id, info, new),
        };
    }

    fn save(
        &self,
        draft: &PlanBuilder<'_>,
        (package, old, is_new): (&PkgInst, &Params, bool),
        changed: &RecordChanges,
        recorded: &mut PromotionRecords,
    ) -> Result<(), Reason> {
        let id = &self.input.record.id;
        let unsaved = BTreeMap::new();
        let undoing = Undoing {
            id,
            obsoletes: &PatchList::new(),
            old,
            saves: self.inventory.packages.get(package).map_or(&unsaved, |installed| &installed.saves),
            set: &[],
            silent: &[],
            format: self.input.options.undo_format,
            directory: self.input.options.undo_dir.as_deref(),
            saves_nothing: self.input.options.no_undo,
            runs_scripts: false,
        };
        let image = delivered_package(package, old);
        let target = PackageTarget::new(package.clone(), 0, &image, old.clone())?;
        let delivered = DeliveredPaths { paths: self.delivered(draft, package), ..DeliveredPaths::default() };
        let mut archive = undoing.archive(draft, &target, &delivered, changed)?;
        if let Some(new) = self.input.new_packages.get(package) {
            new.patched.take_out_of(&mut archive.manifest.objects);
        }
        if is_new {
            archive.manifest.header.features.push(MADE_PACKAGE.to_owned());
        }
        let files = undoing.saved_files(&archive.place, recorded.undo.len())?;
        recorded.undo.push(archive);
        let path = package_path(package, format!("save/{id}").as_bytes())?;
        recorded.changes.push(RecordChange::AddTree { path, files });
        Ok(())
    }

    fn delivered(
        &self,
        draft: &PlanBuilder<'_>,
        package: &PkgInst,
    ) -> std::collections::BTreeSet<ObjectPath> {
        let is_of = |path: &&ObjectPath| {
            let first = draft.line(path).and_then(|line| line.owners.first());
            first.is_some_and(|owner| owner.package == *package)
        };
        self.input.taken.keys().filter(is_of).cloned().collect()
    }
}

fn delivered_package(package: &PkgInst, installed: &Params) -> PackageImage {
    let mut params = Params::new();
    params.set("PKG", package.abbreviation());
    if let Some(classes) = installed.get("CLASSES") {
        params.set("CLASSES", classes);
    }
    PackageImage::without_source(
        params,
        Pkgmap { parts: 1, max_blocks: 0, compressed_blocks: None, entries: Vec::new() },
    )
}

// These patches follow the promotion, which installs the package as the first of them found it. Its undo archive
// records that state and nothing of theirs: they are backed out first.

impl NewPatches {
    fn list_behind(&self, promotion: &PatchId, params: &mut Params) {
        let ids = std::iter::once(promotion).chain(&self.ids);
        let list: Vec<&str> = ids.map(PatchId::as_str).collect();
        params.set("PATCHLIST", list.join(" "));
    }

    fn save_directories(&self, package: &PkgInst) -> Result<Vec<RecordChange>, Reason> {
        let directory = |(name, files): (&String, &Vec<_>)| {
            let path = package_path(package, format!("save/{name}").as_bytes())?;
            Ok(RecordChange::AddTree { path, files: files.clone() })
        };
        self.saves.iter().map(directory).collect()
    }

    /// Records, for every path, the state before the first of these patches.
    fn take_out_of(&self, objects: &mut Vec<ObjectRecord>) {
        let mut found: BTreeMap<String, &FoundByPatch> =
            self.found.iter().map(|(path, found)| (encode(path.as_bytes()), found)).collect();
        for record in objects.iter_mut() {
            if let Some(found) = found.remove(&record.path) {
                (record.became, record.new_line) = (found.state.clone(), found.line.clone());
            }
        }
        objects.extend(found.into_iter().map(|(path, found)| added(path, found)));
        let is_nothing = |record: &ObjectRecord| {
            record.was.is_none()
                && record.became.is_none()
                && record.line.is_none()
                && record.new_line.is_none()
        };
        objects.retain(|record| !is_nothing(record));
        objects.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    }
}

fn added(path: String, found: &FoundByPatch) -> ObjectRecord {
    ObjectRecord {
        path,
        was: None,
        line: None,
        became: found.state.clone(),
        new_line: found.line.clone(),
        kept: false,
        delivered: found.state.is_some(),
        member: None,
        shlib: None,
        file: None,
    }
}
