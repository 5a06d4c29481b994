//! The undo data of a patch of a stage: verified completely by the ledger of the stage, and then read.

use super::failure::BroughtFailure;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::Manifest;
use patchadm_changeset::format::run::Run;
use patchadm_changeset::plan::BroughtLine;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, ledger};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_planning::plan::refusal::BroughtReason;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

/// The undo data of a package's patches in a stage.
pub(super) struct StagedUndo<'a> {
    ground: &'a RootAndPolicy,
    package: &'a PkgInst,
    ledger: Ledger,
    interrupt: Interrupt<'a>,
}

/// The facts of one patch of a package.
pub(super) struct StagedPatch {
    /// Its changes.
    pub(super) manifest: Manifest,
    /// Its line in the ledger.
    pub(super) line: BroughtLine,
    /// The number of the run that applied it in the stage.
    pub(super) run: u64,
}

impl<'a> StagedUndo<'a> {
    /// Reads the ledger of the package in a stage.
    pub(super) fn of(
        ground: &'a RootAndPolicy,
        package: &'a PkgInst,
        interrupt: Interrupt<'a>,
    ) -> Result<Self, BroughtFailure> {
        let ledger = ledger_of(&RecordView::live(&ground.root), package)?;
        Ok(Self { ground, package, ledger, interrupt })
    }

    /// Verifies the undo data of a patch, whose save directory has that name, and reads its contents.
    pub(super) fn patch(&self, id: &PatchId, saved_as: &str) -> Result<StagedPatch, BroughtFailure> {
        let (package, patch) = (self.package.clone(), id.clone());
        let Some(line) = self.ledger.line(saved_as) else {
            return Err(BroughtReason::NotKnown { package, patch }.into());
        };
        let manifest = match self.manifest(saved_as).map_err(unusable)? {
            Told::By(manifest) => *manifest,
            Told::Outside => return Err(BroughtReason::UndoOutside { package, patch }.into()),
            Told::Nothing => return Err(BroughtReason::NotKnown { package, patch }.into()),
        };
        let run = Run::parse(line.applied_by.as_deref().unwrap_or(&line.run));
        let line = BroughtLine { patch: saved_as.to_owned(), text: Ledger::of_line(line.clone()).write() };
        Ok(StagedPatch { manifest, line, run: run.map_or(0, |run| run.number) })
    }

    fn manifest(&self, saved_as: &str) -> Result<Told, ArchiveError> {
        let view = RecordView::live(&self.ground.root);
        let reader = self.ground.undo_data(&view, None);
        if let Some(kept) = reader.kept_manifest(self.package, saved_as, &self.ledger)? {
            return Ok(Told::By(Box::new(kept)));
        }
        let found = match reader.find_with(self.package, saved_as, &self.ledger) {
            Err(ArchiveError::Outside { .. }) => return Ok(Told::Outside),
            Ok(found) if found.is_remote() => return Ok(Told::Outside),
            found => found?,
        };
        let told = found.verify(&view, None, self.interrupt)?.manifest;
        Ok(told.map_or(Told::Nothing, |manifest| Told::By(Box::new(manifest))))
    }
}

/// Reads what a ledger says of the patches that its package has.
pub(super) fn ledger_of(view: &RecordView<'_>, package: &PkgInst) -> Result<Ledger, BroughtFailure> {
    ledger::counting(view, package).map_err(|fault| unusable(fault.into()))
}

/// Returns why undo data of a stage cannot be used: it is damage of the stage, unless the system reports that it cannot be
/// read, or a signal came.
fn unusable(error: ArchiveError) -> BroughtFailure {
    match error {
        ArchiveError::Root(_) | ArchiveError::View(_) | ArchiveError::Interrupted(_) => {
            BroughtFailure::Failed(error.into())
        }
        other => BroughtFailure::Refused(BroughtReason::DamagedUndo(other.to_string())),
    }
}

/// The contents of undo data.
enum Told {
    By(Box<Manifest>),
    Nothing,
    Outside,
}
