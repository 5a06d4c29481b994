//! Removal of unneeded objects: old runs and their sets, results of no set or kept run, surplus installed lists.
//!
//! The exclusive lock keeps runs out of the pool. Each directory is renamed as a whole before its removal.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use patchadm_bulk_values::conf::{BuildBase, Configuration};
use patchadm_bulk_values::journal::{BuildState, BulkRunEnd};
use patchadm_bulk_values::result::ResultKey;
use patchadm_rootfs::{Dir, FileType, Lock, LockError, LockHolder, RootError, Timestamp};

use crate::base::{BASES, COPY, USED_COPY, is_open_layer};
use crate::pool::{FoundResult, Pool, pool_users, take_pool};
use crate::runs::read_journal;
use crate::set::{CURRENT, LARGEST_MANIFEST, RELEASED, SETS, SetManifest, set_of_link};
use crate::task::failed::forget_surplus;
use crate::task::installing::{CHECKED, COMPLETE};
use crate::task::place::remove_all;
use crate::tree_copy::{each_below, is_listable};
use crate::upload::UPLOADS;
use crate::work::{BulkWork, PROGRAM, RUNS, existing_build_directory, numbered_directories};

/// Prefix of damaged results that were set aside.
const SET_ASIDE: &str = "bad-";

pub struct PruneRequest<'a> {
    /// Runs to keep; `None`: as configured.
    pub keep: Option<u32>,
    pub is_dry: bool,
    /// Gets the holder while a run uses the pool, and decides whether to try again.
    pub wait: &'a mut dyn FnMut(&LockHolder) -> bool,
}

#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Root(#[from] RootError),
}

/// The caller holds the lock of the working directory.
pub fn prune(work: &BulkWork, request: &mut PruneRequest<'_>) -> Result<PruneReport, PruneError> {
    let _pool = take_pool(&work.conf.pool, &mut *request.wait)?;
    let mut report = PruneReport::default();
    let plan = WorkPrunePlan::of(work, request.keep.unwrap_or(work.conf.keep_runs), &mut report)?;
    let space = plan.space()?;
    report.bytes = space.bytes();
    if !request.is_dry {
        // Sets before results, so that no set lacks its results.
        let others = [plan.sets, plan.runs, plan.results].into_iter();
        let uploads = plan.uploads.map(|(_, removal)| removal);
        for removal in others.chain(uploads).chain(plan.installed) {
            removal.perform()?;
        }
        Dir::of_host(&work.conf.pool)?.remove_leftovers(PROGRAM)?;
        forget_surplus(&work.conf.build_dir, &work.id, work.conf.keep_failed)?;
    }
    Ok(report)
}

struct WorkPrunePlan {
    runs: Removal,
    sets: Removal,
    /// Uploads of these sets.
    uploads: Option<(Dir, Removal)>,
    results: Removal,
    installed: Option<Removal>,
}

impl WorkPrunePlan {
    fn of(work: &BulkWork, keep: u32, report: &mut PruneReport) -> Result<Self, PruneError> {
        let runs = RunsToKeep::of(work, keep)?;
        let uploads = work.dir.look(UPLOADS.as_bytes())?.map(|_| work.directory(UPLOADS)).transpose()?;
        let uploads =
            uploads.map(|dir| Ok::<_, RootError>((dir.again()?, Removal::below(dir)))).transpose()?;
        let mut plan = Self {
            runs: Removal::below(work.directory(RUNS)?),
            sets: Removal::below(work.directory(SETS)?),
            uploads,
            results: Removal::below(Dir::of_host(&work.conf.pool)?),
            installed: surplus(&work.conf, report)?,
        };
        for run in runs.all.iter().filter(|run| !runs.kept.contains(run) && !runs.referred.contains(run)) {
            plan.runs.add(&[&run.to_string()]);
            report.runs.push(*run);
        }
        let linked: Vec<u64> = [CURRENT, RELEASED]
            .iter()
            .filter_map(|link| set_of_link(work, link).transpose())
            .collect::<Result<_, _>>()?;
        let mut kept_sets = BTreeSet::new();
        for set in numbered_directories(&work.directory(SETS)?)? {
            if linked.contains(&set) || runs.kept.contains(&set) {
                kept_sets.insert(set);
            } else {
                plan.sets.add(&[&set.to_string()]);
                if let Some((uploads, removal)) = &mut plan.uploads {
                    for name in [set.to_string(), format!("{set}.done")] {
                        if uploads.look(name.as_bytes())?.is_some() {
                            removal.add(&[&name]);
                        }
                    }
                }
                report.sets.push(set);
            }
        }
        match NeededResults::of(work, &runs.kept, &kept_sets) {
            Ok(needed) => plan.add_results(work, &needed, report)?,
            Err(reason) => report.notes.push(format!("nothing is removed from the pool: {reason}")),
        }
        Ok(plan)
    }

