//! Directories whose changes become visible at once: a complete new one is prepared beside the old one, and one exchange of
//! the two is the switch.
//!
//! What does not change is in both: the new directory has the same files by second names, so an edit in place reaches both.
//! Only directories and changed objects are new. Which object is in which of the two says a list ([`list_file`]). When the
//! run has ended, the directory that goes is emptied name by name ([`dropping`]), and what is not in the list, which somebody
//! else has put there, goes to its place in the directory that stays.

pub(crate) mod comparing;
pub(crate) mod dropping;
pub(crate) mod foresight;
pub(crate) mod list_file;
pub(crate) mod preparing;
pub(crate) mod request;
pub(crate) mod settling;
pub(crate) mod staging;
mod strangers;
pub(crate) mod survey;
