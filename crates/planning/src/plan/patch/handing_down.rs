//! What parameters and record files of a package go back to, in whatever order its patches go.
//!
//! The archive of a patch has them as they were when it was applied, with what earlier patches had made of them. When
//! an earlier one goes first, what it had found goes to the next patch that set the parameter or wrote the record, whose
//! archive is written anew with it (`middle::rewrite`). So what came with a patch goes with it, and what is shown depends
//! on the patches that are applied alone.
//!
//! CLASSES is more than the word of the last patch: it has the classes of the package and of every patch.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::Manifest;
use patchadm_inputs::inventory::Installed;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::PatchId;

use super::backout_input::Later;
use crate::plan::RecordChange;
use crate::plan::parameters::{is_patch_record, union_of_classes};
use crate::plan::records::{package_path, unmake};
use crate::plan::refusal::Reason;
use crate::plan::target::classes;

/// The parameter with the classes.
const CLASSES: &str = "CLASSES";

/// Record files by name; none for one that was not there, and for a directory, which has a `/` at the end.
pub(super) type RecordsFound = BTreeMap<Vec<u8>, Option<RecordFile>>;

/// What a patch that stays takes over of parameters and record files: as one that goes had found them.
#[derive(Clone, Debug, Default)]
pub(super) struct TakenRecords {
    /// Values by the names of parameters; none for one that was not there.
    pub(super) parameters: BTreeMap<String, Option<Vec<u8>>>,
    /// The record files.
    pub(super) records: RecordsFound,
    /// The lines of applied patches that only the undo data of the one that goes has, as in
    /// [`ManifestHeader::patch_info`](patchadm_changeset::format::manifest::ManifestHeader::patch_info).
    pub(super) patch_info: BTreeMap<String, String>,
    /// Whether it is now the patch that made the package.
    pub(super) makes_package: bool,
}

/// A package whose patch goes.
#[derive(Clone, Copy)]
pub(super) struct Package<'a> {
    /// Its name.
    pub(super) name: &'a PkgInst,
    /// Its records.
    pub(super) installed: &'a Installed,
}

/// What was there before a patch, as far as the patch set or wrote it.
#[derive(Debug)]
pub(super) struct Before {
    /// The parameters.
    pub(super) params: Params,
    /// The record files that it changed or made.
    records: RecordsFound,
}

/// What the patches behind the one that goes take over, and what is left to do.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// The parameters that keep their values, because a later patch has set them.
    pub(super) set_again: BTreeSet<String>,
    /// The value of CLASSES, where it changes.
    pub(super) classes: Option<String>,
    /// The record files that come back.
    pub(super) changes: Vec<RecordChange>,
    /// What the later patches take over whose manifests are known.
    pub(super) taken: BTreeMap<PatchId, TakenRecords>,
}

/// What later patches take over, each by its place among them.
type TakenOver = BTreeMap<usize, TakenRecords>;

impl TakenRecords {
    /// Adds what an earlier patch had found, which counts instead.
    pub(super) fn add(&mut self, earlier: Self) {
        self.parameters.extend(earlier.parameters);
        self.records.extend(earlier.records);
        self.patch_info.extend(earlier.patch_info);
        self.makes_package |= earlier.makes_package;
    }
}

impl Before {
    /// What was there before a patch of which the archive has `params` and `records`.
    pub(super) fn of(manifest: &Manifest, params: Params, records: &BTreeMap<Vec<u8>, RecordFile>) -> Self {
        let saved = records.iter().filter(|(name, _)| name.as_slice() != b"pkginfo");
        let made = manifest.header.made_records.iter().map(|name| (name.clone().into_bytes(), None));
        let mut found: RecordsFound = made.collect();
        found.extend(saved.map(|(name, file)| (name.clone(), Some(file.clone()))));
        Self { params, records: found }
    }
}

