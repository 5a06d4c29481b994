//! The part of a trial that judges, inside the sandbox: after patches were added, the tree is that of the packages that they must
//! make, and after they were removed, it is as it was.

mod comparison;
mod error;
mod order;
mod records;
mod serving;
mod tree;

pub use error::TrialServeError;
pub(super) use order::{ChangedObject, PACKAGES, TrialOrder, TrialResult, TrialStep};
pub use serving::serve_trial;
pub(super) use tree::{LOWER, TOUCHED};
