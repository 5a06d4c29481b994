//! The only door to the disk. No other crate writes to a root; this one knows nothing about packages.
//!
//! A [`Root`] is the directory that `-R` names. Every path is resolved *inside* it: no symbolic link, `..` or absolute
//! target leads out (openat2(2), `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`). [`Dir`] handles make the changes by single
//! system calls that pass [`Door`], where a test can count, fail or stop them.

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]
#![allow(clippy::disallowed_methods)] // this is the door

mod building;
mod calls;
mod containers;
mod descent;
mod dir;
mod directory_users;
mod door;
mod error;
mod followed;
mod guard;
mod human;
mod live;
mod lock;
mod look;
mod mounts;
mod open_object;
mod proc_files;
mod resolve;
mod root;
mod showing;
mod shown_names;
mod sums;
mod way;
mod work;
mod write;

pub use building::{NewTree, UnnamedDirectory};
pub(crate) use calls::again;
pub use calls::{each_entry, each_entry_from_here, random};
pub use descent::Descent;
pub use dir::{Dir, FreeSpace};
pub use directory_users::{DirectoryUser, users_of};
pub use door::{ChangeCall, Door, RootChange};
pub(crate) use error::optional;
pub use error::{Distrust, FlaggedObject, ForeignTree, Result, RootError, TreeWay, Untrusted};
pub use followed::{AtPath, Followed, LinkFollower, LinkMap};
pub use human::{human, human_free, human_needed};
pub use live::{
    ACCESS_LIST, CAPABILITY, DEFAULT_LIST, FileType, Inode, KnownFile, Live, LiveKind, ObjectStatus,
    Timestamp, Xattrs, group_rights_of_list, is_label,
};
pub use lock::{ForeignLock, Lock, LockError, LockHolder};
pub use look::{ReadBudget, StillFile, is_hollow};
pub use open_object::{ObjectRights, OpenObject};
pub use proc_files::{ProcBounds, ProcLines, ProcReadError, Stop, proc_text};
pub use resolve::Resolver;
pub use root::{RecordPlaces, Root, accounts_of};
pub use shown_names::{ShownAttributes, ShownNames};
#[cfg(debug_assertions)]
pub use sums::digested_bytes;
pub use sums::{Digest, Digesting, Hashing, Summing, Sums};
pub use way::{
    ForeignObject, is_own_tree, look_along, may_others_write, may_others_write_at, strange_above,
    strange_along,
};
pub use work::{
    CountedRead, INTERRUPTED, Interrupt, InterruptibleRead, WorkMeter, WorkStep, WorkUnit, cores, never,
    processors, side_by_side,
};
pub use write::WritableFile;
