//! Patches made of two releases: what changed between them becomes sparse packages.
//!
//! ```text
//! Release OLD ─┐
//!              ├─ pair ─► pairs ─ compare ─► changes ─┬─► SparsePackage ─┐
//! Release NEW ─┘     PreviousPatch ─ contain ─────────┘                  ├─► PatchDraft ─ write_patch ─► a patch
//!                              other patches ─ overlaps, abi ────────────┘
//! ```
//! [`draft_patch`] decides everything, from two lists of objects in memory; [`write_patch`] writes the result in any
//! form that can be read. Revisions are cumulative: a patch contains the revision before it, so that it does not matter
//! whether that one is applied. Nothing depends on the machine, its clock or its settings: the same releases and the
//! same request give the same bytes.
//!
//! Not done here: scripts of other package formats are never translated, only named; a package that only one release
//! has is named and left out.

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
