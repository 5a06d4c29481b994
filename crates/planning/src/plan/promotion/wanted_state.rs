//! The attributes that a taken object gets: those of the stage, as far as they count on the root.

use std::mem;

use crate::plan::plan_builder::PlanBuilder;
use crate::plan::{AttributeChange, NewXattrs};
use patchadm_changeset::format::journal::is_settable;
use patchadm_inputs::stage::ComparedAttributes;
use patchadm_rootfs::{Live, LiveKind, Timestamp, Xattrs};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The attributes of an object as it will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedState {
    pub(super) mode: Mode,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    /// The extended attributes that count; what does not count stays as it is.
    pub(super) xattrs: Xattrs,
    compared: ComparedAttributes,
}

impl WantedState {
    /// Works out what the object at a path gets of `from`, the stage's.
    pub(super) fn of(draft: &PlanBuilder<'_>, path: &ObjectPath, from: &Live, owners: bool) -> Self {
        let compared = ComparedAttributes { owners: owners && draft.inventory.privileged };
        let old = draft.old(path);
        let (uid, gid) = if compared.owners { (from.uid, from.gid) } else { owner(draft, path) };
        // The set-id bits of a directory are no reason for those of a program.
        let alike = old.filter(|old| mem::discriminant(&old.kind) == mem::discriminant(&from.kind));
        let kept_bits = alike.map_or(0, |old| old.mode.bits() & !compared.mode(old.mode).bits());
        let mut xattrs = from.xattrs.clone();
        xattrs.retain(|name, _| compared.has_xattr(name));
        Self {
            mode: Mode::of(compared.mode(from.mode).bits() | kept_bits),
            uid,
            gid,
            mtime: from.mtime,
            xattrs,
            compared,
        }
    }

    /// Returns the extended attributes of a new object in the place of `old`. A label comes from what it replaces.
    pub(super) fn new_xattrs(&self, from: &Live, old: Option<&Live>) -> NewXattrs {
        let given = self.with_uncounted(old);
        if matches!(from.kind, LiveKind::Symlink(_)) {
            NewXattrs::Exact(given)
        } else {
            NewXattrs::Given(given)
        }
    }

    /// Returns the extended attributes that count, and those of `old` that do not; its labels are left out.
    fn with_uncounted(&self, old: Option<&Live>) -> Xattrs {
        let all = ComparedAttributes { owners: true };
        let old = old.into_iter().flat_map(|old| &old.xattrs);
        let uncounted = old.filter(|(name, _)| !self.compared.has_xattr(name) && all.has_xattr(name));
        let uncounted = uncounted.map(|(name, value)| (name.clone(), value.clone()));
        self.xattrs.clone().into_iter().chain(uncounted).collect()
    }

    /// Returns the attributes that a remaining object gets; `None` if it has all of them. A time comes only with
    /// `is_exact`, or if nothing else comes.
    pub(super) fn change(&self, old: &Live) -> Option<AttributeChange> {
        let is_link = matches!(old.kind, LiveKind::Symlink(_));
        let mut xattrs = old.xattrs.clone();
        xattrs.retain(|name, _| !self.compared.has_xattr(name));
        xattrs.extend(self.xattrs.clone());
        let change = AttributeChange {
            mode: Some(self.mode).filter(|_| !is_link),
            uid: Some(self.uid),
            gid: Some(self.gid),
            xattrs: Some(xattrs),
            mtime: Some(self.mtime),
        };
        change.lacking(old)
    }
}

/// Tells whether an object can get other attributes in its place: others than these go with a new object only.
pub(super) fn is_settable_in_place(change: &AttributeChange, old: &Live) -> bool {
    let Some(xattrs) = &change.xattrs else { return true };
    let names = xattrs.keys().chain(old.xattrs.keys());
    let mut differing = names.filter(|name| xattrs.get(*name) != old.xattrs.get(*name));
    differing.all(|name| is_settable(name))
}

/// Returns the owners that an object keeps, or that a new one gets: those of its directory, and of a caller without
/// privileges its own.
fn owner(draft: &PlanBuilder<'_>, path: &ObjectPath) -> (u32, u32) {
    let directory = || path.parent().and_then(|above| draft.old(&above));
    match draft.old(path).or_else(|| if draft.inventory.privileged { directory() } else { None }) {
        Some(live) => (live.uid, live.gid),
        None => draft.inventory.caller,
    }
}
