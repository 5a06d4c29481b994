//! patchadm
pub mod package;
