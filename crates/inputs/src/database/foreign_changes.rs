//! Changes that others made to the records since a run of this program left them, detected by the stamp of that run.
//!
//! Such a change is no damage: other tools write these files, too. Missing records are found elsewhere
//! ([`agreement`](super::agreement)). Every run leaves a stamp. One that is not from the last run was lost, put back
//! from elsewhere or changed: only that is reported, and nothing is concluded from it.

use std::collections::BTreeMap;

use super::RecordError;
use super::contents::open;
use super::history::readable_history;
use super::{DatabaseError, RecordDamage, RecordView, all, places};
use patchadm_changeset::format::run::Run;
use patchadm_changeset::records::{LastRecords, last_committed_run};
use patchadm_rootfs::{Digest, FileType, Hashing, Interrupt, InterruptibleRead, never};
use patchadm_svr4::format::params::LARGEST_FILE;
use patchadm_svr4::package::PkgInst;

/// A record that is not as a run left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChange {
    /// The file, with the prefix of the root.
    pub file: String,
    /// The number of the run that wrote it last.
    pub run: u64,
}

/// Finds the records that were changed since: `contents`, then the pkginfo of packages by name; or the stamp, where that is
/// not the one of the last run. A record that is gone is left to who misses it.
pub fn foreign_changes(view: &RecordView<'_>) -> Result<Vec<ForeignChange>, DatabaseError> {
    let root = view.root();
    let Some(last) = last_records(view)? else {
        let file = root.show(&places::contents_stamp());
        return Ok(last_done_run(view)?.map(|run| ForeignChange { file, run }).into_iter().collect());
    };
    let mut found = Vec::new();
    if contents_digest(view, &never)?.is_some_and(|now| now != last.stamp.b3) {
        found.push(ForeignChange { file: root.show(&places::contents()), run: last.stamp.run });
    }
    for (package, bound) in last.packages().iter() {
        let path = places::pkginfo(package);
        let now = view.read(&path, LARGEST_FILE as u64)?;
        if now.is_some_and(|now| Digest::of(&now) != bound.pkginfo) {
            found.push(ForeignChange { file: root.show(&path), run: bound.run });
        }
    }
    Ok(found)
}

/// Returns the records as the last run left them, from its own stamp; none if that is not there any more.
pub fn last_records<'v>(view: &'v RecordView<'_>) -> Result<Option<&'v LastRecords>, DatabaseError> {
    let Some(last) = view.last_records() else { return Ok(None) };
    Ok(last_done_run(view)?.is_none_or(|run| run == last.stamp.by).then_some(last))
}

/// Returns the number of the last run that was not rolled back; none if there is no such run or no record of it.
fn last_done_run(view: &RecordView<'_>) -> Result<Option<u64>, DatabaseError> {
    if let Some(run) = last_committed_run(view.root())? {
        return Ok(Some(run));
    }
    let is_done = |result: &str| result == "done";
    let runs = readable_history(view).into_iter().filter(|entry| is_done(&entry.result));
    Ok(runs.filter_map(|entry| Run::parse(&entry.run)).map(|run| run.number).max())
}

/// Returns the digest of `contents`, or `None` if there is no such file. A signal ends it.
pub fn contents_digest(
    view: &RecordView<'_>,
    interrupt: Interrupt<'_>,
) -> Result<Option<Digest>, DatabaseError> {
    let Some(file) = open(view).ok().flatten() else { return Ok(None) };
    let mut hashing = Hashing::new(InterruptibleRead::new(file, interrupt));
    let read = std::io::copy(&mut hashing, &mut std::io::sink());
    DatabaseError::unless_interrupted(interrupt)?;
    read.map_err(|error| RecordError::of_contents(view, error.into()))?;
    Ok(Some(hashing.finish().1))
}

/// Finds the packages that are there and had a copy of what was delivered (`save/pspool`) when a run left them, and have
/// none.
pub fn lost_copies(view: &RecordView<'_>) -> Result<Vec<RecordDamage>, DatabaseError> {
    let Some(last) = view.last_records() else { return Ok(Vec::new()) };
    if last.packages().iter().all(|(_, bound)| !bound.is_spooled) {
        return Ok(Vec::new());
    }
    let spooled: BTreeMap<&PkgInst, u64> = last
        .packages()
        .iter()
        .filter(|(_, bound)| bound.is_spooled)
        .map(|(name, bound)| (name, bound.run))
        .collect();
    all::each(view, |package| {
        let Some(run) = spooled.get(package.inst()) else { return Ok(None) };
        let map = package.view().look(&places::delivered_pkgmap(package.inst()))?;
        if map.is_some_and(|seen| seen.file_type == FileType::Regular) {
            return Ok(None);
        }
        // Faults of its pkginfo are reported separately.
        let Ok(Some(params)) = package.params() else { return Ok(None) };
        let is_patched = !params.text("PATCHLIST").trim().is_empty();
        Ok::<_, DatabaseError>(Some(RecordDamage::of_lost_copy(
            package.view().root(),
            package.inst(),
            *run,
            is_patched,
        )))
    })
}
