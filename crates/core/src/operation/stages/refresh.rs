//! `stage refresh`: brings live changes into a stage, by the rule of promotions with sides exchanged.
//!
//! ```text
//!   base in force, both trees ─► decisions ─► objects into the stage ─► their states into the bases ─► records
//! ```
//! Objects precede bases: after an interruption, the next refresh finds both sides equal and updates the bases, with
//! choices kept beside the copies. Only the record of bases changes in the root, before the refresh is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::atomic::AtomicBool;

use super::compared::{
    ComparedTrees, ConflictingPath, SkippedPaths, conflicting_paths, in_force, own_promotions,
    refuse_conflicts,
};
use super::copy::{CopiedAttributes, CopiedObject, Copier};
use super::new::close_like_root;
use super::own_files::{
    Stage, StageRecord, must_be_apart, must_be_own, must_not_be_met, owners_of, put_base, put_file,
};
use super::records::record_bases;
use super::transfer::databases::{PackageDatabase, has_run_of_refresh, must_be_finished_but_for_refresh};
use super::transfer::packages::MovedPackages;
use super::transfer::patches::RecordSource;
use super::tree::{Tree, TreeObject, TreeRequest, Walk, WalkedObject, hide_own, kept_in, read_tree};
use super::{StageError, Undertaking};
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change, without_lock};
use crate::operation::trial::begin_change;
use crate::three_way::{Outcomes, PathFacts, PathOutcome, TwoWay, of_recorded};
use patchadm_changeset::format::manifest::{StateDifferences, decode, encode};
use patchadm_changeset::transaction::Recovered;
use patchadm_inputs::database::contents::{has_other_owner, lines_of_paths};
use patchadm_inputs::database::{DatabaseError, RecordView, installed, places};
use patchadm_inputs::inventory::Touched;
use patchadm_inputs::policy::Edited;
use patchadm_inputs::stage::{
    BASE_OF_NEW, Base, BaseObject, BaseObjects, BaseState, ComparedAttributes, LOCK, LONGEST_RECORD, LeftOut,
    REFRESHING, SCRATCH, Scope, StageCache, StageFileError, base_name,
};
use patchadm_planning::plan::edits::EditChoice;
use patchadm_planning::plan::promotion::{BroughtPatches, bring_records};
use patchadm_planning::plan::refusal::{Command, PromotionReason, Reason};
use patchadm_releases::{CompareOptions, ReleaseObject, compare};
use patchadm_rootfs::{Dir, FileType, Inode, LiveKind, Lock, Root};
use patchadm_svr4::package::{ContentsLine, Ftype, Mode, ObjectPath, PkgInst, rule};
use serde::{Deserialize, Serialize};

pub use super::CompletedRefresh;
pub use super::transfer::packages::{MovedStagePackage, PackageMove, StayReason};

#[derive(Clone, Debug, Default)]
pub struct RefreshRequest {
    /// Directory or name.
    pub stage: OsString,
    /// For paths that both sides changed.
    pub edited: Option<Edited>,
    /// Always replaced, of those.
    pub overridden: Vec<ObjectPath>,
    /// Always kept, of those.
    pub preserved: Vec<ObjectPath>,
    pub dry_run: bool,
}

#[derive(Debug)]
pub struct RefreshReport {
    pub recovered: Recovered,
    pub stage: String,
    /// Paths changed, actually or in projection.
    pub taken: usize,
    pub conflicts: Vec<ConflictingPath>,
    /// Added to the root, or removed.
    pub packages: Vec<MovedStagePackage>,
    /// Nothing was changed.
    pub refused: Option<Failure>,
}

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
        let refresher = StageRefresher {
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
    fn choice(&self, ground: &RootAndPolicy) -> EditChoice {
        EditChoice {
            general: self.edited.unwrap_or(ground.policy.edited),
            overridden: self.overridden.iter().cloned().collect(),
            preserved: self.preserved.iter().cloned().collect(),
            ..EditChoice::default()
        }
    }
}

