//! `stage refresh`: brings changes of the live tree into the stage, by the rule of promotions with the sides exchanged.
//!
//! ```text
//!   base in force, both trees ─► decided ─► objects into the stage ─► their states into the bases ─► records
//! ```
//! Objects come first, then the bases that record them. If a refresh is cut in between, the next one finds the same on both
//! sides, and updates the bases. Until then, the decisions of the options are kept beside the copies, so that a promotion
//! completes an interrupted refresh as it was requested (`interrupted`). Nothing of the root is changed but its record of
//! the bases, in a run of its own, before the refresh counts as complete.

mod bases;
mod choices;
mod decided;
mod facts;
mod interrupted;
mod objects;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

pub use super::completed_refresh::CompletedRefresh;
use super::error::StageError;
use super::foreign_stage::Undertaking;
use super::kept_objects::{hide_own, kept_in};
use super::nesting::{must_be_apart, must_not_be_met};
use super::new_directory::close_like_root;
use super::own_files::{Stage, StageRecord, put_file};
use super::promote::bases::{in_force, own_promotions};
pub use super::promote::brought::{MovedPackage, PackageMove, StayReason};
use super::promote::brought::{MovedPackages, PackageDatabase, RecordSource, has_other_owner};
use super::promote::decided::{ComparedTrees, PassedOver, refuse_conflicts};
use super::records::record_bases;
use super::rights::{must_be_own, owners_of};
use super::tree::read_tree;
use super::walk::TreeRequest;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change, without_lock};
use crate::operation::trial::begin::begin_change;
use crate::three_way::{Conflict, Outcome, Outcomes, TwoWay};
use bases::{write_packages, write_states};
use choices::RefreshChoices;
use decided::{DecidedRefresh, changes};
use facts::{RefreshFacts, UnfinishedRefresh};
pub(in crate::operation::stages) use interrupted::{
    StageToBe, complete_refresh, is_interrupted, stage_to_be,
};
use objects::RefreshedStage;
use patchadm_changeset::transaction::Recovered;
use patchadm_inputs::database::contents::lines_of_paths;
use patchadm_inputs::database::{DatabaseError, RecordView};
use patchadm_inputs::policy::Edited;
use patchadm_inputs::stage::{ComparedAttributes, LOCK, LeftOut, REFRESHING, SCRATCH, StageCache};
use patchadm_planning::plan::edits::EditChoice;
use patchadm_planning::plan::promotion::BroughtPatches;
use patchadm_planning::plan::refusal::{Command, PromotionReason, Reason};
use patchadm_rootfs::{Lock, Root};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

/// The options of `stage refresh`.
#[derive(Clone, Debug, Default)]
pub struct RefreshRequest {
    /// The stage: its directory or its name.
    pub stage: OsString,
    /// What happens to paths that both sides changed.
    pub edited: Option<Edited>,
    /// Of those, the ones that are replaced in any case.
    pub overridden: Vec<ObjectPath>,
    /// And the ones that are kept in any case.
    pub preserved: Vec<ObjectPath>,
    /// Plan only; nothing is changed.
    pub dry_run: bool,
}

/// The outcome of a refresh.
#[derive(Debug)]
pub struct RefreshReport {
    /// The finding of recovery, before anything else.
    pub recovered: Recovered,
    /// The name of the stage.
    pub stage: String,
    /// The number of paths of the stage that changed, or would change.
    pub taken: usize,
    /// The paths that both sides changed.
    pub conflicts: BTreeMap<ObjectPath, Conflict>,
    /// The packages that came to the root, or went from it.
    pub packages: Vec<MovedPackage>,
    /// The reason why nothing was changed, if the rules refuse it.
    pub refused: Option<Failure>,
}

