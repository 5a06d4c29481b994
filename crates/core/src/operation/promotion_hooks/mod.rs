//! The hooks of the policy: programs of the root that run before and after a promotion, and before and after its backout.
//!
//! ```text
//!   policy ─► hook files, fit to be run ─► before ─► plan ─► switch ─► after ─► commit
//! ```
//! A hook is run as a script of a patch is: by the same second process, with an environment of its own, as long as the policy
//! lets a script run. One that fails before changes nothing; one that fails after rolls the run back. Nothing is kept for
//! them: what they write is somebody's edit.

mod hook_end;
mod hook_files;
mod hook_run;

pub use hook_end::HookEnd;
pub(in crate::operation) use hook_files::{HookDirection, HookFiles};
pub(in crate::operation) use hook_run::{HookRun, HookSubject, perform_with_hooks};
