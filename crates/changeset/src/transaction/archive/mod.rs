//! The second step: old objects are saved in undo archives, and changed records are staged.

mod archive_information;
mod bound_packages;
pub(crate) mod dropped_files;
pub(crate) mod kept_manifest;
pub(crate) mod merged_contents;
pub(crate) mod outside;
pub(crate) mod rebuild;
pub(crate) mod records;
mod stamp;
pub(crate) mod stored_names;
pub(crate) mod stored_objects;
pub(crate) mod tree_stager;
pub(crate) mod undo_archive;
pub(crate) mod verified;
