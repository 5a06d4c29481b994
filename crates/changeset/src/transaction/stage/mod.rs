//! The first step: new objects and safety copies are written beside their targets, while nothing live changes.

pub(crate) mod domains;
pub(crate) mod early_sync;
pub(crate) mod layout;
pub(crate) mod layout_items;
mod layout_records;
pub(crate) mod layout_stager;
mod layout_trees;
pub(crate) mod linked_objects;
pub(crate) mod local_stage;
pub(crate) mod object_stager;
pub(crate) mod old_link;
pub(crate) mod own_stage;
pub(crate) mod safety_copies;
pub(crate) mod staged_files;
pub(crate) mod staged_versions;
