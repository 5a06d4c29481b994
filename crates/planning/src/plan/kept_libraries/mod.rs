//! Kept libraries (patchadm-shlibs(7)): the second step of planning, as pure as the first. A plan is made as if nothing
//! were kept ([`Inventory::hide_kept`](patchadm_inputs::inventory::Inventory::hide_kept)). When `LibraryChange` has
//! decided which libraries stay, a [`KeptSettlement`] changes objects, lines, records and the undo archive in the plan.

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
