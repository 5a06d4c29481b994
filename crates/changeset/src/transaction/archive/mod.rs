//! The second step: saves old objects, and stages records.

pub(crate) mod merged_contents;
pub(crate) mod rebuild;
pub(crate) mod records;
pub(crate) mod stored_files;
pub(crate) mod undo_archive;
pub(crate) mod verified;
