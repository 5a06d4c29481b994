//! The commands, each a sequence: open, read, decide, change, return a report. Nothing here prints or reads the
//! environment.

pub mod adopt;
pub mod adopt_undo;
pub mod analysis;
pub mod changed_texts;
pub mod check;
mod content;
pub mod depot_memory;
pub mod depots;
pub mod device;
mod exchange;
pub mod failure;
pub mod fleet;
pub mod installf;
pub mod keys;
pub mod libraries;
pub mod links;
mod log;
pub mod many;
pub mod mend;
pub mod native_hooks;
mod new_database;
pub mod object_check;
pub mod order;
mod overtaken_list;
pub mod packages;
pub mod patches;
pub mod path_check;
pub mod plan_file;
pub mod promotion_hooks;
mod promotion_records;
pub mod publish;
pub mod queries;
mod record_damage;
pub mod recover;
mod root_and_policy;
pub mod running;
pub mod scripts;
pub mod session;
#[cfg(feature = "sign")]
pub mod signing;
pub mod stages;
mod system_managers;
pub mod translate;
pub mod trial;
pub mod undo_list;
pub mod whose_root;

pub use running::UsingProcess;
