//! Members of a patch, in one order for every form. Their content is compared with the lists.

use std::io::{self, Read};

use crate::build::draft::{BuildError, DraftedPackage, PatchDraft};
use crate::build::pairs::ReleaseSide;
use crate::release::ReleasePackage;
use patchadm_releases::FileContent;
use patchadm_rootfs::{Digesting, Interrupt, InterruptibleRead, WorkMeter, WorkStep, WorkUnit};
use patchadm_svr4::format::params;
use patchadm_svr4::package::ObjectPath;

#[derive(Clone, Copy)]
pub struct WriteWatch<'a> {
    /// Returns the signal to stop.
    pub interrupt: Interrupt<'a>,
    pub meter: &'a WorkMeter,
}

pub(super) fn feed(
    draft: &PatchDraft<'_>,
    sink: &mut dyn PatchSink,
    watch: WriteWatch<'_>,
) -> Result<(), BuildError> {
    let files = draft.packages.iter().flat_map(|package| package.sparse.files.values());
    let bytes = files.map(|file| file.content.size).fold(0, u64::saturating_add);
    let step = watch.meter.begin(WorkUnit::Bytes, bytes);
    for (name, text) in &draft.beside {
        sink.beside(&PatchMember::own(name.as_bytes(), text, draft.date), &mut &text[..])?;
    }
    for (index, package) in draft.packages.iter().enumerate() {
        sink.begin_package(index)?;
        let (pkginfo, pkgmap) = (params::write(&package.sparse.params), package.sparse.pkgmap.write());
        let own = [("pkginfo".to_owned(), &pkginfo), ("pkgmap".to_owned(), &pkgmap)];
        let information = package.sparse.information.iter();
        let information = information.map(|(name, text)| (format!("install/{name}"), text));
        for (name, text) in own.into_iter().chain(information) {
            sink.member(&PatchMember::own(name.as_bytes(), text, draft.date), &mut &text[..])?;
        }
        for side in [ReleaseSide::To, ReleaseSide::From] {
            feed_objects(package, side, sink, watch.interrupt, &step)?;
        }
    }
    Ok(())
}

fn feed_objects(
    package: &DraftedPackage<'_>,
    side: ReleaseSide,
    sink: &mut dyn PatchSink,
    interrupt: Interrupt<'_>,
    step: &WorkStep,
) -> Result<(), BuildError> {
    let release = if side == ReleaseSide::To { package.new } else { package.old };
    let files = &package.sparse.files;
    let is_wanted = |path: &ObjectPath| files.get(path).is_some_and(|file| file.side == side);
    let mut left = files.values().filter(|file| file.side == side).count();
    if left == 0 {
        return Ok(());
    }
    let mut failed = None;
    let read = release.contents.each(&is_wanted, &mut |path, data| {
        let Some(file) = files.get(path) else { return Ok(()) };
        left = left.saturating_sub(1);
        let member =
            PatchMember { name: &file.member, mode: file.mode, mtime: file.mtime, size: file.content.size };
        let mut data = step.counting(data);
        let mut content = CheckedContent::new(&mut data, file.content, interrupt);
        put_object(release, path, &member, &mut content, sink).map_err(|error| {
            let told = io::Error::other(error.to_string());
            failed = Some(error);
            told
        })
    });
    match (failed, read) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(BuildError::Read { origin: release.origin.clone(), error }),
        (None, Ok(())) if left > 0 => {
            let path = format!("{left} of its files");
            Err(BuildError::Changed { origin: release.origin.clone(), path })
        }
        (None, Ok(())) => Ok(()),
    }
}

/// Blames the release or the destination for a failure.
fn put_object(
    release: &ReleasePackage,
    path: &ObjectPath,
    member: &PatchMember<'_>,
    content: &mut CheckedContent<'_>,
    sink: &mut dyn PatchSink,
) -> Result<(), BuildError> {
    let written = sink.member(member, content);
    let origin = || release.origin.clone();
    match content.finish() {
        Err(error) if content.has_changed() => {
            let path = format!("{path} ({error})");
            Err(BuildError::Changed { origin: origin(), path })
        }
        Err(error) if content.has_failed() => Err(BuildError::Read { origin: origin(), error }),
        _ => written,
    }
}

pub(super) fn copy(
    data: &mut dyn Read,
    buffer: &mut [u8],
    put: &mut dyn FnMut(&[u8]) -> Result<(), BuildError>,
) -> Result<io::Result<()>, BuildError> {
    loop {
        match data.read(buffer) {
            Ok(0) => return Ok(Ok(())),
            Ok(count) => put(buffer.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
    }
}

const READABLE: u32 = 0o644;

#[derive(Clone, Copy, Debug)]
pub(super) struct PatchMember<'a> {
    pub(super) name: &'a [u8],
    pub(super) mode: u32,
    pub(super) mtime: i64,
    pub(super) size: u64,
}

impl<'a> PatchMember<'a> {
    pub(super) fn own(name: &'a [u8], text: &[u8], date: i64) -> Self {
        Self { name, mode: READABLE, mtime: date, size: text.len() as u64 }
    }
}

pub(super) trait PatchSink {
    fn beside(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError>;

    fn begin_package(&mut self, index: usize) -> Result<(), BuildError>;

    fn member(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError>;
}

/// Read beyond the wanted bytes, to detect excess.
const ONE: usize = 1;

/// Fails if the content differs from the listed one, or at a signal.
pub(super) struct CheckedContent<'a> {
    inner: InterruptibleRead<'a, &'a mut dyn Read>,
    expected: FileContent,
    size: u64,
    digest: Digesting,
    end: ContentEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentEnd {
    Open,
    Complete,
    Changed,
    Failed,
}

impl<'a> CheckedContent<'a> {
    pub(super) fn new(inner: &'a mut dyn Read, expected: FileContent, interrupt: Interrupt<'a>) -> Self {
        let inner = InterruptibleRead::new(inner, interrupt);
        Self { inner, expected, size: 0, digest: Digesting::default(), end: ContentEnd::Open }
    }

    pub(super) fn has_changed(&self) -> bool {
        self.end == ContentEnd::Changed
    }

    pub(super) fn has_failed(&self) -> bool {
        self.end == ContentEnd::Failed
    }

    /// Checks that all content was read and correct. A reader that stopped early is no error of the content.
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
            _ => "different contents".to_owned(),
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

/// Fills the buffer. A compressor's output depends on its input sizes, which must not depend on the form of a release.
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
    use super::*;
    use crate::build::tests::made_up::content;
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
        assert_eq!(read("same", "sane"), Err("different contents".to_owned()));
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
