//! Decides which libraries a plan keeps, and for which files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use crate::operation::failure::Failure;
use crate::operation::libraries::library_state::{LibraryState, RootSymbols, ScannedRoot};
use crate::operation::libraries::mapped::{is_process, other_consumers};
use crate::operation::libraries::planned::{
    ArchivedLibraries, PhysicalPaths, PlannedFiles, TreeChange, TreeChanges, apply, returned,
};
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::contents::lines_of_paths;
use patchadm_inputs::inventory::{Inventory, KEPT_FROM, KeptLibraries};
use patchadm_inputs::policy::LibraryWords;
use patchadm_libraries::decision::{
    CandidateNode, CandidateOrigin, Consumer, ConsumerSource, LibraryCandidate, LibraryChange,
    LibraryDecision, LostNeed, Obstacle, OtherSource,
};
use patchadm_libraries::{Follower, LibraryTree, Loader, NeedSource};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::kept_libraries::{
    ArchivedLibrary, KeepingCause, KeptInput, KeptLibrary, KeptSettlement, LibraryReport, LostLibrary,
    NotUnderstoodFile, PackagePaths, SavedLibraries, StayingLibrary, StayingOrigin, ToldConsumer, why_lost,
};
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::refusal::{Command, LibraryLoss, Reason};
use patchadm_planning::plan::{Action, Change, Plan};
use patchadm_rootfs::{Digest, Interrupt, InterruptibleRead, Live, LiveKind, Root, Sums};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

pub(super) struct DecisionInput<'a, 'o> {
    pub(super) ground: &'a RootAndPolicy,
    pub(super) request: &'a PlanToSettle<'a>,
    pub(super) state: &'a LibraryState<'o>,
    pub(super) kept: &'a KeptLibraries,
    pub(super) changes: &'a TreeChanges,
    pub(super) files: &'a PlannedFiles,
    pub(super) paths: PhysicalPaths<'a>,
    pub(super) words: LibraryWords,
    pub(super) is_forbidden: bool,
    pub(super) is_forced: bool,
    pub(super) gives_up: &'a dyn Fn(&PkgInst) -> bool,
    pub(super) now: &'a Now,
    /// Returns the signal that asks for the end, if any.
    pub(super) interrupt: Interrupt<'a>,
}

pub(super) struct Decided {
    pub(super) settled: SettledLibraries,
    pub(super) needed: NeededLibraries,
    pub(super) tree: LibraryTree,
}

/// By path in packages: SONAME, and the files that need it.
pub(super) type NeededLibraries = BTreeMap<ObjectPath, (Option<String>, Vec<ToldConsumer>)>;

struct KeptCandidates {
    all: BTreeMap<ObjectPath, LibraryCandidate>,
    recorded: BTreeMap<ObjectPath, ObjectPath>,
    archived: BTreeMap<ObjectPath, ArchivedLibrary>,
}

impl DecisionInput<'_, '_> {
    pub(super) fn decide(&self) -> Result<Decided, Failure> {
        let scanned = self.state.scanned.as_ref();
        let scanned = scanned.ok_or_else(|| Failure::BadFile("the root was not scanned".to_owned()))?;
        let before = &scanned.tree;
        let owners_count = self.request.inventory.privileged;
        let returned = returned(self.request.plan, self.kept, self.files, owners_count);
        let after = self.after(before, &returned);
        let candidates = self.candidates(before, &after, &returned);
        let symbols =
            RootSymbols::new(&self.ground.root, before, &[self.state.symbols(), self.files.symbols()]);
        let change = LibraryChange {
            before,
            after: &after,
            settings: &scanned.settings,
            candidates: &candidates.all,
            brought: &self.brought(),
            unserved: &self.unserved(),
            others: &other_consumers(self.ground, (&candidates.all, &candidates.recorded), &after),
            symbols: &symbols,
            interrupt: self.interrupt,
        };
        let decision = change.decide();
        // An interrupted decision is invalid.
        Failure::unless_interrupted(self.interrupt)?;
        let mut tree = after;
        add_staying(&mut tree, &candidates, &decision);
        self.settle(scanned, (&candidates, &decision, &returned), tree)
    }

