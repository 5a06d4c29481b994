//! What a backout is planned with.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::request::BackOutRequest;
use crate::database::RecordView;
use crate::database::archive::{self, ArchiveError};
use crate::format::ledger::Ledger;
use crate::inventory::{Installed, Inventory, Touched};
use crate::operation::failure::Failure;
use crate::operation::patches::foreseen::ForeseenRoot;
use crate::operation::patches::ledgers::LedgerCache;
use crate::operation::session::RootAndPolicy;
use crate::plan::clock::Now;
use crate::plan::patch::engine::ScriptChoice;
use patchadm_changeset::format::manifest::Manifest;
use patchadm_svr4::package::PkgInst;

/// Undo archives that were verified already, by package and save directory: their manifests.
pub(in crate::operation) type KnownArchives = BTreeMap<(PkgInst, String), Option<Manifest>>;

/// The root, the moment, the options of the command, and what was read of the root.
pub(super) struct BackOutInput<'a> {
    pub(super) ground: &'a RootAndPolicy,
    pub(super) now: &'a Now,
    /// Although superseded or obsoleted.
    pub(super) force: bool,
    moved_to: Option<&'a Path>,
    pub(super) choice: ScriptChoice,
    pub(super) known: KnownArchives,
    ledgers: LedgerCache,
    /// What the backouts before leave where nothing is done; in a run nothing: the root has it.
    pub(super) before: ForeseenRoot,
}

impl<'a> BackOutInput<'a> {
    pub(super) fn of(
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
            known: KnownArchives::new(),
            ledgers: LedgerCache::default(),
            before: ForeseenRoot::at(now.timestamp()),
        })
    }

    /// What may be opened outside the root.
    pub(super) fn outside(&self) -> archive::OutsideAccess<'_> {
        self.ground.outside.with(self.moved_to)
    }

    /// The undo archive of a patch for a package, open.
    pub(super) fn archive(
        &self,
        package: &PkgInst,
        patch: &str,
    ) -> Result<archive::OpenArchive, ArchiveError> {
        let view = RecordView::live(&self.ground.root);
        let ledger = self.ledger(package)?;
        archive::find_with(&view, &self.ground.host, package, patch, &ledger, &self.outside())
    }

    /// The ledger of a package, read once.
    pub(super) fn ledger(&self, package: &PkgInst) -> Result<Rc<Ledger>, ArchiveError> {
        self.ledgers.of(&RecordView::live(&self.ground.root), package)
    }

    /// Every installed package with its parameters.
    pub(super) fn packages(&self) -> Result<BTreeMap<PkgInst, Installed>, Failure> {
        Ok(self.before.packages(self.ground.packages()?))
    }

    /// What a backout touches, with [`packages`](Self::packages).
    pub(super) fn survey(
        &self,
        packages: BTreeMap<PkgInst, Installed>,
        touched: &Touched,
    ) -> Result<Inventory, Failure> {
        Ok(self.before.onto(self.ground.survey_with(packages, touched, self.moved_to)?))
    }
}
