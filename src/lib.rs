//! patchadm
pub mod cli;
pub mod database;
pub mod format;
pub mod operation;
pub mod package;
pub mod patch;
pub mod plan;
pub mod root;
pub mod source;
pub mod transaction;