fn refresh_locked(
    root: &Root,
    stage: &Stage,
    choice: impl FnOnce(&RootAndPolicy) -> EditChoice,
    caller: &Caller<'_>,
) -> Result<RefreshReport, StageError> {
    must_be_own(root, stage, Undertaking::Refresh)?;
    let ground = RootAndPolicy::of(root)?;
    let choice = choice(&ground);
    let records = records_session(stage, caller)?;
    let records = StageRecords::locked(records.as_ref());
    if let Err(refused) = may_change(root) {
        // The root could not record the bases, and would then refuse them.
        if matches!(stage.record, StageRecord::Rights(_)) {
            return Err(refused.into());
        }
        // A caller who may only read the root cannot lock it, so copies are verified.
        let refresher = StageRefresher { ground: &ground, stage, choice, caller, records, session: None };
        let decided = without_lock(root, || Ok(refresher.decided()))??;
        return refresher.perform(&decided, Recovered::Nothing);
    }
    let session = begin_change(ground, caller)?;
    let session_of_root = Some(&session);
    let refresher =
        StageRefresher { ground: &session.ground, stage, choice, caller, records, session: session_of_root };
    let decided = refresher.decided()?;
    refresher.perform(&decided, session.recovered.clone())
}

struct StageRefresher<'a> {
    ground: &'a RootAndPolicy,
    stage: &'a Stage,
    choice: EditChoice,
    caller: &'a Caller<'a>,
    records: StageRecords<'a>,
    session: Option<&'a Session<'a>>,
}

#[derive(Clone, Copy)]
enum StageRecords<'a> {
    None,
    Planned,
    Locked(&'a Session<'a>),
}

impl<'a> StageRecords<'a> {
    fn locked(session: Option<&'a Session<'a>>) -> Self {
        session.map_or(Self::None, Self::Locked)
    }

    fn planned(stage: &Stage) -> Result<Self, StageError> {
        Ok(if has_records(stage)? { Self::Planned } else { Self::None })
    }
}

impl StageRefresher<'_> {
    fn decided(&self) -> Result<DecidedRefresh, StageError> {
        let root = &self.ground.root;
        let view = RecordView::live(root);
        let database = PackageDatabase::of(self.ground)?;
        let base = in_force(self.stage, &view, &database.applied)?;
        let scope = &base.base.header.paths;
        must_be_apart(root, &self.stage.root, scope.paths())?;
        let excluded = self.stage.excluded()?.into_iter().chain(self.ground.policy.promote_exclude.clone());
        let owners = self.owners()?;
        // A writer of the stage could forge its cache, and with it the state of the live tree.
        let known = if owners { self.stage.cache() } else { StageCache::default() };
        let left = LeftOut::by(excluded.collect());
        let interrupt = self.caller.interrupt;
        let request = |root, known| TreeRequest { root, scope, left: &left, known, interrupt };
        let mut stage = read_tree(&request(&self.stage.root, &known.stage))?;
        let mut live = read_tree(&request(root, &known.live))?;
        hide_own(&mut stage, &kept_in(&self.stage.root)?);
        hide_own(&mut live, &kept_in(root)?);
        must_not_be_met(root, &self.stage.root, &live.objects)?;
        let passed = SkippedPaths::of(&stage, &live, Some(&base));
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
        // A deleted object stays if a package of the stage owns it by a line that the root lacks. Keeping it keeps
        // records, which keep more objects: repeat until stable.
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
                owned.iter().filter(|(path, _)| outcomes.get(*path).is_some_and(PathOutcome::is_deleted));
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

    fn database_of_stage(&self) -> Result<Option<PackageDatabase>, Failure> {
        Ok(match self.records {
            StageRecords::None => None,
            StageRecords::Planned => Some(PackageDatabase::of(&RootAndPolicy::of(&self.stage.root)?)?),
            StageRecords::Locked(session) => Some(PackageDatabase::of(&session.ground)?),
        })
    }

    /// Records of patches, of packages unchanged in the stage, and of added or removed packages.
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

    fn owners(&self) -> Result<bool, StageError> {
        let (root, stage) = (&self.ground.root, self.stage);
        Ok(!stage.root.is_privileged() || owners_of(root, &stage.root, Some(stage))?.is_ok())
    }

    fn perform(&self, decided: &DecidedRefresh, recovered: Recovered) -> Result<RefreshReport, StageError> {
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
            bring_patches(session, &decided.patches)?;
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
            conflicts: conflicting_paths(&decided.outcomes, true),
            packages: decided.packages.all.clone(),
            refused: refused.err().map(Failure::from),
            stage: name,
        }
    }
}

