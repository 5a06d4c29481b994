//! Plans a promotion: reads both trees, decides about every path, surveys and plans.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;

use serde::Serialize;

use super::rights::{ForeignObjects, WithheldObject, set_id_files};
use crate::operation::changed_texts::ChangedTexts;
use crate::operation::content::new_bytes;
use crate::operation::failure::Failure;
use crate::operation::libraries::{LaterContent, LibraryKeeper, LibraryRequest, PlanToSettle};
use crate::operation::patches::after_run::AfterRun;
use crate::operation::patches::apply::plan_file::{
    found, planned_change, planned_libraries, planned_records,
};
use crate::operation::plan_file::{PlanFileRequest, save_plan};
use crate::operation::promotion_hooks::{HookDirection, HookEnd, HookFiles};
use crate::operation::running::UsingProcess;
use crate::operation::scripts::ScriptSettings;
use crate::operation::session::{Caller, RootAndPolicy};
use crate::operation::stages::compared::{
    BaseInForce, ComparedTrees, ConflictingPath, KeptPath, SkippedPaths, conflicting_paths, in_force,
    kept_paths, own_promotions, refuse_mounts,
};
use crate::operation::stages::own_files::{
    LeftOwners, Stage, must_be_apart, must_not_be_met, named_tree, other_writer_of_records, own_directory,
    owners_of, put_cache,
};
use crate::operation::stages::refresh::{StageToBe, is_interrupted, stage_to_be};
use crate::operation::stages::transfer::databases::{PackageDatabase, has_run_of_refresh, must_be_finished};
use crate::operation::stages::transfer::patches::{BroughtRecords, RecordSource, fault_after_merge};
use crate::operation::stages::transfer::undo_data::ComparedSides;
use crate::operation::stages::tree::{
    Tree, TreeObject, TreeRequest, directory_of, hide_copies, hide_own, kept_in, read_tree,
};
use crate::operation::stages::{CompletedRefresh, StageError};
use crate::operation::trial::{TrialOutcome, TrialRequest};
use crate::three_way::{Outcomes, PathFacts, PathOutcome, TwoWay};
use patchadm_changeset::format::escaped::as_text;
use patchadm_changeset::format::manifest::encode;
use patchadm_changeset::plan::UndoFormat;
use patchadm_changeset::transaction::{
    ContentSource, ExchangeReport, ExchangeWay, FileSink, ForeseenRecovery, Receipt, Recovered, StreamError,
    WantedFile, foresee_recovery,
};
use patchadm_inputs::database::contents::lines_of_paths;
use patchadm_inputs::database::history::readable_history;
use patchadm_inputs::database::{DatabaseError, RecordView, last_run, marker, places};
use patchadm_inputs::format::plan_file::{
    MOST_STATES, PLANNED, PlanFile, PlannedPatch, PlannedScriptRun, PromotionStates, STATE_DIGITS,
};
use patchadm_inputs::inventory::{Inventory, KeptLibraries, Touched, has_names};
use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::policy::{DeleteLimit, Edited, ScriptPolicy};
use patchadm_inputs::stage::{
    Base, BaseObject, ComparedAttributes, LeftOut, PromotionRecord, Scope, StageCache, StageName, write_cache,
};
use patchadm_planning::plan::edits::EditChoice;
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::promotion::{
    NamesOfFiles, PlannedPromotion, PromotionInput, PromotionSettings, TakenObject, local_name,
    promote_bringing,
};
use patchadm_planning::plan::refusal::{BroughtReason, Command, PromotionReason, Reason, SetIdFile};
use patchadm_planning::plan::{Action, Body, Change, Plan};
use patchadm_rootfs::{
    Digest, Digesting, Dir, FileType, Interrupt, KnownFile, Live, LiveKind, Lock, Root, Sums, Timestamp,
};
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath, PackagePath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// Missing options fall back to the policy.
#[derive(Clone, Debug, Default)]
pub struct PromoteRequest {
    /// A stage's directory or name, or another tree.
    pub stage: OsString,
    /// Empty for those of the base.
    pub paths: Vec<ObjectPath>,
    pub id: Option<String>,
    /// Ignore the base.
    pub two_way: bool,
    /// Without a base: delete from the root what the tree lacks.
    pub delete: bool,
    /// Promote changes of patches like other objects, without the patches.
    pub tree_only: bool,
    /// Allow files with set-id bits or capabilities, and new bytes for them.
    pub allow_set_id: bool,
    pub max_delete: Option<DeleteLimit>,
    /// Neither compared nor promoted.
    pub exclude: Vec<PathGlob>,
    /// For paths that both sides changed.
    pub edited: Option<Edited>,
    /// Always replaced, of those.
    pub overridden: Vec<ObjectPath>,
    /// Always kept, of those.
    pub preserved: Vec<ObjectPath>,
    /// Host directory for undo data.
    pub undo_dir: Option<PathBuf>,
    pub undo_format: Option<UndoFormat>,
    pub no_undo: bool,
    pub dry_run: bool,
    /// Report texts of changed files.
    pub texts: bool,
    pub no_hooks: bool,
    pub scripts: ScriptSettings,
    pub shlibs: LibraryRequest,
    pub plan_file: PlanFileRequest,
    pub trial: TrialRequest,
}

