//! A patch written down, in any form that is read: a directory, a zip or tar archive, a datastream.
//!
//! ```text
//! PatchDraft ─ members ─► PatchSink ─┬─ DirectorySink   a directory, with a manifest in it
//!   releases ─ contents ────────┘    ├─ TarSink, ZipSink ─┐
//!                                    └─ StreamSink ───────┴─► one file, with a manifest beside it
//! ```
//! The bytes depend on the draft alone: members come in a fixed order, have no owner, and have the times of the draft
//! and of the objects. Content is compared with the lists while it passes, and read once. Nothing appears under its
//! name before it is complete; an error removes unfinished files.

mod content;
mod destination;
mod directory;
mod file;
mod members;
mod sink;
mod stream;
mod tar_archive;
mod zip_archive;

use super::draft::PatchDraft;
use super::error::BuildError;

pub use destination::{PatchDestination, PatchForm, WriteWatch, WrittenPatch};
pub use file::remove_unfinished;

/// Writes a patch.
pub fn write_patch(
    draft: &PatchDraft<'_>,
    to: &PatchDestination,
    watch: WriteWatch<'_>,
) -> Result<WrittenPatch, BuildError> {
    let written = match to.form {
        PatchForm::Directory => directory::write(draft, to, watch),
        _ => file::write(draft, to, watch),
    };
    // A signal makes the current operation fail in some way.
    match (watch.interrupt)() {
        Some(signal) if written.is_err() => Err(BuildError::Interrupted(signal)),
        _ => written,
    }
}