    fn after(&self, before: &LibraryTree, returned: &BTreeSet<ObjectPath>) -> LibraryTree {
        let mut tree = before.clone();
        for path in self.kept.paths() {
            tree.remove(&self.paths.of(path));
        }
        apply(&mut tree, self.changes, self.files);
        for path in returned {
            let physical = self.paths.of(path);
            if let Some(file) = before.file_at(&physical) {
                tree.put_file(physical, file.clone());
            }
        }
        tree
    }

    fn candidates(
        &self,
        before: &LibraryTree,
        after: &LibraryTree,
        returned: &BTreeSet<ObjectPath>,
    ) -> KeptCandidates {
        let mut candidates =
            KeptCandidates { all: BTreeMap::new(), recorded: BTreeMap::new(), archived: BTreeMap::new() };
        for change in &self.request.plan.changes {
            if let Some(candidate) = self.taken_away(change, before) {
                candidates.add(&change.path, self.paths.of(&change.path), candidate);
            }
        }
        for path in self.kept.paths().filter(|path| !returned.contains(*path)) {
            let physical = self.paths.of(path);
            let node = match self.kept.live.get(path).map(|live| &live.kind) {
                Some(LiveKind::Symlink(target)) => Some(CandidateNode::Link(target.clone())),
                Some(_) => before.file_at(&physical).cloned().map(CandidateNode::File),
                None => None,
            };
            let Some(node) = node else { continue };
            let obstacle = self.is_taken(path).then_some(Obstacle::PathTaken);
            candidates.add(
                path,
                physical,
                LibraryCandidate { node, origin: CandidateOrigin::Kept, obstacle },
            );
        }
        for (path, archived) in self.request.archived.into_iter().flat_map(|archived| &archived.objects) {
            let physical = self.paths.of(path);
            if self.kept.lines.contains_key(path)
                || after.file_at(&physical).is_some()
                || self.is_taken(path)
                || !self.is_left_free(path)
            {
                continue;
            }
            // The plan may remove an object there.
            let Some(node) = self.archived_node(archived) else { continue };
            let candidate = LibraryCandidate { node, origin: CandidateOrigin::Archived, obstacle: None };
            candidates.add(path, physical, candidate);
            candidates.archived.insert(path.clone(), archived.clone());
        }
        candidates
    }

    fn is_left_free(&self, path: &ObjectPath) -> bool {
        let changes = &self.request.plan.changes;
        let at = changes.binary_search_by(|change| change.path.cmp(path)).ok();
        let is_deleted = |change: &Change| matches!(change.action, Action::Delete);
        !self.request.inventory.live.contains_key(path)
            || at.and_then(|at| changes.get(at)).is_some_and(|change| is_deleted(change))
    }

    fn archived_node(&self, archived: &ArchivedLibrary) -> Option<CandidateNode> {
        match &archived.object.body {
            patchadm_planning::plan::Body::Symlink(target) => Some(CandidateNode::Link(target.clone())),
            patchadm_planning::plan::Body::Member(member) => {
                let new = self.files.get(member.package, &member.path)?;
                new.file.clone().map(CandidateNode::File)
            }
            _ => None,
        }
    }

    fn taken_away(&self, change: &Change, before: &LibraryTree) -> Option<LibraryCandidate> {
        let is_replaced = match &change.action {
            Action::Delete => false,
            Action::Replace(_) => true,
            _ => return None,
        };
        let node = match &change.old.as_deref()?.kind {
            LiveKind::Symlink(target) => CandidateNode::Link(target.clone()),
            LiveKind::Regular { .. } => {
                let file = before.file_at(&self.paths.of(&change.path))?;
                CandidateNode::File(file.clone())
            }
            _ => return None,
        };
        let obstacle = if is_replaced || self.is_taken(&change.path) {
            Some(Obstacle::PathTaken)
        } else if self.is_forbidden {
            Some(Obstacle::Forbidden)
        } else if !self.words.keep {
            Some(Obstacle::NotAsked)
        } else {
            None
        };
        Some(LibraryCandidate { node, origin: CandidateOrigin::TakenAway, obstacle })
    }

    fn is_taken(&self, path: &ObjectPath) -> bool {
        let changes = &self.request.plan.changes;
        let put = |path: &ObjectPath| {
            let at = changes.binary_search_by(|change| change.path.cmp(path)).ok()?;
            match &changes.get(at)?.action {
                Action::Add(new) | Action::Replace(new) => Some(&new.body),
                _ => None,
            }
        };
        let is_directory =
            |body: &patchadm_planning::plan::Body| matches!(body, patchadm_planning::plan::Body::Directory);
        put(path).is_some()
            || path.ancestors().any(|above| put(&above).is_some_and(|body| !is_directory(body)))
    }

