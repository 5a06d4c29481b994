//! The undo archives of a root, read to their ends by several threads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{ArchiveToVerify, VerifyError};
use crate::operation::patches::back_out::KnownArchives;
use crate::operation::patches::undo_states::UndoState;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::Manifest;
use patchadm_inputs::database::undo_data::{ArchiveError, VerifiedManifest};
use patchadm_inputs::database::{RecordView, ledger, marker};
use patchadm_inputs::format::ledger::{Ledger, LedgerLine, LedgerUndo};
use patchadm_rootfs::{WorkMeter, WorkUnit, never, side_by_side};
use patchadm_svr4::package::PkgInst;

/// The undo archive of a patch for a package.
#[derive(Debug)]
pub struct ArchiveVerdict {
    /// The package.
    pub package: PkgInst,
    /// Its state.
    pub state: ArchiveState,
}

/// The state of an archive.
#[derive(Debug)]
pub enum ArchiveState {
    /// There is no undo data, and none is missing: none was kept, or it was given up.
    None(UndoState),
    /// It is as it was written.
    Sound {
        /// Its path.
        path: String,
        /// The size of the file.
        bytes: u64,
        /// The run that wrote or moved it; `None` for an archive of another program that no run has touched.
        run: Option<String>,
        /// Whether another program made it. Then only sizes and sums of its contents are known.
        is_classic: bool,
    },
    /// It is not as it was written, not where the records say, or unreadable.
    Unusable(ArchiveError),
}

impl ArchiveState {
    /// Returns the state of the undo data.
    pub fn of_undo(&self) -> UndoState {
        match self {
            Self::None(state) => *state,
            Self::Sound { is_classic: true, .. } => UndoState::Classic,
            Self::Sound { .. } => UndoState::Saved,
            Self::Unusable(error) => UndoState::of_error(error),
        }
    }
}

/// Verifies archives in this number of threads, in their order. Of the sound ones, also returns what their manifests say.
pub(super) fn verify_all(
    ground: &RootAndPolicy,
    archives: &[ArchiveToVerify],
    undo_dir: Option<&Path>,
    workers: usize,
    meter: Option<&WorkMeter>,
) -> Result<(Vec<(ArchiveToVerify, ArchiveVerdict)>, KnownArchives), VerifyError> {
    let marker = marker(&ground.root)?;
    let reader = ArchiveVerifier { ground, marker, undo_dir, ledgers: ledgers(ground, archives) };
    let bytes = || archives.iter().map(|of| reader.bytes(of)).fold(0, u64::saturating_add);
    let step = meter.map(|meter| meter.begin(WorkUnit::Bytes, bytes()));
    let done = side_by_side(workers, archives.len(), || {
        |at| {
            let of = archives.get(at)?;
            let verified = reader.verified(of);
            if let Some(step) = &step {
                step.advance(reader.bytes(of));
            }
            Some((of, verified))
        }
    });
    let (mut verified, mut known) = (Vec::new(), KnownArchives::new());
    for (of, (archive, manifest)) in done.into_iter().flatten() {
        if matches!(archive.state, ArchiveState::Sound { .. }) || manifest.is_some() {
            known.insert((of.package.clone(), of.saved_as.clone()), manifest);
        }
        verified.push((of.clone(), archive));
    }
    Ok((verified, known))
}

/// Reads archives of a root.
struct ArchiveVerifier<'a> {
    ground: &'a RootAndPolicy,
    marker: Option<String>,
    undo_dir: Option<&'a Path>,
    ledgers: BTreeMap<PkgInst, Ledger>,
}

/// Returns the ledgers of all packages that have archives, except unreadable ones.
fn ledgers(ground: &RootAndPolicy, archives: &[ArchiveToVerify]) -> BTreeMap<PkgInst, Ledger> {
    let view = RecordView::live(&ground.root);
    let packages: BTreeSet<&PkgInst> = archives.iter().map(|of| &of.package).collect();
    let read =
        packages.into_iter().map(|package| Some((package.clone(), ledger::counting(&view, package).ok()?)));
    read.flatten().collect()
}

impl ArchiveVerifier<'_> {
    fn verified(&self, of: &ArchiveToVerify) -> (ArchiveVerdict, Option<Manifest>) {
        let earlier = self.ledgers.get(&of.package).and_then(|ledger| ledger.earlier(&of.saved_as));
        // The next reader of an unreadable ledger reports the error.
        let is_named = !self.ledgers.contains_key(&of.package)
            || earlier.is_some_and(|line| line.has_undo)
            || self.line(of).is_some_and(|line| line.manifest.is_some() || line.archive().is_some());
        let (state, manifest) = match (of.is_kept || is_named).then(|| self.read(of)) {
            None => (ArchiveState::None(UndoState::without(self.line(of))), None),
            Some(Ok(read)) => read,
            Some(Err(error)) => (ArchiveState::Unusable(error), None),
        };
        (ArchiveVerdict { package: of.package.clone(), state }, manifest)
    }

    /// Returns the bytes that are read of an archive, as far as its ledger knows; 1 for one that it does not know, so that
    /// it counts.
    fn bytes(&self, of: &ArchiveToVerify) -> u64 {
        match self.line(of).map(|line| &line.undo) {
            Some(LedgerUndo::Kept { size, files, .. }) => size.saturating_add(files.unwrap_or_default()),
            _ => 1,
        }
    }

    fn line(&self, of: &ArchiveToVerify) -> Option<&LedgerLine> {
        self.ledgers.get(&of.package)?.line(&of.saved_as)
    }

    fn read(&self, of: &ArchiveToVerify) -> Result<(ArchiveState, Option<Manifest>), ArchiveError> {
        let view = RecordView::live(&self.ground.root);
        let reader = self.ground.undo_data(&view, self.undo_dir);
        if let Some(ledger) = self.ledgers.get(&of.package)
            && let Some(kept) = reader.kept_manifest(&of.package, &of.saved_as, ledger)?
        {
            return Ok((ArchiveState::None(UndoState::without(self.line(of))), Some(kept)));
        }
        let undo = match self.ledgers.get(&of.package) {
            Some(ledger) => reader.find_with(&of.package, &of.saved_as, ledger)?,
            None => reader.find(&of.package, &of.saved_as)?,
        };
        let VerifiedManifest { manifest, run } = undo.verify(&view, self.marker.as_deref(), &never)?;
        let (path, bytes, is_classic) = (undo.path().to_owned(), undo.size(), undo.is_classic());
        Ok((ArchiveState::Sound { path, bytes, run, is_classic }, manifest))
    }
}

/// Returns the manifest of a patch that is not verified; `None` if it cannot be read.
pub(super) fn manifest(ground: &RootAndPolicy, package: &PkgInst, saved_as: &str) -> Option<Manifest> {
    let view = RecordView::live(&ground.root);
    let ledger = ledger::counting(&view, package).ok()?;
    ground.undo_data(&view, None).known_manifest(package, saved_as, &ledger, &never).ok()?
}
