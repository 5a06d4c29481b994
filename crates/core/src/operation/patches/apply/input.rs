//! What all patches of one patchadd(1M) are planned with.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::operation::failure::Failure;
use crate::operation::libraries::{LibraryKeeper, LibraryRequest};
use crate::operation::patches::undo_directory::is_stage;
use crate::operation::projected_plans::ForeseenRoot;
use crate::operation::session::{Caller, RootAndPolicy};
use patchadm_changeset::transaction::ProgressEvent;
use patchadm_inputs::inventory::{Installed, Inventory, Touched};
use patchadm_inputs::native::NativeOrigin;
use patchadm_inputs::policy::{Edited, Policy};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::edits::EditChoice;
use patchadm_planning::plan::patch::validate::ApplyOptions;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchList;

use super::request::ApplyRequest;

/// The root, the moment, and the options of the command, completed by the root's policy.
pub(super) struct ApplyInput<'a> {
    pub(super) ground: &'a RootAndPolicy,
    pub(super) now: &'a Now,
    pub(super) options: ApplyOptions,
    /// What becomes of libraries that others need.
    pub(super) shlibs: LibraryRequest,
    /// Told how far planning is.
    pub(super) progress: &'a (dyn Fn(ProgressEvent) + Sync),
    /// Asks whether planning is to end.
    pub(super) interrupt: Interrupt<'a>,
    /// Whether a plan tells the texts of the files that change.
    pub(super) texts: bool,
    /// What the patches before leave where nothing is done; in a run nothing: the root has it.
    pub(super) before: ForeseenRoot,
}

impl<'a> ApplyInput<'a> {
    pub(super) fn of(
        ground: &'a RootAndPolicy,
        request: &ApplyRequest,
        void: &PatchList,
        caller: &'a Caller<'_>,
    ) -> Result<Self, Failure> {
        let (not_applicable, scripts) = (void.clone(), request.scripts.choice(ground)?);
        let why_archive = "a stage keeps archives, which a promotion can bring along";
        let only_archives = is_stage(&ground.root)?.then_some(why_archive);
        let options =
            ApplyOptions { not_applicable, scripts, only_archives, ..options(request, &ground.policy) };
        let Caller { now, progress, interrupt, .. } = caller;
        let before = ForeseenRoot::at(now.timestamp());
        let (shlibs, texts) = (request.shlibs, request.texts);
        let (progress, interrupt) = (*progress, *interrupt);
        Ok(Self { ground, now, options, shlibs, progress, interrupt, texts, before })
    }

    /// Settles what becomes of libraries in the plans that follow.
    pub(super) fn keeper<'k>(&self) -> LibraryKeeper<'k>
    where
        'a: 'k,
    {
        let is_run = !self.options.is_rehearsal;
        LibraryKeeper::new(self.ground, self.shlibs, self.now, is_run).ended_by(self.interrupt)
    }

    /// Every installed package with its parameters.
    pub(super) fn packages(&self) -> Result<BTreeMap<PkgInst, Installed>, Failure> {
        Ok(self.before.packages(self.ground.packages()?))
    }

    /// What a patch touches, with [`packages`](Self::packages).
    pub(super) fn survey(
        &self,
        packages: BTreeMap<PkgInst, Installed>,
        touched: &Touched,
    ) -> Result<Inventory, Failure> {
        let mut touched = Cow::Borrowed(touched);
        let is_native = |package: &PkgInst| {
            packages.get(package).is_some_and(|installed| NativeOrigin::of(&installed.params).is_some())
        };
        if touched.packages.iter().any(is_native) {
            // A patch may spell a path of an adopted package otherwise than its records do.
            self.ground.add_spellings(&mut touched.to_mut().paths)?;
        }
        Ok(self.before.onto(self.ground.survey_without_kept(packages, &touched, (None, self.interrupt))?))
    }
}

/// What was asked for, and the policy where nothing was.
fn options(request: &ApplyRequest, policy: &Policy) -> ApplyOptions {
    let edited = if request.unconditional { Some(Edited::Replace) } else { request.edited };
    let undo_dir = request.undo_dir.clone().or_else(|| policy.undo_dir.clone());
    ApplyOptions {
        no_undo: request.no_undo,
        undo_dir: undo_dir.filter(|_| !request.no_undo),
        undo_format: request.trial.undo_format(request.undo_format, policy, request.no_undo),
        edits: EditChoice {
            general: edited.unwrap_or(policy.edited),
            editable: request.editable,
            overridden: request.overridden.iter().cloned().collect(),
            preserved: request.preserved.iter().cloned().collect(),
            replaces_stops: false,
        },
        unconditional: request.unconditional,
        conversation: request.conversation,
        is_rehearsal: request.dry_run,
        ..ApplyOptions::default()
    }
}
