//! Compression of streams, detected by content, and the codecs that SVR4 does not know.

mod compressed_input;
mod detection;
pub mod gzip;
pub mod xz;
pub mod zstd;

pub use detection::{
    Compression, ContainerError, ContainerFormat, OpenedContainer, SNIFFED, detect_format, open_container,
};

use std::sync::OnceLock;
use std::thread::available_parallelism;

use patchadm_svr4::format::{compress, datastream};

/// Threads for work that cores can share, at least 1. They change the time, never the result.
fn cores() -> usize {
    static KNOWN: OnceLock<usize> = OnceLock::new();
    *KNOWN.get_or_init(|| available_parallelism().map_or(1, usize::from).min(8))
}
