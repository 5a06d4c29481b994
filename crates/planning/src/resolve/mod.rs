//! Decides which patches go in, in which order, and why others do not. The answer does not depend on the order of
//! input. The rules are those for a single patch (`plan::patch`); only a full plan finds edited files, space and
//! scripts. Choices exist for requirements and for revisions that end a conflict, at most [`MOST_DECISIONS`] per patch.
//!
//! ```text
//!   offers ─────────┐
//!   applied patches ├─► catalogue ─► possible ─► rounds ─► schedule ─► Resolution
//!   packages        │   (indexed)    (what has   (search    (order)
//!   request ────────┘                 a chance)   and prune)
//! ```

mod catalogue;
mod possible;
mod request;
mod resolution;
mod rounds;
mod schedule;
mod search;

#[cfg(test)]
mod tests;

pub use request::{
    BadOffer, InstalledPackages, Offer, OfferedPackage, ResolverInput, SetRequest, is_excluded,
};
pub use resolution::{Resolution, SetOutcome, SetVerdict};
pub use search::MOST_DECISIONS;

use crate::resolve::request::named_patches;
use crate::resolve::resolution::verdicts;
use catalogue::Catalogue;
use possible::Chances;
use rounds::accept_all;

pub fn resolve(input: &ResolverInput<'_>) -> Resolution {
    let named = named_patches(input);
    let catalogue = Catalogue::of(input, &named);
    let chances = Chances::of(&catalogue);
    let accepted = accept_all(&catalogue, &chances, input.request.all_or_nothing);
    verdicts(input, &named, &catalogue, &chances, &accepted)
}
