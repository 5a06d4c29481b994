//! The reasons a hook of the policy prevents a promotion, or its backout.

/// A reason that lies in a hook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookReason {
    /// The policy lets no scripts of the root run.
    #[error("the policy names a hook, {hook}={path}, and lets none run (scripts={scripts})")]
    Forbidden {
        /// The key of the policy.
        hook: &'static str,
        /// The hook.
        path: String,
        /// The policy's setting for scripts.
        scripts: &'static str,
        /// Whether a backout is refused.
        is_backout: bool,
    },
    /// The hook cannot be run, or not safely.
    #[error("the hook {hook} cannot be run: {why}")]
    Unfit {
        /// The key of the policy.
        hook: &'static str,
        /// Its fault, with its path.
        why: String,
        /// The remedy.
        remedy: String,
    },
    /// Whether the patch is a promotion cannot be told.
    #[error("{path}: {why}")]
    Record {
        /// The record.
        path: String,
        /// Its fault.
        why: String,
    },
}

impl HookReason {
    /// Returns the next command to type.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Forbidden { is_backout: true, .. } => {
                "--no-scripts backs it out without the hook".to_owned()
            }
            Self::Forbidden { .. } => "--no-hooks promotes without it".to_owned(),
            Self::Unfit { remedy, .. } => remedy.clone(),
            Self::Record { .. } => "put the file back from a backup, as it was".to_owned(),
        }
    }
}
