//! `pkgadd`, `pkgask` and `pkgrm`.
//!
//! [`add`] and [`remove`] each tell their command from beginning to end. `scripted` performs a package whose scripts take part,
//! also for the packages of a patch, as `planning` does. [`report`] has the reports and the observer that receives events and answers questions.

pub mod add;
pub(super) mod answers;
pub mod ask;
pub(super) mod planning;
pub(super) mod records;
pub mod remove;
pub mod report;
pub(super) mod scripted;
