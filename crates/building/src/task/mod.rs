//! One package: what it needs is installed, it is built, packed, checked and kept.
//!
//! A task is a process of its own, wherever it runs; [`serve_task`] is that process.

mod building;
mod checking;
mod inputs;
pub(crate) mod installing;
mod keeping;
mod made_pkginfo;
pub mod order;
mod packing;
pub(crate) mod place;
pub(crate) mod sandbox_run;
mod serving;
pub(crate) mod step;
mod teller;

pub use made_pkginfo::PackageIdentity;
pub use serving::serve_task;
