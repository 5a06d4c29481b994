//! SHA-256: of bytes in memory, of a stream, and of parts in parallel with their receiver.
//!
//! A build that reads web servers digests with ring, its TLS library, whose assembler uses the processor's extensions.
//! Any other build, and one with the feature `plain-digests`, digests with the crate `sha2`.

#[cfg(all(feature = "http", not(feature = "plain-digests")))]
mod of_tls;
mod running;
#[cfg(not(all(feature = "http", not(feature = "plain-digests"))))]
mod rust;

use std::io;

#[cfg(all(feature = "http", not(feature = "plain-digests")))]
pub use of_tls::Sha256;
pub(crate) use running::RunningDigest;
#[cfg(not(all(feature = "http", not(feature = "plain-digests"))))]
pub use rust::Sha256;

/// A SHA-256 digest.
pub type Sha256Sum = [u8; 32];

impl Sha256 {
    /// Computes the digest of these bytes.
    pub fn digest(bytes: impl AsRef<[u8]>) -> Sha256Sum {
        let mut sum = Self::default();
        sum.update(bytes);
        sum.finalize()
    }

    /// Begins with no bytes.
    pub fn new() -> Self {
        Self::default()
    }
}

impl io::Write for Sha256 {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest as _;

    #[test]
    fn the_digest_of_any_length_is_that_of_another_implementation() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| (number * 7 % 251) as u8).collect();
        for length in (0..300).chain([4_095, 4_096, 65_537, 100_000]) {
            let expected: Sha256Sum = sha2::Sha256::digest(&bytes[..length]).into();
            assert_eq!(Sha256::digest(&bytes[..length]), expected, "{length}");
            let mut sum = Sha256::new();
            for part in bytes[..length].chunks(77) {
                sum.update(part);
            }
            assert_eq!(sum.clone().finalize(), expected, "{length}, in parts");
            sum.update(b"more");
            assert_ne!(sum.finalize(), expected, "a clone goes on by itself");
        }
    }
}
