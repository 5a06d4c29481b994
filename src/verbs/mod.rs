//! The verbs of `patchadm`, one file each: its options, its work, its output.

pub(crate) mod add;
pub(crate) mod adopt;
pub(crate) mod change;
pub(crate) mod check;
pub(crate) mod confirm;
pub(crate) mod demo;
pub(crate) mod help;
pub(crate) mod history;
#[cfg(feature = "sign")]
pub(crate) mod key;
pub(crate) mod libs;
pub(crate) mod list;
pub(crate) mod missing;
pub(crate) mod options;
pub(crate) mod plan;
pub(crate) mod recover;
pub(crate) mod remove;
pub(crate) mod setup;
pub(crate) mod show;
pub(crate) mod stage;
pub(crate) mod status;
pub(crate) mod undo;
pub(crate) mod undo_data;
pub(crate) mod update;

mod confirmation;
mod meant;
mod patch_lines;