/// Actual or planned.
#[derive(Debug)]
pub struct PromoteReport {
    pub recovered: Recovered,
    /// `None` for a tree without identity.
    pub stage: Option<String>,
    pub id: String,
    /// `0`, the id of a promotion, or `None`.
    pub base: Option<String>,
    /// No base was used.
    pub two_way: bool,
    /// Includes other directories to be exchanged.
    pub paths: Vec<PathReport>,
    /// Includes processes that stay in the directories.
    pub exchanges: Vec<ExchangeReport>,
    /// Kept live paths, and skipped ones.
    pub kept: Vec<KeptPath>,
    pub conflicts: Vec<ConflictingPath>,
    pub packages: Vec<PackageReport>,
    /// `None` if there is nothing to do, or it was refused.
    pub plan: Option<Plan>,
    /// On request, in a dry run.
    pub texts: ChangedTexts,
    /// Completed first, actually or in projection.
    pub refreshed: Option<CompletedRefresh>,
    /// Per patch, the promotion last; empty without patches of the stage.
    pub portions: Vec<Plan>,
    /// Programs that use replaced files.
    pub in_use: Vec<UsingProcess>,
    pub hooks: Vec<HookEnd>,
    pub set_id: Vec<SetIdFile>,
    /// Another user could have chosen them, so they stay in the stage.
    pub withheld: Vec<WithheldObject>,
    /// Of the plan's input, for a plan file.
    pub fingerprint: Option<String>,
    /// Dry run only, on request.
    pub plan_file: Option<Box<PlanFile>>,
    pub libraries: Option<LibraryReport>,
    /// `None` for a dry run, or nothing to do.
    pub result: Result<Option<Receipt>, Failure>,
    pub after: AfterRun,
    pub trial: Option<TrialOutcome>,
    /// Why this caller could not perform a dry run's plan.
    pub refused: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathReport {
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    pub way: ExchangeWay,
    /// Objects in the live tree.
    pub live: usize,
    /// Without directories.
    pub added: usize,
    /// New content or type.
    pub replaced: usize,
    pub attributes: usize,
    /// Without directories.
    pub deleted: usize,
    pub directories_made: usize,
    pub directories_removed: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageReport {
    pub name: String,
    #[serde(rename = "new")]
    pub is_new: bool,
    /// Changed objects.
    pub objects: usize,
}

impl PromoteReport {
    pub fn has_changed(&self) -> bool {
        matches!(self.result, Ok(Some(_)))
    }

    pub fn bytes(&self) -> u64 {
        self.plan.as_ref().map_or(0, new_bytes)
    }
}

pub(super) fn path_reports(
    scope: &Scope,
    live: &Tree,
    changes: &[Box<Change>],
    exchanges: &[ExchangeReport],
) -> Vec<PathReport> {
    let others = exchanges.iter().map(|exchange| &exchange.path);
    let others = others.filter(|path| !scope.paths().contains(path));
    let paths = scope.paths().iter().chain(others);
    paths.map(|path| path_report(path, live, changes, exchanges)).collect()
}

fn path_report(
    path: &ObjectPath,
    live: &Tree,
    changes: &[Box<Change>],
    exchanges: &[ExchangeReport],
) -> PathReport {
    let changes = changes.iter().map(AsRef::as_ref);
    let changes: Vec<&Change> = changes.filter(|change: &&Change| is_in(&change.path, path)).collect();
    let mut report = PathReport {
        path: path.clone(),
        way: way(&changes, exchanges),
        live: live.objects.iter().filter(|object| is_in(&object.path, path)).count(),
        added: 0,
        replaced: 0,
        attributes: 0,
        deleted: 0,
        directories_made: 0,
        directories_removed: 0,
    };
    for change in changes {
        *match &change.action {
            Action::Add(new) if matches!(new.body, Body::Directory) => &mut report.directories_made,
            Action::Add(_) => &mut report.added,
            Action::Replace(_) => &mut report.replaced,
            Action::Attributes(_) => &mut report.attributes,
            Action::Delete => &mut report.deleted,
            Action::RemoveDirectory => &mut report.directories_removed,
        } += 1;
    }
    report
}

fn is_in(at: &ObjectPath, path: &ObjectPath) -> bool {
    at == path || at.is_below(path)
}

/// An exchange shows changes at once only if it covers all of them.
fn way(changes: &[&Change], exchanges: &[ExchangeReport]) -> ExchangeWay {
    if changes.is_empty() {
        return ExchangeWay::Nothing;
    }
    let exchanged: Vec<_> =
        exchanges.iter().filter(|exchange| exchange.way == ExchangeWay::Exchange).collect();
    let is_exchanged =
        |change: &&Change| exchanged.iter().any(|exchange| is_in(&change.path, &exchange.path));
    if changes.iter().all(is_exchanged) { ExchangeWay::Exchange } else { ExchangeWay::Renames }
}

#[derive(Debug)]
pub(super) struct PromotedTree {
    pub(super) root: Root,
    /// `None` for a tree without identity.
    pub(super) stage: Option<Stage>,
    pub(super) name: StageName,
    is_refresh_interrupted: bool,
    /// Why owners, capabilities and set-id bits are not copied for the superuser.
    left_owners: Option<LeftOwners>,
}

impl PromotedTree {
    /// A tree without identity requires `two_way`.
    pub(super) fn open(root: &Root, request: &PromoteRequest) -> Result<Self, StageError> {
        let tree = named_tree(root, &request.stage)?;
        if own_directory(&tree)?.is_some() {
            let stage = Stage::of_root(root, tree.clone())?;
            let name = stage.identity.name.clone();
            let left_owners = left_owners(root, &tree, Some(&stage))?;
            Ok(Self { root: tree, name, stage: Some(stage), is_refresh_interrupted: false, left_owners })
        } else if request.two_way {
            let name = name_of(&tree, request)?;
            let left_owners = left_owners(root, &tree, None)?;
            Ok(Self { root: tree, stage: None, name, is_refresh_interrupted: false, left_owners })
        } else {
            Err(StageError::NoStage(tree.prefix().display().to_string()))
        }
    }

    pub(super) fn on_record(self, root: &Root) -> Result<Self, StageError> {
        let stage = self.stage.map(|stage| stage.on_record(root)).transpose()?;
        let left_owners = left_owners(root, &self.root, stage.as_ref())?;
        Ok(Self { stage, left_owners, ..self })
    }

    /// For a dry run: an interrupted refresh counts as completed, and its run as recovered. Other unfinished runs are
    /// refused.
    pub(super) fn foreseen(self) -> Result<Self, StageError> {
        let Some(stage) = &self.stage else { return Ok(self) };
        let is_refresh_interrupted = is_interrupted(stage)?;
        if !has_run_of_refresh(stage)? {
            must_be_finished(stage)?;
            return Ok(Self { is_refresh_interrupted, ..self });
        }
        let is_at_work = Lock::is_held(&stage.root).unwrap_or(true);
        let foreseen = foresee_recovery(&stage.root, None).map_err(Failure::from)?;
        let ForeseenRecovery::Root(foreseen) = foreseen else {
            return must_be_finished(stage).map(|()| self);
        };
        if is_at_work {
            return must_be_finished(stage).map(|()| self);
        }
        let root = foreseen.0;
        let stage = self.stage.map(|stage| Stage { root: root.clone(), ..stage });
        Ok(Self { root, stage, is_refresh_interrupted, ..self })
    }

    pub(super) fn keep_cache(&self, cache: Option<&[u8]>) {
        if let (Some(stage), Some(cache)) = (&self.stage, cache) {
            put_cache(&stage.own, cache);
        }
    }
}

/// `None` if owners are copied, or the caller cannot set them anyway.
fn left_owners(root: &Root, tree: &Root, stage: Option<&Stage>) -> Result<Option<LeftOwners>, StageError> {
    if !root.is_privileged() {
        return Ok(None);
    }
    Ok(owners_of(root, tree, stage)?.err())
}

/// The requested id's base, or else the last component of the path.
fn name_of(tree: &Root, request: &PromoteRequest) -> Result<StageName, StageError> {
    let of_id = request.id.as_deref().and_then(|id| PatchId::new(id).ok()).map(|id| id.base().to_owned());
    let path = tree.physical_path()?;
    let of_path = || path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(StageName::parse(&of_id.or_else(of_path).unwrap_or_default())?)
}

/// The named paths, or those of the base, or everything.
fn scope(request: &PromoteRequest, base: Option<&Scope>) -> Result<Scope, StageError> {
    let named = if request.paths.is_empty() { None } else { Some(Scope::new(request.paths.clone())?) };
    match (named, base) {
        (Some(named), Some(base)) => match base.lacks(&named) {
            Some(path) => Err(StageError::NotStaged(path.clone())),
            None => Ok(named),
        },
        (Some(named), None) => Ok(named),
        (None, Some(base)) => Ok(base.clone()),
        (None, None) => Ok(Scope::all()),
    }
}

/// Planned, or refused after reading both trees.
#[derive(Debug)]
pub(super) struct MadePlan {
    pub(super) id: PatchId,
    pub(super) base: Option<BaseInForce>,
    /// `None` if there is nothing to do.
    pub(super) plan: Result<Option<Plan>, Failure>,
    pub(super) hooks: HookFiles,
    /// Of the input, for a plan file.
    pub(super) fingerprint: Option<String>,
    /// If the report needs it.
    plan_file: Option<Box<PlanFile>>,
    pub(super) hook_ends: Vec<HookEnd>,
    pub(super) applied: Vec<PatchId>,
    stage_id: Option<String>,
    refreshed: Option<StageToBe>,
    two_way: bool,
    scope: Scope,
    passed: SkippedPaths,
    brought: BroughtRecords,
    pub(super) libraries: Option<LibraryReport>,
    /// Per patch, if patches of the stage come along.
    pub(super) portions: Vec<Plan>,
    pub(super) stage: Tree,
    pub(super) live: Tree,
    outcomes: Outcomes,
    pub(super) set_id: Vec<SetIdFile>,
    withheld: Vec<WithheldObject>,
    foreign: ForeignObjects,
    /// Objects of `stage` with withheld attributes.
    changed: HashSet<ObjectPath>,
    packages: Vec<(PkgInst, bool)>,
    /// Before the trees were read.
    since: Timestamp,
    is_as_known: bool,
}

/// Defects of stage or root are errors; refusals by rules are part of the plan.
pub(super) fn make_plan(
    ground: &RootAndPolicy,
    tree: &PromotedTree,
    request: &PromoteRequest,
    caller: &Caller<'_>,
) -> Result<MadePlan, StageError> {
    let reader = PromotionReader { ground, tree, request, caller };
    let view = RecordView::live(&ground.root);
    let database = PackageDatabase::of(ground)?;
    let applied = &database.applied;
    let (base, known) = reader.base_and_cache(&view, applied)?;
    let scope = scope(request, base.as_ref().map(|force| &force.base.header.paths))?;
    if !scope.is_all() {
        must_be_apart(&ground.root, &tree.root, scope.paths())?;
    }
    let excluded = request.exclude.iter().chain(&ground.policy.promote_exclude);
    let left = LeftOut::by(excluded.cloned().collect());
    let (mut stage, mut live) = reader.trees(&scope, &left, &known)?;
    let (base, refreshed) = reader.as_refreshed(base, &mut stage, &scope)?;
    let is_as_known = stage.is_as_known && live.is_as_known;
    drop(known);
    // Kept libraries stay: each side has its own, and the stage may have old copies.
    let kept = kept_in(&ground.root)?;
    let kept_of_stage = match &tree.stage {
        Some(own) if own.identity.records => kept_in(&own.root)?,
        _ => KeptLibraries::default(),
    };
    hide_own(&mut stage, &kept_of_stage);
    hide_copies(&mut stage, &kept);
    hide_own(&mut live, &kept);
    let foreign = reader.foreign_objects(&scope, &stage, &live)?;
    let (withheld, changed) = foreign.withhold(&mut stage, &live);
    if !scope.is_all() {
        must_not_be_met(&ground.root, &tree.root, &live.objects)?;
    }
    let passed = SkippedPaths::of(&stage, &live, base.as_ref());
    let id = next_id(request.id.as_deref(), &tree.name, &view, applied);
    let mut made = MadePlan {
        // For messages, replace a refused id.
        id: id.clone().or_else(|_| {
            let first = PatchId::new(&format!("{}-01", tree.name));
            first.map_err(|error| StageError::Failure(Failure::BadId(error.to_string())))
        })?,
        base,
        plan: Ok(None),
        hooks: HookFiles::default(),
        fingerprint: None,
        plan_file: None,
        hook_ends: Vec::new(),
        applied: applied.iter().map(|patch| patch.id.clone()).collect(),
        stage_id: tree.stage.as_ref().map(|stage| stage.identity.id.to_string()),
        refreshed,
        two_way: request.two_way,
        scope,
        passed,
        brought: BroughtRecords::default(),
        libraries: None,
        portions: Vec::new(),
        stage,
        live,
        outcomes: Outcomes::new(),
        set_id: Vec::new(),
        withheld,
        foreign,
        changed,
        packages: Vec::new(),
        since: caller.now.moment(),
        is_as_known,
    };
    made.plan = match id {
        Ok(_) => reader.plan(&mut made, &database).and_then(|plan| {
            if plan.is_some() {
                let scripts = if request.no_hooks { ScriptPolicy::Unwanted } else { ground.policy.scripts };
                let hooks = HookFiles::of(ground, scripts, HookDirection::Promote);
                made.hooks = hooks.map_err(|reason| HookDirection::Promote.refuse(reason, &made.id))?;
                made.hook_ends = made.hooks.ends();
            }
            Ok(plan)
        }),
        Err(reason) => Err(Failure::from(reason.of(Command::Promote, &tree.name))),
    };
    Ok(made)
}

struct PromotionReader<'a> {
    ground: &'a RootAndPolicy,
    tree: &'a PromotedTree,
    request: &'a PromoteRequest,
    caller: &'a Caller<'a>,
}

impl PromotionReader<'_> {
    fn base_and_cache(
        &self,
        view: &RecordView<'_>,
        applied: &AppliedPatches,
    ) -> Result<(Option<BaseInForce>, StageCache), StageError> {
        let Some(stage) = &self.tree.stage else { return Ok((None, StageCache::default())) };
        // A writer of the stage could forge its cache, and with it the state of the live tree.
        let is_believed = self.tree.left_owners.is_none();
        thread::scope(|scope| {
            let known = scope.spawn(move || if is_believed { stage.cache() } else { StageCache::default() });
            let base = (!self.request.two_way).then(|| in_force(stage, view, applied)).transpose();
            let known = known.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok((base?, known))
        })
    }

