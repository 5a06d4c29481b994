//! The report on a hook.

/// A hook of a promotion, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEnd {
    /// The key of the policy that names it.
    pub name: &'static str,
    /// Its path in the root.
    pub path: String,
    /// Its exit code; `None` if it did not run, or did not end by itself.
    pub exit: Option<i32>,
}
