//! The commands, each a sequence that only this module knows: open, read, decide, change, report as values.
//!
//! Nothing here prints or reads the environment; a command of the program turns arguments into a call and the answer into
//! text.

pub mod adopt;
pub mod adopt_undo;
pub mod analysis;
mod as_left;
mod caller;
pub mod changed_texts;
pub mod check;
mod content;
mod content_place;
pub mod depot_memory;
pub mod depots;
pub mod device;
pub mod doctor;
mod exchange;
pub mod failure;
pub mod fleet;
mod foreseen_root;
mod history_watch;
mod identical;
pub mod installf;
pub mod kept_packages;
pub mod keys;
pub mod libraries;
pub mod links;
mod log;
mod made_directory;
pub mod many;
pub mod mend;
pub mod native_hooks;
mod native_locks;
mod new_database;
pub mod order;
mod overtaken_list;
mod package_traces;
pub mod packages;
pub mod patches;
pub mod path_check;
pub mod plan_file;
mod projected_plans;
pub mod promotion_hooks;
mod promotion_records;
pub mod publish;
pub mod queries;
mod record_damage;
pub mod recover;
mod regained_lines;
mod root_and_policy;
mod run;
mod running;
pub mod scripts;
pub mod session;
#[cfg(feature = "sign")]
pub mod signing;
pub mod space;
pub mod stages;
mod system_managers;
pub mod translate;
pub mod trial;
pub mod whose_root;

pub use patches::in_use::UsingProcess;