/// Uses the original choices. The caller holds only the stage's lock.
pub(super) fn complete_refresh(
    root: &Root,
    stage: &Stage,
    caller: &Caller<'_>,
) -> Result<Option<CompletedRefresh>, StageError> {
    if !is_interrupted(stage)? {
        return Ok(None);
    }
    let kept = kept_choice(stage)?;
    let choice = |ground: &RootAndPolicy| kept.unwrap_or_else(|| default_choice(ground));
    let report = refresh_locked(root, stage, choice, &caller.exchanging(&[]))?;
    let name = report.stage;
    match report.refused {
        Some(failure) => Err(StageError::InterruptedRefresh { stage: name, failure: Box::new(failure) }),
        None => Ok(Some(CompletedRefresh { stage: name, taken: report.taken, recovered: report.recovered })),
    }
}

#[derive(Debug)]
pub(super) struct StageToBe {
    decided: DecidedRefresh,
    pub(super) completed: CompletedRefresh,
}

pub(super) fn stage_to_be(
    ground: &RootAndPolicy,
    stage: &Stage,
    caller: &Caller<'_>,
) -> Result<StageToBe, StageError> {
    must_be_own(&ground.root, stage, Undertaking::Refresh)?;
    let choice = kept_choice(stage)?.unwrap_or_else(|| default_choice(ground));
    let records = StageRecords::planned(stage)?;
    let refresher = StageRefresher { ground, stage, choice, caller, records, session: None };
    let decided = refresher.decided()?;
    let report = refresher.report(&decided, Recovered::Nothing);
    let completed =
        CompletedRefresh { stage: report.stage, taken: report.taken, recovered: Recovered::Nothing };
    match report.refused {
        Some(failure) => {
            Err(StageError::InterruptedRefresh { stage: completed.stage, failure: Box::new(failure) })
        }
        None => Ok(StageToBe { decided, completed }),
    }
}

impl StageToBe {
    pub(super) fn tree(&self, now: Tree, scope: &Scope) -> Tree {
        self.decided.stage_after(now, scope)
    }

    pub(super) fn base(&self, now: &Base) -> Base {
        let mut header = now.header.clone();
        header.packages = with_packages(header.packages, &self.decided.packages.in_bases);
        Base { objects: with_states(now, &self.decided, &Apart::default()), header }
    }

    pub(super) fn records(&self) -> &BroughtPatches {
        &self.decided.patches
    }
}

/// Looks at objects, bases and the package database.
pub(super) fn is_interrupted(stage: &Stage) -> Result<bool, StageError> {
    Ok(stage.own.look(SCRATCH)?.is_some() || has_run_of_refresh(stage)?)
}

/// `None` if they were not recorded yet.
fn kept_choice(stage: &Stage) -> Result<Option<EditChoice>, StageError> {
    // Without copies, the refresh was completed.
    if stage.own.look(SCRATCH)?.is_none() {
        return Ok(None);
    }
    let Some(text) = stage.own.read_regular(REFRESHING, LONGEST_RECORD)? else { return Ok(None) };
    let path = || stage.root.show(&stage.own.at(REFRESHING));
    let choices = RefreshChoices::parse(&text);
    let choices = choices.map_err(|error| StageError::Damaged { path: path(), error })?;
    Ok(Some(choices.0))
}

fn default_choice(ground: &RootAndPolicy) -> EditChoice {
    EditChoice { general: ground.policy.edited, ..EditChoice::default() }
}

const VERSION: u32 = 1;

/// For paths that both sides changed, as recorded for an interrupted refresh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct RefreshChoices(EditChoice);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenChoices {
    refreshing: u32,
    edited: WrittenEdited,
    #[serde(rename = "override")]
    overridden: Vec<String>,
    preserve: Vec<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenEdited {
    Stop,
    Replace,
    Keep,
}

