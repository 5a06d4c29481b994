//! Content compared with the findings of the first pass.

use std::io::{self, Read};

use patchadm_releases::FileContent;
use patchadm_rootfs::Digesting;

/// The content of a file in a second pass: an error as soon as size or digest differ from those of the first. The last byte
/// is not given before the digest is right.
pub struct Verified<R> {
    inner: R,
    expected: FileContent,
    read: u64,
    digest: Digesting,
}

impl<R: Read> Verified<R> {
    /// Wraps the content of a file with these known sums.
    pub fn new(inner: R, expected: FileContent) -> Self {
        Self { inner, expected, read: 0, digest: Digesting::default() }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        self.digest.update(buffer.get(..count).unwrap_or_default());
        self.read += count as u64;
        let is_same = match self.read.cmp(&self.expected.size) {
            std::cmp::Ordering::Less => count > 0,
            std::cmp::Ordering::Equal => self.digest.finish() == self.expected.digest,
            std::cmp::Ordering::Greater => false,
        };
        if is_same {
            Ok(count)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "it changed while it was read"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::Sums;

    fn verified(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let sums = Sums::of(&mut &b"content"[..])?;
        let expected = FileContent { size: sums.size, cksum: sums.cksum, digest: sums.b3 };
        let mut read = Vec::new();
        Verified::new(bytes, expected).read_to_end(&mut read)?;
        Ok(read)
    }

    #[test]
    fn only_the_same_bytes_pass() {
        assert_eq!(verified(b"content").unwrap(), b"content");
        for other in [&b"conten"[..], b"contents", b"Content", b""] {
            assert!(verified(other).is_err(), "{other:?}");
        }
    }
}
