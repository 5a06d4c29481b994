//! What the commands do, each a sequence that only this module knows: open, read, decide, change, report as values.
//!
//! Nothing here prints or reads the environment; a command of `cli` turns arguments into a call and the answer into
//! text.

pub mod add_package;
pub mod adopt;
mod answers;
pub mod apply_patches;
pub mod attendant;
pub mod back_out;
pub mod check;
mod content;
pub mod counts;
pub mod describe;
pub mod device;
pub mod failure;
mod identical;
mod in_use;
pub mod inspect;
pub mod installation;
pub mod installf;
mod later_patches;
mod ledgers;
pub mod links;
mod log;
pub mod make;
pub mod many;
mod new_database;
mod order;
pub mod packages;
pub mod patch_scripts;
pub mod patches;
pub mod path_check;
pub mod query;
mod reboot;
pub mod recover;
pub mod registry;
mod removable;
pub mod remove_package;
pub mod removef;
mod scripted_installation;
mod scripted_removal;
mod scripted_restoration;
pub mod scripts;
pub mod select;
pub mod session;
pub mod translate;
mod undo_directory;
pub mod verify;
pub mod whose_root;

pub use in_use::InUse;
