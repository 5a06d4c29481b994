//! Queries about a root or a source, answered without a lock and without a change.

pub mod applied_date;
pub mod applied_patches;
mod applied_run;
pub mod applied_signature;
pub mod changed_objects;
pub mod counts;
pub mod fix_reasons;
pub mod inspect;
pub mod kept_files;
pub mod merges;
pub mod names;
pub mod object_action;
pub mod packages;
pub mod patch_files;
pub mod patch_reader;
pub mod path_owners;
pub mod reasons;
pub mod recorded_path;
pub mod runs;
pub mod select;
mod standing;
pub mod verify;