impl RefreshChoices {
    fn parse(text: &[u8]) -> Result<Self, StageFileError> {
        let fault = |reason: &str| StageFileError::at(1, reason);
        let line = text.strip_suffix(b"\n").ok_or_else(|| fault("its end is missing"))?;
        let written: WrittenChoices =
            serde_json::from_slice(line).map_err(|error| fault(&error.to_string()))?;
        if !rule::holds("stage.refreshing.version", written.refreshing == VERSION) {
            return Err(fault("the version in `refreshing` is not 1"));
        }
        let paths = |texts: &[String]| {
            let paths = texts.iter().map(|text| ObjectPath::new(&decode(text)));
            paths.collect::<Result<BTreeSet<_>, _>>().map_err(|error| fault(&error.to_string()))
        };
        Ok(Self(EditChoice {
            general: match written.edited {
                WrittenEdited::Stop => Edited::Stop,
                WrittenEdited::Replace => Edited::Replace,
                WrittenEdited::Keep => Edited::Keep,
            },
            overridden: paths(&written.overridden)?,
            preserved: paths(&written.preserve)?,
            ..EditChoice::default()
        }))
    }

    fn write(&self) -> Vec<u8> {
        let texts = |paths: &BTreeSet<ObjectPath>| paths.iter().map(|path| encode(path.as_bytes())).collect();
        let written = WrittenChoices {
            refreshing: VERSION,
            edited: match self.0.general {
                Edited::Stop => WrittenEdited::Stop,
                Edited::Replace => WrittenEdited::Replace,
                Edited::Keep => WrittenEdited::Keep,
            },
            overridden: texts(&self.0.overridden),
            preserve: texts(&self.0.preserved),
        };
        // Serializing strings, a number and words cannot fail.
        let mut line = serde_json::to_vec(&written).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

struct RefreshFacts<'a> {
    lines: &'a BTreeMap<ObjectPath, ContentsLine>,
    choice: &'a EditChoice,
    needed: &'a BTreeSet<ObjectPath>,
    unfinished: Option<UnfinishedRefresh<'a>>,
}

/// No conflict was undecided when it began.
#[derive(Clone, Copy)]
struct UnfinishedRefresh<'a> {
    base: &'a Base,
    stage: &'a Tree,
    live: &'a Tree,
}

impl UnfinishedRefresh<'_> {
    /// True if a half-done refresh may explain a difference: a directory without attributes, or one of several names.
    fn explains(&self, path: &ObjectPath) -> bool {
        let Some(stage) = self.stage.object(path).map(TreeObject::state) else { return false };
        let live = self.live.object(path).map(TreeObject::state);
        if stage.kind == FileType::Directory {
            return live.is_some_and(|live| live.kind == FileType::Directory);
        }
        let objects = &self.base.objects;
        let at = objects.binary_search_by(|object| object.path.cmp(path)).ok();
        let base = at.and_then(|at| objects.get(at)).and_then(BaseObject::object);
        live.iter().chain(base).any(|other| {
            let differ = StateDifferences::between(&stage, other);
            let permissions = differ.mode & 0o777;
            !differ.is_of_content() && permissions == 0 && !differ.mtime
        })
    }
}

impl PathFacts for RefreshFacts<'_> {
    fn choice(&self, path: &ObjectPath) -> Edited {
        let choice = self.choice.of(path);
        let is_half_brought = || self.unfinished.as_ref().is_some_and(|unfinished| unfinished.explains(path));
        let comes = self.comes_always(path) || choice == Edited::Stop && is_half_brought();
        if comes { Edited::Replace } else { choice }
    }

    // A volatile object always follows the live tree.
    fn comes_always(&self, path: &ObjectPath) -> bool {
        self.lines.get(path).is_some_and(|line| line.object.ftype == Ftype::Volatile)
    }

    fn is_volatile(&self, _: &ObjectPath) -> bool {
        false
    }

    fn is_needed(&self, path: &ObjectPath) -> bool {
        self.needed.contains(path)
    }

    fn is_edited(&self, _: &ObjectPath) -> bool {
        false
    }
}

