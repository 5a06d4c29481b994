//! `space`: what the program keeps for a root, and which undo data may go.
//!
//! ```text
//! save/<id> of each package     undo data, patch by patch     undo_space
//! var/sadm/patchadm             history, log, ledgers, …      own_places
//! cache, stages                 directories elsewhere
//! kept libraries                their files
//! ```
//! Every directory is counted whole, as du(1) does; what is in none of the known places is `other`. So the areas add up to
//! the directories and the kept libraries, to the block. Nothing is locked: numbers of a root that is being changed are
//! those of different moments.

mod disk_usage;
mod own_places;
mod report;
mod survey;
mod undo_space;

use std::path::Path;

use super::failure::Failure;
use super::session::must_have_database;
use patchadm_rootfs::Root;
use survey::SpaceSurvey;

pub use report::{FileSystemShare, MayGo, PatchSpace, SpaceArea, SpaceReport};
pub(in crate::operation) use survey::undo_spaces;
pub(in crate::operation) use undo_space::stored_space;
pub use undo_space::{UndoForm, UndoSpace};

/// Counts the disk space of a root; `cache` is the directory of fetched patches.
pub fn space(root: &Root, cache: Option<&Path>) -> Result<SpaceReport, Failure> {
    must_have_database(root)?;
    SpaceSurvey::of(root)?.report(cache)
}
