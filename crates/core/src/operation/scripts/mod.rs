//! Procedure scripts: getting ready for them, asking through them, running one after another.
//!
//! `runner` runs one script at a time for any command; `context` is what the scripts of a package are told,
//! `package_directory` where they find it, `interview` what they ask before anything is changed, `package` how they
//! run between the changes of a run, and `halt` how such a run is given up. Which scripts run when is in
//! `plan::script_schedule`; `packages::scripted` follows it.

pub(super) mod batch;
pub(super) mod context;
pub(super) mod failure;
pub(super) mod halt;
pub(super) mod interview;
pub(super) mod package;
pub(super) mod package_directory;
pub(super) mod runner;
pub(super) mod safety;
pub(super) mod staying_libraries;
pub(super) mod system;

pub use crate::script::OutputStream;
pub use crate::script::protocol::RebootRequest;
pub use failure::{LastingResults, ScriptFailure};
pub use runner::{ScriptOutput, ScriptSettings};