/// Brings changes of the live tree into a stage, or says what that would do.
pub fn refresh_stage(
    root: &Root,
    request: &RefreshRequest,
    caller: &Caller<'_>,
) -> Result<RefreshReport, StageError> {
    let stage = Stage::open(root, &request.stage)?;
    must_be_own(root, &stage, Undertaking::Refresh)?;
    if request.dry_run {
        let ground = RootAndPolicy::of(root)?;
        let choice = request.choice(&ground);
        let refresher = Refresher {
            ground: &ground,
            stage: &stage,
            choice,
            caller,
            records: StageRecords::planned(&stage)?,
            session: None,
        };
        let decided = without_lock(root, || Ok(refresher.decided()))??;
        return Ok(refresher.report(&decided, Recovered::Nothing));
    }
    let wait = |holder: &_| (caller.wait)(holder);
    let _stage_lock = Lock::take_file(&stage.own, LOCK, caller.program, wait).map_err(Failure::from)?;
    let stage = stage.on_record(root)?;
    refresh_locked(root, &stage, |ground| request.choice(ground), caller)
}

impl RefreshRequest {
    /// Returns what happens to paths that both sides changed.
    fn choice(&self, ground: &RootAndPolicy) -> EditChoice {
        EditChoice {
            general: self.edited.unwrap_or(ground.policy.edited),
            overridden: self.overridden.iter().cloned().collect(),
            preserved: self.preserved.iter().cloned().collect(),
            ..EditChoice::default()
        }
    }
}

/// Refreshes a stage whose lock the caller holds.
fn refresh_locked(
    root: &Root,
    stage: &Stage,
    choice: impl FnOnce(&RootAndPolicy) -> EditChoice,
    caller: &Caller<'_>,
) -> Result<RefreshReport, StageError> {
    must_be_own(root, stage, Undertaking::Refresh)?;
    let ground = RootAndPolicy::of(root)?;
    let choice = choice(&ground);
    let records = records::session(stage, caller)?;
    let records = StageRecords::locked(records.as_ref());
    if let Err(refused) = may_change(root) {
        // The root could not record the bases, and would refuse them from then on.
        if matches!(stage.record, StageRecord::Rights(_)) {
            return Err(refused.into());
        }
        // A caller who may only read the root cannot keep others from changing it: what is read is checked as it is copied.
        let refresher = Refresher { ground: &ground, stage, choice, caller, records, session: None };
        let decided = without_lock(root, || Ok(refresher.decided()))??;
        return refresher.carry_out(&decided, Recovered::Nothing);
    }
    let session = begin_change(ground, caller)?;
    let session_of_root = Some(&session);
    let refresher =
        Refresher { ground: &session.ground, stage, choice, caller, records, session: session_of_root };
    let decided = refresher.decided()?;
    refresher.carry_out(&decided, session.recovered.clone())
}

struct Refresher<'a> {
    ground: &'a RootAndPolicy,
    stage: &'a Stage,
    choice: EditChoice,
    caller: &'a Caller<'a>,
    /// The package database of the stage.
    records: StageRecords<'a>,
    /// The root, where the caller may change it and does.
    session: Option<&'a Session<'a>>,
}

/// The package database of a stage, if it has one that the caller may change.
#[derive(Clone, Copy)]
enum StageRecords<'a> {
    None,
    /// It is only read.
    Planned,
    /// It is locked.
    Locked(&'a Session<'a>),
}

impl<'a> StageRecords<'a> {
    fn locked(session: Option<&'a Session<'a>>) -> Self {
        session.map_or(Self::None, Self::Locked)
    }

    /// Returns the records of a stage for which only a plan is made.
    fn planned(stage: &Stage) -> Result<Self, StageError> {
        Ok(if records::are_there(stage)? { Self::Planned } else { Self::None })
    }
}