#[derive(Debug)]
struct DecidedRefresh {
    scope: Scope,
    live: Tree,
    outcomes: Outcomes,
    /// Deleted in the root, but owned by a package of the stage, where they count as new.
    left_to_stage: BTreeSet<ObjectPath>,
    directories: BTreeMap<ObjectPath, Inode>,
    patches: BroughtPatches,
    packages: MovedPackages,
    /// `0`, or the id of a promotion.
    base_name: String,
    /// Equal in both trees, different from the base: perhaps from the interrupted refresh, if there is one.
    brought_before: Option<BTreeSet<ObjectPath>>,
}

impl DecidedRefresh {
    fn is_anything(&self) -> bool {
        self.brought().next().is_some()
            || !self.left_to_stage.is_empty()
            || self.brought_before.is_some()
            || !self.patches.packages.is_empty()
            || !self.patches.gone.is_empty()
            || !self.packages.in_bases.is_empty()
    }

    fn brought(&self) -> impl Iterator<Item = &ObjectPath> {
        let now = self.outcomes.iter().filter(|(_, outcome)| changes(outcome)).map(|(path, _)| path);
        now.chain(self.brought_before.iter().flatten())
    }

    fn stage_after(&self, stage: Tree, scope: &Scope) -> Tree {
        let next = stage
            .objects
            .iter()
            .filter_map(|object| object.group)
            .max()
            .map_or(0, |last| last.saturating_add(1));
        let mut objects: BTreeMap<ObjectPath, TreeObject> =
            stage.objects.into_iter().map(|object| (object.path.clone(), object)).collect();
        for (path, outcome) in self.outcomes.iter().filter(|(path, _)| scope.contains(path)) {
            let live = self.live.object(path);
            match (outcome, live) {
                (PathOutcome::TakeTime, Some(live)) => {
                    if let Some(object) = objects.get_mut(path) {
                        object.live.mtime = live.live.mtime;
                    }
                }
                (outcome, Some(live)) if outcome.is_taken() => {
                    let group = live.group.map(|group| next.saturating_add(group));
                    objects.insert(path.clone(), TreeObject { group, ..live.clone() });
                }
                (outcome, _) if outcome.is_deleted() => drop(objects.remove(path)),
                _ => {}
            }
        }
        Tree { objects: objects.into_values().collect(), ..stage }
    }
}

fn changes(outcome: &PathOutcome) -> bool {
    outcome.is_taken() || outcome.is_deleted() || *outcome == PathOutcome::TakeTime
}

struct RefreshedStage<'a> {
    root: &'a Root,
    stage: &'a Stage,
    /// Owners, set-id bits and system attributes are not copied into another user's stage: a set-id program would
    /// survive the live fix.
    owners: bool,
    interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}

