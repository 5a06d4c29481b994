//! The verbs of `patchadm`, one file each: its options, its work, its output.

pub(crate) mod add;
pub(crate) mod adopt;
pub(crate) mod analyze;
pub(crate) mod build;
pub(crate) mod bulk;
pub(crate) mod commit;
pub(crate) mod complete;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod delta;
pub(crate) mod demo;
#[cfg(feature = "sign")]
pub(crate) mod depot;
pub(crate) mod diff;
pub(crate) mod doctor;
mod enclosed_command;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod help;
pub(crate) mod history;
pub(crate) mod hooks;
#[cfg(feature = "sign")]
pub(crate) mod key;
pub(crate) mod links;
pub(crate) mod lint;
pub(crate) mod list;
pub(crate) mod order;
mod overtaken;
pub(crate) mod owner;
pub(crate) mod plan;
mod plan_file;
pub(crate) mod promote;
#[cfg(feature = "sign")]
pub(crate) mod publish;
pub(crate) mod recover;
pub(crate) mod remove;
pub(crate) mod repack;
pub(crate) mod report;
pub(crate) mod shlibs;
pub(crate) mod show;
#[cfg(feature = "sign")]
pub(crate) mod sign;
pub(crate) mod space;
pub(crate) mod stage;
pub(crate) mod status;
pub(crate) mod undo;
pub(crate) mod undo_export;
pub(crate) mod undo_import;
pub(crate) mod update;
pub(crate) mod verify;
pub(crate) mod why;

mod applied_id;
mod change;
mod lacking;
mod left_out_scripts;
mod listed;
mod making_ends;
mod meant;
mod named_paths;
mod options;
mod package_entry;
#[cfg(feature = "sign")]
mod password;
mod patch_lines;
mod patch_options;
mod releases;
#[cfg(feature = "sign")]
mod secret_key;
