//! The objects of a plan that grant more rights than before: set-id programs and devices.
//!
//! A reader of a plan looks for these first. New and changed objects are listed; an object that stays as it is, or that
//! loses its bits, is not. A set-group-id directory only hands its group down, and is no such object. The effect of
//! class action scripts on an object cannot be known.

use super::{Action, Body, Change, Plan};
use patchadm_rootfs::LiveKind;
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};

/// An object that gives rights to others than its maker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The package of the object.
    pub package: PkgInst,
    /// Its path.
    pub path: ObjectPath,
    /// Its kind.
    pub kind: GrantKind,
    /// Its permission bits after the run.
    pub mode: Mode,
    /// The name of its owner as it is recorded, else its number.
    pub owner: String,
    /// The name of its group, likewise.
    pub group: String,
}

/// The kind of right that an object gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantKind {
    /// It runs as its owner.
    SetUid,
    /// It runs as its group.
    SetGid,
    /// It runs as both.
    Both,
    /// It is a block device.
    Block,
    /// It is a character device.
    Character,
}

impl GrantKind {
    /// Returns the kind in the words of plans and documents.
    pub fn words(self) -> &'static str {
        match self {
            Self::SetUid => "setuid",
            Self::SetGid => "setgid",
            Self::Both => "setuid and setgid",
            Self::Block => "block device",
            Self::Character => "character device",
        }
    }

    fn of_mode(mode: Mode) -> Option<Self> {
        match (mode.bits() & 0o4000 != 0, mode.bits() & 0o2000 != 0) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::SetUid),
            (false, true) => Some(Self::SetGid),
            (false, false) => None,
        }
    }

    fn of_device(block: bool) -> Self {
        if block { Self::Block } else { Self::Character }
    }
}

/// Returns the set-id programs and devices that a plan makes or changes, by path.
pub fn grants(plan: &Plan) -> Vec<Grant> {
    plan.changes.iter().filter_map(|change| grant(plan, change)).collect()
}

fn grant(plan: &Plan, change: &Change) -> Option<Grant> {
    let (kind, mode, uid, gid) = match &change.action {
        Action::Add(new) | Action::Replace(new) => {
            let kind = match new.body {
                Body::Directory | Body::Symlink(_) => None,
                Body::Device { block, .. } => Some(GrantKind::of_device(block)),
                _ => GrantKind::of_mode(new.mode),
            };
            (kind?, new.mode, new.uid, new.gid)
        }
        Action::Attributes(new) => {
            let old = change.old.as_ref()?;
            let mode = new.mode.unwrap_or(old.mode);
            let kind = match old.kind {
                LiveKind::Directory | LiveKind::Symlink(_) => None,
                LiveKind::Device { block, .. } => Some(GrantKind::of_device(block)),
                _ => GrantKind::of_mode(mode),
            };
            (kind?, mode, new.uid.unwrap_or(old.uid), new.gid.unwrap_or(old.gid))
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
