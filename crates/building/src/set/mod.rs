//! The set of a run: the results of all its packages, complete, under one number.
//!
//! ```text
//! states and results of the run ─┐
//! set before (its MANIFEST) ─────┴─ selection ─► entries ─ libraries ─► nothing unmet ─ publishing ─► sets/<n>, sets/current
//! ```
//! A set that lacks something is none: the reasons against it are a [`SetRefusal`]. The directory is made beside its place,
//! synced, and gets its name by a rename; so does `sets/current`, a symbolic link. Who reads through it sees whole sets only.

mod base_libraries;
mod delivered;
mod error;
mod input;
mod libraries;
mod making;
mod manifest;
mod places;
mod publishing;
mod released;
mod selection;

pub use error::{SetError, SetRefusal};
pub use input::{SetInput, SetPackage};
pub use making::{MadeSet, make_set};
pub use manifest::{SetFile, SetManifest};
pub use places::{CURRENT, RELEASED, set_numbers, set_of_link};
pub use released::{ReleaseError, ReleasedSet, release};

pub(crate) use base_libraries::BaseLibraries;
pub(crate) use delivered::DeliveredObjects;
pub(crate) use libraries::{found_libraries, unmet_in_files};
pub(crate) use places::{FILES, PACKAGES, SETS, lead};
pub(crate) use publishing::{LARGEST_MANIFEST, name_holders, put_file, read_set, verify_set};
pub(crate) use selection::EarlierSet;

#[cfg(test)]
mod tests;
