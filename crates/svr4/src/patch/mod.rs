//! The values of a patch, and relations between patches.
//!
//! [`PatchRecords`] come from installed packages, [`PatchMacros`] from sparse packages, and [`AppliedPatches`] answers
//! the questions of patchadd(1M) and patchrm(1M).

mod applied_patches;
mod conflict;
mod fixes;
mod id;
mod list;
mod macros;
mod records;

pub use applied_patches::{
    AppliedPatch, AppliedPatches, Obsoletion, PatchStanding, Superseded, UnmetRequirement,
};
pub use conflict::PatchConflict;
pub use fixes::{FIXES, FixId, FixIdError, FixList, FixListError, FixRecord, is_fix_record};
pub use id::{PatchId, PatchIdError};
pub use list::{
    ObsoleteCounts, ObsoleteCountsError, PatchList, PatchListError, Requirement, Requirements,
    RequirementsError,
};
pub use macros::{PatchMacros, PatchMacrosError};
pub use records::{InstalledInfo, PatchInfo, PatchRecords, PatchRecordsError};
