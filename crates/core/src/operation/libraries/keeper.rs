//! Effects of successive plans on libraries that other files need. The root is scanned only if a plan removes a
//! library, adds a new name, or changes programs while something is kept; otherwise only first bytes of replaced files
//! are read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::library_state::{LaterContent, LibraryState, file_at, symbols_at};
use super::planned::ArchivedLibraries;
use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryRequest;
use crate::operation::libraries::decision::{DecisionInput, PlanToSettle, SettledLibraries, refused};
use crate::operation::libraries::planned::{
    PhysicalPaths, PlannedFiles, TreeChange, TreeChanges, members, tree_changes,
};
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::transaction::ContentSource;
use patchadm_inputs::inventory::KeptLibraries;
use patchadm_libraries::{LibraryFile, elf};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::kept_libraries::{KeepingCause, KeptInput, SavedLibraries};
use patchadm_planning::plan::{Action, Change};
use patchadm_rootfs::{Interrupt, LiveKind, Root, never, side_by_side};
use patchadm_svr4::package::ObjectPath;

#[derive(Clone)]
pub(in crate::operation) struct LibraryKeeper<'o> {
    ground: &'o RootAndPolicy,
    request: LibraryRequest,
    now: &'o Now,
    is_run: bool,
    interrupt: Interrupt<'o>,
    state: LibraryState<'o>,
}

impl<'o> LibraryKeeper<'o> {
    pub(in crate::operation) fn new(
        ground: &'o RootAndPolicy,
        request: LibraryRequest,
        now: &'o Now,
        is_run: bool,
    ) -> Self {
        Self { ground, request, now, is_run, interrupt: &never, state: LibraryState::default() }
    }

    /// A signal ends the work.
    pub(in crate::operation) fn ended_by(self, interrupt: Interrupt<'o>) -> Self {
        Self { interrupt, ..self }
    }

    pub(in crate::operation) fn knowing(mut self, kept: KeptLibraries) -> Self {
        self.state.kept = Some(kept);
        self
    }

    /// `None` if the plan stays as it is, with nothing to report.
    pub(in crate::operation) fn settle(
        &mut self,
        request: &PlanToSettle<'_>,
        content: &mut dyn ContentSource,
        later: LaterContent<'o>,
    ) -> Result<Option<SettledLibraries>, Failure> {
        let is_last = matches!(later, LaterContent::NotAsked);
        let settled = self.settled(request, content, later)?;
        if !is_last {
            self.record_lines(request);
        }
        Ok(settled)
    }

    fn settled(
        &mut self,
        request: &PlanToSettle<'_>,
        content: &mut dyn ContentSource,
        later: LaterContent<'o>,
    ) -> Result<Option<SettledLibraries>, Failure> {
        let kept = match self.state.kept.take() {
            Some(kept) => kept,
            None => self.ground.kept_libraries(&request.inventory.hidden)?,
        };
        let paths = PhysicalPaths { root: &self.ground.root, inventory: request.inventory };
        let changes = tree_changes(request.plan, paths);
        let gone = self.gone(request, paths);
        let has_archived = request.archived.is_some_and(|archived| !archived.objects.is_empty());
        let is_all_read = !kept.is_empty() || has_archived || !gone.is_empty();
        let mut wanted = if is_all_read { members(&changes) } else { members(&named_as_libraries(&changes)) };
        wanted.extend(request.archived.into_iter().flat_map(ArchivedLibraries::members));
        let files = PlannedFiles::read((&self.ground.root, self.interrupt), content, &wanted);
        Failure::unless_interrupted(self.interrupt)?;
        let is_concerned = has_archived
            || self.loses_library(&gone, &changes, &files)
            || brings_new_name(request, &changes, &files, paths)
            || !kept.is_empty() && (!gone.is_empty() || files.has_objects());
        if !is_concerned {
            let is_last = matches!(later, LaterContent::NotAsked);
            let settled = self.untouched(request, kept, is_last)?;
            if !is_last {
                self.go_on(changes, files, (content, later));
            }
            return Ok(settled);
        }
        let began = self.now.moment();
        self.state.scan(self.ground, began, self.is_run, self.interrupt)?;
        let words = self.request.words(&self.ground.policy);
        let deciding = DecisionInput {
            ground: self.ground,
            request,
            state: &self.state,
            kept: &kept,
            changes: &changes,
            files: &files,
            paths,
            words,
            is_forbidden: request.forbids && !self.request.always,
            is_forced: request.forbids && self.request.always,
            gives_up: &|_| false,
            now: self.now,
            interrupt: self.interrupt,
        };
        let decided = deciding.decide()?;
        self.state.kept = Some(decided.settled.settlement.kept.clone());
        self.state.go_on(decided.tree, files);
        Ok(Some(decided.settled))
    }