impl Refresher<'_> {
    fn decided(&self) -> Result<DecidedRefresh, StageError> {
        let root = &self.ground.root;
        let view = RecordView::live(root);
        let database = PackageDatabase::of(self.ground)?;
        let base = in_force(self.stage, &view, &database.applied)?;
        let scope = &base.base.header.paths;
        must_be_apart(root, &self.stage.root, scope.paths())?;
        let excluded = self.stage.excluded()?.into_iter().chain(self.ground.policy.promote_exclude.clone());
        let owners = self.owners()?;
        // Whoever may write the stage may write its cache, too, and with it what is believed of the live tree.
        let known = if owners { self.stage.cache() } else { StageCache::default() };
        let left = LeftOut::by(excluded.collect());
        let interrupt = self.caller.interrupt;
        let request = |root, known| TreeRequest { root, scope, left: &left, known, interrupt };
        let mut stage = read_tree(&request(&self.stage.root, &known.stage))?;
        let mut live = read_tree(&request(root, &known.live))?;
        hide_own(&mut stage, &kept_in(&self.stage.root)?);
        hide_own(&mut live, &kept_in(root)?);
        must_not_be_met(root, &self.stage.root, &live.objects)?;
        let passed = PassedOver::of(&stage, &live, Some(&base));
        let compared = ComparedAttributes { owners: self.stage.root.is_privileged() && owners };
        let trees = ComparedTrees::of((&live, &stage), Some(&base), (scope, &passed), compared);
        let lines = lines_of_paths(&view, &trees.differing())
            .map_err(|error| Failure::from(DatabaseError::from(error)))?;
        let was_interrupted = self.stage.own.look(SCRATCH)?.is_some();
        let unfinished =
            was_interrupted.then_some(UnfinishedRefresh { base: &base.base, stage: &stage, live: &live });
        let of_stage = self.database_of_stage()?;
        let source = of_stage
            .as_ref()
            .map(|of_stage| RecordSource::with(self.ground, database, &self.stage.root, of_stage, interrupt));
        let packages_of_base = &base.base.header.packages;
        let owned = source.as_ref().map(|source| source.owned_otherwise(&trees.differing(), &lines));
        let owned = owned.transpose()?.unwrap_or_default();
        // What goes on the root stays in the stage where a line of a package stays that the root does not have there. What
        // stays holds records of packages in the stage, and these more objects.
        let mut needed = BTreeSet::new();
        let (outcomes, (patches, packages)) = loop {
            let facts = RefreshFacts { lines: &lines, choice: &self.choice, needed: &needed, unfinished };
            let outcomes = trees.decide(TwoWay::default(), &facts);
            let records = source.as_ref().map(|source| self.records(source, &outcomes, packages_of_base));
            let (patches, packages) = records.transpose()?.unwrap_or_default();
            let keeps_owner = |(path, line): &(&ObjectPath, &ContentsLine)| {
                let left = patches.lines.get(*path).map_or(Some(*line), |(_, line)| line.as_ref());
                left.is_some_and(|left| has_other_owner(left, lines.get(*path)))
            };
            let deleted =
                owned.iter().filter(|(path, _)| outcomes.get(*path).is_some_and(Outcome::is_deleted));
            let kept = deleted.filter(keeps_owner).map(|(path, _)| path);
            let kept: Vec<ObjectPath> = kept.filter(|path| !needed.contains(*path)).cloned().collect();
            if kept.is_empty() {
                break (outcomes, (patches, packages));
            }
            needed.extend(kept);
        };
        let is_left = |path: &ObjectPath| {
            let is_new = |source: &RecordSource<'_>| {
                owned.get(path).is_some_and(|line| source.is_of_new_package(line, packages_of_base))
            };
            source.as_ref().is_some_and(is_new) && base.base.object(path).is_some()
        };
        let left_to_stage = needed.into_iter().filter(is_left).collect();
        let brought_before = was_interrupted.then(|| trees.same_on_both());
        let directories = stage.objects.iter().filter(|object| object.live.is_directory());
        let directories = directories.map(|object| (object.path.clone(), object.live.inode)).collect();
        let base_name = base.name;
        let scope = scope.clone();
        Ok(DecidedRefresh {
            scope,
            live,
            outcomes,
            left_to_stage,
            directories,
            patches,
            packages,
            base_name,
            brought_before,
        })
    }

    /// Returns the packages of the stage, if it has records.
    fn database_of_stage(&self) -> Result<Option<PackageDatabase>, Failure> {
        Ok(match self.records {
            StageRecords::None => None,
            StageRecords::Planned => Some(PackageDatabase::of(&RootAndPolicy::of(&self.stage.root)?)?),
            StageRecords::Locked(session) => Some(PackageDatabase::of(&session.ground)?),
        })
    }

    /// Returns the records of the root that come: those of patches, of packages that the stage did not change, and of
    /// packages that came to the root or went from it.
    fn records(
        &self,
        source: &RecordSource<'_>,
        outcomes: &Outcomes,
        base: &BTreeMap<PkgInst, String>,
    ) -> Result<(BroughtPatches, MovedPackages), Failure> {
        let root = &self.ground.root;
        let applied = source.applied();
        let own = own_promotions(self.stage, &RecordView::live(root), applied)?;
        let is_as_live = |path: &ObjectPath| outcomes.get(path).is_none_or(changes);
        let mut patches = source.refreshed(&own, &is_as_live)?;
        let packages = source.moved(base, &own, &is_as_live, &mut patches)?;
        source.directories(&mut patches)?;
        Ok((patches, packages))
    }

    /// Returns whether owners, set-id bits and attributes of the system come as far as the caller can set them.
    fn owners(&self) -> Result<bool, StageError> {
        let (root, stage) = (&self.ground.root, self.stage);
        Ok(!stage.root.is_privileged() || owners_of(root, &stage.root, Some(stage))?.is_ok())
    }

    fn carry_out(&self, decided: &DecidedRefresh, recovered: Recovered) -> Result<RefreshReport, StageError> {
        let report = self.report(decided, recovered);
        let sound = self.stage.recorded_bases()?;
        if report.refused.is_none() {
            close_like_root(&self.ground.root, &self.stage.root, &decided.scope)?;
        }
        if report.refused.is_none() && decided.is_anything() {
            let refreshed = RefreshedStage {
                root: &self.ground.root,
                stage: self.stage,
                owners: self.owners()?,
                interrupt: self.caller.interrupt,
            };
            put_file(&self.stage.own, REFRESHING, &RefreshChoices(self.choice.clone()).write())?;
            refreshed.bring(decided)?;
            write_states(self.stage, decided, &sound)?;
        }
        if let StageRecords::Locked(session) = self.records
            && report.refused.is_none()
        {
            records::bring(session, &decided.patches)?;
            write_packages(self.stage, decided, &sound)?;
        }
        if let Some(session) = self.session.filter(|_| report.refused.is_none()) {
            record_bases(session, self.stage, &sound)?;
        }
        if report.refused.is_none() && self.stage.own.look(SCRATCH)?.is_some() {
            self.stage.own.remove_tree(SCRATCH)?;
            let _ = self.stage.own.remove(REFRESHING);
        }
        Ok(report)
    }

    fn report(&self, decided: &DecidedRefresh, recovered: Recovered) -> RefreshReport {
        let conflicts = decided.outcomes.iter().filter_map(|(path, outcome)| match outcome {
            Outcome::Conflict(conflict) => Some((path.clone(), *conflict)),
            _ => None,
        });
        let name = self.stage.identity.name.to_string();
        let stage = self.stage.root.prefix().display().to_string();
        let reasons = decided.packages.conflicts.clone();
        let refused = if reasons.is_empty() {
            refuse_conflicts(&decided.outcomes, PromotionReason::RefreshConflicts)
        } else {
            Err(Reason::Promotion(PromotionReason::Packages { stage, reasons }))
        };
        let refused = refused.map_err(|reason| reason.of(Command::Refresh, &name));
        RefreshReport {
            recovered,
            taken: decided.outcomes.values().filter(|outcome| changes(outcome)).count(),
            conflicts: conflicts.collect(),
            packages: decided.packages.all.clone(),
            refused: refused.err().map(Failure::from),
            stage: name,
        }
    }
}
