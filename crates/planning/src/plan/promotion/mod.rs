//! A promotion: the state of a stage becomes a patch of the root like any other. `three_way` has decided the taken and
//! deleted objects. Paths without a package go to one local package, which the first promotion of a name makes.
//!
//! ```text
//!   patches of the stage ──► stage_patches ─────────────────────┐
//!   taken, deleted ──► objects and lines ──► records ──► Plan ──┴──► planner: one Plan
//! ```

mod input;
mod local_package;
mod objects;
mod planner;
mod records;
mod stage_patches;

pub use input::{
    BroughtObject, BroughtPackage, BroughtPatches, FoundByPatch, NamesOfFiles, NewPackage, NewPatches,
    PatchDirectory, PromotionInput, PromotionSettings, TakenObject,
};
pub use local_package::{local_name, local_package};
pub use planner::{PlannedPromotion, promote, promote_bringing};
pub use stage_patches::bring_records;
