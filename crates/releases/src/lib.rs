//! Trees as lists of objects, and the comparison of two of them.
//!
//! Nothing is opened or read here: the lists come from packages, archives and directories (`patchadm-making`), or from
//! a root and its stages (`patchadm-core`).

mod compare;
mod object;

pub use compare::{ChangeKind, CompareOptions, Comparison, Differences, LinkNames, ObjectChange, compare};
pub use object::{Device, FileContent, LinkGroup, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep};
