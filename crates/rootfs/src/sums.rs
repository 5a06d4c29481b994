use std::fmt;
use std::io::{self, Read, Write};

use patchadm_svr4::package::checksum::Checksum;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Parses 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        let mut doubt = 0;
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().as_chunks().0) {
            let [high, low] = digits.map(|digit: u8| NIBBLES[usize::from(digit)]);
            doubt |= high | low;
            *byte = high << 4 | low;
        }
        (doubt & NO_DIGIT == 0).then_some(Self(bytes))
    }
}

const NIBBLES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

const NO_DIGIT: u8 = 0xf0;

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (two, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *two = [byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]);
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    pub size: u64,
    /// System V.
    pub cksum: u16,
    pub b3: Digest,
}

impl Sums {
    pub fn of(input: &mut (impl Read + ?Sized)) -> io::Result<Self> {
        Self::through(&mut vec![0; 1 << 16], input)
    }

    /// Reads to the end through a buffer shared by many files.
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

/// A [`Digest`] in progress.
#[derive(Clone, Debug, Default)]
pub struct Digesting(blake3::Hasher);

impl Digesting {
    pub fn update(&mut self, bytes: &[u8]) {
        #[cfg(debug_assertions)]
        counted::note(bytes);
        self.0.update(bytes);
    }

    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        #[cfg(debug_assertions)]
        counted::note(bytes);
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// [`Sums`] in progress.
#[derive(Clone, Debug, Default)]
pub struct Summing {
    size: u64,
    sum: Checksum,
    b3: Digesting,
}

impl Summing {
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sum.update(bytes);
        self.b3.update(bytes);
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn finish(self) -> Sums {
        Sums { size: self.size, cksum: self.sum.finish(), b3: self.b3.finish() }
    }
}

/// Wraps a reader or writer and computes the BLAKE3 of the bytes passed on.
#[derive(Debug)]
pub struct Hashing<T> {
    inner: T,
    b3: Digesting,
}

impl<T> Hashing<T> {
    pub fn new(inner: T) -> Self {
        Self { inner, b3: Digesting::default() }
    }

    pub fn finish(self) -> (T, Digest) {
        (self.inner, self.b3.finish())
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.b3.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.b3.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(debug_assertions)]
pub use counted::digested_bytes;

#[cfg(debug_assertions)]
mod counted {
    use std::sync::atomic::{AtomicU64, Ordering};

    static DIGESTED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn note(bytes: &[u8]) {
        DIGESTED.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    /// Returns the number of bytes that this process has digested so far.
    pub fn digested_bytes() -> u64 {
        DIGESTED.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";

    #[test]
    fn all_three_are_of_the_same_bytes() {
        let sums = Sums::of(&mut &b"abc"[..]).unwrap();
        assert_eq!(sums, Sums { size: 3, cksum: 294, b3: Digest::from_hex(ABC).unwrap() });
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
