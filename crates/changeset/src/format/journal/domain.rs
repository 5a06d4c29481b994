//! The domains of a journal: the places of the stages, and the limits of their file systems, so that recovery uses the
//! same workarounds as the run.

use serde::{Deserialize, Serialize};

use super::path_text;
use patchadm_svr4::package::ObjectPath;

/// A domain: its stage, by a path and a marker file, never by a device number (those change at boot).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Its topmost directory inside the root: the mount point.
    #[serde(with = "path_text")]
    pub top: ObjectPath,
    /// The stage directory of the run.
    #[serde(with = "path_text")]
    pub stage: ObjectPath,
    /// The calls that its file system lacks.
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
    /// A rename cannot be kept from replacing an existing object (`RENAME_NOREPLACE`).
    NoReplace,
}
