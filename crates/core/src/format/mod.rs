//! The formats that only this program knows.

pub mod handed_down;
pub mod ledger;

pub(crate) use patchadm_changeset::format::{
    contents_merge, journal, manifest, outside_path, queue, undo_digest, undo_paths,
};
pub(crate) use patchadm_container as container;
pub(crate) use patchadm_svr4::format::*;