    fn trees(&self, scope: &Scope, left: &LeftOut, known: &StageCache) -> Result<(Tree, Tree), StageError> {
        let interrupt = self.caller.interrupt;
        let request = |root, known| TreeRequest { root, scope, left, known, interrupt };
        let stage = read_tree(&request(&self.tree.root, &known.stage))?;
        let live = if scope.is_all() && self.tree.stage.is_none() {
            self.live_of(&stage)?
        } else {
            read_tree(&request(&self.ground.root, &known.live))?
        };
        Ok((stage, live))
    }

    fn as_refreshed(
        &self,
        base: Option<BaseInForce>,
        stage: &mut Tree,
        scope: &Scope,
    ) -> Result<(Option<BaseInForce>, Option<StageToBe>), StageError> {
        let Some(own) = self.tree.stage.as_ref().filter(|_| self.tree.is_refresh_interrupted) else {
            return Ok((base, None));
        };
        let to_be = stage_to_be(self.ground, own, self.caller)?;
        *stage = to_be.tree(std::mem::take(stage), scope);
        let base = base.map(|force| BaseInForce { base: to_be.base(&force.base), ..force });
        Ok((base, Some(to_be)))
    }

    /// For a tree without a base: reads only its paths.
    fn live_of(&self, tree: &Tree) -> Result<Tree, StageError> {
        let paths = tree.objects.iter().map(|object| object.path.clone()).collect();
        let inventory =
            self.ground.survey(&Touched { paths, ..Touched::default() }, self.caller.interrupt)?;
        let mut numbers = BTreeMap::new();
        let mut objects = Vec::new();
        for TreeObject { path, .. } in &tree.objects {
            let Some(live) = inventory.live.get(path) else { continue };
            let next = u32::try_from(numbers.len() + 1).unwrap_or(u32::MAX);
            let file = (inventory.on.get(path).copied(), live.inode);
            let group = has_names(live).then(|| *numbers.entry(file).or_insert(next));
            objects.push(TreeObject { path: path.clone(), live: live.clone(), group });
        }
        Ok(Tree { objects, ..Tree::default() })
    }

