//! What applying a patch and backing one out do to a root.

pub mod apply;
pub mod apply_options;
pub mod back_out;
pub mod backout_input;
mod backout_live;
mod backout_plan;
pub mod backout_proof;
pub mod backout_records;
pub mod beyond_scripts;
pub mod combine;
pub mod engine;
mod foreign;
mod handing_down;
pub mod interrupted;
pub mod later;
mod maker_notes;
mod middle;
pub mod overtaken;
pub mod patch_plan;
pub mod projected_root;
pub mod repack;
mod restore;
pub(in crate::plan) mod root_after;
pub mod snapshot;
pub mod taking_over;
pub(super) mod undo;
pub mod validate;
