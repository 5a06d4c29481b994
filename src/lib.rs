//! patchadm keeps software under a Unix root patched, and can take any patch back.
//!
//! It installs *sparse patch packages*: SVR4 packages with only the files that changed. It decides first if a patch may go
//! in, keeps every replaced object in an *undo archive*, and records the patch in the package's `pkginfo`. A patch is
//! *backed out* exactly, however old; an interrupted run leaves the root as before or as after.
//!
//! This crate is the operator's program. Each module uses those below it; no two files use each other.
//!
//! | module | is about |
//! | --- | --- |
//! | `applets` | the table of commands, and the selection of one |
//! | `classic` | the classic commands, one file each |
//! | `verbs` | the verbs of `patchadm`, one file each |
//! | `programs` | the other programs |
//! | `patch_command` | the sequence of all commands about patches |
//! | `many_roots` | a verb on many roots: one line for each, one summary |
//! | `as_owner` | a process of the owner of a root |
//! | `trial_waiter` | a process that waits for the end of a trial |

// Unit tests make trees of their own; the lint applies to the library.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod applets;
mod as_owner;
mod classic;
mod many_roots;
mod patch_command;
mod programs;
mod trial_waiter;
mod verbs;
