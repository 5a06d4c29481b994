//! Work that is asked to end.

use std::io::{self, Read, Seek, SeekFrom};

/// Returns the signal that asks the work to end, if one came.
pub type Interrupt<'a> = &'a (dyn Fn() -> Option<i32> + Sync);

/// The [`Interrupt`] of work that goes on to its end.
pub fn never() -> Option<i32> {
    None
}

/// Reads until a signal comes. Reading fails then, and whoever reads asks which signal it was.
pub struct InterruptibleRead<'a, R> {
    inner: R,
    interrupt: Interrupt<'a>,
}

impl<'a, R> InterruptibleRead<'a, R> {
    /// Reads from `inner`.
    pub fn new(inner: R, interrupt: Interrupt<'a>) -> Self {
        Self { inner, interrupt }
    }
}

impl<R: Read> Read for InterruptibleRead<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.interrupt)() {
            None => self.inner.read(buffer),
            Some(signal) => Err(io::Error::other(format!("interrupted by signal {signal}"))),
        }
    }
}

impl<R: Seek> Seek for InterruptibleRead<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
