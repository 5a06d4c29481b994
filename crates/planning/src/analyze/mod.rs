//! The patches that a machine lacks: a cross-reference compared with the installed patches. The rules are those of
//! Patch Check Advanced, with three differences: a patch comes once, a foreign patch keeps its name, and an installed
//! patch obsoletes only named patches and their lower revisions, also of its own base.
//!
//! ```text
//! patchdiag.xref ──┐
//!                  ├──► CrossReference ──┐
//! index of a depot ┘                     ├──► analyse ──► Analysis: a row for each patch, in the order to apply them
//! packages, applied patches ► MachineFacts ┘
//! ```

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
