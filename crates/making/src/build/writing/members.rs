//! The members of a patch, in the order that every form has them.

use std::io::{self, Read};

use super::super::draft::{DraftedPackage, PatchDraft};
use super::super::error::BuildError;
use super::super::pairs::ReleaseSide;
use super::content::CheckedContent;
use super::destination::WriteWatch;
use super::sink::{PatchMember, PatchSink};
use crate::release::ReleasePackage;
use patchadm_rootfs::{Interrupt, WorkStep, WorkUnit};
use patchadm_svr4::format::params;
use patchadm_svr4::package::ObjectPath;

/// Hands all members of a patch to a sink: the files beside the packages, then package after package.
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

/// Hands the files of a package whose content is that of one release to a sink.
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

/// Hands one file to a sink, and says of a failure whether the release or the destination is to blame.
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

/// Copies content through a buffer that serves many files.
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
