//! Installing, adopting, removing and forgetting a package.

pub mod adopt;
pub mod depend;
mod given_up;
pub mod install;
pub mod package_records;
pub mod remove;
