//! Pure decisions: every function takes values and returns a decision with its reason, and nothing is opened
//! or changed.
//!
//! ```text
//!   Image, Inventory, Policy ──► plan ──► Plan, or a Refusal
//!   offers, applied patches ───► resolve ► which patches, in which order
//!   what needs what ───────────► order ──► groups, each after what it needs
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

// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod analyze;
pub mod fleet;
pub mod order;
pub mod plan;
pub mod resolve;

/// Reports a skipped test past the output capture.
#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    // Nothing depends on this message.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
