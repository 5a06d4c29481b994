//! What is told of what goes.

/// What was dropped, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// The numbers of runs.
    pub runs: Vec<u64>,
    /// The numbers of sets.
    pub sets: Vec<u64>,
    /// The names of results: their keys, or what was set aside.
    pub results: Vec<String>,
    /// The names of installed lists of packages.
    pub installed: Vec<String>,
    /// The bytes that are free then.
    pub bytes: u64,
    /// Why something stays that might not have to.
    pub notes: Vec<String>,
}
