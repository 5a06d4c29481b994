//! File formats: bytes to values and back, over [`std::io::Read`] and [`std::io::Write`]. Nothing here opens a file.

pub mod cpio;
pub mod datastream;
