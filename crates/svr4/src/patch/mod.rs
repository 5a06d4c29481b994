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
mod info;
mod list;
mod macros;
mod obsolete_counts;
mod provided;
mod provision;
mod records;
mod requirement;

pub use applied_patches::{AppliedPatch, AppliedPatches, Obsoletion, PatchStanding, Superseded};
pub use conflict::PatchConflict;
pub use fixes::{FIXES, FixId, FixIdError, FixList, FixListError, FixRecord, is_fix_record};
pub use id::{PatchId, PatchIdError};
pub use info::{InstalledInfo, PatchInfo};
pub use list::{PatchList, PatchListError};
pub use macros::{PatchMacros, PatchMacrosError};
pub use obsolete_counts::{ObsoleteCounts, ObsoleteCountsError};
pub use provision::UnmetRequirement;
pub use records::{PatchRecords, PatchRecordsError};
pub use requirement::{Requirement, Requirements, RequirementsError};
