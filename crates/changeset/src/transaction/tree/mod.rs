//! Directories whose changes become visible at once: a complete new one is prepared beside the old one, and one
//! exchange of the two is the switch.
//!
//! Unchanged objects are in both: the new directory has second names of the same files, so an edit in place reaches
//! both. Only directories and changed objects are new. A list ([`list_file`]) says which object is in which of the
//! two. When the run has ended, the outgoing directory is emptied name by name ([`dropping`]). Objects that are not
//! in the list are foreign and move to their place in the directory that stays.

pub(crate) mod dropping;
pub(crate) mod list_file;
pub(crate) mod staging;
pub(crate) mod survey;
