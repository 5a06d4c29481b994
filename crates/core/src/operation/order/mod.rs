//! `patchadm order`: packages or patches in the order in which to renew them, each after what it needs.
//!
//! ```text
//! root ─┬─ depend files ─ depend_edges ──┐
//!       ├─ scan ─ library_uses ──────────┼─► DependencyGraph ─► groups, edges
//!       │          └─ contents ─ owners ─┘           ▲
//!       └─ applied patches ─ patch_edges ────────────┤
//! directory of packages, depot ──────────────────────┘
//! ```
//! A program or library of no package is a node under its path. Nothing is locked, run or changed.
//! [`order`](patchadm_planning::order) forms the groups; `stale` handles stale libraries.

mod answer;
mod depend_edges;
mod directory;
mod error;
mod installed;
mod library_uses;
mod object_owners;
mod patch_edges;
mod stale;

pub use answer::{OrderAnswer, OrderOperand, OrderQuestion, OrderSubject};
pub use directory::order_of_directory;
pub use error::OrderError;
pub use installed::order_of_root;
pub use stale::{StaleEntry, StaleReason};
