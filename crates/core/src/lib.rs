//! The sequences of a patch manager: each command from beginning to end, with the scripts that it runs.
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
//! `installf` and `removef`. Nothing here prints, ends the process, or reads the environment or the clock: the program does
//! that, and passes on what is needed.
//!
//! | module | is about | uses of this crate |
//! | --- | --- | --- |
//! | [`operation`] | applying, backing out, checking, listing, moving packages, promoting, recovering, each from its beginning to its end | all others |
//! | [`script`] | running procedure scripts in a second process, which ends them when the run dies | process, terminal |
//! | [`namespaces`] | a command in namespaces of its own, with its own tree of mounts | process, terminal |
//! | [`three_way`] | what a promotion or a refresh does with each path | nothing |
//! | [`process`] | what two processes of the program say to each other, and what one inherits | nothing |
//! | `terminal` | a pseudo-terminal between a command and the caller's terminal | nothing |
//!
//! # The main types
//! [`Source`](patchadm_inputs::source::Source) is what the user named and [`Image`](patchadm_inputs::source::Image) what it
//! delivers. [`Inventory`](patchadm_inputs::inventory::Inventory) is what is known of a root.
//! [`Plan`](patchadm_changeset::plan::Plan) is the decision,
//! [`Refusal`](patchadm_planning::plan::refusal::Refusal) the decision against. [`script::ScriptHost`] is where procedure
//! scripts run.
//!
//! # Example
//! The patches of a root, and the relations of one of them:
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

// Unit tests make trees of their own; the lint applies to the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]
#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]

#[cfg(test)]
mod elf_files;
pub mod namespaces;
pub mod operation;
pub mod process;
pub mod script;
mod terminal;
pub mod three_way;

/// Reports which test is skipped and why, visibly: past the capture of test output.
#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    // Nothing depends on it.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
