//! Directories whose changes become visible at once, by exchanging a complete new one. Unchanged files are hard links
//! in both, so edits in place reach both. A list ([`list_file`]) tells which object is where; the outgoing directory is
//! emptied afterwards ([`dropping`]).

pub(crate) mod dropping;
pub(crate) mod list_file;
pub(crate) mod staging;
pub(crate) mod survey;