    fn brought(&self) -> BTreeSet<ObjectPath> {
        let brought = |(path, change): &(ObjectPath, TreeChange)| match change {
            TreeChange::Member((package, member)) => {
                let new = self.files.get(*package, member)?;
                new.file.as_ref().map(|_| path.clone())
            }
            _ => None,
        };
        self.changes.iter().filter_map(brought).collect()
    }

    fn unserved(&self) -> BTreeSet<(ObjectPath, String)> {
        let archived = self.request.archived;
        archived.map(|archived| archived.unserved_of(|path| self.digest(path))).unwrap_or_default()
    }

    fn digest(&self, physical: &ObjectPath) -> Option<Digest> {
        digest_of(&self.ground.root, physical, self.interrupt)
    }

    fn settle(
        &self,
        scanned: &ScannedRoot,
        (candidates, decision, returned): (&KeptCandidates, &LibraryDecision, &BTreeSet<ObjectPath>),
        tree: LibraryTree,
    ) -> Result<Decided, Failure> {
        let needs = direct_needs(&tree, scanned, decision, self.interrupt);
        let all = decision.kept.values().flatten().map(|consumer| &consumer.path);
        let lost = decision.lost.iter().map(|lost| &lost.consumer.path);
        let all: BTreeSet<ObjectPath> = all.chain(lost).chain(needs.values().flatten()).cloned().collect();
        let owners =
            LibraryOwners::read(&self.ground.root, &all, &tree, (self.state, self.request.plan, self.kept))?;
        let staying = self.staying(candidates, decision, (&needs, &owners));
        let archived_packages = self.request.archived.map(|archived| archived.packages.clone());
        let archived_directories = self.request.archived.map(|archived| archived.directories.clone());
        let input = KeptInput {
            plan: self.request.plan,
            inventory: self.request.inventory,
            kept: self.kept,
            staying: Some(&staying),
            archived_packages: &archived_packages.unwrap_or_default(),
            archived_directories: &archived_directories.unwrap_or_default(),
            returned,
            cause: KeepingCause { by: self.request.by, is_forced: self.is_forced },
            now: self.now,
        };
        let settlement = input.settle().map_err(|reason| refused(self.request, reason))?;
        let reporting = ReportInput {
            scanned,
            words: self.words,
            kept: self.kept,
            settlement: &settlement,
            recorded: &candidates.recorded,
            candidates: &candidates.all,
            returned,
            owners: &owners,
        };
        let report = reporting.report(decision);
        if self.words.stop && !report.lost.is_empty() {
            return Err(refused(self.request, Reason::LibrariesLost(losses(&report))));
        }
        let needed = self.needed_by_replaced(scanned);
        let served = decision.served.iter().filter_map(|(path, name)| {
            Some((path.clone(), name.clone(), format!("b3:{}", self.digest(path)?)))
        });
        let served = if self.request.plan.undo.is_empty() { BTreeSet::new() } else { served.collect() };
        // After a signal, needed libraries and digests are missing.
        Failure::unless_interrupted(self.interrupt)?;
        // A backout writes no archive of its own; rewritten archives belong to patches that stay.
        let saved = match self.request.archived {
            Some(_) => SavedLibraries::default(),
            None => SavedLibraries::of(self.kept, &settlement, &needed, &served),
        };
        let sentences = report.sentences(|path| self.request.inventory.show(path).to_string());
        let needed = reporting.all_needed(decision);
        let settled = SettledLibraries { settlement, saved, report: Some(report), sentences };
        Ok(Decided { settled, needed, tree })
    }

