//! The decisions of a promotion or a refresh about each path: the states of three trees compared.
//!
//! ```text
//!   base ──┐
//!   from ──┼──► differences ──► decided ──► settled ──► Outcome of each path
//!   to ────┘   (build::compare,   (the table,   (parents, directories
//!               three times)       policy)       that hold something)
//! ```
//! `to` is the tree that changes, `from` the source tree, `base` their common earlier state. This module is pure: nothing is
//! opened. What changed on one side only is taken or kept. What became the same on both is left. What changed on both,
//! differently, is a conflict, for which the operator's choice about edited files counts. A modification time alone is taken
//! and never conflicts. Without a base, every difference is taken, and what only `to` has is kept.
//!
//! Link partners are part of a state. Labels are not, and neither is what a copy without privileges could not have.

mod comparable;
mod decide;
mod outcome;
mod settle;
mod sides;
#[cfg(test)]
mod tests;

pub use comparable::{of_live, of_recorded};
pub use decide::{PathFacts, TreeDifferences, TwoWay};
pub use outcome::{Conflict, Decision, KeptBecause, Outcome, Outcomes, SideChange};
pub use sides::Sides;
