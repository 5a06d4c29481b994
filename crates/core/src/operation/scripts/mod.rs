//! Procedure scripts: preparing for them, asking questions through them, running one after another.
//!
//! `runner` runs one script at a time for any command, in the environment of its package. `package_directory` is the place
//! where scripts find the package, `interview` runs request and checkinstall before anything is changed, and `run` runs the
//! scripts between the changes of a run. `safety` refuses roots in which no script may run. `plan::script_schedule` decides
//! which scripts run when; `packages::scripted` follows it.

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
