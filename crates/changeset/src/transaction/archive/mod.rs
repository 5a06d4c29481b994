//! The second step: old objects are saved in undo archives, and changed records are staged.

pub(crate) mod merged_contents;
pub(crate) mod rebuild;
pub(crate) mod records;
pub(crate) mod stored_files;
pub(crate) mod undo_archive;
pub(crate) mod verified;
