//! What nothing needs any more is dropped: old runs and their sets, results of no set and no kept run, installed lists of
//! packages beyond their limit.
//!
//! ```text
//! runs ─ kept: the newest ─┐
//! sets ─ kept: of those runs, current, released ─┴─ needed results, also of all others that use the pool ─► the rest goes
//! ```
//! The pool is held alone meanwhile, so that no run uses it. What goes leaves its place as a whole, before it is taken apart.

mod installed;
mod needed;
mod removal;
mod report;

use std::collections::BTreeSet;

use patchadm_bulk_values::result::Key;
use patchadm_rootfs::{Dir, FileType, LockError, LockHolder, RootError};

use crate::pool::{FoundResult, Pool};
use crate::pool_use::take_pool;
use crate::set::{CURRENT, RELEASED, SETS, set_of_link};
use crate::task::failed::forget_surplus;
use crate::upload::UPLOADS;
use crate::work::{PROGRAM, RUNS, Work, numbered_directories};
pub use report::PruneReport;

use needed::{NeededResults, RunFacts, run_facts};
use removal::{FreedSpace, Removal};

/// What begins the name of a result that was set aside, since it could not be believed.
const SET_ASIDE: &str = "bad-";

/// What is to be dropped.
pub struct PruneRequest<'a> {
    /// How many runs stay; `None`: as configured.
    pub keep: Option<u32>,
    /// Whether nothing is dropped, and told only.
    pub is_dry: bool,
    /// Called with the holder while a run uses the pool; decides whether to try again.
    pub wait: &'a mut dyn FnMut(&LockHolder) -> bool,
}

/// The reasons why nothing more was dropped.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The pool is used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The disk.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Drops what nothing needs. The caller holds the lock of the working directory.
pub fn prune(work: &Work, request: &mut PruneRequest<'_>) -> Result<PruneReport, PruneError> {
    let _pool = take_pool(&work.conf.pool, &mut *request.wait)?;
    let mut report = PruneReport::default();
    let plan = PrunePlan::of(work, request.keep.unwrap_or(work.conf.keep_runs), &mut report)?;
    let space = plan.space()?;
    report.bytes = space.bytes();
    if !request.is_dry {
        // Sets before results: a set is never without one.
        let others = [plan.sets, plan.runs, plan.results].into_iter();
        let uploads = plan.uploads.map(|(_, removal)| removal);
        for removal in others.chain(uploads).chain(plan.installed) {
            removal.carry_out()?;
        }
        Dir::of_host(&work.conf.pool)?.remove_leftovers(PROGRAM)?;
        forget_surplus(&work.conf.build_dir, &work.id, work.conf.keep_failed)?;
    }
    Ok(report)
}

/// What goes.
struct PrunePlan {
    runs: Removal,
    sets: Removal,
    /// What was uploaded of these sets, where anything was.
    uploads: Option<(Dir, Removal)>,
    results: Removal,
    installed: Option<Removal>,
}

impl PrunePlan {
    fn of(work: &Work, keep: u32, report: &mut PruneReport) -> Result<Self, PruneError> {
        let runs = RunsToKeep::of(work, keep)?;
        let uploads = work.dir.look(UPLOADS.as_bytes())?.map(|_| work.directory(UPLOADS)).transpose()?;
        let uploads =
            uploads.map(|dir| Ok::<_, RootError>((dir.again()?, Removal::below(dir)))).transpose()?;
        let mut plan = Self {
            runs: Removal::below(work.directory(RUNS)?),
            sets: Removal::below(work.directory(SETS)?),
            uploads,
            results: Removal::below(Dir::of_host(&work.conf.pool)?),
            installed: installed::surplus(&work.conf, report)?,
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
            Err(reason) => report.notes.push(format!("nothing of the pool goes: {reason}")),
        }
        Ok(plan)
    }

    /// Adds the results that nothing needs.
    fn add_results(
        &mut self,
        work: &Work,
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
                let Some(key) = std::str::from_utf8(&entry).ok().and_then(|text| Key::parse(text).ok())
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

    /// Measures what goes, names of one file together.
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

/// The runs that stay.
struct RunsToKeep {
    all: Vec<u64>,
    /// The newest ones.
    kept: BTreeSet<u64>,
    /// Earlier ones whose logs are those of failures that the kept ones remember.
    referred: BTreeSet<u64>,
}

impl RunsToKeep {
    fn of(work: &Work, keep: u32) -> Result<Self, PruneError> {
        let dir = work.directory(RUNS)?;
        let all = numbered_directories(&dir)?;
        let keep = usize::try_from(keep).unwrap_or(usize::MAX).max(1);
        let kept: BTreeSet<u64> = all.iter().rev().take(keep).copied().collect();
        let mut referred = BTreeSet::new();
        for run in &kept {
            // A journal that is damaged refers to nothing that could be known.
            if let Ok(RunFacts { failed_in, .. }) = run_facts(&dir, *run) {
                referred.extend(failed_in);
            }
        }
        Ok(Self { all, kept, referred })
    }
}

impl NeededResults {
    /// Tells whether a result was built in a run that is to be continued, and may not be in its journal yet.
    fn is_of_unfinished_run(&self, found: &FoundResult) -> bool {
        match found {
            FoundResult::Result(entry) => {
                self.unfinished.contains(&(entry.result.work.clone(), entry.result.run))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
