//! The manifest of a patch without undo data: what an archive would say about its paths, for the patches around it.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::plan::UndoArchive;
use crate::transaction::archive::archive_information::{ArchiveManifest, header_of};
use crate::transaction::archive::verified::WrittenArchive;
use crate::transaction::error::Cause;
use crate::transaction::stage::staged_files::record_file;
use patchadm_container::gzip;
use patchadm_rootfs::Dir;
use patchadm_rootfs::{Digest, cores};
use patchadm_svr4::package::{Mode, ObjectPath};

/// Writes the manifest of an archive that is not kept, compressed, into a staged save directory.
pub(crate) fn write(
    undo: &UndoArchive,
    digests: &BTreeMap<ObjectPath, Digest>,
    dir: &Dir,
    name: &[u8],
) -> Result<WrittenArchive, Cause> {
    let manifest = ArchiveManifest { manifest: &undo.manifest, digests, stored: None };
    let bytes = compressed(manifest.text(&header_of(&undo.manifest, None)))
        .map_err(|error| Cause::Archive { package: undo.package.to_string(), reason: error.to_string() })?;
    let b3 = record_file(dir, name, &bytes, Mode::of(0o600), None)?;
    Ok(WrittenArchive { size: bytes.len() as u64, b3, files: None })
}

fn compressed(mut text: impl Read) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let take = |verified: gzip::VerifiedMember| {
        out.extend_from_slice(&verified.member);
        Ok(())
    };
    let mut encoder = gzip::GzipEncoder::new(take, cores());
    io::copy(&mut text, &mut encoder)?;
    let _ = encoder.finish()?;
    Ok(out)
}
