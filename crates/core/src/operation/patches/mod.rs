//! Patches: applying and backing them out, the order of several, and which of them could be removed.

pub mod after_run;
pub mod apply;
pub mod back_out;
pub mod commit;
mod given_up;
pub(super) mod in_use;
mod later_patches;
pub(super) mod order_on_root;
pub mod overtaken;
mod preparation;
pub mod prepared;
pub(super) mod removable;
pub mod repack;
pub mod scripts;
pub mod sets;
pub mod spool;
pub mod undo;
pub(super) mod undo_directory;
pub mod undo_export;
pub mod undo_file;
pub mod undo_import;
pub mod undo_states;
mod undone_run;
