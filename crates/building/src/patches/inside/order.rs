//! What the judge of a trial is told, and what it tells: in JSON, in one file that nobody else in the sandbox has. A line says that,
//! and the state of the tree before the patches may follow.

use serde::{Deserialize, Serialize};

/// Where the patches and the packages are.
pub(in crate::patches) const PACKAGES: &str = "/packages";

/// What is to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) enum TrialStep {
    /// The packages that are expected are installed, and nothing of them was changed since.
    Installed,
    /// Nothing: the state of the tree is told.
    Before,
    /// The patches were added: the tree is that of the packages that are expected.
    Added,
    /// The patches were removed: the tree is as it was before, which the order says.
    Removed,
    /// Nothing: a verb has failed, and the log gets what it has noted.
    Failed,
}

/// An order to judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) struct TrialOrder {
    /// What is to be judged.
    pub(in crate::patches) step: TrialStep,
    /// The files of the packages that the patches must make.
    pub(in crate::patches) expected: Vec<String>,
    /// The files of the packages that are installed and patched.
    pub(in crate::patches) released: Vec<String>,
    /// Whether objects have the owners that packages name: only root can give them.
    pub(in crate::patches) has_owners: bool,
    /// The number of layers below the tree.
    pub(in crate::patches) layers: usize,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) struct TrialResult {
    /// Why it was not passed, if it was not.
    pub(in crate::patches) failure: Option<String>,
    /// Without patches: the first object that is not as its package delivers it.
    pub(in crate::patches) changed: Option<ChangedObject>,
}

impl TrialResult {
    /// Returns that of patches that do not pass.
    pub(in crate::patches) fn failed(why: String) -> Self {
        Self { failure: Some(why), changed: None }
    }
}

/// An object that scripts have changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) struct ChangedObject {
    /// The number of its package; none if it is a record, or something that holds everything up.
    pub(in crate::patches) package: Option<usize>,
    /// The change.
    pub(in crate::patches) how: String,
}
