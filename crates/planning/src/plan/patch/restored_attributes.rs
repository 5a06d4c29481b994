//! The attributes of an object that a backout brings back, in packages adopted from another package manager.
//!
//! An attribute that is no longer as the patch left it was changed by an administrator, and stays. The values of an override
//! of dpkg-statoverride(1) count, also if it was made after the patch.

use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, recorded_xattrs};
use patchadm_rootfs::{ACCESS_LIST, CAPABILITY, Live, Xattrs};
use patchadm_svr4::package::{Mode, ObjectPath};

use super::restore::{Restoring, is_edited};
use crate::plan::local_attributes::{Overridden, named_entries, override_of};
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::refusal::ObjectProblem;

/// The extended attributes that count as attributes, in words.
const EXTENDED: [(&[u8], &str); 2] =
    [(CAPABILITY, "file capabilities"), (ACCESS_LIST, "access control list")];

impl Restoring<'_> {
    /// Returns `was`, the archived state of an object, with the attributes that the object keeps.
    pub(super) fn with_kept_attributes(
        &self,
        draft: &mut PlanBuilder<'_>,
        path: &ObjectPath,
        record: &ObjectRecord,
        mut was: RecordedState,
    ) -> Result<RecordedState, ObjectProblem> {
        let inventory = draft.inventory;
        if inventory.manager(self.package).is_none() {
            return Ok(was);
        }
        let old = draft.old(path);
        let left = record.became.as_ref().filter(|left| left.kind == was.kind);
        let left = left.filter(|left| old.is_some_and(|old| RecordedState::of(old).kind == left.kind));
        let (mut kept, mut missing) = (Vec::new(), Vec::new());
        if let (Some(old), Some(left)) = (old, left) {
            keep_extended(old, left, &mut was, (&mut kept, &mut missing));
        }
        if let Some(one) = override_of(inventory, self.package, path) {
            let given = Overridden::of(one, inventory)?;
            let before = (was.mode, was.uid, was.gid);
            was.mode = given.mode.map_or(was.mode, Mode::bits);
            (was.uid, was.gid) = (given.uid.unwrap_or(was.uid), given.gid.unwrap_or(was.gid));
            if (was.mode, was.uid, was.gid) != before {
                let words = given.words(one);
                draft.notes.push(format!("{} has {words}, whatever was there before", inventory.show(path)));
            }
        } else if let (Some(old), Some(left)) = (old, left) {
            let accounts = &inventory.accounts;
            let mode = old.mode.bits();
            if mode != left.mode && mode != was.mode {
                was.mode = mode;
                kept.push(format!("mode {mode:04o}"));
            }
            if inventory.privileged && old.uid != left.uid && old.uid != was.uid {
                was.uid = old.uid;
                kept.push(format!("owner {}", accounts.user(old.uid)));
            }
            if inventory.privileged && old.gid != left.gid && old.gid != was.gid {
                was.gid = old.gid;
                kept.push(format!("group {}", accounts.group(old.gid)));
            }
        }
        let (path, id) = (inventory.show(path), self.last_with(path));
        if !kept.is_empty() {
            draft.notes.push(format!("{path} keeps {}, set since {id} was applied", kept.join(", ")));
        }
        if !missing.is_empty() {
            let missing = missing.join(" and ");
            draft.notes.push(format!("{path} stays without {missing}, taken away since {id} was applied"));
        }
        Ok(was)
    }
}

/// Lets a state have the file capabilities and the access control list that an object got since it was `left`.
fn keep_extended(
    old: &Live,
    left: &RecordedState,
    was: &mut RecordedState,
    (kept, missing): (&mut Vec<String>, &mut Vec<&str>),
) {
    let (left_with, mut xattrs) = (left.xattrs(), was.xattrs());
    for (key, word) in EXTENDED {
        let now = old.xattrs.get(key);
        // Writing into a file clears its capabilities, which nobody decided.
        let is_cleared = key == CAPABILITY && now.is_none() && is_edited(old, left);
        if is_alike(key, now, &left_with) || is_alike(key, now, &xattrs) || is_cleared {
            continue;
        }
        if let Some(value) = now {
            xattrs.insert(key.to_vec(), value.clone());
            kept.push(format!("its {word}"));
        } else {
            xattrs.remove(key);
            missing.push(word);
        }
    }
    was.xattrs = recorded_xattrs(&xattrs);
}

/// Tells whether an attribute has a value, apart from what an access control list has of the mode.
fn is_alike(key: &[u8], now: Option<&Vec<u8>>, xattrs: &Xattrs) -> bool {
    match (now, xattrs.get(key)) {
        (Some(now), Some(other)) if key == ACCESS_LIST => named_entries(now) == named_entries(other),
        (now, other) => now == other,
    }
}