    fn staying(
        &self,
        candidates: &KeptCandidates,
        decision: &LibraryDecision,
        (needs, owners): (&BTreeMap<ObjectPath, BTreeSet<ObjectPath>>, &LibraryOwners),
    ) -> BTreeMap<ObjectPath, StayingLibrary> {
        let nobody = BTreeSet::new();
        let kept = decision.kept.iter();
        let stays = |path: &&ObjectPath| {
            let recorded = candidates.recorded.get(*path);
            let keeper = recorded.and_then(|recorded| self.kept.keeper(recorded));
            !keeper.is_some_and(self.gives_up)
        };
        let unneeded = decision.unneeded.iter().filter(stays);
        let all = kept.chain(unneeded.map(|path| (path, &nobody)));
        let mut staying = BTreeMap::new();
        for (physical, consumers) in all {
            let (Some(candidate), Some(recorded)) =
                (candidates.all.get(physical), candidates.recorded.get(physical))
            else {
                continue;
            };
            let origin = match candidate.origin {
                CandidateOrigin::TakenAway => StayingOrigin::TakenAway,
                CandidateOrigin::Kept => StayingOrigin::Kept,
                CandidateOrigin::Archived => match candidates.archived.get(recorded) {
                    Some(archived) => StayingOrigin::Archived(Box::new(archived.clone())),
                    None => continue,
                },
            };
            let lasting = consumers.iter().filter(|consumer| !is_process(consumer));
            let dependents: BTreeSet<PkgInst> =
                lasting.clone().flat_map(|consumer| owners.of(&consumer.path)).collect();
            let consumers = lasting.map(|consumer| (how(consumer.source), consumer.path.clone())).collect();
            let needs = needs.get(physical).into_iter().flatten().flat_map(|path| owners.of(path)).collect();
            staying.insert(recorded.clone(), StayingLibrary { origin, consumers, dependents, needs });
        }
        staying
    }

    fn needed_by_replaced(&self, scanned: &ScannedRoot) -> BTreeSet<ObjectPath> {
        let mut needed = BTreeSet::new();
        if self.kept.is_empty() || self.request.plan.undo.is_empty() {
            return needed;
        }
        let kept: BTreeMap<ObjectPath, &ObjectPath> =
            self.kept.paths().map(|path| (self.paths.of(path), path)).collect();
        let mut loader = Loader::new(&scanned.tree, &scanned.settings).ended_by(self.interrupt);
        let replaced = self.request.plan.changes.iter().filter(|change| change.old.is_some());
        for change in replaced.filter(|change| !matches!(change.action, Action::Attributes(_))) {
            let Some(loading) = loader.load(&self.paths.of(&change.path)) else { continue };
            for way in loading.objects.iter().map(|object| &object.way) {
                let all = way.links.iter().chain([&way.path]);
                needed.extend(all.filter_map(|path| kept.get(path)).map(|path| (*path).clone()));
            }
        }
        needed
    }
}

impl KeptCandidates {
    fn add(&mut self, recorded: &ObjectPath, physical: ObjectPath, candidate: LibraryCandidate) {
        self.recorded.insert(physical.clone(), recorded.clone());
        self.all.insert(physical, candidate);
    }
}

/// `None` if it is unreadable, or a signal came.
fn digest_of(root: &Root, physical: &ObjectPath, interrupt: Interrupt<'_>) -> Option<Digest> {
    let dir = root.dir_if_there(&physical.parent()?).ok()??;
    let (file, seen) = dir.open_file(physical.name()).ok()?;
    let sums = Sums::of(&mut InterruptibleRead::new(file.take(seen.size), interrupt));
    sums.ok().map(|sums| sums.b3)
}

fn add_staying(tree: &mut LibraryTree, candidates: &KeptCandidates, decision: &LibraryDecision) {
    for path in decision.kept.keys().chain(&decision.unneeded) {
        match candidates.all.get(path).map(|candidate| &candidate.node) {
            Some(CandidateNode::File(file)) => tree.put_file(path.clone(), file.clone()),
            Some(CandidateNode::Link(target)) => tree.put_link(path.clone(), target),
            None => {}
        }
    }
}

fn direct_needs(
    tree: &LibraryTree,
    scanned: &ScannedRoot,
    decision: &LibraryDecision,
    interrupt: Interrupt<'_>,
) -> BTreeMap<ObjectPath, BTreeSet<ObjectPath>> {
    let mut loader = Loader::new(tree, &scanned.settings).ended_by(interrupt);
    let mut needs = BTreeMap::new();
    for path in decision.kept.keys() {
        let Some(loading) = loader.load(path) else { continue };
        let first = loading.objects.first().into_iter().flat_map(|object| loading.needs_of(object));
        let found = first.filter_map(|need| loading.found(need));
        needs.insert(path.clone(), found.map(|object| object.way.path.clone()).collect());
    }
    needs
}