    fn plan(&self, made: &mut MadePlan, database: &PackageDatabase) -> Result<Option<Plan>, Failure> {
        let refuse = |reason: Reason| Failure::from(reason.of(Command::Promote, &made.id));
        refuse_mounts(&made.scope, made.base.as_ref(), (&made.stage, &made.live)).map_err(refuse)?;
        let owners = self.owners();
        let compared = ComparedAttributes { owners };
        let trees = ComparedTrees::of(
            (&made.stage, &made.live),
            made.base.as_ref(),
            (&made.scope, &made.passed),
            compared,
        );
        let view = RecordView::live(&self.ground.root);
        let differing = trees.differing();
        let lines = lines_of_paths(&view, &differing).map_err(DatabaseError::from)?;
        let choice = EditChoice {
            general: self.request.edited.unwrap_or(self.ground.policy.edited),
            overridden: self.request.overridden.iter().cloned().collect(),
            preserved: self.request.preserved.iter().cloned().collect(),
            ..EditChoice::default()
        };
        let facts = RecordedFacts { lines: &lines, live: &made.live, choice: &choice };
        made.outcomes = trees.decide(TwoWay { deletes: self.request.delete }, &facts);
        made.brought = self.brought(made, database, compared)?;
        made.brought.decide(&mut made.outcomes, &made.live);
        let limit = self.request.max_delete.unwrap_or(self.ground.policy.max_delete);
        trees
            .refuse(&made.scope, &made.outcomes, limit)
            .map_err(|reason| Failure::from(reason.of(Command::Promote, &made.id)))?;
        made.brought.must_be_taken(&made.outcomes).map_err(|reason| {
            let stage = self.tree.root.prefix().display().to_string();
            refuse(Reason::Promotion(PromotionReason::Brought { stage, reason }))
        })?;
        drop(trees);
        let mut touched = touched(made, &lines);
        if touched.paths.is_empty() && made.brought.is_empty() {
            return Ok(None);
        }
        made.brought.touch(&mut touched, &made.stage);
        touched.packages.extend(local_name(made.id.base()).ok());
        let inventory =
            self.ground.survey_without_kept(database.all(), &touched, (None, self.caller.interrupt))?;
        let PlannedPromotion { mut plan, portions } =
            self.promotion(made, &inventory, (&database.applied, owners))?;
        must_agree_after(&plan, &inventory, database, (&self.ground.root, &self.tree.root))
            .map_err(refuse)?;
        made.libraries = self.settle_libraries(&mut plan, &inventory, &made.id)?;
        made.set_id = set_id_files(&plan.changes, (&made.stage, &made.live), (&made.scope, &made.foreign));
        if !made.set_id.is_empty() && !self.request.allow_set_id {
            return Err(refuse(Reason::Promotion(PromotionReason::SetId(made.set_id.clone()))));
        }
        plan.notes.extend(self.notes_of_owners(&made.foreign));
        made.portions = portions;
        made.packages = plan
            .packages
            .iter()
            .map(|package| (package.clone(), !inventory.packages.contains_key(package)))
            .collect();
        Ok(Some(plan))
    }

