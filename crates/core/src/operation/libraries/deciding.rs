//! The comparison of a plan with the scanned root: which libraries are kept for which files, and what that changes in the
//! plan.

use std::collections::{BTreeMap, BTreeSet};

use super::library_state::{LibraryState, RootSymbols, ScannedRoot};
use super::mapped::mapped_by;
use super::new_files::NewFiles;
use super::owners::Owners;
use super::planned_tree::{PhysicalPaths, TreeChange, TreeChanges, apply, returned};
use super::settled::{PlanToSettle, SettledLibraries, refused};
use super::telling::{Telling, how, losses};
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::inventory::KeptLibraries;
use patchadm_inputs::policy::LibraryWords;
use patchadm_libraries::decision::{
    Candidate, CandidateNode, CandidateOrigin, Consumer, ConsumerSource, LibraryChange, LibraryDecision,
    Obstacle, OtherConsumer, OtherSource,
};
use patchadm_libraries::{LibraryTree, Loader};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::kept_libraries::{
    ArchivedLibrary, KeepingCause, KeptInput, SavedLibraries, StayingLibrary, StayingOrigin, ToldConsumer,
};
use patchadm_planning::plan::refusal::Reason;
use patchadm_planning::plan::{Action, Change};
use patchadm_rootfs::{Digest, Interrupt, LiveKind, Sums};
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// A plan with everything that is needed for its decision.
pub(super) struct Deciding<'a, 'o> {
    pub(super) ground: &'a RootAndPolicy,
    pub(super) asked: &'a PlanToSettle<'a>,
    pub(super) state: &'a LibraryState<'o>,
    pub(super) kept: &'a KeptLibraries,
    pub(super) changes: &'a TreeChanges,
    pub(super) files: &'a NewFiles,
    pub(super) paths: PhysicalPaths<'a>,
    pub(super) words: LibraryWords,
    pub(super) is_forbidden: bool,
    pub(super) is_forced: bool,
    /// The packages of kept libraries that give up what nothing needs.
    pub(super) gives_up: &'a dyn Fn(&PkgInst) -> bool,
    pub(super) now: &'a Now,
    /// Returns the signal that asks for the end, if any.
    pub(super) interrupt: Interrupt<'a>,
}

/// The decision, and the tree after it.
pub(super) struct Decided {
    pub(super) settled: SettledLibraries,
    /// The kept libraries that are needed, by their paths in packages: SONAME, and the files that need them.
    pub(super) needed: NeededLibraries,
    pub(super) tree: LibraryTree,
}

/// Libraries by their paths in packages: SONAME, and the files that need them.
pub(super) type NeededLibraries = BTreeMap<ObjectPath, (Option<String>, Vec<ToldConsumer>)>;

/// The candidates by their physical paths.
struct Candidates {
    all: BTreeMap<ObjectPath, Candidate>,
    /// Their paths in packages.
    recorded: BTreeMap<ObjectPath, ObjectPath>,
    archived: BTreeMap<ObjectPath, ArchivedLibrary>,
}

