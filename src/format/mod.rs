//! Bytes to values and back: every file format of SVR4 packages and patches.
//!
//! Each format is a pure pair of reader and writer over bytes, `Read` and `Write`. Nothing here opens a file, and
//! nothing trusts a length that comes from input: every reader has a limit and an error that names the line.

pub mod checksum;
pub mod contents;
pub mod contents_merge;
mod fields;
pub mod lines;
pub mod params;
pub mod pkgmap;

pub use fields::FieldError;
