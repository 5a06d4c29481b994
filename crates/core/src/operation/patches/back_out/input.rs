use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::request::BackOutRequest;
use crate::operation::changed_texts::TextReader;
use crate::operation::failure::Failure;
use crate::operation::libraries::{LibraryKeeper, LibraryRequest};
use crate::operation::patches::later_patches::LedgerCache;
use crate::operation::root_and_policy::ForeseenRoot;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::UndoManifest;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::undo_data::{ArchiveError, OutsideAccess, UndoData, UndoReader};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_inputs::inventory::{Installed, Inventory, Touched};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::patch::engine::ScriptChoice;
use patchadm_planning::plan::refusal::Reason;
use patchadm_rootfs::{Interrupt, never};
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::AppliedPatches;

/// Verified undo archives by package and save directory.
pub(in crate::operation) type KnownArchives = BTreeMap<(PkgInst, String), Option<UndoManifest>>;

pub(in crate::operation::patches) struct KnownRecords {
    packages: BTreeMap<PkgInst, Installed>,
    pub(in crate::operation::patches) applied: AppliedPatches,
}

impl KnownRecords {
    pub(in crate::operation::patches) fn of(ground: &RootAndPolicy) -> Result<Self, Failure> {
        let packages = ground.packages()?;
        let applied = ground.recorded(&packages)?;
        Ok(Self { packages, applied })
    }
}

pub(in crate::operation::patches) struct BackOutInput<'a> {
    pub(in crate::operation::patches) ground: &'a RootAndPolicy,
    pub(in crate::operation::patches) now: &'a Now,
    /// Even if superseded or obsoleted.
    pub(in crate::operation::patches) force: bool,
    moved_to: Option<&'a Path>,
    pub(in crate::operation::patches) choice: ScriptChoice,
    /// Forbids scripts, whatever the policy says.
    pub(in crate::operation::patches) without_scripts: bool,
    pub(in crate::operation::patches) known: KnownArchives,
    ledgers: LedgerCache,
    shlibs: LibraryRequest,
    is_run: bool,
    texts: bool,
    /// Read for the first plan.
    read_packages: RefCell<Option<BTreeMap<PkgInst, Installed>>>,
    read_applied: RefCell<Option<AppliedPatches>>,
    /// Nothing changes the root between the plans, so all may use them.
    is_steady: bool,
    interrupt: Interrupt<'a>,
    /// Projected effects of earlier backouts.
    pub(in crate::operation::patches) before: ForeseenRoot,
}

impl<'a> BackOutInput<'a> {
    pub(in crate::operation::patches) fn of(
        ground: &'a RootAndPolicy,
        request: &'a BackOutRequest,
        now: &'a Now,
    ) -> Result<Self, Failure> {
        Ok(Self {
            ground,
            now,
            force: request.force,
            moved_to: request.moved_to.as_deref(),
            choice: request.scripts.choice(ground)?,
            without_scripts: request.scripts.none,
            known: KnownArchives::new(),
            ledgers: LedgerCache::default(),
            shlibs: request.shlibs,
            is_run: !request.dry_run,
            texts: request.texts,
            read_packages: RefCell::default(),
            read_applied: RefCell::default(),
            is_steady: false,
            interrupt: &never,
            before: ForeseenRoot::at(now.timestamp()),
        })
    }

    /// The root must be unchanged since.
    #[must_use]
    pub(in crate::operation::patches) fn knowing(self, known: KnownRecords) -> Self {
        let KnownRecords { packages, applied } = known;
        Self { read_packages: Some(packages).into(), read_applied: Some(applied).into(), ..self }
    }

    #[must_use]
    pub(in crate::operation::patches) fn ended_by(self, interrupt: Interrupt<'a>) -> Self {
        Self { interrupt, ..self }
    }

