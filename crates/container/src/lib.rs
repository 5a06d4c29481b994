//! What a stream is compressed with, told by its content, and the codecs that SVR4 itself does not know.

#[cfg(any(feature = "xz", feature = "zstd"))]
mod compressed_input;
mod detection;
pub mod gzip;
#[cfg(feature = "xz")]
mod xz;
#[cfg(feature = "zstd")]
mod zstd;

pub use detection::{
    Compression, ContainerError, ContainerFormat, OpenedContainer, SNIFFED, detect_format, open_container,
};

use std::sync::OnceLock;
use std::thread::available_parallelism;

use patchadm_svr4::format::{compress, datastream};

/// How many threads are worth having for work that each core can do a part of: at least 1. No result depends on it,
/// only the time that it takes.
fn cores() -> usize {
    static KNOWN: OnceLock<usize> = OnceLock::new();
    *KNOWN.get_or_init(|| available_parallelism().map_or(1, usize::from).min(8))
}
