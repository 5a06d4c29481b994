//! Performing bulk builds: recipes are scanned and built in sandboxes, and their results kept.
//!
//! A sandbox mounts nothing outside itself and ends all its processes, so a killed process leaves nothing to unmount.
//! Decisions are made by `patchadm-bulk-values`, which opens no files and starts no processes.

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]
// Unit tests make their own trees; the lint applies to the library.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod base;
mod command_run;
mod control_groups;
pub mod differences;
pub mod driver;
pub mod ids;
mod keys;
pub mod logs;
pub mod name_list;
mod object_places;
mod package_limits;
pub mod patches;
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