    fn settle_libraries(
        &self,
        plan: &mut Plan,
        inventory: &Inventory,
        id: &PatchId,
    ) -> Result<Option<LibraryReport>, Failure> {
        let by = format!("promote {id}");
        let requested = PlanToSettle::of((plan, inventory), Command::Promote, &by);
        let now = &self.caller.now;
        let keeper = LibraryKeeper::new(self.ground, self.request.shlibs, now, !self.request.dry_run);
        let mut keeper = keeper.ended_by(self.caller.interrupt);
        let content = &mut StageContent::of(&self.tree.root, plan);
        let settled = keeper.settle(&requested, content, LaterContent::NotAsked)?;
        Ok(settled.and_then(|settled| settled.apply_to_plan(plan)))
    }

    fn owners(&self) -> bool {
        self.ground.root.is_privileged() && self.tree.left_owners.is_none()
    }

    fn foreign_objects(
        &self,
        scope: &Scope,
        stage: &Tree,
        live: &Tree,
    ) -> Result<ForeignObjects, StageError> {
        let (root, tree) = (&self.ground.root, &self.tree.root);
        if !root.is_privileged() {
            return Ok(ForeignObjects::default());
        }
        if self.tree.left_owners.is_some() {
            return Ok(ForeignObjects::all());
        }
        ForeignObjects::find(scope, (stage, tree), (live, root))
    }

    fn notes_of_owners(&self, foreign: &ForeignObjects) -> Vec<String> {
        let stay = "owners, capabilities and set-id bits of the root are kept";
        let left = self.tree.left_owners.as_ref().filter(|left| **left != LeftOwners::Incomplete);
        let whole = left.map(|left| format!("{stay}: {left}"));
        let parts = foreign.directories.iter().map(|(path, who)| {
            let path = self.tree.root.show(path);
            format!("in {path}, {stay}: {who}")
        });
        whole.into_iter().chain(parts).collect()
    }

    fn promotion(
        &self,
        made: &MadePlan,
        inventory: &Inventory,
        (applied, owners): (&AppliedPatches, bool),
    ) -> Result<PlannedPromotion, Failure> {
        let taken = made.outcomes.iter().filter_map(|(path, outcome)| {
            let time_only = *outcome == PathOutcome::TakeTime;
            let object = made.stage.object(path).filter(|_| time_only || outcome.is_taken())?;
            let is_foreign = made.foreign.has(path);
            Some((path.clone(), TakenObject { object: &object.live, time_only, is_foreign }))
        });
        let deleted = made.outcomes.iter().filter(|(_, outcome)| outcome.is_deleted());
        let (stage_names, live_names) = (names_of(&made.stage), names_of(&made.live));
        let undo_dir = self.request.undo_dir.clone().or_else(|| self.ground.policy.undo_dir.clone());
        let input = PromotionInput {
            taken: taken.collect(),
            deleted: deleted.map(|(path, _)| path.clone()).collect(),
            stage_names: &stage_names,
            live_names: &live_names,
            stage: self.tree.root.prefix().display().to_string(),
            new_packages: made.brought.new_packages.clone(),
            directories: BTreeMap::new(),
            record: PromotionRecord {
                id: made.id.clone(),
                stage: self.tree.stage.as_ref().and_then(Stage::id_on_record),
                name: self.tree.name.clone(),
                run: String::new(),
                paths: made.scope.clone(),
                brought: made.brought.patches.ids.clone(),
                packages: Vec::new(),
                new_packages: Vec::new(),
            },
            options: PromotionSettings {
                owners,
                no_undo: self.request.no_undo,
                undo_dir: undo_dir.filter(|_| !self.request.no_undo),
                undo_format: self.request.trial.undo_format(
                    self.request.undo_format,
                    &self.ground.policy,
                    self.request.no_undo,
                ),
            },
        };
        let separator = &self.ground.policy.separator;
        let of_now = (separator.as_str(), &self.caller.now);
        Ok(promote_bringing(
            &input,
            &made.brought.patches,
            inventory,
            applied,
            of_now,
            self.caller.interrupt,
        )?)
    }