impl RefreshedStage<'_> {
    fn bring(&self, decided: &DecidedRefresh) -> Result<(), StageError> {
        let scratch = self.empty_scratch()?.into_root();
        let taken = decided.outcomes.iter().filter(|(_, outcome)| outcome.is_taken());
        let taken: Vec<&TreeObject> = taken.filter_map(|(path, _)| decided.live.object(path)).collect();
        self.copy(&scratch, &taken)?;
        let mut place = StagedPlaces { stage: &self.stage.root, directories: decided.directories.clone() };
        for (path, _) in decided.outcomes.iter().rev().filter(|(_, outcome)| outcome.is_deleted()) {
            place.remove(path)?;
        }
        for object in &taken {
            place.put(&scratch, object)?;
        }
        for object in taken.iter().rev().filter(|object| object.live.is_directory()) {
            self.give(&place, object)?;
        }
        for (path, _) in decided.outcomes.iter().filter(|(_, outcome)| **outcome == PathOutcome::TakeTime) {
            if let Some(object) = decided.live.object(path) {
                place.above(path)?.set_mtime(path.name(), object.live.mtime)?;
            }
        }
        Ok(self.stage.root.dir(&ObjectPath::root())?.sync_file_system()?)
    }

    fn empty_scratch(&self) -> Result<Dir, StageError> {
        let own = &self.stage.own;
        if own.look(SCRATCH)?.is_none() {
            let place = own.make_dir(SCRATCH, Mode::of(0o700))?;
            own.sync()?;
            return Ok(place);
        }
        let place = own.dir(SCRATCH)?;
        for name in place.names()? {
            place.remove_tree(&name)?;
        }
        Ok(place)
    }

    /// Copies all but directories, and verifies that copies match the decisions.
    fn copy(&self, scratch: &Root, taken: &[&TreeObject]) -> Result<(), StageError> {
        let root = self.root;
        let is_whole = AtomicBool::new(true);
        let copier =
            Copier { root, stage: scratch, interrupt: self.interrupt, owners: self.owners, is_whole };
        let mut walk = Walk::default();
        for object in taken.iter().filter(|object| !object.live.is_directory()) {
            let path = &object.path;
            let changing = || StageError::Changing(root.show(path));
            let status = parent(root, path)?.look(path.name())?.ok_or_else(changing)?;
            if status.inode != object.live.inode || status.ctime != object.live.ctime {
                return Err(changing());
            }
            copier.make_way(path)?;
            let is_file = matches!(object.live.kind, LiveKind::Regular { .. });
            let live = (!is_file).then(|| object.live.clone());
            walk.met.push(WalkedObject { path: path.clone(), status, live });
        }
        let copied = copier.copy(walk)?;
        let expected = taken.iter().filter(|object| !object.live.is_directory());
        for (object, copy) in expected.zip(&copied.objects) {
            if object.path != copy.path || object.live.kind != copy.live.kind {
                return Err(StageError::Changing(root.show(&object.path)));
            }
        }
        Ok(())
    }

    fn give(&self, place: &StagedPlaces<'_>, object: &TreeObject) -> Result<(), StageError> {
        let (root, path) = (self.root, &object.path);
        let changing = || StageError::Changing(root.show(path));
        let status = parent(root, path)?.look(path.name())?.ok_or_else(changing)?;
        let directory = place.directory(path)?;
        let attributes = CopiedAttributes {
            status: &status,
            xattrs: &object.live.xattrs,
            has_mode: true,
            owners: self.owners,
        };
        CopiedObject::Directory(&directory).give(&attributes, &directory.itself()?)?;
        Ok(())
    }
}

fn parent(root: &Root, path: &ObjectPath) -> Result<Dir, StageError> {
    Ok(root.dir(&path.parent().unwrap_or_else(ObjectPath::root))?)
}

/// Owners of parts of the live tree own these in the stage and may exchange directories, so each directory must be one
/// that was read or made before.
struct StagedPlaces<'a> {
    stage: &'a Root,
    directories: BTreeMap<ObjectPath, Inode>,
}

impl StagedPlaces<'_> {
    fn above(&self, path: &ObjectPath) -> Result<Dir, StageError> {
        self.directory(&path.parent().unwrap_or_else(ObjectPath::root))
    }

    /// Parents of staged paths are not verified.
    fn directory(&self, path: &ObjectPath) -> Result<Dir, StageError> {
        let opened = self.stage.dir(path)?;
        match self.directories.get(path) {
            Some(known) if *known != opened.itself()?.inode => Err(self.changing(path)),
            _ => Ok(opened),
        }
    }

    fn remove(&self, path: &ObjectPath) -> Result<(), StageError> {
        let above = self.above(path)?;
        let Some(seen) = above.look(path.name())? else { return Ok(()) };
        if seen.file_type == FileType::Directory {
            // Files that were made meanwhile stay, and so does the directory.
            above.remove_dir(path.name())?;
        } else {
            above.remove(path.name())?;
        }
        Ok(())
    }

    /// Removes an object of another type first.
    fn put(&mut self, scratch: &Root, object: &TreeObject) -> Result<(), StageError> {
        let TreeObject { path, live, .. } = object;
        let above = self.above(path)?;
        let there = above.look(path.name())?;
        let is_directory = there.as_ref().is_some_and(|seen| seen.file_type == FileType::Directory);
        if live.is_directory() {
            if !is_directory {
                above.remove(path.name())?;
                let made = above.make_dir(path.name(), Mode::of(0o700))?;
                self.directories.insert(path.clone(), made.itself()?.inode);
            }
            return Ok(());
        }
        if is_directory && !above.remove_dir(path.name())? {
            return Err(self.changing(path));
        }
        Ok(parent(scratch, path)?.replace(path.name(), &above, path.name())?)
    }

    fn changing(&self, path: &ObjectPath) -> StageError {
        StageError::Changing(self.stage.show(path))
    }
}