    fn add_results(
        &mut self,
        work: &BulkWork,
        needed: &NeededResults,
        report: &mut PruneReport,
    ) -> Result<(), PruneError> {
        let pool = Pool::open(&work.conf.pool)?;
        let dir = Dir::of_host(&work.conf.pool)?;
        for name in dir.names()? {
            let Ok(name) = String::from_utf8(name) else { continue };
            if name.starts_with(SET_ASIDE) {
                self.results.add(&[&name]);
                report.results.push(name);
                continue;
            }
            let is_prefix = name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_prefix
                || dir.look(name.as_bytes())?.is_none_or(|seen| seen.file_type != FileType::Directory)
            {
                continue;
            }
            for entry in dir.dir(name.as_bytes())?.names()? {
                let Some(key) = std::str::from_utf8(&entry).ok().and_then(|text| ResultKey::parse(text).ok())
                else {
                    continue;
                };
                if needed.keys.contains(&key) || needed.is_of_unfinished_run(&pool.find(&key)?) {
                    continue;
                }
                self.results.add(&[&name, &key.to_string()]);
                report.results.push(key.to_string());
            }
        }
        Ok(())
    }

    /// Measures removed space, counting hard links once.
    fn space(&self) -> Result<FreedSpace, RootError> {
        let mut space = FreedSpace::default();
        let uploads = self.uploads.iter().map(|(_, removal)| removal);
        for removal in
            [&self.runs, &self.sets, &self.results].into_iter().chain(uploads).chain(&self.installed)
        {
            removal.measure(&mut space)?;
        }
        Ok(space)
    }
}

struct RunsToKeep {
    all: Vec<u64>,
    kept: BTreeSet<u64>,
    /// Earlier runs with logs of failures that a kept run reports.
    referred: BTreeSet<u64>,
}

impl RunsToKeep {
    fn of(work: &BulkWork, keep: u32) -> Result<Self, PruneError> {
        let dir = work.directory(RUNS)?;
        let all = numbered_directories(&dir)?;
        let keep = usize::try_from(keep).unwrap_or(usize::MAX).max(1);
        let kept: BTreeSet<u64> = all.iter().rev().take(keep).copied().collect();
        let mut referred = BTreeSet::new();
        for run in &kept {
            // References of a damaged journal are unknown.
            if let Ok(JournalFacts { failed_in, .. }) = journal_facts(&dir, *run) {
                referred.extend(failed_in);
            }
        }
        Ok(Self { all, kept, referred })
    }
}