    fn brought(
        &self,
        made: &MadePlan,
        database: &PackageDatabase,
        compared: ComparedAttributes,
    ) -> Result<BroughtRecords, Failure> {
        let with_records = self.tree.stage.as_ref().filter(|stage| stage.identity.records);
        let Some(stage) = with_records.filter(|_| !self.request.tree_only) else {
            return Ok(BroughtRecords::default());
        };
        let view = RecordView::live(&self.ground.root);
        let is_promoted = |path: &ObjectPath| made.scope.contains(path) && !made.passed.has(path);
        let sides =
            ComparedSides { stage: &made.stage, live: &made.live, is_promoted: &is_promoted, compared };
        let base = made.base.as_ref().map(|force| &force.base.header.packages);
        let own = own_promotions(stage, &view, &database.applied)?;
        let brought = made.refreshed.as_ref().map(StageToBe::records);
        let from = RootAndPolicy::of(&stage.root)?;
        let records = RecordSource::of(&from, brought, &self.ground.root, database, self.caller.interrupt)?;
        let refuse = |reason: Reason| Failure::from(reason.of(Command::Promote, &made.id));
        let brought = records.brought(base, &own, &sides);
        let brought = brought.and_then(|brought| {
            match if brought.is_empty() { None } else { self.writer_of(&brought, made, stage)? } {
                Some(who) => Err(BroughtReason::NotOfRoot(who).into()),
                None => Ok(brought),
            }
        });
        brought.map_err(|failed| failed.of(&stage.root, refuse))
    }

    /// Returns who else may write to a stage's package database, or to objects of its patches and packages.
    fn writer_of(
        &self,
        brought: &BroughtRecords,
        made: &MadePlan,
        stage: &Stage,
    ) -> Result<Option<String>, Failure> {
        let root = &self.ground.root;
        match &self.tree.left_owners {
            _ if !root.is_privileged() => return Ok(None),
            Some(LeftOwners::Incomplete) => return Ok(None),
            Some(left) => return Ok(Some(left.to_string())),
            None => {}
        }
        let is_brought = |path: &&ObjectPath| brought.has(path);
        if let Some(path) = made.withheld.iter().map(|object| &object.path).find(is_brought) {
            let above = made.foreign.directories.iter().find(|(above, _)| path.is_below(above));
            let who = above.map(|(above, who)| format!("in {}, {who}", stage.root.show(above)));
            return Ok(Some(who.unwrap_or_else(|| format!("{path} is another user's"))));
        }
        if root.is_trusted() {
            return Ok(None);
        }
        other_writer_of_records(&stage.root, self.caller.interrupt).map_err(StageError::into_failure)
    }
}

/// Refuses lines that would contradict the root's packages.
fn must_agree_after(
    plan: &Plan,
    inventory: &Inventory,
    database: &PackageDatabase,
    (root, stage): (&Root, &Root),
) -> Result<(), Reason> {
    let known = database.packages.keys().chain(database.kept.keys()).chain(&plan.packages).collect();
    for (path, line) in &plan.contents {
        let Some(line) = line else { continue };
        if let Some(fault) = fault_after_merge(line, inventory.lines.get(path), &known) {
            let file = root.show(&places::contents());
            let reason = BroughtReason::BadLine { file, line: None, path: path.clone(), fault };
            let stage = stage.prefix().display().to_string();
            return Err(Reason::Promotion(PromotionReason::Brought { stage, reason }));
        }
    }
    Ok(())
}

/// Includes all names of added and removed objects.
fn touched(made: &MadePlan, lines: &BTreeMap<ObjectPath, ContentsLine>) -> Touched {
    let mut touched = Touched::default();
    let names = names_of(&made.live);
    let mut files = BTreeSet::new();
    for (path, outcome) in &made.outcomes {
        let is_taken = outcome.is_taken() || *outcome == PathOutcome::TakeTime;
        if !is_taken && !outcome.is_deleted() {
            continue;
        }
        touched.paths.insert(path.clone());
        let comes = made.stage.object(path).filter(|_| is_taken);
        if comes.is_some_and(|object| !object.live.is_directory()) {
            touched.not_directories.insert(path.clone());
        }
        let owner = lines.get(path).and_then(|line| line.owners.first());
        touched.packages.extend(owner.map(|owner| owner.package.clone()));
        files.extend(names.file_of(path));
    }
    // A backout must restore all names of these files.
    for file in files.into_iter().filter_map(|file| names.files().get(file)) {
        touched.paths.extend(file.iter().cloned());
    }
    let known =
        touched.paths.iter().filter_map(|path| Some((path.clone(), known_file(made.live.object(path)?)?)));
    touched.known = known.collect();
    touched
}

/// Saves reading the file again.
fn known_file(object: &TreeObject) -> Option<KnownFile> {
    let LiveKind::Regular { size, cksum, b3 } = object.live.kind else { return None };
    let Live { inode, mtime, ctime, .. } = object.live;
    Some(KnownFile { inode, mtime, ctime, sums: Sums { size, cksum, b3 } })
}

fn names_of(tree: &Tree) -> NamesOfFiles {
    NamesOfFiles::of(tree.objects.iter().filter_map(|object| Some((object.path.clone(), object.group?))))
}

