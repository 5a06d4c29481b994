//! The changes of `contents` that another tool has logged beside it ([`patchadm_svr4::format::pkglog`]).
//!
//! Readers see `contents` with the complete changes of the log; who writes `contents` applies them, and removes the log
//! in the same run.

use std::fs::File;
use std::io::{BufReader, Seek as _, Write as _};

use super::view_error::failed as not_done;
use super::{RecordError, RecordView, named, places};
use crate::format::contents_merge::{ContentsEdits, overlay, overlay_unsorted};
use patchadm_svr4::format::contents::ContentsError;
use patchadm_svr4::format::pkglog::Pkglog;

/// The largest log that is read, in bytes: 256 MiB. The tools that write one roll it over long before.
const LARGEST: u64 = 256 << 20;

/// Reads the log, or returns `None` if there is none.
pub fn read(view: &RecordView<'_>) -> Result<Option<Pkglog>, RecordError> {
    let path = places::pkglog();
    let shown = || view.root().show(&path);
    match view.read(&path, LARGEST)? {
        Some(text) => {
            let log = Pkglog::parse(&text);
            log.map(Some).map_err(|reason| RecordError::Pkglog { root: named(view), path: shown(), reason })
        }
        // An object that cannot be read is no empty log.
        None if view.look(&path)?.is_some() => Err(RecordError::NoFile { root: named(view), path: shown() }),
        None => Ok(None),
    }
}

/// Reads what can be read of the log.
pub fn readable(view: &RecordView<'_>) -> Result<ContentsEdits, RecordError> {
    let text = view.read(&places::pkglog(), LARGEST)?.unwrap_or_default();
    Ok(Pkglog::parse_readable(&text).0.edits)
}

/// Returns `contents` with these changes, as a file in memory. `contents` may be missing.
pub(super) fn overlaid(
    view: &RecordView<'_>,
    contents: Option<File>,
    edits: &ContentsEdits,
) -> Result<File, RecordError> {
    let made = merged(contents, edits).map_err(|reason| RecordError::of_contents(view, reason))?;
    in_memory(&made)
        .map_err(|error| not_done("overlay", view.root().show(&places::contents()), &error).into())
}

fn merged(contents: Option<File>, edits: &ContentsEdits) -> Result<Vec<u8>, ContentsError> {
    let mut made = Vec::new();
    let Some(mut contents) = contents else {
        overlay(&b""[..], &mut made, edits)?;
        return Ok(made);
    };
    match overlay(BufReader::with_capacity(1 << 18, &contents), &mut made, edits) {
        Err(ContentsError::Unsorted { .. }) => {
            made.clear();
            contents.rewind()?;
            overlay_unsorted(BufReader::with_capacity(1 << 18, &contents), &mut made, edits)?;
        }
        merged => merged?,
    }
    Ok(made)
}

fn in_memory(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("contents", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