    /// For a plan that removes no needed library. Lines of kept directories stay those of their packages.
    fn untouched(
        &mut self,
        request: &PlanToSettle<'_>,
        kept: KeptLibraries,
        is_last: bool,
    ) -> Result<Option<SettledLibraries>, Failure> {
        let is_touched = |path: &ObjectPath| kept.lines.contains_key(path);
        let touches = request.plan.contents.keys().any(is_touched)
            || request.plan.changes.iter().any(|change| is_touched(&change.path));
        let settled = if touches { Some(self.settled_without_a_look(request, &kept)?) } else { None };
        if !is_last {
            let after = settled.as_ref().map(|settled| settled.settlement.kept.clone());
            self.state.kept = Some(after.unwrap_or(kept));
        }
        Ok(settled)
    }

    /// Moves to the root after a plan. Reads the plan's files unless that is possible later.
    fn go_on(
        &mut self,
        changes: TreeChanges,
        files: PlannedFiles,
        (content, later): (&mut dyn ContentSource, LaterContent<'o>),
    ) {
        match later {
            LaterContent::At(content) if self.state.scanned.is_none() => {
                self.state.add_unread(changes, files, content);
            }
            _ => {
                let all =
                    PlannedFiles::read((&self.ground.root, self.interrupt), content, &members(&changes));
                self.state.add_read(changes, all);
            }
        }
    }

    fn settled_without_a_look(
        &self,
        request: &PlanToSettle<'_>,
        kept: &KeptLibraries,
    ) -> Result<SettledLibraries, Failure> {
        let input = KeptInput {
            plan: request.plan,
            inventory: request.inventory,
            kept,
            staying: None,
            archived_packages: &BTreeMap::new(),
            archived_directories: &BTreeMap::new(),
            returned: &BTreeSet::new(),
            cause: KeepingCause { by: request.by, is_forced: false },
            now: self.now,
        };
        let settlement = input.settle().map_err(|reason| refused(request, reason))?;
        let saved = match request.archived {
            Some(_) => SavedLibraries::default(),
            None => SavedLibraries::of(kept, &settlement, &BTreeSet::new(), &BTreeSet::new()),
        };
        Ok(SettledLibraries { settlement, saved, report: None, sentences: Vec::new() })
    }

    fn gone(&self, request: &PlanToSettle<'_>, paths: PhysicalPaths<'_>) -> Vec<GoneObject> {
        let heads = &request.inventory.heads;
        let found = |change: &Change| {
            let old = match &change.action {
                Action::Delete | Action::Replace(_) => change.old.as_deref()?,
                _ => return None,
            };
            let physical = paths.of(&change.path);
            match &old.kind {
                LiveKind::Symlink(_) => is_library_name(&physical).then_some((physical, None)),
                LiveKind::Regular { size, .. } if *size >= SMALLEST => match &self.state.scanned {
                    Some(scanned) => {
                        let file = scanned.tree.file_at(&physical).cloned()?;
                        Some((physical, Some(GoneFile::Known(file))))
                    }
                    None if self.state.is_changed(&physical) => {
                        is_library_name(&physical).then_some((physical, None))
                    }
                    None if heads.get(&change.path).is_some_and(|head| *head != elf::MAGIC) => None,
                    None => Some((physical, Some(GoneFile::Unread))),
                },
                _ => None,
            }
        };
        let found: Vec<_> = request.plan.changes.iter().filter_map(|change| found(change)).collect();
        let shares: Vec<&[LostObject]> = found.chunks(READ_AT_ONCE).collect();
        let root = &self.ground.root;
        let gone = side_by_side(root.workers(), shares.len(), || {
            |at: usize| {
                let share = shares.get(at).copied().unwrap_or_default();
                share.iter().filter_map(|one| gone_object(one, root)).collect::<Vec<_>>()
            }
        });
        gone.into_iter().flatten().collect()
    }

    fn loses_library(&self, gone: &[GoneObject], changes: &TreeChanges, files: &PlannedFiles) -> bool {
        if gone.is_empty() {
            return false;
        }
        let by_place = changes.iter().map(|(path, change)| (path, change)).collect();
        gone.iter().any(|one| self.is_lost_library(one, &by_place, files))
    }

    /// A library without an equivalent replacement is lost.
    fn is_lost_library(
        &self,
        gone: &GoneObject,
        changes: &HashMap<&ObjectPath, &TreeChange>,
        files: &PlannedFiles,
    ) -> bool {
        let Some(old) = &gone.file else { return true };
        if old.facts.is_program() && old.facts.soname.is_none() {
            return false;
        }
        let Some(TreeChange::Member((package, path))) = changes.get(&gone.physical) else { return true };
        let Some(new) = files.get(*package, path).and_then(|new| new.file.as_ref()) else { return true };
        let (was, is) = (&old.facts, &new.facts);
        if was.soname != is.soname || was.machine != is.machine {
            return true;
        }
        if was.defines.iter().any(|version| !is.defines.contains(version)) {
            return true;
        }
        let key: *const LibraryFile = Arc::as_ptr(new);
        match (symbols_at(&self.ground.root, &gone.physical), files.symbols().get(&key)) {
            (Some(was), Some(is)) => was.exported.missing_in(&is.exported).next().is_some(),
            _ => true,
        }
    }

    fn record_lines(&mut self, request: &PlanToSettle<'_>) {
        let lines = request.plan.contents.iter().map(|(path, line)| (path.clone(), line.as_deref().cloned()));
        self.state.lines.extend(lines);
    }
}

/// In bytes: the header of a 32-bit file.
const SMALLEST: u64 = 52;

const READ_AT_ONCE: usize = 64;

/// A removed or replaced program or library, or a link to one.
struct GoneObject {
    physical: ObjectPath,
    file: Option<Arc<LibraryFile>>,
}

/// A removed file: its facts, or where to read them.
enum GoneFile {
    Known(Arc<LibraryFile>),
    Unread,
}

type LostObject = (ObjectPath, Option<GoneFile>);

/// `None` for a file that is neither program nor library.
fn gone_object((physical, file): &LostObject, root: &Root) -> Option<GoneObject> {
    let file = match file {
        None => None,
        Some(GoneFile::Known(file)) => Some(file.clone()),
        Some(GoneFile::Unread) => Some(file_at(root, physical)?),
    };
    Some(GoneObject { physical: physical.clone(), file })
}

fn is_library_name(path: &ObjectPath) -> bool {
    path.name().windows(3).any(|part| part == b".so")
}

fn named_as_libraries(changes: &TreeChanges) -> TreeChanges {
    changes.iter().filter(|(path, _)| is_library_name(path)).cloned().collect()
}

/// True if a plan adds a library, or a link to one, under a new path.
fn brings_new_name(
    request: &PlanToSettle<'_>,
    changes: &TreeChanges,
    files: &PlannedFiles,
    paths: PhysicalPaths<'_>,
) -> bool {
    let added = request.plan.changes.iter().filter(|change| matches!(change.action, Action::Add(_)));
    let added: BTreeSet<ObjectPath> = added.map(|change| paths.of(&change.path)).collect();
    changes.iter().filter(|(path, _)| added.contains(path)).any(|(path, change)| match change {
        TreeChange::Member((package, member)) => {
            let file = files.get(*package, member).and_then(|new| new.file.as_ref());
            file.is_some_and(|file| !file.facts.is_program() || file.facts.soname.is_some())
        }
        TreeChange::Link(_) | TreeChange::SameAs(_) => is_library_name(path),
        TreeChange::Gone | TreeChange::CopyOf(_) => false,
    })
}
