//! Bulk builds carried out: recipes are scanned, built in clean places, and their results kept.
//!
//! ```text
//! work      the directory of a bulk build
//! sandbox   a clean place for one command: layers, mounts, limits
//! scan      what the recipes make
//! task      one package: dependencies installed, built, packed, checked, kept
//! pool      results under their keys
//! run       all packages, in the order that takes the least time
//! set       the results of one run, complete
//! patches   from the released set to the newest one, each tried
//! ```
//!
//! Nothing is mounted outside a sandbox, and what a sandbox starts ends with it: whatever is killed, nothing is left to unmount.
//! What is decided is decided by `patchadm-bulk`, which knows no file and no process.

// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod base;
mod command_run;
mod control_groups;
pub mod differences;
pub mod driver;
mod first_names;
pub mod ids;
mod keys;
pub mod logs;
pub mod name_list;
mod object_places;
pub mod owners;
pub mod patches;
mod platform;
pub mod pool;
pub mod prune;
pub mod report_files;
pub mod run;
pub mod runs;
pub mod sandbox;
pub mod scan;
pub mod set;
mod shared_paths;
pub mod sources;
mod space;
pub mod task;
pub mod tree;
mod tree_copy;
mod tree_files;
pub mod upload;
pub mod work;
