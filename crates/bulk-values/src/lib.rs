//! Bulk builds as values: packages of a tree, their order, the inputs of results, and reports of runs.
//!
//! Pure: it opens nothing, starts nothing and knows no clock. Records and their resolution are those of pkgsrc's pbulk.
//!
//! ```text
//! conf         bulk.conf: where tree, pool and sandboxes are, slots and limits
//! records      the output of `scan` for a recipe, and pbulk's files
//! cache        the scan cache, with the files that scans read
//! pattern      patterns of dependencies
//! resolve      dependency resolution, and reasons why packages cannot be built
//! schedule     the order of builds
//! probe        the check of a slot before it takes tasks
//! slots        free slots, and slots that rest after failures
//! result       the description of a result, and its key
//! verified     notes about verified files of results
//! journal      the stored states of a run
//! history      durations of builds, and the comparison of runs
//! pbulk_files  the files in which pbulk reports a run
//! report       the report of a run, with text and mail
//! ```

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
pub mod verified;
