//! File formats: bytes to values and back, pure; no module here opens a file.

pub mod journal;
pub mod manifest;
