//! The part of a trial that runs in the sandbox: patches are added, compared with the packages that they must make, and removed,
//! and the tree is as it was.

mod comparison;
mod error;
mod order;
mod records;
mod serving;
mod tree;

pub use error::TrialServeError;
pub(super) use order::{
    ChangedObject, FILE as ORDER_FILE, RESULT as RESULT_FILE, TrialOrder, TrialPatch, TrialResult,
};
pub use serving::serve_trial;
pub(super) use tree::{LOWER, TOUCHED};
