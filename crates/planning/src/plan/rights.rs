//! Set-id programs and devices that a plan makes or changes: readers look for these first. Objects that stay, or lose
//! their bits, are not listed, nor set-group-id directories, which only hand their group down. Effects of class action
//! scripts are unknown.

use std::fmt;

use serde::Serialize;

use super::{Action, Change, Plan};
use patchadm_changeset::format::escaped::as_text;
use patchadm_rootfs::FileType;
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    #[serde(serialize_with = "as_text")]
    pub package: PkgInst,
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    #[serde(serialize_with = "as_text")]
    pub kind: GrantKind,
    /// After the run.
    #[serde(serialize_with = "as_text")]
    pub mode: Mode,
    /// The recorded name, else the number.
    pub owner: String,
    /// The recorded name, else the number.
    pub group: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantKind {
    /// Runs as its owner.
    SetUid,
    /// Runs as its group.
    SetGid,
    Both,
    Block,
    Character,
}

impl fmt::Display for GrantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SetUid => "setuid",
            Self::SetGid => "setgid",
            Self::Both => "setuid and setgid",
            Self::Block => "block device",
            Self::Character => "character device",
        })
    }
}

impl GrantKind {
    fn of(file_type: FileType, mode: Mode) -> Option<Self> {
        match (file_type, mode.bits() & 0o4000 != 0, mode.bits() & 0o2000 != 0) {
            (FileType::Directory | FileType::Symlink, ..) => None,
            (FileType::Block, ..) => Some(Self::Block),
            (FileType::Character, ..) => Some(Self::Character),
            (_, true, true) => Some(Self::Both),
            (_, true, false) => Some(Self::SetUid),
            (_, false, true) => Some(Self::SetGid),
            (_, false, false) => None,
        }
    }
}

/// Returns the set-id programs and devices that a plan makes or changes, by path.
pub fn grants(plan: &Plan) -> Vec<Grant> {
    plan.changes.iter().filter_map(|change| grant(plan, change)).collect()
}

fn grant(plan: &Plan, change: &Change) -> Option<Grant> {
    let (kind, mode, uid, gid) = match &change.action {
        Action::Add(new) | Action::Replace(new) => {
            (GrantKind::of(new.body.file_type(), new.mode)?, new.mode, new.uid, new.gid)
        }
        Action::Attributes(new) => {
            let old = change.old.as_ref()?;
            let mode = new.mode.unwrap_or(old.mode);
            let kind = GrantKind::of(old.kind.file_type(), mode)?;
            (kind, mode, new.uid.unwrap_or(old.uid), new.gid.unwrap_or(old.gid))
        }
        Action::Delete | Action::RemoveDirectory => return None,
    };
    let line = plan.contents.get(&change.path).and_then(Option::as_ref);
    let recorded = line.map(|line| line.object.attributes.clone()).unwrap_or_default();
    let (package, path) = (change.package.clone(), change.path.clone());
    let owner = recorded.owner.map_or_else(|| uid.to_string(), String::from);
    let group = recorded.group.map_or_else(|| gid.to_string(), String::from);
    Some(Grant { package, path, kind, mode, owner, group })
}
