//! Kept libraries in a plan (patchadm-shlibs(7)): the second, also pure, step of planning.
//!
//! A plan is made as if nothing were kept
//! ([`Inventory::hide_kept`](patchadm_inputs::inventory::Inventory::hide_kept)). After `LibraryChange` of
//! patchadm-libraries has decided which libraries stay for their consumers, a [`KeptSettlement`] changes the
//! plan: objects that stay, lines of `contents` with another owner, the records of the packages of kept
//! libraries, and the content of the undo archive.

mod package_files;
mod report;
mod settlement;

pub use package_files::{CONSUMERS, DEPEND, is_named_as_kept};
pub use report::{
    KeptLibrary, LibraryReport, LostLibrary, PackagePaths, ToldConsumer, way_of_needing, why_lost,
};
pub use settlement::{
    ArchivedLibrary, KeepingCause, KeptInput, KeptSettlement, SavedLibraries, StayingLibrary, StayingOrigin,
};
