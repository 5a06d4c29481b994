//! What goes live from the package database of a stage: the patches that the root lacks, and the packages that are new.
//!
//! ```text
//!   packages (which ones) ─► undo_data (verified) ─► changed_paths (both trees) ─► record_files ─► owned_lines (agree with
//!   the root) ─► BroughtPatches
//! ```
//! A refresh works the same way with the sides exchanged (`refreshed`), and brings what came to the root or went from it
//! (`moved` has the packages, `moved_records` their records). Nothing is written here, neither in the stage nor on the root.

mod changed_paths;
mod coming;
mod failure;
mod lock;
mod moved;
mod moved_records;
mod owned_lines;
mod packages;
mod record_files;
mod records;
mod refreshed;
mod source;
mod undo_data;

pub(super) use changed_paths::ComparedSides;
pub(in crate::operation::stages) use lock::{
    has_run_of_refresh, lock_records, must_be_finished, must_be_finished_but_for_refresh,
};
pub(in crate::operation::stages) use moved::MovedPackages;
pub use moved::{MovedPackage, PackageMove, StayReason};
pub(in crate::operation::stages) use moved_records::has_other_owner;
pub(super) use owned_lines::fault_after_merge;
pub(in crate::operation::stages) use packages::PackageDatabase;
pub(super) use records::BroughtRecords;
pub(in crate::operation::stages) use source::RecordSource;
