//! The plan of a promotion: both trees read, every path decided, what changes surveyed and planned.

use std::collections::{BTreeMap, HashSet};

use super::bases::{BaseInForce, own_promotions};
use super::brought::{BroughtRecords, ComparedSides, PackageDatabase, RecordSource, fault_after_merge};
use super::content::StageContent;
use super::decided::{ComparedTrees, PassedOver, kept_paths, refuse_mounts};
use super::facts::RecordedFacts;
use super::next_id::next_id;
use super::path_reports::path_reports;
use super::report::{PackageReport, PromoteReport, WithheldObject};
use super::request::PromoteRequest;
use super::set_id::set_id_files;
use super::sides::{PromotedTree, scope};
use super::withheld::ForeignObjects;
use crate::operation::changed_texts::ChangedTexts;
use crate::operation::failure::Failure;
use crate::operation::libraries::{LaterContent, LibraryKeeper, PlanToSettle};
use crate::operation::patches::after_run::AfterRun;
use crate::operation::promotion_hooks::{HookDirection, HookEnd, HookFiles};
use crate::operation::session::{Caller, RootAndPolicy};
use crate::operation::stages::error::StageError;
use crate::operation::stages::kept_objects::{hide_copies, hide_own, kept_in};
use crate::operation::stages::nesting::{must_be_apart, must_not_be_met};
use crate::operation::stages::other_writer::other_writer_of_records;
use crate::operation::stages::own_files::Stage;
use crate::operation::stages::refresh::StageToBe;
use crate::operation::stages::rights::LeftOwners;
use crate::operation::stages::tree::{Tree, TreeObject};
use crate::three_way::{Outcome, Outcomes, TwoWay};
use patchadm_changeset::transaction::{ExchangeReport, Receipt, Recovered};
use patchadm_inputs::database::contents::lines_of_paths;
use patchadm_inputs::database::{DatabaseError, RecordView, places};
use patchadm_inputs::inventory::{Inventory, KeptLibraries, Touched};
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_inputs::stage::{
    Base, BaseObject, ComparedAttributes, LeftOut, PromotionRecord, Scope, write_cache,
};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::edits::EditChoice;
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::promotion::{
    NamesOfFiles, PlannedPromotion, PromotionInput, PromotionOptions, TakenObject, local_name,
    promote_bringing,
};
use patchadm_planning::plan::refusal::{BroughtReason, Command, PromotionReason, Reason, SetIdFile};
use patchadm_rootfs::{KnownFile, Live, LiveKind, Root, Sums, Timestamp};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// A promotion that was planned, or refused once both trees were read.
#[derive(Debug)]
pub(super) struct MadePlan {
    pub(super) id: PatchId,
    pub(super) base: Option<BaseInForce>,
    /// The resulting plan; `None` if there is nothing to do.
    pub(super) plan: Result<Option<Plan>, Failure>,
    /// The hooks that run with it.
    pub(super) hooks: HookFiles,
    /// The fingerprint of the input of the plan, if a plan file is made or compared.
    pub(super) fingerprint: Option<String>,
    /// The outcomes of the hooks.
    pub(super) hook_ends: Vec<HookEnd>,
    /// The patches that the root has.
    pub(super) applied: Vec<PatchId>,
    pub(super) stage_id: Option<String>,
    /// The stage as it will be once its interrupted refresh is completed.
    refreshed: Option<StageToBe>,
    two_way: bool,
    scope: Scope,
    passed: PassedOver,
    /// The records that come from the package database of the stage.
    brought: BroughtRecords,
    /// The report on libraries, if they were examined.
    pub(super) libraries: Option<LibraryReport>,
    /// The part of each patch in the run, if patches of the stage come.
    pub(super) portions: Vec<Plan>,
    pub(super) stage: Tree,
    pub(super) live: Tree,
    outcomes: Outcomes,
    /// The files with set-id bits or capabilities that it changes.
    pub(super) set_id: Vec<SetIdFile>,
    /// The attributes that do not go live.
    withheld: Vec<WithheldObject>,
    /// The objects that are another user's.
    foreign: ForeignObjects,
    /// The objects of the stage that are held as they may go live, and not as they were read.
    changed: HashSet<ObjectPath>,
    /// The packages of the plan, and whether it makes them.
    packages: Vec<(PkgInst, bool)>,
    /// A moment before the trees were read.
    since: Timestamp,
    /// Whether the cache already has everything that can be known of the trees.
    is_as_known: bool,
}

