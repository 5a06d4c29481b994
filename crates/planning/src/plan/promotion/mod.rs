//! A promotion: the state of a stage becomes a patch of the root, planned, journaled, recorded and backed out like any
//! other.
//!
//! `three_way` decides before what is taken and what goes. Here the decision becomes changes of objects with exact
//! states, lines of `contents` for the packages that own the paths, records and undo archives. Paths without a package
//! go to one local package, which the first promotion of a name makes.
//!
//! ```text
//!   what patches of the stage did ──► bring ──────────────────────────────────┐
//!   taken, deleted ──► in_place (which objects stay) ──► objects, lines ──► records ──► Plan ──► bringing: one Plan
//! ```

mod input;
mod local_package;
mod objects;
mod planner;
mod records;
mod stage_patches;

pub use input::{
    BroughtObject, BroughtPackage, BroughtPatches, FoundByPatch, NamesOfFiles, NewPackage, NewPatches,
    PatchDirectory, PromotionInput, PromotionOptions, TakenObject,
};
pub use local_package::{local_name, local_package};
pub use planner::{PlannedPromotion, promote, promote_bringing};
pub use stage_patches::bring_records;
