//! Trees as lists of objects, and their comparison. Lists come from `patchadm-making` and `patchadm-core`.

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]

mod compare;
mod object;

pub use compare::{
    ChangeKind, CompareOptions, Differences, LinkNames, ObjectChange, TreeComparison, compare,
};
pub use object::{Device, FileContent, LinkGroup, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep};
