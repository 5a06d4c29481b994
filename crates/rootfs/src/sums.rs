//! Size, System V sum and SHA-256 of a stream of bytes.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use super::Digest;
use patchadm_svr4::package::checksum::Checksum;

/// Size and sums of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// The number of bytes.
    pub size: u64,
    /// The System V sum.
    pub cksum: u16,
    /// The SHA-256 digest.
    pub sha256: Digest,
}

impl Sums {
    /// Reads a stream to its end.
    pub fn of(input: &mut (impl Read + ?Sized)) -> io::Result<Self> {
        Self::through(&mut vec![0; 1 << 16], input)
    }

    /// Reads a stream to its end through a buffer shared by many files.
    pub fn through(buffer: &mut [u8], input: &mut (impl Read + ?Sized)) -> io::Result<Self> {
        let mut summing = Summing::default();
        loop {
            match input.read(buffer) {
                Ok(0) => return Ok(summing.finish()),
                Ok(count) => summing.update(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// [`Sums`] in progress.
#[derive(Clone, Debug, Default)]
pub struct Summing {
    size: u64,
    sum: Checksum,
    sha256: Sha256,
}

impl Summing {
    /// Adds bytes to the end of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sum.update(bytes);
        self.sha256.update(bytes);
    }

    /// Returns the number of bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the sums of all bytes.
    pub fn finish(self) -> Sums {
        Sums { size: self.size, cksum: self.sum.finish(), sha256: Digest(self.sha256.finalize().into()) }
    }
}

/// Wraps a reader or writer and computes the SHA-256 of the bytes passed on.
#[derive(Debug)]
pub struct Hashing<T> {
    inner: T,
    sha256: Sha256,
}

impl<T> Hashing<T> {
    /// Wraps a reader or writer.
    pub fn new(inner: T) -> Self {
        Self { inner, sha256: Sha256::new() }
    }

    /// Returns the reader or writer and the digest of all bytes.
    pub fn finish(self) -> (T, Digest) {
        (self.inner, Digest(self.sha256.finalize().into()))
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sha256.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.sha256.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn all_three_are_of_the_same_bytes() {
        let sums = Sums::of(&mut &b"abc"[..]).unwrap();
        assert_eq!(sums, Sums { size: 3, cksum: 294, sha256: Digest::from_hex(ABC).unwrap() });
    }

    #[test]
    fn what_is_read_and_what_is_written_have_the_same_digest() {
        let mut reader = Hashing::new(&b"abc"[..]);
        let mut writer = Hashing::new(Vec::new());
        io::copy(&mut reader, &mut writer).unwrap();
        let (written, digest) = writer.finish();
        assert_eq!((written.as_slice(), digest.to_string().as_str()), (&b"abc"[..], ABC));
        assert_eq!(reader.finish().1, digest);
    }
}
