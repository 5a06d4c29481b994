//! What is told of a hook.

/// A hook of a promotion, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEnd {
    /// The key of the policy that names it.
    pub name: &'static str,
    /// Its path in the root.
    pub path: String,
    /// Its exit code; `None` where it did not run, or did not come to its end.
    pub exit: Option<i32>,
}
