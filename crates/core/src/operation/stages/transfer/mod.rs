//! What goes live from the package database of a stage: the patches that the root lacks, and the packages that are new.
//!
//! ```text
//!   packages (which ones) ─► undo_data (verified) ─► changed_paths (both trees) ─► record_files ─► owned_lines (agree with
//!   the root) ─► BroughtPatches
//! ```
//! A refresh works the same way with the sides exchanged (`refreshed`), and brings what came to the root or went from it
//! (`moved` has the packages, `moved_records` their records). Nothing is written here, neither in the stage nor on the root.

pub(super) mod databases;
pub(super) mod packages;
pub(super) mod patches;
pub(super) mod undo_data;
