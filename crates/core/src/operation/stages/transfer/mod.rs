//! Package records that move between a stage and its root.
//!
//! ```text
//!   databases (which packages) ─► undo_data (verified, compared with both trees) ─► patches (lines agree with the root)
//! ```
//! A refresh exchanges the sides, and also moves packages (`packages`). Everything here only reads.

pub(super) mod databases;
pub(super) mod packages;
pub(super) mod patches;
pub(super) mod undo_data;
