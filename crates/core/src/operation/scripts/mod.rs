//! Procedure scripts: preparation, questions, execution. `plan::script_schedule` decides which scripts run when;
//! `packages::scripted` follows it.

pub(super) mod failure;
pub(super) mod interview;
pub(super) mod package_directory;
pub(super) mod run;
pub(super) mod runner;
pub(super) mod safety;
pub(super) mod system;

pub use crate::script::OutputStream;
pub use crate::script::protocol::RebootRequest;
pub use failure::{LastingResults, ScriptFailure};
pub use runner::{ScriptOutput, ScriptSettings};
