//! SHA-256 by the library that TLS brings.

use ring::digest::{Context, SHA256};

use super::Sha256Sum;

/// A SHA-256 digest in progress.
#[derive(Clone)]
pub struct Sha256(Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Sha256 {
    /// Adds bytes to the end of the stream.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes.as_ref());
    }

    /// Returns the digest of all bytes.
    pub fn finalize(self) -> Sha256Sum {
        let mut sum = Sha256Sum::default();
        // Both have 32 bytes.
        sum.iter_mut().zip(self.0.finish().as_ref()).for_each(|(to, from)| *to = *from);
        sum
    }
}
