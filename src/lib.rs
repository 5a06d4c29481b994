//! patchadm keeps software under a Unix root patched, and can take any patch back.
//!
//! It installs *sparse patch packages*: SVR4 packages that carry only the files that changed. Before it touches
//! anything it decides whether a patch may go in, it keeps every object that it replaces in an *undo archive*, and it
//! records what it did in the package's own `pkginfo`, where `pkgparam PKG PATCHLIST` finds it. A patch is *backed
//! out* exactly, to the last attribute, however long ago it was applied; a run that is killed half-way leaves the root
//! as before or as after, never between.
//!
//! # The modules
//! The library crates have front pages of their own: `patchadm_svr4` and `patchadm_container` the formats,
//! `patchadm_rootfs` the door to the disk, `patchadm_changeset` many objects changed as one, `patchadm_core` what a
//! patch manager knows. `patchadm_cli` is what the programs share. This crate
//! is the operator's program. Each module uses those below it; no two files use each other.
//!
//! | module | is about |
//! | --- | --- |
//! | `applets` | the table of commands; finding the one that is meant, and its exit code |
//! | `classic` | a file for each classic command: its options, its work, its words |
//! | `verbs` | a file for each verb of `patchadm` |
//! | `programs` | the other programs, which do what operators do not |
//! | `patch_command` | the sequence that patchadd, patchrm, `add`, `update`, `remove`, `undo` and `plan` share, and the options about depots |
//! | `many_roots` | a verb on many roots: one line for each, one summary |
//! | `as_owner` | a process of the owner of a root does the work |
//! | `trial_waiter` | somebody who waits for the end of a trial |

// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod applets;
mod as_owner;
mod classic;
mod many_roots;
mod patch_command;
mod programs;
mod trial_waiter;
mod verbs;

pub use applets::main;