impl Deciding<'_, '_> {
    /// Makes the decision.
    pub(super) fn decide(&self) -> Result<Decided, Failure> {
        let scanned = self.state.scanned.as_ref();
        let scanned = scanned.ok_or_else(|| Failure::BadFile("the root was not scanned".to_owned()))?;
        let before = &scanned.tree;
        let owners_count = self.asked.inventory.privileged;
        let returned = returned(self.asked.plan, self.kept, self.files, owners_count);
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
            others: &self.others(&candidates, &after),
            symbols: &symbols,
            interrupt: self.interrupt,
        };
        let decision = change.decide();
        // A decision that a signal ended means nothing.
        Failure::unless_interrupted(self.interrupt)?;
        let mut tree = after;
        add_staying(&mut tree, &candidates, &decision);
        self.settle(scanned, (&candidates, &decision, &returned), tree)
    }

    /// Returns the tree after the plan, without anything that is kept.
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
    ) -> Candidates {
        let mut candidates =
            Candidates { all: BTreeMap::new(), recorded: BTreeMap::new(), archived: BTreeMap::new() };
        for change in &self.asked.plan.changes {
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
            candidates.add(path, physical, Candidate { node, origin: CandidateOrigin::Kept, obstacle });
        }
        for (path, archived) in self.asked.archived.into_iter().flat_map(|archived| &archived.objects) {
            let physical = self.paths.of(path);
            if self.kept.lines.contains_key(path)
                || after.file_at(&physical).is_some()
                || self.is_taken(path)
                || !self.is_left_free(path)
            {
                continue;
            }
            // What the plan removes there makes room for it.
            let Some(node) = self.archived_node(archived) else { continue };
            let candidate = Candidate { node, origin: CandidateOrigin::Archived, obstacle: None };
            candidates.add(path, physical, candidate);
            candidates.archived.insert(path.clone(), archived.clone());
        }
        candidates
    }

    /// Tells whether a path is free after the plan.
    fn is_left_free(&self, path: &ObjectPath) -> bool {
        let changes = &self.asked.plan.changes;
        let at = changes.binary_search_by(|change| change.path.cmp(path)).ok();
        let is_deleted = |change: &Change| matches!(change.action, Action::Delete);
        !self.asked.inventory.live.contains_key(path)
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

    /// Returns a library, or a link, that the plan removes from a package.
    fn taken_away(&self, change: &Change, before: &LibraryTree) -> Option<Candidate> {
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
        Some(Candidate { node, origin: CandidateOrigin::TakenAway, obstacle })
    }

    /// Tells whether the plan puts an object at a path, or an object other than a directory on the way to it.
    fn is_taken(&self, path: &ObjectPath) -> bool {
        let changes = &self.asked.plan.changes;
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

    /// Returns the programs and libraries that the plan brings.
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
        let archived = self.asked.archived;
        archived.map(|archived| archived.unserved_of(|path| self.digest(path))).unwrap_or_default()
    }

    /// Returns the digest of a file of the root.
    fn digest(&self, physical: &ObjectPath) -> Option<Digest> {
        let dir = self.ground.root.dir_if_there(&physical.parent()?).ok()??;
        let (mut file, _) = dir.open_file(physical.name()).ok()?;
        Sums::of(&mut file).ok().map(|sums| sums.b3)
    }

    /// Returns the candidates that count as needed regardless of what files say.
    fn others(
        &self,
        candidates: &Candidates,
        after: &LibraryTree,
    ) -> BTreeMap<ObjectPath, BTreeSet<OtherConsumer>> {
        let is_file = |(_, candidate): &(&ObjectPath, &Candidate)| {
            matches!(candidate.node, CandidateNode::File(_)) && candidate.origin != CandidateOrigin::Archived
        };
        let files = candidates.all.iter().filter(is_file).map(|(path, _)| path.clone()).collect();
        let mut others = mapped_by(&self.ground.root, &files, |program| after.file_at(program).is_some());
        for (physical, candidate) in &candidates.all {
            let named = [Some(physical), candidates.recorded.get(physical)].into_iter().flatten();
            let is_file = matches!(candidate.node, CandidateNode::File(_));
            let globs = &self.ground.policy.shlib_keep;
            if is_file && named.into_iter().any(|path| globs.iter().any(|glob| glob.names(path))) {
                let consumer = OtherConsumer { path: physical.clone(), source: OtherSource::Policy };
                others.entry(physical.clone()).or_default().insert(consumer);
            }
        }
        others
    }

    /// Turns a decision into changes of the plan and a report.
    fn settle(
        &self,
        scanned: &ScannedRoot,
        (candidates, decision, returned): (&Candidates, &LibraryDecision, &BTreeSet<ObjectPath>),
        tree: LibraryTree,
    ) -> Result<Decided, Failure> {
        let needs = direct_needs(&tree, scanned, decision, self.interrupt);
        let all = decision.kept.values().flatten().map(|consumer| &consumer.path);
        let lost = decision.lost.iter().map(|lost| &lost.consumer.path);
        let all: BTreeSet<ObjectPath> = all.chain(lost).chain(needs.values().flatten()).cloned().collect();
        let owners = Owners::read(&self.ground.root, &all, &tree, (self.state, self.asked, self.kept))?;
        let staying = self.staying(candidates, decision, (&needs, &owners));
        let archived_packages = self.asked.archived.map(|archived| archived.packages.clone());
        let archived_directories = self.asked.archived.map(|archived| archived.directories.clone());
        let input = KeptInput {
            plan: self.asked.plan,
            inventory: self.asked.inventory,
            kept: self.kept,
            staying: Some(&staying),
            archived_packages: &archived_packages.unwrap_or_default(),
            archived_directories: &archived_directories.unwrap_or_default(),
            returned,
            cause: KeepingCause { by: self.asked.by, is_forced: self.is_forced },
            now: self.now,
        };
        let settlement = input.settle().map_err(|reason| refused(self.asked, reason))?;
        let telling = Telling {
            scanned,
            words: self.words,
            kept: self.kept,
            settlement: &settlement,
            recorded: &candidates.recorded,
            candidates: &candidates.all,
            returned,
            owners: &owners,
        };
        let report = telling.report(decision);
        if self.words.stop && !report.lost.is_empty() {
            return Err(refused(self.asked, Reason::LibrariesLost(losses(&report))));
        }
        let needed = self.needed_by_replaced(scanned);
        Failure::unless_interrupted(self.interrupt)?;
        let served = decision.served.iter().filter_map(|(path, name)| {
            Some((path.clone(), name.clone(), format!("b3:{}", self.digest(path)?)))
        });
        let served = if self.asked.plan.undo.is_empty() { BTreeSet::new() } else { served.collect() };
        // A backout writes no archive of its own. The archives that it writes anew are of patches that stay.
        let saved = match self.asked.archived {
            Some(_) => SavedLibraries::default(),
            None => SavedLibraries::of(self.kept, &settlement, &needed, &served),
        };
        let sentences = report.sentences(|path| self.asked.inventory.show(path).to_string());
        let needed = telling.all_needed(decision);
        let settled = SettledLibraries { settlement, saved, report: Some(report), sentences };
        Ok(Decided { settled, needed, tree })
    }

    fn staying(
        &self,
        candidates: &Candidates,
        decision: &LibraryDecision,
        (needs, owners): (&BTreeMap<ObjectPath, BTreeSet<ObjectPath>>, &Owners),
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

    /// Returns the kept objects that are needed by what the plan replaces or removes.
    fn needed_by_replaced(&self, scanned: &ScannedRoot) -> BTreeSet<ObjectPath> {
        let mut needed = BTreeSet::new();
        if self.kept.is_empty() || self.asked.plan.undo.is_empty() {
            return needed;
        }
        let kept: BTreeMap<ObjectPath, &ObjectPath> =
            self.kept.paths().map(|path| (self.paths.of(path), path)).collect();
        let mut loader = Loader::new(&scanned.tree, &scanned.settings).ended_by(self.interrupt);
        let replaced = self.asked.plan.changes.iter().filter(|change| change.old.is_some());
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

impl Candidates {
    fn add(&mut self, recorded: &ObjectPath, physical: ObjectPath, candidate: Candidate) {
        self.recorded.insert(physical.clone(), recorded.clone());
        self.all.insert(physical, candidate);
    }
}

/// Adds the kept libraries to the tree after the plan.
fn add_staying(tree: &mut LibraryTree, candidates: &Candidates, decision: &LibraryDecision) {
    for path in decision.kept.keys().chain(&decision.unneeded) {
        match candidates.all.get(path).map(|candidate| &candidate.node) {
            Some(CandidateNode::File(file)) => tree.put_file(path.clone(), file.clone()),
            Some(CandidateNode::Link(target)) => tree.put_link(path.clone(), target),
            None => {}
        }
    }
}

fn is_process(consumer: &Consumer) -> bool {
    matches!(consumer.source, ConsumerSource::Other(OtherSource::Mapped(_)))
}

/// Returns what each kept library needs itself.
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