    pub(in crate::operation::patches) fn interrupt(&self) -> Interrupt<'a> {
        self.interrupt
    }

    /// Keeps records, forgets earlier plans.
    pub(in crate::operation::patches) fn anew(&self) -> Self {
        let (read_packages, read_applied) = (self.read_packages.clone(), self.read_applied.clone());
        Self { read_packages, read_applied, ..self.afresh() }
    }

    /// For several plans of one unchanging root: reads packages once.
    pub(in crate::operation::patches) fn steady(self) -> Self {
        if self.read_packages.borrow().is_none() {
            self.read_packages.replace(self.ground.packages().ok());
        }
        Self { is_steady: true, ..self }
    }

    /// Forgets records that were read, because the root has changed.
    pub(in crate::operation::patches) fn afresh(&self) -> Self {
        Self {
            choice: self.choice.clone(),
            known: KnownArchives::new(),
            ledgers: LedgerCache::default(),
            read_packages: RefCell::default(),
            read_applied: RefCell::default(),
            before: ForeseenRoot::at(self.now.timestamp()),
            ..*self
        }
    }

    pub(in crate::operation::patches) fn applied(&self, rules: &Inventory) -> Result<AppliedPatches, Reason> {
        let known = self.known(&self.read_applied).filter(|_| self.before.is_as_it_is());
        known.map_or_else(|| self.ground.applied(rules), Ok)
    }

    pub(in crate::operation::patches) fn keeper<'k>(&self) -> LibraryKeeper<'k>
    where
        'a: 'k,
    {
        LibraryKeeper::new(self.ground, self.shlibs, self.now, self.is_run).ended_by(self.interrupt)
    }

    pub(in crate::operation::patches) fn text_reader(&self) -> Option<TextReader<'a>> {
        self.texts.then(|| TextReader::new(&self.ground.root, self.interrupt))
    }

    pub(in crate::operation::patches) fn outside(&self) -> OutsideAccess<'_> {
        self.ground.outside.with(self.moved_to)
    }

    pub(in crate::operation::patches) fn undo_data(
        &self,
        package: &PkgInst,
        patch: &str,
    ) -> Result<UndoData, ArchiveError> {
        let view = RecordView::live(&self.ground.root);
        self.ground.undo_data(&view, self.moved_to).find_with(package, patch, &*self.ledger(package)?)
    }

    /// For a patch that stays.
    pub(in crate::operation::patches) fn later_undo_data(
        &self,
        package: &PkgInst,
        patch: &str,
    ) -> Result<UndoData, ArchiveError> {
        let ledger = self.ledger(package)?;
        self.moved_or_not(|reader| reader.find_with(package, patch, &ledger))
    }

    /// For a patch that stays, if the ledger binds it.
    pub(in crate::operation::patches) fn later_manifest(
        &self,
        package: &PkgInst,
        patch: &str,
    ) -> Result<Option<UndoManifest>, ArchiveError> {
        let ledger = self.ledger(package)?;
        self.moved_or_not(|reader| reader.known_manifest(package, patch, &ledger, self.interrupt))
    }

    /// Moved undo data is in the named directory, other data in its place.
    fn moved_or_not<T>(
        &self,
        look: impl Fn(&UndoReader<'_>) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        let view = RecordView::live(&self.ground.root);
        match look(&self.ground.undo_data(&view, self.moved_to)) {
            Err(ArchiveError::Missing { remote: true, .. }) if self.moved_to.is_some() => {
                look(&self.ground.undo_data(&view, None))
            }
            found => found,
        }
    }

    pub(in crate::operation::patches) fn ledger(
        &self,
        package: &PkgInst,
    ) -> Result<Rc<Ledger>, ArchiveError> {
        self.ledgers.of(&RecordView::live(&self.ground.root), package)
    }

    pub(in crate::operation::patches) fn packages(&self) -> Result<BTreeMap<PkgInst, Installed>, Failure> {
        let packages = self.known(&self.read_packages).map_or_else(|| self.ground.packages(), Ok)?;
        Ok(self.before.packages(packages))
    }

    fn known<T: Clone>(&self, read: &RefCell<Option<T>>) -> Option<T> {
        if self.is_steady { read.borrow().clone() } else { read.take() }
    }

    pub(in crate::operation::patches) fn survey(
        &self,
        packages: BTreeMap<PkgInst, Installed>,
        touched: &Touched,
    ) -> Result<Inventory, Failure> {
        Ok(self.before.onto(self.ground.survey_without_kept(
            packages,
            touched,
            (self.moved_to, self.interrupt),
        )?))
    }
}
