//! Backout in the middle: patches go, and others that came later and have the same paths stay.
//!
//! Each path has a chain: the patches of a package that deliver or delete it, in the order in which they were applied.
//! What the first patch of a run of going ones saved goes to the next patch that stays, whose undo data is written anew,
//! or, where none follows, to the live tree. So the tree, the records and the undo data are those that the patches that
//! stay would have made alone. Where that cannot be known, the backout is refused.
//!
//! ```text
//!   chains ─► refusals        what goes where, and what stands against it
//!      └────► rewrite         the undo data of a patch that stays, with
//!             taken_records   the parameters and record files that it takes over (found in `handing_down`)
//! ```

pub(super) mod chains;
pub(super) mod refusals;
pub(super) mod rewrite;
mod taken_records;
