//! Patches made of two releases: changed objects become sparse packages.
//!
//! ```text
//! Release OLD ─┐
//!              ├─ pair ─► pairs ─ compare ─► changes ─┬─► SparsePackage ─┐
//! Release NEW ─┘     PreviousPatch ─ contain ─────────┘                  ├─► PatchDraft ─ write_patch ─► a patch
//!                              other patches ─ overlaps, abi ────────────┘
//! ```
//! [`draft_patch`] decides everything, from two lists of objects in memory; [`write_patch`] writes the result in any
//! readable form. A patch contains the revision before it, so that it does not matter whether that one is applied. The
//! same releases and request give the same bytes on every machine.
//!
//! Scripts of other package formats are named but never translated, and so are packages that only one release has.

mod abi;
mod delivery;
mod draft;
mod error;
mod pairs;
mod previous;
mod request;
mod sparse;
mod texts;
mod writing;

pub use abi::{
    AbiCheck, AbiError, AbiFinding, LibraryFeature, find_providers, needed_features, provided_features,
};
pub use delivery::{DeliveredObject, DeliveryReason, PackageDelivery, TwoLists, deliver_moved, object_at};
pub use delivery::{OtherPatch, Overlap};
pub use draft::SameTimeFinding;
pub(crate) use draft::looks_same;
pub use draft::{BuildFinding, DraftedPackage, PatchDraft, draft_patch};
pub use error::BuildError;
pub use pairs::{
    PackagePair, PackagePairs, PairError, PairNaming, ReleaseSide, UnpairedPackage, pair, usual_name,
};
pub use previous::{PreviousError, PreviousPackage, PreviousPatch};
pub use request::ListChoices;
pub use request::{BuildRequest, PatchLists, ReadmeText};
pub use sparse::{ChangeCounts, PackedFile, SparseError, SparsePackage};
pub use writing::{PatchDestination, PatchForm, WriteWatch, WrittenPatch, remove_unfinished, write_patch};

#[cfg(test)]
mod tests;
