//! The formats of the files that a run leaves: journal, undo manifest, lists and stamps.

pub mod bound_packages;
pub mod contents_merge;
pub mod contents_splice;
pub mod contents_stamp;
pub mod delivered;
mod escaped;
pub mod hexadecimal;
pub mod history;
pub mod installf_queue;
pub mod journal;
pub mod manifest;
pub mod ordered;
pub mod outside_path;
mod recorded_state;
pub mod root_id;
pub mod run;
mod state_differences;
pub mod stored_identities;
pub mod tree_list;
pub mod undo_digest;
pub mod undo_files;
pub mod undo_paths;
