//! `patchadm commit`: gives undo data up. Of a patch, only the manifest and the list of its paths stay, for the patches
//! around it.
//!
//! Everything is one run; archives outside the root are removed after its commit. Undo data of another tool is not given up:
//! everything that is known of the paths of its patch would be lost with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::patches::commit_choice::{LimitChoice, LimitedRoot};
use crate::operation::patches::given_up::{GivenUp, GivenUpPatch};
use crate::operation::patches::ledgers::LedgerCache;
use crate::operation::patches::order_on_root::OrderOnRoot;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database, without_lock,
};
use crate::operation::trial::begin::{begin_beside_trial, on_trial};
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::{RecordView, installed, saves};
use patchadm_inputs::trial::TrialRecord;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::RewrittenArchive;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{AppliedPatches, PatchId};

pub use crate::operation::patches::commit_choice::UndoLimits;

/// The undo data to give up.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// The ids, as they were typed.
    pub ids: Vec<String>,
    /// Whether to give up that of all patches that are not effective.
    pub superseded: bool,
    /// The number of newest patches that keep their undo data; that of all others is given up.
    pub keep: Option<usize>,
    /// Limits of age and size; they never give up that of the newest revision of a patch.
    pub limits: UndoLimits,
    /// The directory of archives outside the root that were moved.
    pub undo_dir: Option<PathBuf>,
    /// Plan only; nothing is changed.
    pub dry_run: bool,
}

/// What was given up, or would be.
#[derive(Debug, Default)]
pub struct CommitReport {
    /// The run that recovery found unfinished before anything else, and its outcome.
    pub recovered: Recovered,
    /// The patches, in the order of listings.
    pub patches: Vec<CommittedPatch>,
    /// The run; `None` if nothing was changed.
    pub receipt: Option<Receipt>,
    /// The bytes of undo data beyond the requested size, which only named patches would give up.
    pub excess: u64,
    /// The patches whose undo data a limit would give up, if another tool had not made it.
    pub foreign: Vec<PatchId>,
}

/// A patch whose undo data is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedPatch {
    /// The patch.
    pub id: PatchId,
    /// The packages in which it had undo data; empty if it had none any more.
    pub packages: Vec<PkgInst>,
    /// The bytes of its archives, and of the old files that they name.
    pub freed: u64,
}

/// Gives undo data up. If one patch is refused, nothing is changed.
pub fn commit_patches(
    root: &Root,
    request: &CommitRequest,
    caller: &Caller<'_>,
) -> Result<CommitReport, Failure> {
    must_have_database(root)?;
    if request.dry_run {
        let ground = RootAndPolicy::of(root)?.naming(request.undo_dir.as_deref()).for_who_may()?;
        let planned = without_lock(root, || {
            must_agree(root, caller.interrupt, |_| false)?;
            Committing::of(&ground)?.plan(request, caller)
        })?;
        let PlannedCommit { patches, excess, foreign, .. } = planned;
        return Ok(CommitReport { patches, excess, foreign, ..CommitReport::default() });
    }
    may_change(root)?;
    let ground = RootAndPolicy::of(root)?.naming(request.undo_dir.as_deref());
    let (session, found) = begin_beside_trial(ground, caller)?;
    must_agree(root, caller.interrupt, |_| false)?;
    let planned = Committing::of(&session.ground)?.plan(request, caller)?;
    // Without undo data a trial could not go back.
    let given_up = |record: &&TrialRecord| {
        let is_on_trial = |patch: &CommittedPatch| record.patches.contains(&patch.id.to_string());
        planned.patches.iter().any(is_on_trial)
    };
    if let Some(record) = found.record().filter(given_up) {
        return Err(on_trial(record));
    }
    let receipt = match &planned.plan {
        Some(plan) => Some(session.perform(plan, &mut NoContent, None, String::new())?),
        None => None,
    };
    let PlannedCommit { patches, excess, foreign, .. } = planned;
    Ok(CommitReport { recovered: session.recovered, patches, receipt, excess, foreign })
}

/// Plans to give up what exceeds limits, for a run that follows on the work of a session.
pub(super) fn plan_within_limits(
    session: &Session<'_>,
    limits: UndoLimits,
) -> Result<PlannedCommit, Failure> {
    let request = CommitRequest { limits, ..CommitRequest::default() };
    Committing::of(&session.ground)?.plan(&request, session.caller)
}

