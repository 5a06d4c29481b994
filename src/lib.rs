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
//! Arrows point down only, which a test of `tests/structure.rs` enforces:
//! ```text
//!                 cli               prints, prompts, reads environment and clock, exits
//!                  │
//!              operation            the only modules that know a whole sequence
//!                  │
//!             transaction  script   the only code that changes a root │ runs what packages bring along
//!              │        │            (script stands on root and format)
//!          database    plan         reads the records of a root │ pure: decides
//!              │        │
//!            root     source        the only door to the disk │ what the user named, in any form
//!              │        │
//!              │      format        bytes ⇄ values, no files (database stands above it, too)
//!              │        │
//!              │   patch│           what a patch is (database and plan ask it)
//!              │     │  │
//!              package              values: paths, objects, parameters, inventory
//! ```
//! | module | is about | uses |
//! | --- | --- | --- |
//! | [`cli`] | the classic commands and the verbs of `patchadm`: arguments, reports, exit codes | everything |
//! | [`operation`] | applying, backing out, checking, listing, making and moving packages, recovering, each from its beginning to its end | source, plan, transaction, script, database, root, format, patch, package |
//! | [`transaction`] | carrying a plan out, all of it or nothing; rolling back and recovering | plan, database, root, format, package |
//! | [`script`] | running procedure scripts in a second process, which ends them when the run dies | root, format, package |
//! | [`plan`] | deciding everything before anything is touched | source, format, patch, package |
//! | [`source`] | a directory, datastream, tar or zip archive as one kind of thing | format, package |
//! | [`database`] | the package database of a root, as before or as after a run, never mixed | root, format, patch, package |
//! | [`root`] | access to the tree below a directory that nothing in the tree leads out of | package |
//! | [`format`] | pkginfo, pkgmap, contents, datastream, cpio, compress, journal, manifest … | package |
//! | [`patch`] | ids, lists, obsoletion counts, records, relations | package |
//! | [`package`] | values that all others speak of | nothing |
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

pub mod cli;

use patchadm_changeset::transaction;
use patchadm_core::{database, operation, plan, script, source};
use patchadm_rootfs as root;
use patchadm_svr4::{format, package, patch};