impl Package<'_> {
    /// Hands what was there before a patch with this manifest down to the next patches that set or wrote it; what none of
    /// them did comes back.
    pub(super) fn hand_down(
        &self,
        manifest: &Manifest,
        before: &Before,
        later: &Later<'_>,
    ) -> Result<Left, Reason> {
        let mut left = Left::default();
        let mut taken = TakenOver::new();
        parameters(manifest, &before.params, later, &mut left, &mut taken);
        classes_without(manifest, &before.params, later, &mut left, &mut taken);
        self.records(&before.records, later, &mut left, &mut taken)?;
        for (at, taken) in taken {
            // What a patch did whose manifest is not known stays as it is.
            let known = later.get(at).filter(|(_, manifest)| manifest.is_some());
            left.taken.extend(known.map(|(id, _)| (id.clone(), taken)));
        }
        Ok(left)
    }

    /// The record files.
    fn records(
        &self,
        before: &RecordsFound,
        later: &Later<'_>,
        left: &mut Left,
        taken: &mut TakenOver,
    ) -> Result<(), Reason> {
        let mut unmade = Vec::new();
        for (name, file) in before {
            let next = later.iter().position(|(_, manifest)| manifest.is_none_or(|next| writes(next, name)));
            match (next, file) {
                (Some(at), _) => {
                    taken.entry(at).or_default().records.insert(name.clone(), file.clone());
                }
                (None, Some(file)) => left.changes.push(RecordChange::Write {
                    path: package_path(self.name, name)?,
                    bytes: file.bytes.to_vec(),
                    mode: file.mode,
                    mtime: Some(file.mtime),
                }),
                (None, None) => unmade.extend(String::from_utf8(name.clone()).ok()),
            }
        }
        left.changes.extend(unmake(self.name, self.installed, &unmade)?);
        Ok(())
    }
}

/// The parameters that later patches set again. One that is only there because of earlier patches, which a later one
/// passes on by its silence, goes.
fn parameters(
    manifest: &Manifest,
    before: &Params,
    later: &Later<'_>,
    left: &mut Left,
    taken: &mut TakenOver,
) {
    let is_own = |name: &&String| !is_patch_record(name) && *name != CLASSES;
    for name in manifest.header.parameters.iter().filter(is_own) {
        let value = before.get(name);
        for (at, (_, manifest)) in later.iter().enumerate() {
            let header = manifest.map(|manifest| &manifest.header);
            let Some(header) = header.filter(|header| header.parameters.contains(name)) else { continue };
            let taken = taken.entry(at).or_default();
            taken.parameters.insert(name.clone(), value.map(<[u8]>::to_vec));
            if value.is_some() || !header.silent.contains(name) {
                left.set_again.insert(name.clone());
                break;
            }
        }
    }
}

/// CLASSES without the classes that only this patch brought. One behind it keeps what it brought itself.
fn classes_without(
    manifest: &Manifest,
    before: &Params,
    later: &Later<'_>,
    left: &mut Left,
    taken: &mut TakenOver,
) {
    left.set_again.insert(CLASSES.to_owned());
    let brought = |manifest: &Manifest| {
        let text = manifest.header.classes.as_deref()?;
        Some(text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let of_later = later.iter().map(|(_, manifest)| brought((*manifest)?));
    // What a patch brought whose archive does not say so is not known: then all stay.
    let (Some(own), Some(of_later)) = (brought(manifest), of_later.collect::<Option<Vec<_>>>()) else {
        return;
    };
    let mut all = classes(before);
    if own.iter().all(|class| all.contains(class)) {
        return;
    }
    for (at, brought) in of_later.into_iter().enumerate() {
        if brought.iter().any(|class| !all.contains(class)) {
            let value = all.join(" ").into_bytes();
            taken.entry(at).or_default().parameters.insert(CLASSES.to_owned(), Some(value));
        }
        all = union_of_classes(all, brought);
    }
    left.classes = Some(all.join(" "));
}

/// Whether a patch wrote a record file, or one in a directory. Of an archive that does not say so it is supposed.
fn writes(manifest: &Manifest, name: &[u8]) -> bool {
    let is_it = |known: &String| {
        known.as_bytes() == name || name.ends_with(b"/") && known.as_bytes().starts_with(name)
    };
    let header = &manifest.header;
    header.made_records.iter().any(is_it)
        || header.records.as_ref().is_none_or(|records| records.iter().any(is_it))
}
