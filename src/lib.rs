//! patchadm
pub mod package;
pub mod patch;
