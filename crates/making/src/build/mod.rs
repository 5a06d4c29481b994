//! Patches made of two releases: changed objects become sparse packages.
//!
//! [`draft_patch`] decides everything from lists in memory; [`write_patch`] writes the result in any readable form.
//! The same releases and request give the same bytes on every machine. A patch contains the revision before it, which may
//! be applied or not. Scripts of other package formats are named but never translated.

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
