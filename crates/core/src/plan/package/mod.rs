//! What installing and removing a package do to a root.

pub(super) mod depend;
pub mod install;
pub(super) mod placement;
pub mod regain;
pub mod remove;