fn records_session<'a>(stage: &Stage, caller: &'a Caller<'_>) -> Result<Option<Session<'a>>, StageError> {
    if !has_records(stage)? {
        return Ok(None);
    }
    must_be_finished_but_for_refresh(stage)?;
    Ok(Some(begin_change(RootAndPolicy::of(&stage.root)?, caller)?))
}

fn has_records(stage: &Stage) -> Result<bool, StageError> {
    let has_database = || installed::has_database(&RecordView::live(&stage.root)).map_err(Failure::from);
    Ok(stage.identity.records && has_database()? && may_change(&stage.root).is_ok())
}

fn bring_patches(session: &Session<'_>, patches: &BroughtPatches) -> Result<(), Failure> {
    let known = session.ground.all_packages()?;
    let going = known.iter().filter(|(package, _)| patches.goes(package));
    let lists = going.map(|(_, known)| known.params.text("PATCHLIST"));
    let ids: BTreeSet<String> =
        lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let of_patches = ids.iter().filter_map(|id| places::patch(id).ok());
    let paths = patches.lines.keys().cloned().chain(of_patches).collect();
    let packages = patches.packages.keys().chain(&patches.gone).cloned().collect();
    let touched = Touched { paths, packages, ..Touched::default() };
    let inventory = session.ground.survey_with(known, &touched, (None, session.caller.interrupt))?;
    let plan = bring_records(patches, &inventory, Command::Refresh, &session.caller.now);
    let plan = plan.map_err(|reason| {
        Failure::from(reason.of(Command::Refresh, &session.ground.root.prefix().display()))
    })?;
    if let Some(plan) = plan {
        session.perform(&plan, &mut NoContent, None, String::new())?;
    }
    Ok(())
}

/// Writes the base in force last: until then, its earlier agreement with other bases can be determined.
fn write_states(stage: &Stage, decided: &DecidedRefresh, sound: &[Vec<u8>]) -> Result<(), StageError> {
    let in_force =
        if decided.base_name == "0" { BASE_OF_NEW.to_vec() } else { base_name(&decided.base_name) };
    let before = stage.base(&in_force)?;
    for name in sound.iter().filter(|name| **name != in_force) {
        // A damaged old promotion's base is not needed.
        let Ok(base) = stage.base(name) else { continue };
        put_states(stage, name, &base, decided, &Apart::of(&before, &base))?;
    }
    put_states(stage, &in_force, &before, decided, &Apart::default())
}

/// A base that differs from the base in force on a package stays different.
fn write_packages(stage: &Stage, decided: &DecidedRefresh, sound: &[Vec<u8>]) -> Result<(), StageError> {
    let changes = &decided.packages.in_bases;
    if changes.is_empty() {
        return Ok(());
    }
    let in_force =
        if decided.base_name == "0" { BASE_OF_NEW.to_vec() } else { base_name(&decided.base_name) };
    let before = stage.base(&in_force)?;
    for name in sound.iter().filter(|name| **name != in_force) {
        let Ok(base) = stage.base(name) else { continue };
        put_packages(stage, name, base, changes, &before.header.packages)?;
    }
    let packages = before.header.packages.clone();
    put_packages(stage, &in_force, before, changes, &packages)
}

fn put_packages(
    stage: &Stage,
    name: &[u8],
    base: Base,
    changes: &BTreeMap<PkgInst, Option<String>>,
    in_force: &BTreeMap<PkgInst, String>,
) -> Result<(), StageError> {
    let mut header = base.header;
    let known = header.packages.clone();
    let is_as_in_force = |(package, _): &(&PkgInst, &_)| known.get(*package) == in_force.get(*package);
    header.packages = with_packages(header.packages, changes.iter().filter(is_as_in_force));
    if header.packages == known {
        return Ok(());
    }
    put_base(&stage.own, name, &header, &BaseObjects::new(base.objects))
}

