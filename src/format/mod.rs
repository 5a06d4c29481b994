//! File formats: bytes to values and back, over [`std::io::Read`] and [`std::io::Write`]. Nothing here opens a file.

pub mod compress;
pub mod cpio;
pub mod datastream;
pub mod envelope;

#[cfg(test)]
mod realdata_binary_tests;
