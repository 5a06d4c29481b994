//! The undo data of the patches of changed packages: read, verified, and trimmed.

use std::collections::BTreeMap;

use crate::operation::content::ArchiveSources;
use crate::operation::failure::Failure;
use crate::operation::patches::back_out::heir::sources;
use crate::operation::patches::back_out::input::BackOutInput;
use crate::operation::patches::back_out::undo::{UndoReading, VerifiedUndo, wait_for};
use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::{Manifest, ManifestHeader};
use patchadm_inputs::database::undo_data::{ArchiveError, exported};
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::patch::backout_input::{BackoutArchive, LaterUndo};
use patchadm_planning::plan::patch::overtaken::{Trimmed, trimmed_image};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::PatchId;

/// A patch of a package.
pub(super) type OfPackage = (PkgInst, PatchId);

/// The undo data of a patch for a package.
pub(super) struct SavedPatch {
    pub(super) package: PkgInst,
    pub(super) id: PatchId,
    /// As its save directory is named.
    name: String,
    /// The manifest that is kept where there is no archive.
    kept: Option<Manifest>,
    pub(super) archive: Option<VerifiedUndo>,
    /// The native version that it was applied to, if that is known.
    pub(super) native: Option<String>,
}

impl SavedPatch {
    /// What the patch did, if its undo data says so.
    pub(super) fn manifest(&self) -> Option<&Manifest> {
        self.kept.as_ref().or(self.archive.as_ref()?.manifest.as_ref())
    }

    /// The backout package that is restored from.
    pub(super) fn image(&self) -> Option<&PackageImage> {
        self.archive.as_ref()?.restored_from().image.packages.first()
    }
}

/// All of it.
pub(super) struct SavedPatches {
    pub(super) all: Vec<SavedPatch>,
}

impl SavedPatches {
    /// Reads and verifies the undo data of patches. What a patch without any did is not known.
    pub(super) fn read(
        input: &BackOutInput<'_>,
        marker: &str,
        patches: &[OfPackage],
    ) -> Result<Self, Failure> {
        let mut digesting = Vec::new();
        let (root, outside) = (&input.ground.root, input.outside());
        let mut reading = UndoReading::of(root, outside, marker, &mut digesting, input.interrupt());
        let read = patches.iter().map(|of| saved(input, &mut reading, of)).collect::<Result<_, _>>();
        wait_for(digesting, input.interrupt())?;
        Ok(Self { all: read? })
    }

    /// The undo data of a patch for a package.
    pub(super) fn get(&self, package: &PkgInst, id: &PatchId) -> Option<&SavedPatch> {
        self.all.iter().find(|one| one.package == *package && one.id == *id)
    }

    /// What content comes from, by the places that [`trimmed`](Self::trimmed) gives.
    pub(super) fn content(&self) -> ArchiveSources<'_> {
        sources(self.all.iter().filter_map(|one| one.archive.as_ref()), &[])
    }

    /// The undo data of all, trimmed. `trimmed` has what is left of that of changed packages.
    pub(super) fn trimmed<'a>(
        &'a self,
        trimmed: &'a BTreeMap<OfPackage, Trimmed>,
        inventory: &'a Inventory,
    ) -> Result<Vec<TrimmedUndo<'a>>, Failure> {
        let mut index = 0;
        let mut all = Vec::new();
        for saved in &self.all {
            all.push(TrimmedUndo::of(saved, trimmed, inventory, index)?);
            index += usize::from(saved.archive.is_some());
        }
        Ok(all)
    }
}

fn saved(
    input: &BackOutInput<'_>,
    reading: &mut UndoReading<'_>,
    (package, id): &OfPackage,
) -> Result<SavedPatch, Failure> {
    let view = RecordView::live(&input.ground.root);
    let name = installed::saved_as(&view, package, id)?;
    let reader = input.ground.undo_data(&view, None);
    let ledger = input.ledger(package)?;
    // What is no longer the patch's would go out of undo data that is not here to be written anew.
    if let Some(exported) = ledger.line(&name).and_then(|line| exported(line, package)) {
        return Err(exported.into());
    }
    let kept = reader.kept_manifest(package, &name, &ledger)?;
    let archive = match kept {
        Some(_) => None,
        None => match input.later_undo_data(package, &name) {
            Ok(found) => Some(reading.undo((id, package), found, None)?),
            Err(ArchiveError::Missing { .. } | ArchiveError::Lost { .. }) => None,
            Err(error) => return Err(error.into()),
        },
    };
    let known = ledger.line(&name).and_then(|line| line.native.as_deref());
    let native = reading.patched_version(package, id, known)?;
    Ok(SavedPatch { package: package.clone(), id: id.clone(), name, kept, archive, native })
}

