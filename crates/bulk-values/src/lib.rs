//! Bulk builds as values: what a tree of recipes makes, in which order it is built, what a result depends on, and what is
//! told of a run.
//!
//! Pure: it opens nothing, starts nothing and knows no clock. Records and their resolution are those of pkgsrc's pbulk.
//!
//! ```text
//! conf         bulk.conf: where tree, pool and sandboxes are, slots and limits
//! records      what `scan` prints of a recipe, and the files of pbulk made of it
//! cache        what is known of recipes that were scanned, and of the files that were read for that
//! pattern      which packages a dependency means
//! resolve      records as a graph, and what cannot be built, with the reason
//! schedule     which package is built next
//! probe        what a slot must answer before it takes anything
//! slots        which slot takes it, and which ones rest after trouble
//! result       what is known of a result, and the inputs of its key
//! verified     which files of results need not be read again
//! journal      the states of a run, as they are written down
//! history      how long builds took, and two runs compared
//! pbulk_files  the files by which pbulk tells of a run
//! report       one value of a run, with its text and its mail
//! ```

// Unit tests make trees of their own; what is linted is the library as it is built.
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
