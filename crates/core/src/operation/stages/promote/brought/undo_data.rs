//! The undo data of a patch of a stage: verified from its first byte to its last by the ledger of the stage, and what it says.

use crate::database::archive::{self, ArchiveError};
use crate::database::{RecordView, ledger};
use crate::format::ledger::Ledger;
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use crate::plan::refusal::BroughtReason;
use patchadm_changeset::format::manifest::Manifest;
use patchadm_changeset::format::run::Run;
use patchadm_changeset::plan::BroughtLine;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

/// The undo data of a package's patches in a stage.
pub(super) struct StagedUndo<'a> {
    ground: &'a RootAndPolicy,
    package: &'a PkgInst,
    ledger: Ledger,
}

/// What is known of one patch of a package.
pub(super) struct StagedPatch {
    /// What it did.
    pub(super) manifest: Manifest,
    /// Its line in the ledger.
    pub(super) line: BroughtLine,
    /// The number of the run that applied it in the stage.
    pub(super) run: u64,
}

impl<'a> StagedUndo<'a> {
    /// Reads the ledger of the package in a stage.
    pub(super) fn of(ground: &'a RootAndPolicy, package: &'a PkgInst) -> Result<Self, Failure> {
        let ledger =
            ledger::counting(&RecordView::live(&ground.root), package).map_err(ArchiveError::from)?;
        Ok(Self { ground, package, ledger })
    }

    /// Verifies the undo data of a patch, whose save directory has that name, and reads what it says. The inner error is
    /// the reason why it does not go live.
    pub(super) fn patch(
        &self,
        id: &PatchId,
        saved_as: &str,
    ) -> Result<Result<StagedPatch, BroughtReason>, Failure> {
        let (package, patch) = (self.package.clone(), id.clone());
        let Some(line) = self.ledger.line(saved_as) else {
            return Ok(Err(BroughtReason::NotKnown { package, patch }));
        };
        let manifest = match self.manifest(saved_as)? {
            Told::By(manifest) => manifest,
            Told::Outside => return Ok(Err(BroughtReason::UndoOutside { package, patch })),
            Told::Nothing => return Ok(Err(BroughtReason::NotKnown { package, patch })),
        };
        let run = Run::parse(line.applied_by.as_deref().unwrap_or(&line.run));
        let mut alone = Ledger::default();
        alone.set(line.clone());
        let line = BroughtLine { patch: saved_as.to_owned(), text: alone.write() };
        Ok(Ok(StagedPatch { manifest, line, run: run.map_or(0, |run| run.number) }))
    }

    fn manifest(&self, saved_as: &str) -> Result<Told, ArchiveError> {
        let view = RecordView::live(&self.ground.root);
        let (host, outside) = (&self.ground.host, self.ground.outside.with(None));
        if let Some(kept) = archive::kept_manifest(&view, self.package, saved_as, &self.ledger)? {
            return Ok(Told::By(kept));
        }
        let found = archive::find_with(&view, host, self.package, saved_as, &self.ledger, &outside);
        let found = match found {
            Err(ArchiveError::Outside { .. }) => return Ok(Told::Outside),
            Ok(found) if found.is_remote() => return Ok(Told::Outside),
            found => found?,
        };
        let snapshot = found.snapshot(&view)?;
        let own = found.verify(None)?;
        let told = match snapshot {
            Some(snapshot) => snapshot.verify(None)?.manifest,
            None => own.manifest,
        };
        Ok(told.map_or(Told::Nothing, Told::By))
    }
}

/// What undo data says.
enum Told {
    By(Manifest),
    Nothing,
    Outside,
}
