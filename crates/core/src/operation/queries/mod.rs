//! Queries about a root or a source, without a lock or changes.

pub mod applied_patches;
pub mod inspect;
pub mod packages;
pub mod patch_difference;
pub mod patch_objects;
pub mod path_owners;
pub mod reasons;
pub mod recorded_path;
pub mod runs;
pub mod select;
