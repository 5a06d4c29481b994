//! SHA-256 in Rust alone.

use sha2::Digest as _;

use super::Sha256Sum;

/// A SHA-256 digest in progress.
#[derive(Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Adds bytes to the end of the stream.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    /// Returns the digest of all bytes.
    pub fn finalize(self) -> Sha256Sum {
        self.0.finalize().into()
    }
}
