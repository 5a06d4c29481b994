//! Questions about a root or a source, answered without a lock and without a change.

pub mod applied_date;
pub mod applied_patches;
pub mod applied_signature;
pub mod changed_objects;
pub mod counts;
pub mod inspect;
pub mod kept_files;
pub mod names;
pub mod packages;
pub mod select;
pub mod verify;
