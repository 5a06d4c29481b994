//! Patches: applying and backing them out, the order of several, and which of them could be removed.

pub mod after_run;
pub mod apply;
pub mod back_out;
pub mod commit;
mod commit_choice;
mod decision;
pub(super) mod in_use;
mod later_patches;
mod ledgers;
pub(super) mod new_bytes;
pub(super) mod order_on_root;
pub mod overtaken;
mod preparation;
pub mod prepared;
pub(super) mod reboot;
pub(super) mod removable;
pub mod repack;
pub mod scripts;
pub mod sets;
pub mod spool;
pub mod undo;
pub(super) mod undo_directory;
pub mod undo_states;
mod undone_run;
