//! Copies of files whose content is checked while it is written.

use std::io::{self, Read};

use patchadm_rootfs::{RootError, Sums, WritableFile};

/// Writes everything that is read to a file, and returns its sums, or the error of the reading.
pub(crate) fn copy_summed(data: impl Read, file: &mut WritableFile) -> Result<io::Result<Sums>, RootError> {
    let mut reading = CopyingReader { data, file, failed: None };
    let sums = Sums::of(&mut reading);
    reading.failed.map_or(Ok(sums), Err)
}

/// Writes bytes to a file as they are read from a source.
struct CopyingReader<'a, R> {
    data: R,
    file: &'a mut WritableFile,
    /// The error of the file, if it did not take the bytes.
    failed: Option<RootError>,
}

impl<R: Read> Read for CopyingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.data.read(buffer)?;
        match self.file.put(buffer.get(..count).unwrap_or_default()) {
            Ok(()) => Ok(count),
            Err(error) => {
                self.failed = Some(error);
                Err(io::ErrorKind::WriteZero.into())
            }
        }
    }
}
