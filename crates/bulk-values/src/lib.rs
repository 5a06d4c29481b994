//! Bulk builds as values: packages of a tree, their order, the inputs of results, and reports of runs.
//!
//! Pure: opens nothing, starts nothing, knows no clock. Records and their resolution follow pkgsrc's pbulk.

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]
// Unit tests make their own trees; the lint applies to the library.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod cache;
pub mod conf;
pub mod history;
pub mod journal;
pub mod pattern;
pub mod pbulk_files;
pub mod probe;
pub mod records;
pub mod report;
pub mod resolve;
pub mod result;
pub mod schedule;
pub mod slots;
