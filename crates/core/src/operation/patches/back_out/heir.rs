//! The undo data of a patch that stays and takes over what earlier ones saved: read and verified, as that of patches that
//! go.

use super::input::BackOutInput;
use super::undo::{UndoReading, VerifiedUndo};
use crate::operation::content::ArchiveSources;
use crate::operation::failure::Failure;
use crate::operation::patches::undo_directory::must_be_private;
use patchadm_changeset::format::manifest::Manifest;
use patchadm_changeset::format::outside_path::OutsidePath;
use patchadm_inputs::database::undo_data::{ArchiveError, exported};
use patchadm_inputs::database::{RecordView, installed};
use patchadm_planning::plan::patch::backout_input::LaterUndo;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

/// All of it as the planner takes it; the place of the first archive among the sources is `index`.
pub(in crate::operation::patches) fn as_later(heirs: &[HeirUndo], mut index: usize) -> Vec<LaterUndo<'_>> {
    let mut later = Vec::new();
    for heir in heirs {
        later.extend(heir.as_later(index));
        index += usize::from(heir.archive.is_some());
    }
    later
}

/// What content comes from: the archives of patches that go, then those of patches that stay, by their places in the plan.
pub(in crate::operation::patches) fn sources<'a>(
    undo: impl Iterator<Item = &'a VerifiedUndo>,
    later: &'a [HeirUndo],
) -> ArchiveSources<'a> {
    let later = later.iter().filter_map(|heir| heir.archive.as_ref());
    ArchiveSources(undo.chain(later).map(|one| one.restored_from().content()).collect())
}

/// That undo data.
pub(in crate::operation::patches) struct HeirUndo {
    package: PkgInst,
    /// As its save directory is named.
    patch: String,
    /// The manifest that is kept where there is no archive.
    kept: Option<Manifest>,
    /// The archive.
    pub(in crate::operation::patches) archive: Option<VerifiedUndo>,
}

impl HeirUndo {
    /// Reads it.
    pub(in crate::operation::patches) fn open(
        input: &BackOutInput<'_>,
        reading: &mut UndoReading<'_>,
        (package, id): (PkgInst, PatchId),
    ) -> Result<Self, Failure> {
        let view = RecordView::live(&input.ground.root);
        let patch = installed::saved_as(&view, &package, &id)?;
        let reader = input.ground.undo_data(&view, None);
        let ledger = input.ledger(&package)?;
        // What it takes over would be in its undo data, which is not here to be written anew.
        if let Some(exported) = ledger.line(&patch).and_then(|line| exported(line, &package)) {
            return Err(exported.into());
        }
        let kept = reader.kept_manifest(&package, &patch, &ledger)?;
        if kept.is_some() {
            return Ok(Self { package, patch, kept, archive: None });
        }
        let found = input.later_undo_data(&package, &patch)?;
        if found.is_remote() {
            let path = found.path().as_bytes().to_vec();
            let directory = OutsidePath::parse(&path).map(|at| at.directory);
            must_be_private(&input.ground.host, directory.unwrap_or(&path))?;
        }
        let archive = reading.undo((&id, &package), found, None)?;
        if archive.manifest.is_none() {
            let reason = "it has no manifest".to_owned();
            return Err(ArchiveError::Damaged { path: archive.at.display().to_string(), reason }.into());
        }
        Ok(Self { package, patch, kept: None, archive: Some(archive) })
    }

    /// As the planner takes it; `index` is the place of its archive among the sources.
    fn as_later(&self, index: usize) -> Option<LaterUndo<'_>> {
        let (package, patch) = (&self.package, self.patch.clone());
        match &self.archive {
            None => Some(LaterUndo { package, patch, manifest: self.kept.as_ref()?, archive: None }),
            Some(one) => {
                let archive = Some(one.as_later(index)?);
                Some(LaterUndo { package, patch, manifest: one.manifest.as_ref()?, archive })
            }
        }
    }

    /// Why the archive of before stays where it is, where it does.
    pub(in crate::operation::patches) fn stays(&self) -> Option<String> {
        self.archive.as_ref()?.stays.clone()
    }
}
