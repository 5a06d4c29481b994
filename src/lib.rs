//! patchadm
pub mod package;
pub mod root;
