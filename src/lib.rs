//! patchadm
pub mod format;
pub mod package;
