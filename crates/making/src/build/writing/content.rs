//! The content of a file, compared with its entry in the list while it passes.

use std::io::{self, Read};

use patchadm_releases::FileContent;
use patchadm_rootfs::{Digesting, Interrupt, InterruptibleRead};

/// Bytes that are read beyond what is wanted, to see that there are none.
const ONE: usize = 1;

/// Content that ends with an error where it is not what it was when it was listed, or when a signal came.
pub(super) struct CheckedContent<'a> {
    inner: InterruptibleRead<'a, &'a mut dyn Read>,
    expected: FileContent,
    size: u64,
    digest: Digesting,
    end: ContentEnd,
}

/// How the content ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentEnd {
    /// Not yet.
    Open,
    /// As it should.
    Complete,
    /// With other bytes than were listed.
    Changed,
    /// With an error of the input, or a signal.
    Failed,
}

impl<'a> CheckedContent<'a> {
    /// Wraps the content of a file.
    pub(super) fn new(inner: &'a mut dyn Read, expected: FileContent, interrupt: Interrupt<'a>) -> Self {
        let inner = InterruptibleRead::new(inner, interrupt);
        Self { inner, expected, size: 0, digest: Digesting::default(), end: ContentEnd::Open }
    }

    /// Tells whether other bytes came than were listed.
    pub(super) fn has_changed(&self) -> bool {
        self.end == ContentEnd::Changed
    }

    /// Tells whether the input could not be read.
    pub(super) fn has_failed(&self) -> bool {
        self.end == ContentEnd::Failed
    }

    /// Checks that everything was read and was right. If the reader stopped in the middle, without an error of the
    /// content, there is no error.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match self.end {
            ContentEnd::Open if self.size == self.expected.size => self.read(&mut [0; ONE]).map(drop),
            ContentEnd::Open | ContentEnd::Complete => Ok(()),
            ContentEnd::Changed => Err(self.changed()),
            ContentEnd::Failed => Err(io::Error::other("it cannot be read")),
        }
    }

    fn changed(&mut self) -> io::Error {
        self.end = ContentEnd::Changed;
        let FileContent { size, .. } = self.expected;
        let reason = match self.size {
            read if read > size => format!("more than {size} bytes"),
            read if read < size => format!("{read} bytes instead of {size}"),
            _ => "other bytes".to_owned(),
        };
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }
}

impl Read for CheckedContent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.end {
            ContentEnd::Complete => return Ok(0),
            ContentEnd::Changed => return Err(self.changed()),
            ContentEnd::Failed => return Err(io::Error::other("it cannot be read")),
            ContentEnd::Open if buffer.is_empty() => return Ok(0),
            ContentEnd::Open => {}
        }
        let count = read_full(&mut self.inner, buffer).inspect_err(|_| self.end = ContentEnd::Failed)?;
        self.size += count as u64;
        self.digest.update(buffer.get(..count).unwrap_or_default());
        if self.size > self.expected.size {
            return Err(self.changed());
        }
        if count == 0 {
            let is_right = self.size == self.expected.size && self.digest.finish() == self.expected.digest;
            if !is_right {
                return Err(self.changed());
            }
            self.end = ContentEnd::Complete;
        }
        Ok(count)
    }
}

/// Reads as much as there is room for. What a compressor makes of bytes depends on how many come at once, and that must
/// not depend on the form of a release.
fn read_full(inner: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match inner.read(rest) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::made_up::content;
    use super::*;
    use patchadm_rootfs::never;

    fn read(listed: &str, found: &str) -> Result<Vec<u8>, String> {
        let mut bytes = found.as_bytes();
        let mut checked = CheckedContent::new(&mut bytes, content(listed), &never);
        let mut out = Vec::new();
        checked.read_to_end(&mut out).map_err(|error| error.to_string())?;
        checked.finish().unwrap();
        Ok(out)
    }

    #[test]
    fn content_that_is_not_what_it_was_ends_with_an_error() {
        assert_eq!(read("same", "same"), Ok(b"same".to_vec()));
        assert_eq!(read("", ""), Ok(Vec::new()));
        assert_eq!(read("same", "sane"), Err("other bytes".to_owned()));
        assert_eq!(read("same", "sam"), Err("3 bytes instead of 4".to_owned()));
        assert_eq!(read("same", "same again"), Err("more than 4 bytes".to_owned()));
    }

    #[test]
    fn what_reads_just_the_size_is_checked_at_the_end() {
        let mut bytes = &b"sane"[..];
        let mut checked = CheckedContent::new(&mut bytes, content("same"), &never);
        checked.read_exact(&mut [0; 4]).unwrap();
        assert!(checked.finish().is_err() && checked.has_changed());
    }

    #[test]
    fn a_signal_ends_it() {
        let mut bytes = &b"same"[..];
        let mut checked = CheckedContent::new(&mut bytes, content("same"), &|| Some(2));
        assert!(checked.read(&mut [0; 4]).is_err() && checked.has_failed());
    }
}
