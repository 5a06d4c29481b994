//! What the commands do, each a sequence that only this module knows: open, read, decide, change, report as values.
//!
//! Nothing here prints or reads the environment; a command of `cli` turns arguments into a call and the answer into
//! text.

pub mod apply_patches;
pub mod back_out;
pub mod check;
mod content;
pub mod counts;
pub mod failure;
pub mod inspect;
mod log;
mod order;
pub mod patches;
pub mod query;
mod reboot;
pub mod recover;
pub mod select;
pub mod session;
