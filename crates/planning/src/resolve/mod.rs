//! The choice of patches that go in, their order, and the reasons against the others.
//!
//! ```text
//!   offers ─────────┐
//!   applied patches ├─► catalogue ─► possible ─► rounds ─► schedule ─► Resolution
//!   packages        │   (indexed)    (what has   (search    (order)
//!   request ────────┘                 a chance)   and prune)
//! ```
//!
//! A pure function of values: no file is opened. The answer does not depend on the order of the offers or of
//! the words of the request. Every named patch gets a verdict, and every patch that is pulled in names the
//! one that needs it. The rules are those for planning a single patch (`plan::patch`). Obstacles that only a
//! full plan finds (edited files, space, scripts) are not known here.
//!
//! A patch is pulled in if a requirement needs it, or if it is the revision that ends a conflict. Choices
//! exist only there. They are tried in the order of preference, and a failure is not tried again with another
//! choice that does not affect its reason. The search for one patch ends after [`MOST_DECISIONS`] choices.

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

/// Decides which of the requested patches go in, with which others, and in which order.
pub fn resolve(input: &ResolverInput<'_>) -> Resolution {
    let named = named_patches(input);
    let catalogue = Catalogue::of(input, &named);
    let chances = Chances::of(&catalogue);
    let accepted = accept_all(&catalogue, &chances, input.request.all_or_nothing);
    verdicts(input, &named, &catalogue, &chances, &accepted)
}
