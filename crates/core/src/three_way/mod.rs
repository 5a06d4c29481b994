//! What a promotion or a refresh does with each path: the states of three trees compared.
//!
//! ```text
//!   base ──┐
//!   from ──┼──► differences ──► decided ──► settled ──► Outcome of each path
//!   to ────┘   (build::compare,   (the table,   (parents, directories
//!               three times)       policy)       that hold something)
//! ```
//! `to` is the tree that changes, `from` the one that it takes from, `base` what both had once. Pure: nothing is opened.
//! What was changed on one side only is taken or kept, what became the same on both is left, and what was changed on both,
//! differently, is a conflict, for which the operator's choice about edited files counts. A modification time alone is
//! taken and never conflicts. Without a base everything that differs is taken, and what only `to` has is kept.
//!
//! Link partners count as part of a state; labels do not, and neither does what a copy without privileges could not have.

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
