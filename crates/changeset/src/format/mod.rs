//! Formats of files that a run leaves.

pub mod contents_merge;
pub mod contents_stamp;
pub mod escaped;
pub mod history;
pub mod installf_queue;
pub mod journal;
pub mod manifest;
pub(crate) mod ordered;
pub mod outside_path;
mod recorded_state;
pub mod run;
pub(crate) mod tree_list;
pub mod undo_files;
pub mod undo_sidecars;