pub(in crate::operation) struct PlanToSettle<'a> {
    /// Made as if nothing were kept.
    pub(in crate::operation) plan: &'a Plan,
    pub(in crate::operation) inventory: &'a Inventory,
    pub(in crate::operation) command: Command,
    /// Patch or command that removes libraries, for the records of kept ones.
    pub(in crate::operation) by: &'a str,
    pub(in crate::operation) forbids: bool,
    /// In the archives that it restores from.
    pub(in crate::operation) archived: Option<&'a ArchivedLibraries>,
}

impl<'a> PlanToSettle<'a> {
    pub(in crate::operation) fn of(
        (plan, inventory): (&'a Plan, &'a Inventory),
        command: Command,
        by: &'a str,
    ) -> Self {
        Self { plan, inventory, command, by, forbids: false, archived: None }
    }
}

pub(in crate::operation) struct SettledLibraries {
    pub(super) settlement: KeptSettlement,
    pub(super) saved: SavedLibraries,
    pub(super) report: Option<LibraryReport>,
    pub(super) sentences: Vec<String>,
}

impl SettledLibraries {
    /// The plan also gets the report.
    pub(in crate::operation) fn apply(self, patch: &mut PatchPlan) {
        patch.keep_libraries(&self.settlement);
        self.saved.put_into(&mut patch.plan);
        patch.plan.notes.extend(self.sentences);
        patch.libraries = self.report;
    }

    pub(in crate::operation) fn leaves(&self, path: &ObjectPath) -> bool {
        self.settlement.unmade.contains(path)
    }

    /// Returns kept objects that exist before and after the plan.
    pub(in crate::operation) fn staying(&self) -> BTreeMap<ObjectPath, Live> {
        self.settlement.staying()
    }

    /// Tells what stays because a native package owns it now.
    pub(super) fn native_notes(&self) -> &[String] {
        &self.settlement.notes
    }

    pub(in crate::operation) fn apply_to_plan(self, plan: &mut Plan) -> Option<LibraryReport> {
        self.settlement.apply(plan);
        self.saved.put_into(plan);
        plan.notes.extend(self.sentences);
        self.report
    }
}

pub(super) fn refused(request: &PlanToSettle<'_>, reason: Reason) -> Failure {
    let subject = request.plan.patches.first().cloned();
    let subject = subject.or_else(|| request.plan.packages.first().map(ToString::to_string));
    reason.shown(request.inventory).of(request.command, &subject.unwrap_or_default()).into()
}

pub(super) struct ReportInput<'a> {
    pub(super) scanned: &'a ScannedRoot,
    pub(super) words: LibraryWords,
    pub(super) kept: &'a KeptLibraries,
    pub(super) settlement: &'a KeptSettlement,
    pub(super) recorded: &'a BTreeMap<ObjectPath, ObjectPath>,
    pub(super) candidates: &'a BTreeMap<ObjectPath, LibraryCandidate>,
    pub(super) returned: &'a BTreeSet<ObjectPath>,
    pub(super) owners: &'a LibraryOwners,
}

pub(super) fn how(source: ConsumerSource) -> &'static str {
    match source {
        ConsumerSource::File(NeedSource::Needed) => "needed",
        ConsumerSource::File(NeedSource::Interpreter) => "interp",
        ConsumerSource::File(NeedSource::Preload) => "preload",
        ConsumerSource::File(NeedSource::Dlopen) => "dlopen",
        ConsumerSource::Other(OtherSource::Mapped(_)) => "mapped",
        ConsumerSource::Other(OtherSource::Policy) => "policy",
    }
}