/// `None` removes a package.
fn with_packages<'a>(
    mut packages: BTreeMap<PkgInst, String>,
    changes: impl IntoIterator<Item = (&'a PkgInst, &'a Option<String>)>,
) -> BTreeMap<PkgInst, String> {
    for (package, version) in changes {
        match version {
            Some(version) => drop(packages.insert(package.clone(), version.clone())),
            None => drop(packages.remove(package)),
        }
    }
    packages
}

fn put_states(
    stage: &Stage,
    name: &[u8],
    base: &Base,
    decided: &DecidedRefresh,
    apart: &Apart,
) -> Result<(), StageError> {
    let objects = with_states(base, decided, apart);
    if objects == base.objects {
        return Ok(());
    }
    put_base(&stage.own, name, &base.header, &BaseObjects::new(objects))
}

#[derive(Default)]
struct Apart {
    states: BTreeSet<ObjectPath>,
    /// Bases record nothing about mount points.
    mounts: BTreeSet<ObjectPath>,
}

impl Apart {
    fn of(in_force: &Base, other: &Base) -> Self {
        let options = CompareOptions { mtimes: false, every_type: true };
        let changes = compare(&compared(in_force), &compared(other), options).changes;
        let mounts = other.objects.iter().filter(|object| object.state == BaseState::Mount);
        Self {
            states: changes.into_iter().map(|change| change.path).collect(),
            mounts: mounts.map(|object| object.path.clone()).collect(),
        }
    }

    fn has(&self, path: &ObjectPath) -> bool {
        self.states.contains(path)
            || self.mounts.contains(path)
            || !self.mounts.is_empty() && path.ancestors().any(|above| self.mounts.contains(&above))
    }
}

/// Comparable regardless of group numbers.
fn compared(base: &Base) -> Vec<ReleaseObject> {
    let owners = ComparedAttributes { owners: true };
    base.objects.iter().filter_map(|one| of_recorded(&one.path, one.object()?, owners)).collect()
}

fn with_states(base: &Base, decided: &DecidedRefresh, apart: &Apart) -> Vec<BaseObject> {
    let mut objects: BTreeMap<ObjectPath, BaseState> =
        base.objects.iter().map(|object| (object.path.clone(), object.state.clone())).collect();
    let groups = base.objects.iter().filter_map(|object| object.object()?.group);
    let next = groups.max().unwrap_or(0).saturating_add(1);
    let settled = decided.brought().chain(&decided.left_to_stage);
    for path in settled.filter(|path| !apart.has(path) && base.header.paths.contains(path)) {
        let Some(live) = decided.live.object(path) else {
            objects.remove(path);
            continue;
        };
        let mut state = live.state();
        state.group = state.group.map(|group| next.saturating_add(group));
        if decided.outcomes.get(path) == Some(&PathOutcome::TakeTime)
            && let Some(BaseState::Object(known)) = objects.get(path)
        {
            state.group = known.group;
        }
        objects.insert(path.clone(), BaseState::Object(Box::new(state)));
    }
    objects.into_iter().map(|(path, state)| BaseObject { path, state }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_were_written_and_others_are_damage() {
        let path = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let choices = RefreshChoices(EditChoice {
            general: Edited::Keep,
            overridden: BTreeSet::from([path("/usr/a b"), path("/usr/\"\n")]),
            preserved: BTreeSet::from([path("/etc/x")]),
            ..EditChoice::default()
        });
        let text = choices.write();
        assert_eq!(RefreshChoices::parse(&text).unwrap(), choices);
        for wrong in [&text[..text.len() - 1], b"", b"{}\n", &[&text[..], &text].concat()] {
            assert!(RefreshChoices::parse(wrong).is_err());
        }
        let other = String::from_utf8(text).unwrap().replace("\"refreshing\":1", "\"refreshing\":2");
        assert!(RefreshChoices::parse(other.as_bytes()).is_err());
    }
}
