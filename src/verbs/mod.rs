//! The verbs of `patchadm`, one file each: its options, its work, its output.

pub(crate) mod add;
pub(crate) mod adopt;
pub(crate) mod analyze;
pub(crate) mod check;
pub(crate) mod commit;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod hooks;
#[cfg(feature = "sign")]
pub(crate) mod key;
pub(crate) mod links;
pub(crate) mod list;
pub(crate) mod plan;
pub(crate) mod promote;
pub(crate) mod recover;
pub(crate) mod remove;
pub(crate) mod repack;
pub(crate) mod shlibs;
pub(crate) mod show;
pub(crate) mod space;
pub(crate) mod stage;
pub(crate) mod status;
pub(crate) mod undo;
pub(crate) mod undo_export;
pub(crate) mod undo_import;
pub(crate) mod update;

mod change;
mod lacking;
mod meant;
mod options;
mod patch_lines;
