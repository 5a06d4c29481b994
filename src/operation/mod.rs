//! What the commands do, each a sequence that only this module knows: open, read, decide, change, report as values.
//!
//! Nothing here prints or reads the environment; a command of `cli` turns arguments into a call and the answer into
//! text.

pub mod check;
pub mod counts;
pub mod patches;
pub mod query;
pub mod select;
