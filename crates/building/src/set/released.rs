//! The released set: what users have, and the base of all patches.

use patchadm_rootfs::{FileType, RootError};

use super::error::SetError;
use super::places::{RELEASED, SETS, lead, number_behind};
use super::publishing::{read_set, verify_set};
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
    /// A set.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The disk.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Releases the set of a run. Patches from another one are put aside as `patches.<n>` if `moves_patches`, before anything else.
/// A set with a file that differs from its manifest is refused.
pub fn release(
    work: &Work,
    run: u64,
    moves_patches: bool,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> Result<ReleasedSet, ReleaseError> {
    let set = read_set(work, run)?.ok_or(ReleaseError::NoSet(run))?;
    verify_set(&set, interrupt)?;
    let sets = work.directory(SETS)?;
    let is_another = number_behind(&sets, RELEASED)? != Some(run);
    let patches_moved = if is_another { put_patches_aside(work, moves_patches)? } else { None };
    lead(&sets, RELEASED, &run.to_string())?;
    let packages: std::collections::BTreeSet<&str> =
        set.manifest.files.values().map(|file| file.package.as_str()).collect();
    Ok(ReleasedSet { run, packages: packages.len() as u64, patches_moved })
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