/// Reads and decides everything. A defect of the stage or the root as a whole is an error. What the rules refuse is part of
/// the plan.
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
    hide_kept_libraries(&ground.root, tree, &mut stage, &mut live)?;
    let foreign = reader.foreign_objects(&scope, &stage, &live)?;
    let (withheld, changed) = foreign.withhold(&mut stage, &live);
    if !scope.is_all() {
        must_not_be_met(&ground.root, &tree.root, &live.objects)?;
    }
    let passed = PassedOver::of(&stage, &live, base.as_ref());
    let id = next_id(request.id.as_deref(), &tree.name, &view, applied);
    let mut made = MadePlan {
        id: id.clone().or_else(|_| first_id(tree))?,
        base,
        plan: Ok(None),
        hooks: HookFiles::default(),
        fingerprint: None,
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
                (made.hooks, made.hook_ends) = reader.hooks(&made.id)?;
            }
            Ok(plan)
        }),
        Err(reason) => Err(Failure::from(reason.of(Command::Promote, &tree.name))),
    };
    Ok(made)
}

/// Takes out of both trees what packages of kept libraries hold there, and out of the stage its copies of those.
fn hide_kept_libraries(
    root: &Root,
    tree: &PromotedTree,
    stage: &mut Tree,
    live: &mut Tree,
) -> Result<(), StageError> {
    let kept_of_stage = match &tree.stage {
        Some(own) if own.identity.records => kept_in(&own.root)?,
        _ => KeptLibraries::default(),
    };
    let kept = kept_in(root)?;
    hide_own(stage, &kept_of_stage);
    hide_copies(stage, &kept);
    hide_own(live, &kept);
    Ok(())
}

/// Returns an id for messages if none could be given.
fn first_id(tree: &PromotedTree) -> Result<PatchId, StageError> {
    let text = format!("{}-01", tree.name);
    PatchId::new(&text).map_err(|error| StageError::Failure(Failure::BadId(error.to_string())))
}

pub(super) struct PromotionReader<'a> {
    pub(super) ground: &'a RootAndPolicy,
    pub(super) tree: &'a PromotedTree,
    pub(super) request: &'a PromoteRequest,
    pub(super) caller: &'a Caller<'a>,
}