impl NeededResults {
    /// True for a result of a run that may be continued, even before its journal lists it.
    fn is_of_unfinished_run(&self, found: &FoundResult) -> bool {
        match found {
            FoundResult::Result(entry) => {
                self.unfinished.contains(&(entry.result.work.clone(), entry.result.run))
            }
            _ => false,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct NeededResults {
    pub(super) keys: BTreeSet<ResultKey>,
    /// Working directory and number.
    pub(super) unfinished: BTreeSet<(String, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct JournalFacts {
    keys: Vec<ResultKey>,
    /// Runs with the failures that it reports.
    failed_in: Vec<u64>,
    is_unfinished: bool,
}

impl NeededResults {
    /// Collects needs of this and all other users of the pool. Fails if one of them is unreadable: it may need
    /// anything.
    pub(super) fn of(work: &BulkWork, runs: &BTreeSet<u64>, sets: &BTreeSet<u64>) -> Result<Self, String> {
        let mut needed = Self::default();
        needed.ask(&work.dir, &work.id, runs, sets).map_err(|reason| of(&work.path, &reason))?;
        let users = pool_users(&work.conf.pool).map_err(|error| error.to_string())?;
        for (id, path) in users.into_iter().filter(|(id, _)| *id != work.id) {
            needed.ask_other(&id, &path).map_err(|reason| of(&path, &reason))?;
        }
        Ok(needed)
    }

    fn ask_other(&mut self, id: &str, path: &Path) -> Result<(), String> {
        let to_text = |error: RootError| error.to_string();
        let dir = Dir::of_host(path).map_err(to_text)?;
        let found = dir.read_regular(b"id", 64).map_err(to_text)?.unwrap_or_default();
        if String::from_utf8_lossy(&found).trim_end() != id {
            return Err(format!("it is not the bulk build {id}, which uses the pool"));
        }
        let all = |name: &str| -> Result<BTreeSet<u64>, String> {
            let Some(dir) = below(&dir, name)? else { return Ok(BTreeSet::new()) };
            Ok(numbered_directories(&dir).map_err(|error| error.to_string())?.into_iter().collect())
        };
        let (runs, sets) = (all(RUNS)?, all(SETS)?);
        self.ask(&dir, id, &runs, &sets)
    }

    fn ask(&mut self, dir: &Dir, id: &str, runs: &BTreeSet<u64>, sets: &BTreeSet<u64>) -> Result<(), String> {
        if let Some(of_runs) = below(dir, RUNS)? {
            for run in runs {
                let facts = journal_facts(&of_runs, *run)?;
                self.keys.extend(facts.keys);
                if facts.is_unfinished {
                    self.unfinished.insert((id.to_owned(), *run));
                }
            }
        }
        if let Some(of_sets) = below(dir, SETS)? {
            for set in sets {
                let text = of_sets
                    .dir(set.to_string().as_bytes())
                    .and_then(|dir| dir.read_regular(b"MANIFEST", LARGEST_MANIFEST));
                let text = text.map_err(|error| error.to_string())?.unwrap_or_default();
                let manifest =
                    SetManifest::parse(&text).map_err(|reason| format!("set {set}: MANIFEST: {reason}"))?;
                self.keys.extend(manifest.files.values().map(|file| file.key));
            }
        }
        Ok(())
    }
}

fn journal_facts(runs: &Dir, run: u64) -> Result<JournalFacts, String> {
    let read = read_journal(runs, run).map_err(|error| error.to_string())?;
    let state = read.map_err(|damage| format!("run {run}: {damage}"))?;
    let Some((state, _)) = state else { return Ok(JournalFacts::default()) };
    let outcomes = || state.packages.values();
    let failed = outcomes().filter(|outcome| outcome.state == BuildState::Failed);
    Ok(JournalFacts {
        keys: outcomes()
            .filter(|outcome| outcome.state.has_result())
            .filter_map(|outcome| outcome.key)
            .collect(),
        failed_in: failed.filter_map(|outcome| outcome.run).collect(),
        is_unfinished: state.end == BulkRunEnd::Unfinished,
    })
}

fn below(dir: &Dir, name: &str) -> Result<Option<Dir>, String> {
    let to_text = |error: RootError| error.to_string();
    match dir.look(name.as_bytes()).map_err(to_text)?.map(|seen| seen.file_type) {
        Some(FileType::Directory) => Ok(Some(dir.dir(name.as_bytes()).map_err(to_text)?)),
        Some(_) => Err(format!("{name} is not a directory")),
        None => Ok(None),
    }
}

fn of(path: &Path, reason: &str) -> String {
    format!("{}: {reason}", path.display())
}

const TASKS: &[u8] = b"tasks";
const INSTALLED: &[u8] = b"installed";

/// Locks held by a task and by the processes in its sandbox.
const TASK_LOCKS: [&[u8]; 2] = [b"owner", b"inside"];

/// Returns installed lists to remove. Tasks do not lock their lists, so all of them stay while one runs.
pub(super) fn surplus(conf: &Configuration, report: &mut PruneReport) -> Result<Option<Removal>, RootError> {
    let Some(above) = existing_build_directory(&conf.build_dir)? else { return Ok(None) };
    let mut removal = Removal::below(above.again()?);
    if is_used(&above)? {
        report
            .notes
            .push(format!("{}: tasks run there, so nothing installed is removed", conf.build_dir.display()));
        return Ok(None);
    }
    for name in above.names_that_are(is_open_layer)? {
        let name = String::from_utf8_lossy(&name).into_owned();
        removal.add(&[&name]);
        report.installed.push(name);
    }
    for name in unneeded_copies(conf, &above)? {
        removal.add(&[BASES, &name]);
        report.installed.push(name);
    }
    if above.look(INSTALLED)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        return Ok(Some(removal));
    }
    let installed = above.dir(INSTALLED)?;
    let mut total = 0;
    let mut lists: Vec<(Option<Timestamp>, u64, String)> = Vec::new();
    for name in installed.names()? {
        let Ok(name) = String::from_utf8(name) else { continue };
        if installed.look(name.as_bytes())?.is_none_or(|seen| seen.file_type != FileType::Directory) {
            continue;
        }
        let used = last_use(&installed.dir(name.as_bytes())?)?;
        let mut space = FreedSpace::default();
        let mut one = Removal::below(installed.again()?);
        one.add(&[&name]);
        one.measure(&mut space)?;
        total += space.bytes();
        lists.push((used, space.bytes(), name));
    }
    // Incomplete lists come first and are always removed.
    lists.sort();
    for (used, bytes, name) in lists {
        let is_within = conf.installed_limit.is_none_or(|limit| total <= limit);
        if used.is_some() && is_within {
            break;
        }
        total -= bytes;
        removal.add(&["installed", &name]);
        report.installed.push(name);
    }
    Ok(Some(removal))
}

/// Returns all copies of bases but the last used, or all if the base is no directory any more.
fn unneeded_copies(conf: &Configuration, build_dir: &Dir) -> Result<Vec<String>, RootError> {
    let used = match conf.base {
        BuildBase::Directory(_) => build_dir.read_regular(USED_COPY, 64)?,
        BuildBase::Host(_) => None,
    };
    if build_dir.look(BASES.as_bytes())?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        return Ok(Vec::new());
    }
    let begin = format!("{COPY}-");
    let copies = build_dir
        .dir(BASES.as_bytes())?
        .names_that_are(|name| name.starts_with(begin.as_bytes()) && used.as_deref() != Some(name))?;
    Ok(copies.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

/// `None` for an incomplete list.
fn last_use(list: &Dir) -> Result<Option<Timestamp>, RootError> {
    let Some(made) = list.look(COMPLETE)? else { return Ok(None) };
    Ok(Some(list.look(CHECKED)?.map_or(made.mtime, |checked| checked.mtime)))
}

fn is_used(build_dir: &Dir) -> Result<bool, RootError> {
    if build_dir.look(TASKS)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        return Ok(false);
    }
    let tasks = build_dir.dir(TASKS)?;
    for name in tasks.names()? {
        let Ok(task) = tasks.dir(&name) else { continue };
        for lock in TASK_LOCKS {
            if Lock::is_file_held(&task, lock)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

pub(super) struct Removal {
    dir: Dir,
    paths: Vec<Vec<String>>,
}

/// Freed disk space. A file with another name elsewhere frees nothing.
#[derive(Debug, Default)]
pub(super) struct FreedSpace {
    bytes: u64,
    /// Remaining links and size of files with several names.
    shared: HashMap<((u32, u32), u64), (u64, u64)>,
}

impl Removal {
    pub(super) fn below(dir: Dir) -> Self {
        Self { dir, paths: Vec::new() }
    }

    pub(super) fn add(&mut self, path: &[&str]) {
        self.paths.push(path.iter().map(|name| (*name).to_owned()).collect());
    }

    pub(super) fn measure(&self, space: &mut FreedSpace) -> Result<(), RootError> {
        for path in &self.paths {
            if let Some((name, above)) = path.split_last() {
                space.add(&self.above(above)?, name.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Renames each directory before its removal, so that nobody finds an incomplete one under its name.
    pub(super) fn perform(self) -> Result<(), RootError> {
        if self.paths.is_empty() {
            return Ok(());
        }
        // After a crash it is removed as a leftover.
        self.dir.remove_leftovers(PROGRAM)?;
        let (private, gone) = self.dir.make_private(PROGRAM)?;
        let moved = self.paths.iter().enumerate().try_for_each(|(number, path)| {
            let Some((name, above)) = path.split_last() else { return Ok(()) };
            let from = self.above(above)?;
            from.move_to(name.as_bytes(), &gone, number.to_string().as_bytes())?;
            match above {
                [only] if from.names()?.is_empty() => self.dir.remove_dir(only.as_bytes()).map(drop),
                _ => Ok(()),
            }
        });
        let removed = remove_all(&self.dir, &private);
        moved.and(removed)?;
        self.dir.sync()
    }

    fn above(&self, path: &[String]) -> Result<Dir, RootError> {
        path.iter().try_fold(self.dir.again()?, |dir, name| dir.dir(name.as_bytes()))
    }
}

impl FreedSpace {
    pub(super) fn bytes(&self) -> u64 {
        let shared = self.shared.values().filter(|(left, _)| *left == 0).map(|(_, bytes)| bytes);
        self.bytes + shared.sum::<u64>()
    }

    /// Adds an object with everything below it. Unreadable directories do not count, nor what follows too many names.
    fn add(&mut self, dir: &Dir, name: &[u8]) -> Result<(), RootError> {
        if !self.is_directory(dir, name)? {
            return Ok(());
        }
        let Ok(top) = dir.dir(name) else { return Ok(()) };
        let counted = each_below::<RootError>(&top, |above, name, _| {
            let is_directory = self.is_directory(above, name)?;
            Ok(is_directory && is_listable(above, name).unwrap_or_default())
        });
        match counted {
            // A build may have left any number of names, and it can be removed all the same.
            Err(RootError::TooLarge { .. }) => Ok(()),
            counted => counted,
        }
    }

    fn is_directory(&mut self, dir: &Dir, name: &[u8]) -> Result<bool, RootError> {
        let Some(seen) = dir.look(name)? else { return Ok(false) };
        if seen.file_type == FileType::Regular && seen.links > 1 {
            let key = (seen.file_system, seen.inode.number);
            let (left, _) = self.shared.entry(key).or_insert((seen.links, seen.allocated));
            *left = left.saturating_sub(1);
        } else {
            self.bytes += seen.allocated;
        }
        Ok(seen.file_type == FileType::Directory)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    pub runs: Vec<u64>,
    pub sets: Vec<u64>,
    pub results: Vec<String>,
    pub installed: Vec<String>,
    pub bytes: u64,
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests;
