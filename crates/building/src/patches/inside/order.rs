//! What a trial is told, and what it tells: a file each, in JSON.

use serde::{Deserialize, Serialize};

/// The name of the order, among the packages.
pub(in crate::patches) const FILE: &str = "order.json";

/// The name of the result, in the directory for what comes out.
pub(in crate::patches) const RESULT: &str = "trial.json";

/// What is to be tried. Without patches the packages that are expected are only compared with what is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) struct TrialOrder {
    /// The patches, in any order.
    pub(in crate::patches) patches: Vec<TrialPatch>,
    /// The files of the packages that the patches must make.
    pub(in crate::patches) expected: Vec<String>,
    /// The files of the packages that are installed and patched.
    pub(in crate::patches) released: Vec<String>,
    /// Whether objects have the owners that packages name: only root can give them.
    pub(in crate::patches) has_owners: bool,
    /// The number of layers below the tree.
    pub(in crate::patches) layers: usize,
}

/// A patch that is to be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) struct TrialPatch {
    /// Its id.
    pub(in crate::patches) id: String,
    /// Its file among the packages.
    pub(in crate::patches) file: String,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) struct TrialResult {
    /// Why it was not passed, if it was not.
    pub(in crate::patches) failure: Option<String>,
    /// Without patches: the first object that is not as its package delivers it.
    pub(in crate::patches) changed: Option<ChangedObject>,
}

/// An object that scripts have changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) struct ChangedObject {
    /// The number of its package; none if it is a record, or something that holds everything up.
    pub(in crate::patches) package: Option<usize>,
    /// The change.
    pub(in crate::patches) how: String,
}
