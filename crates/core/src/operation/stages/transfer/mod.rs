//! Package records that move between a stage and its root: patches that the root lacks, and new packages.
//!
//! ```text
//!   databases (which packages) ─► undo_data (verified, compared with both trees) ─► patches (lines agree with the root)
//! ```
//! A refresh works the same way with the sides exchanged, and also moves packages that were installed or removed
//! on the root (`packages`). Everything here only reads.

pub(super) mod databases;
pub(super) mod packages;
pub(super) mod patches;
pub(super) mod undo_data;
