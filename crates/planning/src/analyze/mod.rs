//! The patches that a machine lacks: a cross-reference of patches compared with the installed ones.
//!
//! ```text
//! patchdiag.xref ──┐
//!                  ├──► CrossReference ──┐
//! index of a depot ┘                     ├──► analyse ──► Analysis: a row for each patch, in the order to apply them
//! packages, applied patches ► MachineFacts ┘
//! ```
//! Everything here is pure: no file is opened, no clock is read. The rules are those of Patch Check Advanced, so
//! administrators know such lists. Deliberate differences: a patch comes once, a foreign patch keeps its name, and an
//! installed patch obsoletes what it says and lower revisions, not later ones, also of its own base.

mod analysis;
mod cross_reference;
mod depot_chain;
mod from_depot;
mod from_xref;
mod group;
mod machine;
mod order;
mod reference;
mod request;
mod row;
mod standing;
mod to_xref;

pub use analysis::{analyse, missing};
pub use cross_reference::CrossReference;
pub use from_depot::from_depot;
pub use from_xref::from_patchdiag;
pub use group::{Group, GroupError};
pub use machine::{InstalledPackage, InstalledPatch, MachineFacts};
pub use reference::{ReferencePackage, ReferencePatch};
pub use request::{AnalysisRequest, RequestError, SynopsisPattern, UnwantedPatch};
pub use row::{AnalysedPatch, Analysis, FlagOrigin, RevisionRelation};
pub use to_xref::{DepotCrossReference, to_patchdiag};
