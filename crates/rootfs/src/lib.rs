//! The only door to the disk.
//!
//! A [`Root`] is the directory that `-R` names. Every path is resolved *inside* it: a symbolic link, a `..` or an
//! absolute target in the tree never leads out (openat2(2), `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`). Changes are
//! made through [`Dir`] handles, by single system calls that pass [`Door`], so that a test can count them, fail
//! them or stop at one. No other crate writes to a root.
//!
//! This crate knows nothing about packages: it handles files, directories and attributes.

#![allow(clippy::disallowed_methods)] // this is the door

mod accounts;
mod building;
mod calls;
mod containers;
mod cores;
#[cfg(debug_assertions)]
mod counted;
mod descent;
mod dir;
mod directory_users;
mod door;
mod error;
mod file;
mod file_type;
mod followed;
mod foreign_lock;
mod guard;
mod interrupt;
mod known;
mod leftover;
mod listing;
mod live;
mod lock;
mod look;
mod mount_tables;
mod mounts;
mod object_rights;
mod open_object;
mod owner;
mod records;
mod removal;
mod resolve;
mod root;
mod showing;
mod shown_names;
mod status;
mod sums;
mod untrusted;
mod way;
mod work_meter;
mod write;
mod xattrs;

pub use accounts::accounts_of;
pub use building::{NewTree, UnnamedDirectory};
pub(crate) use calls::again;
pub use calls::random;
pub use cores::{cores, side_by_side};
#[cfg(debug_assertions)]
pub use counted::digested_bytes;
pub use descent::Descent;
pub use dir::{Dir, FreeSpace};
pub use directory_users::{DirectoryUser, users_of};
pub use door::{ChangeCall, Door, RootChange};
pub(crate) use error::optional;
pub use error::{FlaggedObject, Result, RootError};
pub use file::WritableFile;
pub use file_type::FileType;
pub use followed::{AtPath, Followed, LinkFollower, LinkMap};
pub use foreign_lock::ForeignLock;
pub use interrupt::{Interrupt, InterruptibleRead, never};
pub use known::KnownFile;
pub use listing::{each_entry, each_entry_from_here};
pub use live::{Digest, Inode, Live, LiveKind, Timestamp, Xattrs};
pub use lock::{Lock, LockError, LockHolder};
pub use look::StillFile;
pub use object_rights::ObjectRights;
pub use open_object::OpenObject;
pub use owner::ForeignObject;
pub use records::RecordPlaces;
pub use resolve::Resolver;
pub use root::Root;
pub use shown_names::{ShownAttributes, ShownNames};
pub use status::ObjectStatus;
pub use sums::{Digesting, Hashing, Summing, Sums};
pub use untrusted::{Distrust, ForeignTree, TreeWay, Untrusted};
pub use way::{look_along, strange_above};
pub use work_meter::{CountedRead, WorkMeter, WorkStep, WorkUnit};
pub use xattrs::{ACCESS_LIST, CAPABILITY, DEFAULT_LIST, group_rights_of_list, is_label};
