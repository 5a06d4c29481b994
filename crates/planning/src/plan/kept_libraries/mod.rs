//! The treatment of kept libraries in a plan (patchadm-shlibs(7)): the second step of planning, a pure function too.
//!
//! A plan is made as if nothing were kept ([`Inventory::hide_kept`](patchadm_inputs::inventory::Inventory::hide_kept)). When it has
//! been decided which libraries stay for those who need them (`LibraryChange` of patchadm-libraries),
//! [`KeptSettlement`] says what that changes in the plan: objects that are not taken away, lines of `contents` that get
//! another owner, the records of the packages of kept libraries, and what the undo archive holds of them.
//!
//! ```text
//! kept_input      what a settlement rests on
//! package_files   names, parameters and files of the packages of kept libraries
//! settlement      objects, lines and packages afterwards
//! saved           what an undo archive holds of kept libraries
//! report          what is told of libraries
//! ```

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
