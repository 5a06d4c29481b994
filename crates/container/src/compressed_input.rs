//! The input of a decoder: counts bytes, and separates read failures from faults in the data.

use std::io::{self, BufReader, Read};

const BUFFER: usize = 1 << 16;

/// A compressed stream. A decoder may wrap an I/O error in its own; the first one is kept here unchanged.
pub(crate) struct CompressedInput<R> {
    inner: BufReader<R>,
    count: u64,
    failure: Option<io::Error>,
}

impl<R: Read> CompressedInput<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner: BufReader::with_capacity(BUFFER, inner), count: 0, failure: None }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Returns the I/O error of a failed decoder if there was one, otherwise damaged data.
    pub(crate) fn error(
        &mut self,
        of_decoder: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> io::Error {
        self.failure.take().unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidData, of_decoder))
    }

    /// An early end is an error.
    pub(crate) fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn up_to_four(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(4);
        self.take(4).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl<R: Read> Read for CompressedInput<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.count += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let shown = io::Error::new(error.kind(), error.to_string());
                self.failure.get_or_insert(error);
                Err(shown)
            }
        }
    }
}

pub(crate) fn damaged(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}
