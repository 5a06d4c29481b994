//! Applying a patch, and backing one out.

pub mod apply;
mod apply_notes;
pub mod back_out;
pub mod backout_input;
pub mod backout_proof;
pub mod backout_records;
pub mod beyond_scripts;
mod chains;
pub mod combine;
pub mod engine;
pub mod interrupted;
pub mod later;
pub mod overtaken;
pub mod patch_plan;
pub mod projected_root;
pub mod registration_refresh;
mod restore;
pub mod rewrite;
pub mod snapshot;
pub mod taking_over;
pub(super) mod undo;
pub mod validate;
