//! The released set: what users have, and the base of all patches.

use patchadm_rootfs::{FileType, RootError};

use super::error::SetError;
use super::places::{RELEASED, SETS, lead, number_behind};
use super::publishing::{read_set, verify_set};
use crate::first_names::first_clauses;
use crate::report_files::{ReportReadError, read_report};
use crate::work::Work;

/// The directory of the patches that are made from the released set.
const PATCHES: &[u8] = b"patches";

/// The set that was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleasedSet {
    /// Its number: that of its run.
    pub run: u64,
    /// How many packages it has.
    pub packages: u64,
    /// The number with which the directory of the patches was put aside, if there were any.
    pub patches_moved: Option<u32>,
}

/// The reasons why a set is not released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The run has no set.
    #[error("run {0} has no set")]
    NoSet(u64),
    /// There are patches from the set that is released.
    #[error("there are patches from the set that was released before")]
    HasPatches,
    /// The tree had faults when the set was made, or packages were left out of it for what they lack.
    #[error(
        "the set of run {run} lacks packages: {}. Repair them and run again, or release it as it is with --force",
        first_clauses(.faults)
    )]
    Faults {
        /// The run.
        run: u64,
        /// The packages, each with the reason.
        faults: Vec<String>,
    },
    /// The report of the run.
    #[error(transparent)]
    Report(#[from] ReportReadError),
    /// A set.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The disk.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Releases the set of a run. A set with a file that differs from its manifest is refused.
///
/// Unless it `is_forced`, so is a set for whose run the tree had faults, and one while there are patches from another set; with it,
/// these are put aside as `patches.<n>`, before anything else.
pub fn release(
    work: &Work,
    run: u64,
    is_forced: bool,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> Result<ReleasedSet, ReleaseError> {
    let set = read_set(work, run)?.ok_or(ReleaseError::NoSet(run))?;
    if !is_forced {
        must_be_without_faults(work, run)?;
    }
    verify_set(&set, interrupt)?;
    let sets = work.directory(SETS)?;
    let is_another = number_behind(&sets, RELEASED)? != Some(run);
    let patches_moved = if is_another { put_patches_aside(work, is_forced)? } else { None };
    lead(&sets, RELEASED, &run.to_string())?;
    let packages: std::collections::BTreeSet<&str> =
        set.manifest.files.values().map(|file| file.package.as_str()).collect();
    Ok(ReleasedSet { run, packages: packages.len() as u64, patches_moved })
}

/// Checks the report of a run. One that was pruned says nothing against its set.
fn must_be_without_faults(work: &Work, run: u64) -> Result<(), ReleaseError> {
    match read_report(work, run).map(|report| report.faults()) {
        Err(ReportReadError::None(_)) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(faults) if faults.is_empty() => Ok(()),
        Ok(faults) => Err(ReleaseError::Faults { run, faults }),
    }
}

fn put_patches_aside(work: &Work, moves_patches: bool) -> Result<Option<u32>, ReleaseError> {
    if work.dir.look(PATCHES)?.is_none_or(|seen| seen.file_type != FileType::Directory)
        || work.dir.dir(PATCHES)?.names()?.is_empty()
    {
        return Ok(None);
    }
    if !moves_patches {
        return Err(ReleaseError::HasPatches);
    }
    let mut number = 1;
    while work.dir.look(format!("patches.{number}").as_bytes())?.is_some() {
        number += 1;
    }
    work.dir.move_to(PATCHES, &work.dir, format!("patches.{number}").as_bytes())?;
    work.dir.sync()?;
    Ok(Some(number))
}
