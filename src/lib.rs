//! patchadm
pub mod format;
pub mod package;
pub mod root;
