//! patchadm
pub mod database;
pub mod format;
pub mod package;
pub mod patch;
pub mod plan;
pub mod root;
pub mod source;
