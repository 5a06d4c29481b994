//! Bytes to values and back: every file format of SVR4 packages and patches.
//!
//! Each format is a pure pair of reader and writer over bytes, `Read` and `Write`. Nothing here opens a file, and
//! nothing trusts a length that comes from input: every reader has a limit and an error that names the line.

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
pub mod params;
pub mod patchinfo;
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
pub mod space;

pub use fields::FieldError;
