//! patchadm keeps software under a Unix root patched, and can take any patch back.
//!
//! It installs *sparse patch packages*: SVR4 packages that carry only the files that changed. Before it touches
//! anything it decides whether a patch may go in, it keeps every object that it replaces in an *undo archive*, and it
//! records what it did in the package's own `pkginfo`, where `pkgparam PKG PATCHLIST` finds it. A patch is *backed
//! out* exactly, to the last attribute, however long ago it was applied; a run that is killed half-way leaves the root
//! as before or as after, never between.
//!
//! # The way of the data
//! ```text
//!   what the user named          the root below -R
//!          │                            │
//!     ┌────▼────┐                  ┌────▼─────┐
//!     │ source  │ Image            │ database │ Inventory: packages, parameters,
//!     └────┬────┘ parameters,      └────┬─────┘ the records and objects concerned
//!          │      pkgmaps, content      │
//!          └──────────┐      ┌──────────┘
//!                   ┌─▼──────▼─┐
//!      Policy ────► │   plan   │ pure: Plan, or Refusal with its reason
//!                   └────┬─────┘ (a dry run ends here, and prints it)
//!                        │ Plan
//!                ┌───────▼───────┐
//!                │  transaction  │ stage ► snapshot ► publish ► switch ► commit
//!                └───────┬───────┘ the only code that changes a root
//!                        │ Receipt
//!                        ▼
//!                 report, exit code
//! ```
//! The same pipe serves `patchadd`, `patchrm` (its source is an undo archive), `pkgadd` and `pkgrm`, and without a source
//! `installf` and `removef`.
//! The records (`contents`, every `pkginfo`, undo archives) are staged and renamed like any other file, so one sector of
//! the journal commits all of it.
//!
//! # The modules
//! The library crates have front pages of their own: `patchadm_svr4` and `patchadm_container` the formats,
//! `patchadm_rootfs` the door to the disk, `patchadm_changeset` many objects changed as one, `patchadm_core` what a
//! patch manager knows. This crate is the program: from the words of a command line to text or JSON and an exit code.
//! Only here is anything printed, prompted, read from the environment, or the process ended. Each module uses those
//! below it; no two files use each other.
//!
//! | module | is about |
//! | --- | --- |
//! | `applets` | the table of commands; finding the one that is meant, and its exit code |
//! | `classic` | a file for each classic command: its options, its work, its words |
//! | `verbs` | a file for each verb of `patchadm` |
//! | `patch_command` | the course that patchadd, patchrm, `add`, `remove` and `plan` share |
//! | `many_roots` | a verb on many roots: one line for each, one summary |
//! | `as_owner` | a process of the owner of a root does the work |
//! | `arguments` | options and operands that several commands have |
//! | `call` | one call of a command: its arguments, its surroundings, its caller |
//! | `reply` | the answer of a command: one value, its faces text and JSON, the exit code and the hint |
//! | `surroundings` | environment, clock, terminal, signals |
//! | `supervisor` | the second process, which runs procedure scripts |
//!
//! # The main types
//! [`patch::PatchId`] is an id and knows what is later; [`patch::AppliedPatches`] answers what the rules ask about a
//! root. [`source::Source`] is what the user named and [`source::Image`] what it delivers. [`root::Root`] is the tree
//! that is worked on, [`package::Inventory`] what is known of it. [`plan::Plan`] is the decision,
//! [`plan::refusal::Refusal`] the decision against. [`transaction::Planned`] begins the steps of a run and
//! [`transaction::Receipt`] ends them. [`script::ScriptHost`] is where procedure scripts run.
//!
//! # Example
//! The patches of a root, and what stands against another one:
//! ```
//! use patchadm_core::operation::queries::applied_patches::applied_patches;
//! use patchadm_svr4::patch::PatchId;
//! use patchadm_rootfs::Root;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let package = dir.path().join("var/sadm/pkg/ACMEweb");
//! std::fs::create_dir_all(&package)?;
//! std::fs::write(
//!     package.join("pkginfo"),
//!     "PKG=ACMEweb\nNAME=Web server\nARCH=all\nVERSION=2.0\nCATEGORY=application\n\
//!      PATCHLIST=900-02\n\
//!      PATCH_INFO_900-02=Installed: Fri Nov 20 06:37:39 UTC 2026 From: web1 Obsoletes: 890-01 Requires: \
//!      Incompatibles:\n",
//! )?;
//!
//! let patches = applied_patches(&Root::open(dir.path())?)?;
//! let applied = &patches[0];
//! assert_eq!(applied.id.to_string(), "900-02");
//! assert_eq!(applied.obsoletes.to_string(), "890-01");
//!
//! // A later revision contains an earlier one, and leading zeros do not count.
//! assert!(applied.id.contains(&PatchId::new("900-1")?));
//! assert!(PatchId::new("900-10")?.is_later_than(&applied.id));
//! # Ok(())
//! # }
//! ```

// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod applets;
mod arguments;
mod as_owner;
mod call;
mod classic;
mod many_roots;
mod patch_command;
pub mod reply;
mod supervisor;
mod surroundings;
mod verbs;

pub use applets::main;

use patchadm_changeset::transaction;
use patchadm_core::{database, operation, plan, script, source};
use patchadm_rootfs as root;
use patchadm_svr4::{format, package, patch};
