//! The patches from the released set to the newest one: made source by source, each tried before it counts, then all together.
//!
//! ```text
//! sets/released ─┐  packages by source, their libraries      delta ─► patch ─ lint, sandbox: add, compare, remove ─► entered
//! sets/current  ─┴─ what is taken away, what requires what ──┘                └─ all together on the whole released set
//! ```
//! A patch that fails its trial is none: its source has failed, and no revision is used up. So does one that keeps the others from
//! passing together, which are tried again without it. If they do not fit and nobody knows why, nothing is to be published.

mod error;
mod inside;
mod lint;
mod making;
mod packages;
mod request;
mod sandbox;
mod soname;
mod trials;
mod units;

pub use error::PatchesError;
pub use inside::{TrialServeError, serve_trial};
pub(crate) use making::PATCHES;
pub use making::make_patches;
pub use request::{MadePatches, PatchesRequest};
pub use sandbox::TRIAL;
