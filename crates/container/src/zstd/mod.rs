//! Zstandard: a reader of the whole format within limits, and a writer where the build has one.

mod decoder;
mod encoder;

pub(crate) use decoder::ZstdDecoder;
pub use encoder::{IS_WRITTEN, ZstdEncoder};

#[cfg(test)]
mod tests;
