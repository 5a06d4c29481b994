//! The effects on a root of installing, adopting, removing and forgetting a package.

pub mod adopt;
pub mod depend;
pub mod forget;
mod given_up;
pub mod install;
pub mod package_records;
pub(super) mod placement;
pub mod regain;
pub mod remove;
pub mod update;
