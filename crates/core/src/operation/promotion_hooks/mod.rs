//! The hooks of the policy: programs of the root that run before and after a promotion, and before and after its backout.
//!
//! ```text
//!   policy ─► hook files, fit to be run ─► before ─► plan ─► switch ─► after ─► commit
//! ```
//! A hook runs like a script of a patch: by the same second process, with an environment of its own, as long as the policy
//! lets a script run. If a hook fails before the run, nothing is changed; if one fails after, the run is rolled back.
//! Nothing is saved for hooks: what they write counts as an edit by a user.

mod hook_end;
mod hook_files;
mod hook_run;

pub use hook_end::HookEnd;
pub(in crate::operation) use hook_files::{HookDirection, HookFiles};
pub(in crate::operation) use hook_run::{HookRun, HookSubject, perform_with_hooks};