/// The work to be done; no plan if no patch has undo data.
pub(super) struct PlannedCommit {
    pub(super) patches: Vec<CommittedPatch>,
    pub(super) plan: Option<Plan>,
    excess: u64,
    foreign: Vec<PatchId>,
}

/// The root, as far as it is read.
struct Committing<'a> {
    ground: &'a RootAndPolicy,
    applied: AppliedPatches,
    ledgers: LedgerCache,
}

impl<'a> Committing<'a> {
    fn of(ground: &'a RootAndPolicy) -> Result<Self, Failure> {
        let applied = ground.recorded(&ground.packages()?)?;
        Ok(Self { ground, applied, ledgers: LedgerCache::default() })
    }

    /// Returns the patches that are meant, in the order of listings, and what limits did not reach.
    fn chosen(
        &self,
        request: &CommitRequest,
        caller: &Caller<'_>,
    ) -> Result<(Vec<PatchId>, LimitChoice), Failure> {
        let mut chosen: BTreeSet<&PatchId> = BTreeSet::new();
        for text in &request.ids {
            let id = PatchId::parse(text, &self.ground.policy.separator);
            let id = id.map_err(|error| Failure::BadId(error.to_string()))?;
            let known = self.applied.get(&id);
            chosen.insert(&known.ok_or_else(|| Reason::NotApplied.of(Command::Commit, &id))?.id);
        }
        if request.superseded {
            let all = self.applied.iter().map(|patch| &patch.id);
            chosen.extend(all.filter(|id| !self.applied.is_effective(id)));
        }
        if let Some(keep) = request.keep {
            chosen.extend(OrderOnRoot::of(&self.applied).newest_first().into_iter().skip(keep));
        }
        let (root, now) = (&self.ground.root, &caller.now);
        let limited = LimitedRoot { root, applied: &self.applied, ledgers: &self.ledgers, now };
        let by_limit = limited.choose(&request.limits, &chosen)?;
        let listed = self.applied.iter().map(|patch| &patch.id);
        let is_chosen = |id: &&PatchId| chosen.contains(id) || by_limit.chosen.contains(*id);
        Ok((listed.filter(is_chosen).cloned().collect(), by_limit))
    }

    fn plan(&self, request: &CommitRequest, caller: &Caller<'_>) -> Result<PlannedCommit, Failure> {
        let (mut patches, mut given_up) = (Vec::new(), GivenUp::to(RewrittenArchive::GivenUp));
        let (chosen, LimitChoice { excess, foreign, .. }) = self.chosen(request, caller)?;
        for id in chosen {
            let of = self.applied.get(&id).map(|patch| patch.packages.clone()).unwrap_or_default();
            let mut committed = CommittedPatch { id, packages: Vec::new(), freed: 0 };
            for package in of {
                if let Some(freed) = self.give_up(
                    (&committed.id, &package),
                    request.undo_dir.as_deref(),
                    &mut given_up,
                    caller.interrupt,
                )? {
                    committed.freed += freed;
                    committed.packages.push(package);
                }
            }
            patches.push(committed);
        }
        let with_undo = patches.iter().filter(|patch| !patch.packages.is_empty());
        let ids = with_undo.map(|patch| patch.id.to_string()).collect();
        let plan = given_up.into_plan(Command::Commit, ids, caller);
        Ok(PlannedCommit { patches, plan, excess, foreign })
    }

    /// Gives up the undo data of a patch in a package. Returns its bytes; `None` if there is none.
    fn give_up(
        &self,
        (id, package): (&PatchId, &PkgInst),
        moved_to: Option<&Path>,
        given_up: &mut GivenUp,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<u64>, Failure> {
        let ground = self.ground;
        let view = RecordView::live(&ground.root);
        let name = installed::saved_as(&view, package, id)?;
        let saves = saves::saves(&view, package).map_err(Failure::Database)?;
        let Some(save) = saves.get(&name).filter(|save| save.has_archive()) else { return Ok(None) };
        let ledger = self.ledgers.of(&view, package)?;
        let reader = ground.undo_data(&view, moved_to);
        let found = reader.find_with(package, &name, &ledger)?;
        let of = GivenUpPatch { command: Command::Commit, id, package, name: &name };
        given_up.take(ground, &reader, of, save, found, interrupt).map(Some)
    }
}
