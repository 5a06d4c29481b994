//! The next index of a depot, while patches are added to it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::Days;

use super::index_file::StoredIndex;
use super::work::PatchToPublish;
use super::{PublishError, PublishReport, PublishRequest, PublishState};
use patchadm_inputs::depot::{DepotFlags, DepotIndex, DepotPatch};
use patchadm_rootfs::{RootError, random};
use patchadm_svr4::patch::PatchId;

/// An index that is one version ahead of the one in place.
pub(super) struct IndexDraft {
    pub(super) index: DepotIndex,
    /// The name, version, digest and expiry of the one in place.
    before: Option<PublishReport>,
    added: BTreeSet<PatchId>,
    /// Whether the flags of an existing patch have changed.
    has_other_flags: bool,
    kept: Vec<String>,
    to_sign: Vec<PathBuf>,
}

impl IndexDraft {
    /// Begins the index after the one in place, or the first of a depot with a new name, and adds patches and flags.
    pub(super) fn of(
        before: Option<StoredIndex>,
        patches: &[PatchToPublish],
        flags: &DepotFlags,
        request: &PublishRequest<'_>,
    ) -> Result<Self, PublishError> {
        let report =
            before.as_ref().map(|stored| report(&stored.index, PublishState::Unchanged, &stored.sha256));
        let (mut index, previous) = match before {
            Some(StoredIndex { index, sha256 }) => (index, Some(sha256)),
            None => (DepotIndex::new(new_name()?, request.now), None),
        };
        index.version = index.version.checked_add(1).ok_or(PublishError::NoVersion)?;
        index.date = request.now;
        index.expires = request.expires.and_then(|days| request.now.checked_add_days(Days::new(days.into())));
        index.previous = previous;
        let (added, kept, to_sign) = (BTreeSet::new(), Vec::new(), Vec::new());
        let mut draft = Self { index, before: report, added, has_other_flags: false, kept, to_sign };
        for patch in patches {
            draft.enter(patch, request.may_be_unsigned)?;
        }
        draft.set_flags(flags);
        Ok(draft)
    }

    /// Gives every patch of the index exactly the flags that its keeper says.
    fn set_flags(&mut self, flags: &DepotFlags) {
        let wanted = self.index.patches().filter_map(|patch| {
            let id = PatchId::new(&patch.id).ok()?;
            let given = flags.of(&id);
            (patch.flags != given).then(|| (id, DepotPatch { flags: given.to_vec(), ..patch.clone() }))
        });
        for (id, patch) in wanted.collect::<Vec<_>>() {
            self.has_other_flags |= !self.added.contains(&id);
            self.index.enter(id, patch);
        }
    }

    /// Adds a patch. An existing one with the same bytes stays as it is, unless it has been signed anew; one with other
    /// bytes is refused.
    fn enter(&mut self, patch: &PatchToPublish, may_be_unsigned: bool) -> Result<(), PublishError> {
        if let Some(there) = self.index.patch(&patch.id) {
            if there.sha256 != patch.entry.sha256 {
                return Err(PublishError::OtherBytes(patch.id.clone()));
            }
            if !is_signed_anew(there, &patch.entry) {
                self.kept.push(there.id.clone());
                return Ok(());
            }
        }
        if !may_be_unsigned {
            self.to_sign.extend(patch.to_sign.clone());
        }
        self.added.insert(patch.id.clone());
        self.index.enter(patch.id.clone(), patch.entry.clone());
        Ok(())
    }

    /// Returns whether patches to be added are not signed.
    pub(super) fn lacks_signatures(&self) -> bool {
        !self.to_sign.is_empty()
    }

    /// Returns the report of a publication that has nothing to add to an index in place.
    pub(super) fn unchanged(&self) -> Option<PublishReport> {
        let before = self.before.clone().filter(|_| self.added.is_empty() && !self.has_other_flags)?;
        Some(PublishReport { kept: self.kept.clone(), ..before })
    }

    /// Returns whether a patch enters, or has been signed anew.
    pub(super) fn adds(&self, id: &PatchId) -> bool {
        self.added.contains(id)
    }

    /// Returns the report of a publication that wrote nothing: there are signatures to be made first, or it was a dry run.
    pub(super) fn not_written(self) -> PublishReport {
        let (before, to_sign) = (self.before.clone(), self.to_sign.clone());
        let planned = self.report(PublishState::Planned, "");
        let depot = before.as_ref().and_then(|before| before.depot.clone());
        if to_sign.is_empty() {
            return PublishReport { depot, index_sha256: None, ..planned };
        }
        PublishReport {
            state: PublishState::Unsigned,
            depot,
            version: before.as_ref().map_or(0, |before| before.version),
            index_sha256: before.as_ref().and_then(|before| before.index_sha256.clone()),
            expires: before.and_then(|before| before.expires),
            added: Vec::new(),
            kept: planned.kept,
            to_sign,
        }
    }

    /// Returns the report of a publication of this index.
    pub(super) fn report(self, state: PublishState, sha256: &str) -> PublishReport {
        let added = self.added.iter().map(ToString::to_string).collect();
        PublishReport { added, kept: self.kept, ..report(&self.index, state, sha256) }
    }
}

/// Returns the report about an index alone.
pub(super) fn report(index: &DepotIndex, state: PublishState, sha256: &str) -> PublishReport {
    PublishReport {
        state,
        depot: Some(index.depot.clone()),
        version: index.version,
        index_sha256: Some(sha256.to_owned()),
        expires: index.expires,
        added: Vec::new(),
        kept: Vec::new(),
        to_sign: Vec::new(),
    }
}

/// Returns whether a patch now has its first signature, or another one. A signature is never removed.
fn is_signed_anew(there: &DepotPatch, now: &DepotPatch) -> bool {
    now.signature.is_some() && now.signature != there.signature
}

/// Returns a name that no other depot has: 32 random hexadecimal digits.
fn new_name() -> Result<String, RootError> {
    Ok(format!("{:016x}{:016x}", random()?, random()?))
}
