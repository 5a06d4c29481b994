//! Pure decisions: functions from values to a decision with its reason. They open no file and read no clock.
//!
//! ```text
//!   Image, Inventory, Policy ──► plan ──► Plan, or a Refusal
//!   offers, applied patches ───► resolve ► patches to apply, in order
//!   needs ─────────────────────► order ──► groups, each after its needs
//!   cross-reference, machine ──► analyze ► what the machine lacks
//!   inventories of many hosts ─► fleet ──► who has and who lacks what, and what changed
//! ```
//! | module | is about | uses of this crate |
//! | --- | --- | --- |
//! | [`plan`] | deciding everything before anything is touched | nothing |
//! | [`resolve`] | which of many patches go in, and in which order | plan |
//! | [`mod@order`] | the order in which things that need each other are renewed | nothing |
//! | [`analyze`] | which patches of a cross-reference a machine lacks | nothing |
//! | [`fleet`] | which host of many has and lacks what | analyze |

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]
// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod analyze;
pub mod fleet;
pub mod order;
pub mod plan;
pub mod resolve;

#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