impl ReportInput<'_> {
    pub(super) fn report(&self, decision: &LibraryDecision) -> LibraryReport {
        let (returned, dropped): (Vec<_>, Vec<_>) = self
            .kept
            .paths()
            .filter(|path| self.settlement.kept.keeper(path).is_none())
            .partition(|path| self.returned.contains(*path));
        LibraryReport {
            words: self.words,
            scanned: self.scanned.scanned,
            not_understood: self.not_understood(),
            skipped: self.scanned.skipped.to_vec(),
            kept: self.kept_libraries(decision),
            lost: self.lost(decision),
            dropped: self.by_package(&dropped),
            returned: self.by_package(&returned),
        }
    }

    fn not_understood(&self) -> Vec<NotUnderstoodFile> {
        let files = self.scanned.not_understood.iter();
        files.map(|(path, reason)| NotUnderstoodFile { path: path.clone(), reason: reason.clone() }).collect()
    }

    fn by_package(&self, paths: &[&ObjectPath]) -> Vec<PackagePaths> {
        let mut packages: BTreeMap<PkgInst, Vec<ObjectPath>> = BTreeMap::new();
        for path in paths {
            if let Some(keeper) = self.kept.keeper(path) {
                packages.entry(keeper.clone()).or_default().push((*path).clone());
            }
        }
        packages.into_iter().map(|(package, paths)| PackagePaths { package, paths }).collect()
    }

    fn consumers<'c>(&self, consumers: impl Iterator<Item = &'c Consumer>) -> Vec<ToldConsumer> {
        let told = |consumer: &Consumer| ToldConsumer {
            path: consumer.path.clone(),
            packages: self.owners.of(&consumer.path),
            how: how(consumer.source),
            pid: match consumer.source {
                ConsumerSource::Other(OtherSource::Mapped(pid)) => Some(pid),
                _ => None,
            },
        };
        let all: BTreeSet<ToldConsumer> = consumers.map(told).collect();
        all.into_iter().collect()
    }

    /// Excludes libraries that were kept before.
    fn kept_libraries(&self, decision: &LibraryDecision) -> Vec<KeptLibrary> {
        let mut libraries = Vec::new();
        for (physical, consumers) in &decision.kept {
            let (Some(LibraryCandidate { node: CandidateNode::File(file), .. }), Some(path)) =
                (self.candidates.get(physical), self.recorded.get(physical))
            else {
                continue;
            };
            let Some(keeper) = self.settlement.kept.keeper(path).filter(|_| self.kept.keeper(path).is_none())
            else {
                continue;
            };
            let mut paths = vec![path.clone()];
            paths.extend(self.links_to(physical, decision));
            paths.sort();
            let params = self.settlement.kept.packages.get(keeper).map(|installed| &installed.params);
            let soname = file.facts.soname.clone();
            libraries.push(KeptLibrary {
                package: keeper.clone(),
                from: Some(params.map(|params| params.text(KEPT_FROM).into_owned()).unwrap_or_default()),
                library: soname.unwrap_or_else(|| String::from_utf8_lossy(path.name()).into_owned()),
                paths,
                bytes: self.settlement.kept.live.get(path).and_then(Live::size).unwrap_or_default(),
                consumers: self.consumers(consumers.iter()),
            });
        }
        libraries
    }

    pub(super) fn all_needed(
        &self,
        decision: &LibraryDecision,
    ) -> BTreeMap<ObjectPath, (Option<String>, Vec<ToldConsumer>)> {
        let needed = decision.kept.iter().filter_map(|(physical, consumers)| {
            let LibraryCandidate { node: CandidateNode::File(file), .. } = self.candidates.get(physical)?
            else {
                return None;
            };
            let path = self.recorded.get(physical)?.clone();
            Some((path, (file.facts.soname.clone(), self.consumers(consumers.iter()))))
        });
        needed.collect()
    }

    fn links_to(&self, physical: &ObjectPath, decision: &LibraryDecision) -> Vec<ObjectPath> {
        let links = decision.kept.keys().filter(|path| {
            let is_link =
                self.candidates.get(*path).is_some_and(|one| matches!(one.node, CandidateNode::Link(_)));
            is_link && self.leads_to(path, physical)
        });
        links.filter_map(|path| self.recorded.get(path).cloned()).collect()
    }

    fn leads_to(&self, link: &ObjectPath, physical: &ObjectPath) -> bool {
        let mut at = link.clone();
        for _ in 0..40 {
            let Some(LibraryCandidate { node: CandidateNode::Link(target), .. }) = self.candidates.get(&at)
            else {
                return at == *physical;
            };
            match at.link_source(target) {
                Ok(next) => at = next,
                Err(_) => return false,
            }
        }
        false
    }

    fn lost(&self, decision: &LibraryDecision) -> Vec<LostLibrary> {
        let mut libraries: BTreeMap<(ObjectPath, String), Vec<&LostNeed>> = BTreeMap::new();
        for need in &decision.lost {
            // A library that never existed is not lost by the plan.
            let Some(path) = &need.library else { continue };
            libraries.entry((path.clone(), need.name.clone())).or_default().push(need);
        }
        let lost = libraries.into_iter().map(|((path, library), needs)| {
            let obstacle = needs.iter().find_map(|need| need.obstacle).unwrap_or(Obstacle::PathTaken);
            let versions: BTreeSet<&String> = needs.iter().flat_map(|need| &need.versions).collect();
            let symbols: BTreeSet<&String> = needs.iter().flat_map(|need| &need.symbols).collect();
            LostLibrary {
                library,
                path: self.recorded.get(&path).cloned().unwrap_or(path),
                reason: obstacle.word(),
                versions: versions.into_iter().cloned().collect(),
                symbols: symbols.into_iter().cloned().collect(),
                consumers: self.consumers(needs.iter().map(|need| &need.consumer)),
            }
        });
        lost.collect()
    }
}

