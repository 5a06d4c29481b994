//! Releases of software as lists of objects: what a team shipped, in any form.
//!
//! ```text
//! operand ─ open ─► Release ─► ReleasePackage ─┬─ objects   sorted by path: type, attributes, digest
//!                                              └─ contents  a second pass, in the order of the input
//! ```
//! A release is a directory tree, an SVR4 package or datastream, a tar archive, a Debian or rpm package, or a directory of
//! these. The first pass reads each byte once, for sizes, sums and digests; content is streamed in a second pass and
//! compared with them, so that a release that changes while it is read is an error and not a mixture. Nothing is unpacked
//! to disk, no other program is called, and no script of a package is run or translated.

mod archive_file;
mod attributes;
mod collector;
mod deb;
mod error;
mod form;
mod identity;
mod list;
mod objects_at;
mod open;
mod package_identity;
mod pax;
mod rpm;
mod svr4;
mod tar_archive;
mod tree;
mod verified;

pub use attributes::is_kept_attribute;
pub use error::{ReleaseError, ReleaseProblem};
pub use identity::{identify, set_entries};
pub use list::{ContentReader, Release, ReleaseForm, ReleasePackage, SvrDescription};
pub use objects_at::objects_at;
pub use open::{open, open_packages};
pub use package_identity::PackageIdentity;
pub use verified::Verified;

#[cfg(test)]
mod tests;
