//! The patches of a package compared with what is there now.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::failure::Failure;
use patchadm_changeset::format::manifest::{Manifest, ObjectRecord};
use patchadm_inputs::database::undo_data::{ArchiveError, UndoReader};
use patchadm_inputs::database::{installed, ledger, marker};
use patchadm_inputs::inventory::Installed;
use patchadm_planning::plan::patch::overtaken::{is_as_left, is_undone_in_place};
use patchadm_rootfs::{Live, never};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// The manifests of the patches of a package, read when the first question needs them.
pub(super) struct PackageManifests<'a> {
    reader: &'a UndoReader<'a>,
    separator: &'a str,
    package: &'a PkgInst,
    installed: &'a Installed,
    /// `None` if the manifest of a patch is unknown or cannot be read.
    manifests: OnceCell<Option<Vec<Manifest>>>,
}

impl<'a> PackageManifests<'a> {
    pub(super) fn of(
        reader: &'a UndoReader<'a>,
        separator: &'a str,
        (package, installed): (&'a PkgInst, &'a Installed),
    ) -> Self {
        Self { reader, separator, package, installed, manifests: OnceCell::new() }
    }

    /// Tells whether the patches left every path as it is now; false if their undo data cannot be read.
    pub(super) fn are_as_left(&self) -> bool {
        let Some(manifests) = self.read() else { return false };
        let mut put: BTreeMap<ObjectPath, (&ObjectRecord, &ObjectRecord)> = BTreeMap::new();
        for record in manifests.iter().flat_map(|manifest| &manifest.objects) {
            if !record.has_path() {
                continue;
            }
            let Some(path) = record.object_path() else { return false };
            put.entry(path).and_modify(|(_, last)| *last = record).or_insert((record, record));
        }
        put.into_iter()
            .all(|(path, records)| self.live(&path).is_ok_and(|live| is_as_left(records, live.as_ref())))
    }

    /// Returns those of these paths, which have overrides, at which what the patches did to attributes is undone; each with the
    /// last patch that has the path.
    pub(super) fn undone_in_place(
        &self,
        paths: &[ObjectPath],
    ) -> Result<Vec<(PatchId, ObjectPath)>, Failure> {
        let manifests = self.read().unwrap_or_default();
        let mut undone = Vec::new();
        for path in paths {
            let mut records = manifests.iter().flat_map(|manifest| {
                let of_path =
                    |record: &&ObjectRecord| record.has_path() && record.object_path().as_ref() == Some(path);
                manifest.objects.iter().filter(of_path).map(move |record| (&manifest.header, record))
            });
            let Some((first_header, first)) = records.next() else { continue };
            let (header, last) = records.last().unwrap_or((first_header, first));
            let keeps_set_id = header.keeps_set_id(&last.path);
            let id = PatchId::parse(&header.patch, self.separator);
            if let Ok(id) = id
                && is_undone_in_place((first, last), self.live(path)?.as_ref(), keeps_set_id)
            {
                undone.push((id, path.clone()));
            }
        }
        Ok(undone)
    }

    /// Tells whether a patch changed what is at a path, or may have: not all manifests are known.
    pub(super) fn may_have_changed(&self, path: &ObjectPath) -> bool {
        self.records_at(path).is_none_or(|mut records| records.next().is_some())
    }

    fn records_at(&self, path: &ObjectPath) -> Option<impl Iterator<Item = &ObjectRecord>> {
        let records = self.read()?.iter().flat_map(|manifest| &manifest.objects);
        Some(records.filter(move |record| record.has_path() && record.object_path().as_ref() == Some(path)))
    }

    fn live(&self, path: &ObjectPath) -> Result<Option<Live>, Failure> {
        let root = self.reader.view.root();
        Ok(root.live_at(&root.resolver().locate_object(path)?)?)
    }

    fn read(&self) -> Option<&[Manifest]> {
        self.manifests.get_or_init(|| self.all().ok().flatten()).as_deref()
    }

    fn all(&self) -> Result<Option<Vec<Manifest>>, Failure> {
        let list = self.installed.params.text("PATCHLIST");
        let ids = list.split_whitespace().map(|id| PatchId::parse(id, self.separator));
        let Ok(ids) = ids.collect::<Result<Vec<PatchId>, _>>() else { return Ok(None) };
        if ids.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let (reader, package) = (self.reader, self.package);
        let lines = ledger::counting(reader.view, package).map_err(ArchiveError::from)?;
        let marker = marker(reader.view.root())?;
        let mut manifests: Vec<Manifest> = Vec::new();
        for id in &ids {
            let name = installed::saved_as(reader.view, package, id)?;
            let kept = reader.kept_manifest(package, &name, &lines)?;
            let manifest = match kept {
                Some(manifest) => Some(manifest),
                None => {
                    reader
                        .find_with(package, &name, &lines)?
                        .verify_alone(marker.as_deref(), &never)?
                        .manifest
                }
            };
            let Some(manifest) = manifest else { return Ok(None) };
            manifests.push(manifest);
        }
        Ok(Some(manifests))
    }
}
