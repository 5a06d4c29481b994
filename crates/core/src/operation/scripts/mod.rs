//! Procedure scripts: preparing for them, asking questions through them, running one after another.
//!
//! `runner` runs one script at a time for any command. `context` has the environment of a package's scripts,
//! `package_directory` the place where they find the package, `interview` the questions before anything is changed.
//! `package` runs the scripts between the changes of a run, and `halt` gives such a run up. `plan::script_schedule` decides
//! which scripts run when; `packages::scripted` follows it.

pub(super) mod batch;
pub(super) mod context;
pub(super) mod failure;
pub(super) mod halt;
pub(super) mod interview;
pub(super) mod package;
pub(super) mod package_directory;
pub(super) mod runner;
pub(super) mod safety;
pub(super) mod settings;
pub(super) mod staying_libraries;
pub(super) mod system;

pub use crate::script::OutputStream;
pub use crate::script::protocol::RebootRequest;
pub use failure::{LastingResults, ScriptFailure};
pub use runner::ScriptOutput;
pub use settings::ScriptSettings;
