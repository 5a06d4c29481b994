//! Bytes to values and back: every file format of SVR4 packages and patches.
//!
//! Each format is a pure pair of reader and writer over bytes, `Read` and `Write`. Nothing here opens a file, and
//! nothing trusts a length that comes from input: every reader has a limit and an error that names the line.

pub mod checksum;
pub mod compress;
pub mod contents;
pub mod contents_merge;
pub mod cpio;
pub mod datastream;
pub mod envelope;
mod fields;
pub mod lines;
pub mod manifest;
pub mod params;
pub mod pkgmap;

#[cfg(test)]
mod realdata_binary_tests;

pub use fields::FieldError;