/// The undo data of a patch for a package, without what it no longer holds.
pub(super) struct TrimmedUndo<'a> {
    pub(super) saved: &'a SavedPatch,
    manifest: Manifest,
    image: PackageImage,
    records: BTreeMap<Vec<u8>, RecordFile>,
    index: usize,
}

impl<'a> TrimmedUndo<'a> {
    fn of(
        saved: &'a SavedPatch,
        trimmed: &BTreeMap<OfPackage, Trimmed>,
        inventory: &Inventory,
        index: usize,
    ) -> Result<Self, Failure> {
        let left = trimmed.get(&(saved.package.clone(), saved.id.clone()));
        let whole = saved.manifest().cloned();
        let mut manifest = left.map(|left| left.manifest.clone()).or(whole).unwrap_or_else(|| Manifest {
            header: ManifestHeader::of(saved.id.as_str(), saved.package.as_str(), &inventory.marker),
            objects: Vec::new(),
            shlibs: Vec::new(),
        });
        let archive = saved.archive.as_ref().filter(|archive| archive.manifest.is_some());
        let (image, records) = match (archive.and_then(|one| one.as_archive(index)), left) {
            (Some(archive), Some(left)) => {
                let image = trimmed_image(&saved.package, archive.image, left);
                let image = image.map_err(|reason: Reason| reason.of(Command::AdoptRefresh, &saved.id))?;
                (image, archive.records.clone())
            }
            (Some(archive), None) => (archive.image.clone(), archive.records.clone()),
            (None, _) => {
                // Nothing says what its parameters were before it: they stay.
                manifest.header.parameters.clear();
                let installed = inventory.packages.get(&saved.package);
                let pkginfo = installed.and_then(|installed| installed.records.get(&b"pkginfo"[..])).cloned();
                let records = pkginfo.map(|file| (b"pkginfo".to_vec(), file)).into_iter().collect();
                (without_objects(&saved.package), records)
            }
        };
        Ok(Self { saved, manifest, image, records, index })
    }

    /// As that of a patch that ends.
    pub(super) fn as_archive(&self) -> BackoutArchive<'_> {
        let whole = self.saved.archive.as_ref().and_then(|one| one.as_archive(self.index));
        BackoutArchive {
            patch: &self.saved.id,
            package: &self.saved.package,
            index: self.index,
            image: &self.image,
            made_by_scripts: None,
            manifest: Some(&self.manifest),
            records: &self.records,
            native: self.saved.native.as_deref(),
            is_bound: whole.is_some_and(|whole| whole.is_bound),
            outside: whole.and_then(|whole| whole.outside),
        }
    }

    /// As that of a patch that stays; `None` where nothing says what it did.
    pub(super) fn as_later(&self) -> Option<LaterUndo<'_>> {
        self.saved.manifest()?;
        let archive = self.saved.archive.as_ref().and_then(|one| one.as_later(self.index));
        let archive = archive.map(|mut archive| {
            (archive.image, archive.records) = (&self.image, &self.records);
            archive
        });
        let patch = self.saved.name.clone();
        Some(LaterUndo { package: &self.saved.package, patch, manifest: &self.manifest, archive })
    }

    /// What the patch did, as far as it still holds it.
    pub(super) fn known_manifest(&self) -> Option<(OfPackage, Manifest)> {
        self.saved.manifest()?;
        Some(((self.saved.package.clone(), self.saved.id.clone()), self.manifest.clone()))
    }
}

/// A backout package without objects.
fn without_objects(package: &PkgInst) -> PackageImage {
    let params: Params = [("PKG", package.abbreviation())].into_iter().collect();
    let pkgmap = Pkgmap { parts: 1, max_blocks: 0, compressed_blocks: None, entries: Vec::new() };
    PackageImage::without_source(params, pkgmap)
}
