//! The values of a patch: ids, lists, obsoletion counts, records, and the relations between patches.
//!
//! No module here opens a file or knows a file format beyond the text of a single parameter. Applied patches come from
//! the parameters of installed packages ([`PatchRecords`]), offered ones from those of a sparse package
//! ([`PatchMacros`]). [`AppliedPatches`] answers every question about a root that the rules of patchadd(1M) and
//! patchrm(1M) ask; the caller turns the answers into messages and exit codes.

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
