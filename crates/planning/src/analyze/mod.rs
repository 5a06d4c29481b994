//! The patches that a machine lacks: a cross-reference of patches compared with the installed ones.
//!
//! ```text
//! patchdiag.xref ──┐
//!                  ├──► CrossReference ──┐
//! index of a depot ┘                     ├──► analyse ──► Analysis: a row for each patch, in the order to apply them
//! packages, applied patches ► MachineFacts ┘
//! ```
//!
//! Everything here is pure: no file is opened, no clock is read. The rules are those of Patch Check Advanced,
//! so administrators know such lists. Deliberate differences: a patch comes once, a foreign patch keeps its
//! name, and an installed patch obsoletes only the patches that it names and their lower revisions, also of
//! its own base.

mod analysis;
mod conversion;
mod machine;
mod reference;
mod request;

pub use analysis::{AnalysedPatch, Analysis, FlagOrigin, RevisionRelation, analyse, missing};
pub use conversion::{DepotCrossReference, from_depot, from_patchdiag, to_patchdiag};
pub use machine::{InstalledPackage, InstalledPatch, MachineFacts};
pub use reference::{CrossReference, ReferencePackage, ReferencePatch};
pub use request::{AnalysisRequest, Group, GroupError, RequestError, SynopsisPattern, UnwantedPatch};