impl PromotionReader<'_> {
    /// Decides about every path, and plans the resulting changes.
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
        let choice = self.choice();
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

    /// Settles the changes of libraries that other files need.
    fn settle_libraries(
        &self,
        plan: &mut Plan,
        inventory: &Inventory,
        id: &PatchId,
    ) -> Result<Option<LibraryReport>, Failure> {
        let by = format!("promote {id}");
        let asked = PlanToSettle::of((plan, inventory), Command::Promote, &by);
        let now = &self.caller.now;
        let keeper = LibraryKeeper::new(self.ground, self.request.shlibs, now, !self.request.dry_run);
        let mut keeper = keeper.ended_by(self.caller.interrupt);
        let content = &mut StageContent::of(&self.tree.root, plan);
        let settled = keeper.settle(&asked, content, LaterContent::NotAsked)?;
        Ok(settled.and_then(|settled| settled.apply_to_plan(plan)))
    }

    /// Returns the hooks of the policy, unless hooks are disabled.
    fn hooks(&self, id: &PatchId) -> Result<(HookFiles, Vec<HookEnd>), Failure> {
        let policy = self.ground.policy.scripts;
        let scripts = if self.request.no_hooks { ScriptPolicy::Unwanted } else { policy };
        let files = HookFiles::of(self.ground, scripts, HookDirection::Promote);
        let files = files.map_err(|reason| HookDirection::Promote.refuse(reason, id))?;
        let ends = files.ends();
        Ok((files, ends))
    }

    /// Returns whether owners and all attributes come from the tree.
    fn owners(&self) -> bool {
        self.ground.root.is_privileged() && self.tree.left_owners.is_none()
    }

    /// Returns the objects of the tree that are another user's.
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

    /// Returns the sentences about owners that do not come although the tree has them.
    fn notes_of_owners(&self, foreign: &ForeignObjects) -> Vec<String> {
        let stay = "owners, capabilities and set-id bits stay as they are on the root";
        let left = self.tree.left_owners.as_ref().filter(|left| **left != LeftOwners::Incomplete);
        let whole = left.map(|left| format!("{stay}: {left}"));
        let parts = foreign.directories.iter().map(|(path, who)| {
            let path = self.tree.root.show(path);
            format!("of what is in {path}, {stay}: {who}")
        });
        whole.into_iter().chain(parts).collect()
    }

    fn choice(&self) -> EditChoice {
        EditChoice {
            general: self.request.edited.unwrap_or(self.ground.policy.edited),
            overridden: self.request.overridden.iter().cloned().collect(),
            preserved: self.request.preserved.iter().cloned().collect(),
            ..EditChoice::default()
        }
    }

    fn promotion(
        &self,
        made: &MadePlan,
        inventory: &Inventory,
        (applied, owners): (&AppliedPatches, bool),
    ) -> Result<PlannedPromotion, Failure> {
        let taken = made.outcomes.iter().filter_map(|(path, outcome)| {
            let time_only = *outcome == Outcome::TakeTime;
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
            options: PromotionOptions {
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

    /// Returns what comes from the package database of the stage.
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

    /// Returns who beside the superuser may write what comes from the package database of a stage: the database, or objects of
    /// its patches and packages.
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

/// Refuses lines that would not agree with the packages of the root once they are merged with those of the root.
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

/// Returns what has to be surveyed: the objects that come or go, with all their other names, and the packages that own them.
fn touched(made: &MadePlan, lines: &BTreeMap<ObjectPath, ContentsLine>) -> Touched {
    let mut touched = Touched::default();
    let names = names_of(&made.live);
    for (path, outcome) in &made.outcomes {
        let is_taken = outcome.is_taken() || *outcome == Outcome::TakeTime;
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
        // A backout has to make a name that is left behind a name of this file again.
        touched.paths.extend(names.all(path).iter().cloned());
    }
    let known =
        touched.paths.iter().filter_map(|path| Some((path.clone(), known_file(made.live.object(path)?)?)));
    touched.known = known.collect();
    touched
}

/// Returns what the reading of the live tree has found about a file, so that the file is not read again.
fn known_file(object: &TreeObject) -> Option<KnownFile> {
    let LiveKind::Regular { size, cksum, b3 } = object.live.kind else { return None };
    let Live { inode, mtime, ctime, .. } = object.live;
    Some(KnownFile { inode, mtime, ctime, sums: Sums { size, cksum, b3 } })
}

fn names_of(tree: &Tree) -> NamesOfFiles {
    NamesOfFiles::of(tree.objects.iter().filter_map(|object| Some((object.path.clone(), object.group?))))
}

impl MadePlan {
    /// Returns the outcome before anything is done.
    pub(super) fn refused_or_planned(&mut self) -> Result<Option<Receipt>, Failure> {
        match std::mem::replace(&mut self.plan, Ok(None)) {
            Ok(plan) => {
                self.plan = Ok(plan);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Returns the base that the promotion leaves: the stage as it was read, and for what was not compared the contents of
    /// the base in force. It is not sorted.
    pub(super) fn base_after(&self, before: &Base) -> Vec<BaseObject> {
        let is_compared = |path: &ObjectPath| self.scope.contains(path) && !self.passed.has(path);
        let kept = before.objects.iter().filter(|object| !is_compared(&object.path)).cloned();
        let mut objects: Vec<BaseObject> = kept.collect();
        // The group numbers of its files are its own.
        let last = objects.iter().filter_map(|object| object.object()?.group).max().unwrap_or(0);
        let read = self.stage.objects.iter().filter(|object| is_compared(&object.path));
        objects.extend(read.map(|object| object.base_object().numbered_behind(last)));
        objects
    }

    /// Returns what was read of both trees, for the next time; `None` if the cache already has it. A file that a
    /// run changes meanwhile is then recognized by its times.
    pub(super) fn cache(&self) -> Option<Vec<u8>> {
        (!self.is_as_known).then(|| {
            let stage = self.stage.known_files(self.since);
            let as_read = stage.filter(|file| !self.changed.contains(file.path));
            write_cache(as_read, self.live.known_files(self.since))
        })
    }

    /// Returns the packages of the stage, as the base that the promotion leaves has them.
    pub(super) fn base_packages(&self, before: &Base) -> BTreeMap<PkgInst, String> {
        let known = &self.brought.versions;
        if known.is_empty() { before.header.packages.clone() } else { known.clone() }
    }

    /// Returns the report, with this outcome and with that of the directories that should be exchanged.
    pub(super) fn report(
        self,
        result: Result<Option<Receipt>, Failure>,
        exchanges: Vec<ExchangeReport>,
    ) -> PromoteReport {
        let plan = self.plan.as_ref().ok().and_then(Option::as_ref);
        let changes = plan.map(|plan| plan.changes.as_slice()).unwrap_or_default();
        let paths = path_reports(&self.scope, &self.live, changes, &exchanges);
        let conflicts = self.outcomes.iter().filter_map(|(path, outcome)| match outcome {
            Outcome::Conflict(conflict) => Some((path.clone(), *conflict)),
            _ => None,
        });
        PromoteReport {
            recovered: Recovered::Nothing,
            paths,
            exchanges,
            kept: kept_paths((&self.stage, &self.live), &self.outcomes),
            conflicts: conflicts.collect(),
            packages: self.package_reports(plan),
            stage: self.stage_id,
            id: self.id.to_string(),
            base: self.base.map(|force| force.name),
            two_way: self.two_way,
            plan: self.plan.ok().flatten(),
            texts: ChangedTexts::new(),
            portions: self.portions,
            refreshed: self.refreshed.map(|to_be| to_be.told),
            in_use: Vec::new(),
            hooks: self.hook_ends,
            set_id: self.set_id,
            withheld: self.withheld,
            fingerprint: self.fingerprint,
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
