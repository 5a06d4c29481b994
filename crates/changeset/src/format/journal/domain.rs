//! The domains of a journal: where the stages are, and what their file systems cannot do, so that recovery takes the same
//! way round it as the run did.

use serde::{Deserialize, Serialize};

use super::path_text;
use patchadm_svr4::package::ObjectPath;

/// A domain: its stage, by a path and a marker file, never by a device number (those change at boot).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Its topmost directory inside the root: where it is mounted.
    #[serde(with = "path_text")]
    pub top: ObjectPath,
    /// The stage directory of the run.
    #[serde(with = "path_text")]
    pub stage: ObjectPath,
    /// What its file system cannot do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<Lack>,
}

/// A call that a file system does not have (renameat2(2) answers EINVAL).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// Two names cannot change places (`RENAME_EXCHANGE`). The old object of a replacement has a second name in the
    /// stage, or a copy, under the name of the new one with `.old`.
    Exchange,
    /// A rename cannot be kept from replacing what is there (`RENAME_NOREPLACE`).
    NoReplace,
}
