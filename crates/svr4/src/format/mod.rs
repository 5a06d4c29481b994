//! The file formats of SVR4 packages and patches, each a pure pair of reader and writer over bytes.
//!
//! | about | formats |
//! | --- | --- |
//! | streams and archives | [`datastream`], [`cpio`], [`compress`] (`.Z`) |
//! | packages | [`params`] (pkginfo and its like), [`pkgmap`], [`depend`], [`space`], [`prototype`] |
//! | the database of a root | [`contents`], and [`registration`] for installf |
//! | patches | [`patchinfo`], [`deletes`], [`readme`], [`patch_order`] |
//! | the save directory of a patch | [`obsoleted_by`], [`remote`] |
//! | output of other tools about a machine | [`package_list`] (`pkginfo -x`, `-l`), [`showrev`] (`showrev -p`) |
//! | the cross-reference of all patches | [`patchdiag`] (`patchdiag.xref`) |
//! | answers to questions | [`admin`], [`response`] |
//! | shared by these | [`Fields`], [`numbered_lines`] |
//!
//! Every reader has a limit, and errors name the line or member at fault.

pub mod admin;
pub mod compress;
pub mod contents;
pub mod cpio;
pub mod datastream;
pub mod deletes;
pub mod depend;
mod fields;
mod lines;
pub mod obsoleted_by;
pub mod package_list;
pub mod params;
pub mod patch_order;
pub mod patchdiag;
pub mod patchinfo;
pub mod pkglog;
pub mod pkgmap;
pub mod prototype;
pub mod readme;
#[cfg(test)]
mod realdata_binary_tests;
#[cfg(test)]
mod realdata_tests;
pub mod registration;
pub mod remote;
pub mod response;
pub mod showrev;
pub mod space;

pub use fields::{FieldError, Fields};
pub use lines::{LONGEST_LINE, LineTooLong, numbered_lines};
