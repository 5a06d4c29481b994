//! What a patch manager knows: the records of a root, the forms of patches, the rules, scripts, and whole sequences.
//!
//! ```text
//!   what the user named          the root below -R
//!          │                            │
//!     ┌────▼────┐                  ┌────▼─────┐
//!     │ source  │ Image:           │ database │ Inventory: packages, parameters,
//!     └────┬────┘ parameters,      └────┬─────┘ the records and objects concerned
//!          │      pkgmaps, content      │
//!          └──────────┐      ┌──────────┘
//!                   ┌─▼──────▼─┐
//!      Policy ────► │   plan   │ pure: a Plan, or a Refusal with its reason
//!                   └────┬─────┘ (a dry run ends here, and prints it)
//!                        │ Plan
//!              ┌─────────▼─────────┐
//!              │ patchadm_changeset │ stage ► snapshot ► publish ► switch ► commit
//!              └─────────┬─────────┘
//!                        │ Receipt
//!                        ▼
//!                 report, exit code
//! ```
//! The same pipe serves `patchadd`, `patchrm` (its source is an undo archive), `pkgadd` and `pkgrm`, and without a source
//! `installf` and `removef`. Nothing here prints, ends the process, or reads the environment or the clock: the program
//! does, and hands down what is needed.
//!
//! | module | is about | uses of this crate |
//! | --- | --- | --- |
//! | [`operation`] | applying, backing out, checking, listing, making and moving packages, recovering, each from its beginning to its end | all others |
//! | [`plan`] | deciding everything before anything is touched | source, inventory, policy, format |
//! | [`mod@order`] | the order in which things that need each other are renewed | nothing |
//! | [`resolve`] | which of many patches go in, and in which order | plan, depot, policy |
//! | [`patch_scripts`] | the texts of the scripts that patches and backout packages of ours carry | nothing |
//! | [`build`] | patches made of two releases | release, elf, source, sign, `patch_scripts`, format |
//! | [`analyze`] | which patches of a cross-reference a machine lacks | depot |
//! | [`release`] | releases of software as lists of objects | source, format |
//! | [`mod@elf`] | what programs and libraries say to the dynamic linker | nothing |
//! | [`script`] | running procedure scripts in a second process, which ends them when the run dies | process, format |
//! | [`namespaces`] | a command in namespaces of its own, with its own tree of mounts | process |
//! | [`process`] | what two processes of the program say to each other, and what one inherits | nothing |
//! | [`depot`] | the index of published patches, and what a root remembers of it | nothing |
//! | [`http`] | files of web servers, read once and in order | nothing |
//! | [`cache`] | what was fetched, kept under its digest | sign |
//! | [`sign`] | who made a patch, by its manifest and signature | nothing |
//! | [`source`] | a directory, datastream, tar or zip archive as one kind of thing | format |
//! | [`stage`] | the files of a stage, and what a root knows of its stages | `path_glob` |
//! | [`database`] | the package database of a root, as before or as after a run, never mixed | inventory, policy, format |
//! | [`inventory`] | what a root holds, as far as a plan needs to know | format |
//! | [`mod@format`] | the formats of our own: ledgers, what is handed down between patches | nothing |
//!
//! # The main types
//! [`source::Source`] is what the user named and [`source::Image`] what it delivers. [`inventory::Inventory`] is what is
//! known of a root. [`Plan`](patchadm_changeset::plan::Plan) is the decision, [`plan::refusal::Refusal`] the decision
//! against. [`script::ScriptHost`] is where procedure scripts run.
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

pub mod analyze;
pub mod build;
pub mod cache;
pub mod database;
pub mod depot;
pub mod elf;
pub mod format;
pub mod http;
pub mod inventory;
pub mod libraries;
mod little_endian;
pub mod namespaces;
pub mod operation;
pub mod order;
pub mod patch_scripts;
pub mod path_glob;
pub mod plan;
pub mod policy;
pub mod process;
pub mod release;
pub mod resolve;
pub mod script;
mod sha256;
pub mod sign;
pub mod source;
pub mod stage;
pub mod three_way;

/// Says which test is skipped and why, where it is seen: past the capture of what a test prints.
#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    // Nothing depends on it.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