pub(super) fn losses(report: &LibraryReport) -> Vec<LibraryLoss> {
    let loss = |lost: &LostLibrary| LibraryLoss {
        library: lost.library.clone(),
        missing: lost.versions.iter().chain(&lost.symbols).cloned().collect(),
        why: why_lost(lost.reason),
        consumers: lost.consumers.iter().map(|consumer| consumer.path.clone()).collect(),
    };
    report.lost.iter().map(loss).collect()
}

/// Excludes packages that keep libraries.
pub(super) struct LibraryOwners {
    lines: BTreeMap<ObjectPath, ContentsLine>,
    names: BTreeMap<ObjectPath, Vec<ObjectPath>>,
}

impl LibraryOwners {
    /// A package may name an object through a link at the top, such as `/bin` on a merged `/usr`.
    pub(super) fn read(
        root: &Root,
        physical: &BTreeSet<ObjectPath>,
        tree: &LibraryTree,
        (state, plan, kept): (&LibraryState<'_>, &Plan, &KeptLibraries),
    ) -> Result<Self, Failure> {
        let mut follower = tree.follower();
        let names: BTreeMap<ObjectPath, Vec<ObjectPath>> =
            physical.iter().map(|path| (path.clone(), names_of(path, &mut follower))).collect();
        let all: BTreeSet<ObjectPath> = names.values().flatten().cloned().collect();
        let found = lines_of_paths(&RecordView::live(root), &all)?;
        let mut lines: BTreeMap<ObjectPath, ContentsLine> = found
            .into_iter()
            .filter(|(path, _)| all.contains(path))
            .filter_map(|(path, line)| Some((path, kept.without_keepers(&line)?)))
            .collect();
        let known = |path: &ObjectPath| {
            let planned = plan.contents.get(path).map(|line| line.as_deref().cloned());
            planned.or_else(|| state.lines.get(path).cloned())
        };
        for path in &all {
            match known(path) {
                Some(Some(line)) => drop(lines.insert(path.clone(), line)),
                Some(None) => drop(lines.remove(path)),
                None => {}
            }
        }
        Ok(Self { lines, names })
    }

    pub(super) fn of(&self, physical: &ObjectPath) -> Vec<PkgInst> {
        let mut names = self.names.get(physical).into_iter().flatten();
        let line = names.find_map(|name| self.lines.get(name));
        let owners = line.into_iter().flat_map(|line| &line.owners);
        owners.map(|owner| owner.package.clone()).collect()
    }
}

fn names_of(physical: &ObjectPath, follower: &mut Follower<'_>) -> Vec<ObjectPath> {
    let mut names = vec![physical.clone()];
    let Some(rest) = physical.as_bytes().strip_prefix(b"/usr") else { return names };
    let Ok(short) = ObjectPath::new(rest) else { return names };
    let leads_there = follower.follow(short.as_bytes()).is_some_and(|way| way.path == *physical);
    if leads_there && short != *physical {
        names.push(short);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_signal_ends_the_digest_of_a_library_that_would_take_hours() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("small"), "text").unwrap();
        fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let path = |name: &[u8]| ObjectPath::new(name).unwrap();
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let interrupt = || (calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 100).then_some(15);
        assert_eq!(digest_of(&root, &path(b"/small"), &interrupt), Some(Digest::of(b"text")));
        assert_eq!(digest_of(&root, &path(b"/sparse"), &interrupt), None);
    }
}