impl MadePlan {
    pub(super) fn refused_or_planned(&mut self) -> Result<Option<Receipt>, Failure> {
        match std::mem::replace(&mut self.plan, Ok(None)) {
            Ok(plan) => {
                self.plan = Ok(plan);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Unsorted: the stage as read, and the base in force for paths that were not compared.
    pub(super) fn base_after(&self, before: &Base) -> Vec<BaseObject> {
        let is_compared = |path: &ObjectPath| self.scope.contains(path) && !self.passed.has(path);
        let kept = before.objects.iter().filter(|object| !is_compared(&object.path)).cloned();
        let mut objects: Vec<BaseObject> = kept.collect();
        // Its group numbers are separate.
        let last = objects.iter().filter_map(|object| object.object()?.group).max().unwrap_or(0);
        let read = self.stage.objects.iter().filter(|object| is_compared(&object.path));
        objects.extend(read.map(|object| object.base_object().numbered_behind(last)));
        objects
    }

    /// `None` if the stage has it. Times reveal files that this run changes.
    pub(super) fn cache(&self) -> Option<Vec<u8>> {
        (!self.is_as_known).then(|| {
            let stage = self.stage.known_files(self.since);
            let as_read = stage.filter(|file| !self.changed.contains(file.path));
            write_cache(as_read, self.live.known_files(self.since))
        })
    }

    pub(super) fn base_packages(&self, before: &Base) -> BTreeMap<PkgInst, String> {
        let known = &self.brought.versions;
        if known.is_empty() { before.header.packages.clone() } else { known.clone() }
    }

    pub(super) fn report(
        self,
        result: Result<Option<Receipt>, Failure>,
        exchanges: Vec<ExchangeReport>,
    ) -> PromoteReport {
        let plan = self.plan.as_ref().ok().and_then(Option::as_ref);
        let changes = plan.map(|plan| plan.changes.as_slice()).unwrap_or_default();
        let paths = path_reports(&self.scope, &self.live, changes, &exchanges);
        PromoteReport {
            recovered: Recovered::Nothing,
            paths,
            exchanges,
            kept: kept_paths((&self.stage, &self.live), &self.outcomes),
            conflicts: conflicting_paths(&self.outcomes, false),
            packages: self.package_reports(plan),
            stage: self.stage_id,
            id: self.id.to_string(),
            base: self.base.map(|force| force.name),
            two_way: self.two_way,
            plan: self.plan.ok().flatten(),
            texts: ChangedTexts::new(),
            portions: self.portions,
            refreshed: self.refreshed.map(|to_be| to_be.completed),
            in_use: Vec::new(),
            hooks: self.hook_ends,
            set_id: self.set_id,
            withheld: self.withheld,
            fingerprint: self.fingerprint,
            plan_file: self.plan_file,
            libraries: self.libraries,
            after: AfterRun::default(),
            result,
            trial: None,
            refused: None,
        }
    }

    fn package_reports(&self, plan: Option<&Plan>) -> Vec<PackageReport> {
        let of = |(package, is_new): &(PkgInst, bool)| {
            let changes = plan.map(|plan| plan.changes.as_slice()).unwrap_or_default();
            let objects = changes.iter().filter(|change| change.package == *package).count();
            PackageReport { name: package.to_string(), is_new: *is_new, objects }
        };
        self.packages.iter().map(of).collect()
    }
}

/// Compares with the expected plan, and saves on request. Refused plans are not saved.
pub(super) fn settle_plan_file(
    ground: &RootAndPolicy,
    tree: &PromotedTree,
    request: &PromoteRequest,
    made: &mut MadePlan,
) {
    let requested = &request.plan_file;
    if !requested.is_made() {
        return;
    }
    let settled = plan_file(ground, tree, request, made).and_then(|plan| {
        made.fingerprint = plan.promotion.as_ref().map(|states| states.fingerprint.clone());
        requested.must_hold(&plan)?;
        if let Some(path) = requested.save.as_ref().filter(|_| made.plan.is_ok()) {
            save_plan(path, &plan)?;
        }
        Ok(requested.in_report.then(|| Box::new(plan)))
    });
    match settled {
        Ok(plan) => made.plan_file = plan,
        Err(failure) => made.plan = Err(failure),
    }
}

fn plan_file(
    ground: &RootAndPolicy,
    tree: &PromotedTree,
    request: &PromoteRequest,
    made: &MadePlan,
) -> Result<PlanFile, Failure> {
    let requested = &request.plan_file;
    let mut file = PlanFile::new(requested.command.to_owned(), requested.options.clone());
    file.root = marker(&ground.root)?;
    file.applied = made.applied.iter().map(ToString::to_string).collect();
    file.promotion = Some(states(made, last_run(&ground.root)?));
    file.libraries = planned_libraries(made.id.as_str(), made.libraries.as_ref());
    let Ok(Some(plan)) = &made.plan else { return Ok(file) };
    let source = tree.root.prefix().display().to_string();
    let planned = |id: &String| PlannedPatch {
        id: id.clone(),
        source: Some(source.clone()),
        sha256: None,
        verdict: PLANNED.to_owned(),
        reason: String::new(),
    };
    file.patches = plan.patches.iter().map(planned).collect();
    let id = made.id.to_string();
    file.changes = plan.changes.iter().map(|change| planned_change(&id, change)).collect();
    file.records = plan.records.iter().flat_map(planned_records).collect();
    let hooks = made.hooks.named();
    let of_hook =
        |(key, _): (&str, _)| PlannedScriptRun { patch: id.clone(), package: None, name: key.to_owned() };
    file.scripts = hooks.map(of_hook).collect();
    let expected = requested.expected.as_ref().map(|expected| &expected.plan);
    file.found = found(&ground.root, &[plan], expected)?;
    Ok(file)
}

fn states(made: &MadePlan, run: u64) -> PromotionStates {
    let mut digesting = Digesting::default();
    if let Some(force) = &made.base {
        digesting.update(format!("base {} {}\n", force.name, force.base.digest()).as_bytes());
    }
    digesting.update(format!("run {run}\n").as_bytes());
    let are_few = made.stage.objects.len() + made.live.objects.len() <= MOST_STATES;
    let mut side = |name: &str, tree: &Tree| {
        let (mut states, firsts) = (BTreeMap::new(), first_names(tree));
        for object in &tree.objects {
            let (path, digest) = (encode(object.path.as_bytes()), state_digest(object, &firsts).to_string());
            digesting.update(format!("{name} {path} {digest}\n").as_bytes());
            if are_few {
                states.insert(path, digest.chars().take(STATE_DIGITS).collect());
            }
        }
        states
    };
    let (staged, live) = (side("stage", &made.stage), side("live", &made.live));
    PromotionStates {
        fingerprint: format!("b3:{}", digesting.finish()),
        stage: made.stage_id.clone(),
        base: made.base.as_ref().map(|force| force.name.clone()),
        run,
        staged,
        live,
    }
}

fn first_names(tree: &Tree) -> HashMap<u32, &ObjectPath> {
    let mut firsts = HashMap::new();
    for TreeObject { path, group, .. } in &tree.objects {
        if let Some(group) = group {
            firsts.entry(*group).or_insert(path);
        }
    }
    firsts
}

/// Uses names instead of group numbers; ignores times of directories.
fn state_digest(object: &TreeObject, firsts: &HashMap<u32, &ObjectPath>) -> Digest {
    let mut state = object.state();
    let first = state.group.take().and_then(|group| firsts.get(&group));
    if state.kind == FileType::Directory {
        state.mtime = Timestamp::whole(0);
    }
    // Serializing strings, numbers and a map with string keys cannot fail.
    let mut text = serde_json::to_vec(&state).unwrap_or_default();
    text.extend(first.into_iter().flat_map(|first| first.as_bytes().iter().copied()));
    Digest::of(&text)
}

/// The requested id must be later than all known ones.
fn next_id(
    requested: Option<&str>,
    name: &StageName,
    view: &RecordView<'_>,
    applied: &AppliedPatches,
) -> Result<PatchId, Reason> {
    let known = known(name.as_str(), view, applied);
    let last = known.iter().max_by(|one, other| {
        if one.is_later_than(other) { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less }
    });
    let Some(requested) = requested else {
        let revision = last.and_then(|last| last.revision().parse::<u64>().ok()).unwrap_or(0) + 1;
        let text = format!("{name}-{revision:02}");
        return PatchId::new(&text).map_err(|error| Reason::BadId(error.to_string()));
    };
    let id = PatchId::new(requested).map_err(|error| Reason::BadId(error.to_string()))?;
    if id.base() != name.as_str() {
        return Err(Reason::BadId(format!("{id} does not have the base {name}, the name of the stage")));
    }
    match last {
        _ if known.contains(&id) => Err(Reason::Promotion(PromotionReason::KnownId)),
        Some(last) if !id.is_later_than(last) => {
            Err(Reason::Promotion(PromotionReason::EarlierId(last.clone())))
        }
        _ => Ok(id),
    }
}

fn known(base: &str, view: &RecordView<'_>, applied: &AppliedPatches) -> Vec<PatchId> {
    let recorded =
        applied.packages().iter().flat_map(|records| records.list.iter().chain(records.infos.keys()));
    let mut known: Vec<PatchId> = recorded.filter(|id| id.base() == base).cloned().collect();
    // A run that was rolled back does not count.
    let done = readable_history(view).into_iter().filter(|entry| entry.result == "done");
    let told = done.flat_map(|entry| entry.patches);
    known.extend(told.filter_map(|id| PatchId::new(&id).ok()).filter(|id| id.base() == base));
    known
}

struct RecordedFacts<'a> {
    lines: &'a BTreeMap<ObjectPath, ContentsLine>,
    live: &'a Tree,
    choice: &'a EditChoice,
}

impl PathFacts for RecordedFacts<'_> {
    fn choice(&self, path: &ObjectPath) -> Edited {
        self.choice.of(path)
    }

    fn is_volatile(&self, path: &ObjectPath) -> bool {
        self.lines.get(path).is_some_and(|line| line.object.ftype == Ftype::Volatile)
    }

    fn is_edited(&self, path: &ObjectPath) -> bool {
        let (Some(line), Some(live)) = (self.lines.get(path), self.live.object(path)) else { return false };
        let object = &line.object;
        match (&live.live.kind, object.ftype) {
            (LiveKind::Regular { size, cksum, .. }, ftype) if ftype.is_regular() => {
                object.content.size.is_some_and(|known| known != *size)
                    || object.content.cksum.is_some_and(|known| known != *cksum)
            }
            (LiveKind::Symlink(target), Ftype::Symlink) => object.target.as_ref() != Some(target),
            (LiveKind::Directory, ftype) => !ftype.is_directory(),
            (LiveKind::Pipe, Ftype::Pipe)
            | (LiveKind::Device { .. }, Ftype::Block | Ftype::Character)
            | (_, Ftype::Link) => false,
            _ => true,
        }
    }
}

pub(super) struct StageContent<'a> {
    root: &'a Root,
    files: BTreeMap<&'a ObjectPath, &'a PackagePath>,
}

impl<'a> StageContent<'a> {
    pub(super) fn of(root: &'a Root, plan: &'a Plan) -> Self {
        let file = |(path, action): (&'a ObjectPath, &'a Action)| match action {
            Action::Add(new) | Action::Replace(new) => match &new.body {
                Body::Member(member) => Some((path, &member.path)),
                _ => None,
            },
            _ => None,
        };
        let files = plan.changes.iter().filter_map(|change| file((&change.path, &change.action)));
        Self { root, files: files.collect() }
    }
}

impl ContentSource for StageContent<'_> {
    fn stream(
        &mut self,
        wanted: &WantedFile<'_>,
        _: Interrupt<'_>,
        sink: &mut FileSink<'_>,
    ) -> Result<(), StreamError> {
        let mut open: Option<Dir> = None;
        for (path, member) in self.files.iter().filter(|(_, member)| wanted(0, member)) {
            let failed = |error: patchadm_rootfs::RootError| StreamError::Source(Box::new(error));
            let directory = directory_of(self.root, &mut open, path).map_err(failed)?;
            let mut file = directory.open_regular(path.name()).map_err(failed)?;
            sink(0, member, &mut file).map_err(StreamError::Sink)?;
        }
        Ok(())
    }
}
