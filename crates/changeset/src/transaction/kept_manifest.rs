//! The manifest of a patch that keeps no undo data: what an archive would say of its paths, for the patches around it.

use std::collections::BTreeMap;
use std::io::Write as _;

use super::archive::with_digests;
use super::error::Cause;
use super::stage::record_file;
use super::verified::Written;
use crate::format::gzip;
use crate::package::{Digest, Mode, ObjectPath, cores};
use crate::plan::UndoArchive;
use crate::root::Dir;

/// Writes the manifest of an archive that is not kept, compressed, as a file of a staged save directory.
pub(super) fn write(
    undo: &UndoArchive,
    digests: &BTreeMap<ObjectPath, Digest>,
    dir: &Dir,
    name: &[u8],
) -> Result<Written, Cause> {
    let manifest = with_digests(&undo.manifest, digests).to_bytes();
    let bytes = compressed(&manifest)
        .map_err(|error| Cause::Archive { package: undo.package.to_string(), reason: error.to_string() })?;
    let sha256 = record_file(dir, name, &bytes, Mode::of(0o600), None)?;
    Ok(Written { size: bytes.len() as u64, sha256 })
}

fn compressed(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let take = |verified: gzip::Verified| {
        out.extend_from_slice(&verified.member);
        Ok(())
    };
    let mut encoder = gzip::Encoder::new(take, cores(), text.len() as u64);
    encoder.write_all(text)?;
    let _ = encoder.finish()?;
    Ok(out)
}
