//! Patches whose scripts take part: hooks, questions, and the packages with their scripts, all in one run.
//!
//! ```text
//!   plan ─► prepatch ─► checkinstall of each package ─► plan again ─► run begins
//!        ─► package by package: its course ─► records of the patch ─► postpatch ─► commit
//! ```
//! A backout does the same with prebackout and postbackout. If anything fails before the commit, all files of the packages
//! are as before. Other effects of a prepatch stay: it ran before the run.

mod after;
pub(in crate::operation) mod hooks;
pub(super) mod install;
pub(super) mod kept;
mod output;
pub(super) mod patch;
mod perform;
pub(super) mod request;
pub(super) mod response;
pub(crate) mod restoration;
mod through_links;

pub(super) use hooks::must_be_executable;
pub(super) use patch::must_be_safe;
pub use request::PatchScriptRequest;
