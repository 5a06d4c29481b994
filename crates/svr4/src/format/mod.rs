//! The file formats of SVR4 packages and patches, each a pure pair of reader and writer over bytes.
//!
//! | about | formats |
//! | --- | --- |
//! | streams and archives | [`datastream`], [`cpio`], [`compress`] (`.Z`) |
//! | what a package is | [`params`] (pkginfo and its like), [`pkgmap`], [`depend`], [`space`] |
//! | what a package is made of | [`prototype`] |
//! | what a root holds | [`contents`], and [`registration`] for installf |
//! | what a patch is | [`patchinfo`], [`deletes`], [`readme`] |
//! | which patches belong together | [`patch_order`] |
//! | what a patch leaves in its save directory | [`obsoleted_by`], [`remote`] |
//! | what other tools print about a machine | [`package_list`] (`pkginfo -x`, `-l`), [`showrev`] (`showrev -p`) |
//! | what is known of all patches | [`patchdiag`] (`patchdiag.xref`) |
//! | answers given in advance | [`admin`], [`response`] |
//! | what these share | [`lines`], [`fields`] |
//!
//! No module here opens a file or trusts a length from the input: every reader has a limit, and errors name the line or
//! member at fault.

pub mod admin;
pub mod compress;
pub mod contents;
pub mod cpio;
pub mod datastream;
pub mod deletes;
pub mod depend;
pub mod fields;
pub mod lines;
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

pub use fields::FieldError;
